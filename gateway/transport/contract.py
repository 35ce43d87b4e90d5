"""What a mirror session needs of a link to a region, whatever the kind of broker behind it.

A link is made for one connection and never connects by itself again: when it fails, everything raises `LinkError`,
and the session decides what is sent on the next one. That keeps the one copy of "what is not acknowledged yet" in the
session, where it is tested without a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Link(Protocol):
    """One connection to a region."""

    async def publish(self, topic: str, payload: bytes) -> None:
        """Return when the region's broker has acknowledged the message; `LinkError` when it refuses it or is silent."""

    def messages(self) -> AsyncIterator[bytes]:
        """Yield the payloads that the region sends us, until the link fails with `LinkError`."""
