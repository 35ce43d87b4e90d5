"""What a mirror session needs of a region's transport, whatever the kind of peer behind it. One file per kind.

A link is made for one connection and never connects by itself again: when it fails, everything raises `LinkError`,
and the session decides what is sent on the next one. That keeps the one copy of "what is not acknowledged yet" in the
session, where it is tested without a network.

A message says of itself what any peer may want to know (an identity that is the same at each resend, a key of order,
CloudEvents attributes), so a transport knows neither batches nor readings: it finds the address, puts each thing where
its protocol has a place for it, and tells apart three answers: acknowledged, refused for good, and not known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager


class Message(NamedTuple):
    """One thing to hand to a region.

    `id` is unique for ever and the same at each resend. Order is kept among messages of one `key`, which is the node or
    a series. `attributes` are CloudEvents 1.0 context attributes for the place that the protocol's binding gives them
    (binary mode); they are empty when `payload` holds them itself (structured mode).
    """

    id: str
    node: str
    lane: str
    key: str
    content_type: str
    payload: bytes
    attributes: Mapping[str, str]


class Refusal(NamedTuple):
    """A message that the peer does not take, by its position among those that were sent, and why.

    `is_final`: it never will. Otherwise the answer may be about this message or about all: who sends finds out.
    """

    position: int
    reason: str
    is_final: bool = True


class Link(Protocol):
    """One connection to a region."""

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Return when the peer has acknowledged, or refused, each message; `LinkError` otherwise.

        After an error nothing is known of any of them, and all may be sent again. Several tasks send at once; messages
        of one key arrive in the order of the calls.
        """

    async def ready(self) -> None:
        """Return when something sent now would leave soon, and not wait behind what the line or the peer holds up.

        So it is decided late what goes next, and an alarm overtakes what is only waiting. `LinkError` as for `send`.
        """

    def words(self) -> AsyncIterator[bytes]:
        """Yield what a receiver says to the node, until the link fails with `LinkError`.

        A transport without a way back yields nothing, and still raises when the link has failed: so that is noticed
        while nothing is sent.
        """

    async def probe(self) -> None:
        """Return after one round trip through the peer; `LinkError` when there is no answer."""


@runtime_checkable
class Metered(Protocol):
    """A link that knows what it costs."""

    def traffic(self) -> int:
        """Return the bytes that this connection has moved over the line so far, both ways, overhead included."""


@runtime_checkable
class Beating(Protocol):
    """A link on which a receiver can be asked for a word."""

    async def beat(self, number: int) -> None:
        """Ask for a word that names this number; return when the broker has it. `LinkError` as for `send`."""


class Transport(Protocol):
    """One region's kind of peer; made once from its options, connects as often as it is asked."""

    def connected(self) -> AbstractAsyncContextManager[Link]:
        """Connect. Raises `LinkError`, `CredentialError`; leaving closes sockets and threads within about a second."""


async def until_it_fails(link: Link) -> None:
    """Notice that a link has failed while nothing is sent: raises `LinkError`. What a receiver says is left out."""
    async for _ in link.words():
        pass
