"""One ring made up, and every way in which it can be sent: an old epoch, a newer one, and batches declared lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from tests.support.receiving import gap, sent, sent_gap
from tests.support.spooled import readings_between

if TYPE_CHECKING:
    from gateway.region.intake import Message

OLD, NEW = 100, 200
LAST = 12


class Ring(NamedTuple):
    """Sequences 1 to `end` are of the old epoch, the others of the new one, whose count of readings is its own."""

    end: int
    offset: int

    def epoch(self, sequence: int) -> int:
        return OLD if sequence <= self.end else NEW

    def before(self, sequence: int) -> int:
        if sequence <= self.end:
            return readings_between(1, sequence - 1)
        return self.offset + readings_between(self.end + 1, sequence - 1)

    def batch(self, sequence: int) -> Message:
        return sent(sequence, self.epoch(sequence), before=self.before(sequence))

    def gap(self, first: int, last: int) -> Message:
        return sent_gap(gap(first, last, self.epoch(first), before=self.before(first)))


class Sending(NamedTuple):
    """What is sent, in order; `cuts` end a group, `restarts` are groups after which the receiver is started anew."""

    ring: Ring
    batches: set[int]
    gaps: list[tuple[int, int]]
    order: list[int | tuple[int, int]]
    cuts: set[int]
    restarts: set[int]


@st.composite
def sendings(draw) -> Sending:
    ring = Ring(draw(st.integers(0, LAST)), draw(st.sampled_from([0, 7, 1000])))
    batches = draw(st.sets(st.integers(1, LAST), min_size=1))
    gaps = []
    for first, length in draw(st.lists(st.tuples(st.integers(1, LAST), st.integers(1, 5)), max_size=3)):
        last = min(first + length - 1, LAST if first > ring.end else ring.end)
        gaps.append((first, last))
    once = [*sorted(batches), *gaps]
    again = draw(st.lists(st.sampled_from(once), max_size=8))
    order = draw(st.permutations(once + again))
    numbers = st.sets(st.integers(0, len(order)), max_size=6)
    return Sending(ring, batches, gaps, list(order), draw(numbers), draw(numbers))


def sent_one(ring: Ring, what: int | tuple[int, int]) -> Message:
    return ring.batch(what) if isinstance(what, int) else ring.gap(*what)
