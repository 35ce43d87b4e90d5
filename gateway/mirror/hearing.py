"""Whether the receiver behind a place is heard. Pure.

A receiver is asked for a word (a heartbeat) on each new link, and when it has said nothing for `heartbeat_ns`. One that
has answered before and owes an answer for longer than `answer_ns` is **silent**. One that never answered is of a kind
that does not, or its broker permits no heartbeats: nothing is concluded from that.
"""

from __future__ import annotations

from typing import Final

ANSWER_NS: Final = 10 * 10**9
"""Longest wait for the answer to a heartbeat; less where heartbeats are more frequent."""
_NS: Final = 10**9


class Hearing:
    """What was asked and heard. Times are nanoseconds of a clock that does not step; `heartbeat_ns` 0 never asks."""

    def __init__(self, heartbeat_ns: int) -> None:
        self.heartbeat_ns = heartbeat_ns
        self.answers = False
        self._answer_ns = min(ANSWER_NS, heartbeat_ns)
        self._heard_ns: int | None = None
        self._last_ns: int | None = None
        self._owed_since: int | None = None

    def wait_ns(self, now_ns: int) -> int:
        """Return how long the receiver need not be asked."""
        return 0 if self._last_ns is None else max(0, self._last_ns + self.heartbeat_ns - now_ns)

    def asked(self, now_ns: int) -> None:
        """Note that the receiver is asked for a word."""
        self._last_ns = now_ns
        if self._owed_since is None:
            self._owed_since = now_ns

    def heard(self, now_ns: int, *, is_answer: bool) -> None:
        """Note a word of the receiver; any word shows that it is there."""
        self._heard_ns = self._last_ns = now_ns
        self._owed_since = None
        self.answers |= is_answer

    def link_ended(self) -> None:
        """Owe nothing: what was asked may never have arrived. The next link asks anew."""
        self._last_ns = self._owed_since = None

    def is_silent(self, now_ns: int) -> bool:
        """Whether an answer is owed for too long."""
        return self.answers and self._owed_since is not None and now_ns - self._owed_since >= self._answer_ns

    def status(self, now_ns: int) -> dict[str, object]:
        """Return what people want to know of it."""
        heard_s = None if self._heard_ns is None else round((now_ns - self._heard_ns) / _NS, 1)
        return {"receiver_heard_s": heard_s, "receiver_is_silent": self.is_silent(now_ns)}
