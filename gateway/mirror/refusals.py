"""Whether a refusal is about one message or about all of them, where the peer does not say. Pure.

"Not authorized", "quota exceeded", "unspecified error" may mean the message, or the node, or the hour. While nothing
else is taken either, it is about all: the link ends, and everything is tried again after a while. While others are
taken it is about this one: it is tried again by itself, after ever longer waits, and after `TIMES_MAX` times it counts
as refused for good.
"""

from __future__ import annotations

from typing import Final

TIMES_MAX: Final = 5
FIRST_WAIT_NS: Final = 250_000_000
KEPT_MAX: Final = 1000
"""Messages that are remembered, far more than can be in flight; past it the oldest is forgotten, and counts anew."""


class Refusals:
    """What was refused so far, by the message's id."""

    def __init__(self) -> None:
        self._accepted = 0
        self._seen: dict[str, tuple[int, int]] = {}

    def accepted(self, identity: str) -> None:
        """Note that a message was taken."""
        self._accepted += 1
        self._seen.pop(identity, None)

    def wait_ns(self, identity: str) -> int | None:
        """Note a refusal; return how long to wait with this message, 0 for good, None when it is about all."""
        times, accepted_before = self._seen.pop(identity, (0, self._accepted))
        if len(self._seen) >= KEPT_MAX:
            del self._seen[next(iter(self._seen))]
        if self._accepted == accepted_before:
            self._seen[identity] = (times, accepted_before)
            return None
        if times + 1 >= TIMES_MAX:
            return 0
        self._seen[identity] = (times + 1, self._accepted)
        return FIRST_WAIT_NS << times
