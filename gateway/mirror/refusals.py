"""Whether a refusal is about one message or about all of them, where the peer does not say. Pure.

"Not authorized", "quota exceeded", "unspecified error" may mean the message, or the node, or the hour. So a message
that is refused waits, longer each time, and others go first. When two are refused and none is taken in between, it
looks as if it were about all: the link ends, and whoever connects waits as well. One that was refused `TIMES_MAX` times
while others were taken is refused for good.

One that is alone, with no other to tell by, is tried on link after link, and refused for good after `ALONE_MAX` times,
which is hours. Were it about all after all, that is one message; the next one to be alone is kept until one is taken.
"""

from __future__ import annotations

from typing import Final, NamedTuple

TIMES_MAX: Final = 5
ALONE_MAX: Final = 100
FIRST_WAIT_NS: Final = 250_000_000
KEPT_MAX: Final = 1000
"""Messages that are remembered, far more than can be in flight; past it the oldest is forgotten, and counts anew."""


class Judgement(NamedTuple):
    """What to do with a message that was refused: wait so long with it (0: it is refused for good), end the link."""

    wait_ns: int
    ends_link: bool


FOR_GOOD: Final = Judgement(0, ends_link=False)


class Refusals:
    """What was refused so far, by the message's id."""

    def __init__(self) -> None:
        self._accepted = 0
        self._seen: dict[str, tuple[int, int]] = {}
        self._in_a_row: set[str] = set()
        self._may_give_up_alone = True

    def accepted(self, identity: str) -> None:
        """Note that a message was taken."""
        self._accepted += 1
        self._may_give_up_alone = True
        self._in_a_row.clear()
        self._seen.pop(identity, None)

    def judge(self, identity: str) -> Judgement:
        """Note a refusal."""
        times, accepted_before = self._seen.pop(identity, (0, self._accepted))
        times += 1
        self._in_a_row.add(identity)
        is_by_itself = not self._seen and times >= ALONE_MAX and self._may_give_up_alone
        if is_by_itself or (times >= TIMES_MAX and self._accepted > accepted_before):
            self._may_give_up_alone &= not is_by_itself
            self._in_a_row.discard(identity)
            return FOR_GOOD
        if len(self._seen) >= KEPT_MAX:
            del self._seen[next(iter(self._seen))]
        self._seen[identity] = times, accepted_before
        is_about_all = len(self._in_a_row) > 1 or times >= TIMES_MAX
        if is_about_all:
            self._in_a_row.clear()
        return Judgement(FIRST_WAIT_NS << min(times - 1, TIMES_MAX), is_about_all)
