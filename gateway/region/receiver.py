"""Decide what a batch or a gap is for its lane: fresh, known, forked, stale or too scattered to keep.

A lane of one epoch is a line of sequences; what is accounted for are runs on it. Each run also knows where it lies on
the line of readings (`before` its first batch, `after` its last one), because every header says how many readings the
lane held before it. So a hole between two runs has an exact size before anything of it has arrived, and a gap needs to
say only its edges. The end of the first run is the **watermark**. Batches of several lanes and connections arrive in
any order, so the final state must not depend on the order:

- an identity is written once: a sequence inside a run is known, whatever comes under it again;
- a gap fills only the holes of its range; a batch that arrives after its gap is taken back out of what is lost;
- the same identity with another content hash is a **fork**: neither written nor acknowledged, the node keeps it.

Epochs. A node begins one when its ring is new (sequences start at 1), or when its journal has lost input (sequences go
on after the ring's last one, while batches of the epoch before may still be under way). So the oldest epoch that is
known of a lane begins at sequence 1, a later one at the lowest sequence heard of it; what an older epoch says at or
beyond that point is **stale**: two boxes claim one name (a cloned disk). It is treated like a fork.

Invariant (`reconcile` checks it): readings received + lost in gaps + missing in holes = readings expected.
Runs are bounded by `RUNS_MAX`; a batch that would make one more is refused, one that closes a hole never is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from gateway.model import Gap

FIRST_SEQUENCE: Final = 1
RUNS_MAX: Final = 10_000
REASONS_MAX: Final = 100
"""Reasons of gaps that a lane counts each by itself; a node may make up any, and what is beyond counts as `OTHER`."""
OTHER: Final = "other"

_first = attrgetter("first")
_last = attrgetter("last")


class Decision(Enum):
    """What a batch is for its lane; the value is the word that is counted."""

    FRESH = "fresh"
    RECOVERED = "recovered"
    DUPLICATE = "duplicate"
    FORK = "fork"
    STALE = "stale_epoch"
    REFUSED = "scattered"

    @property
    def is_written(self) -> bool:
        """Whether the batch's readings go to the sinks."""
        return self in (Decision.FRESH, Decision.RECOVERED)

    @property
    def is_durable(self) -> bool:
        """Whether the node is told, after the commit, that the batch needs not be kept any more."""
        return self.is_written or self is Decision.DUPLICATE


class Run(NamedTuple):
    """Sequences `first` to `last`, both included, and the readings of the epoch before and after them."""

    first: int
    last: int
    before: int
    after: int

    @property
    def readings(self) -> int:
        """How many readings the run holds by the node's own count; never negative."""
        return max(0, self.after - self.before)


class Loss(NamedTuple):
    """A run that the node declared lost, and why."""

    run: Run
    reason: str


@dataclass(slots=True)
class Lane:
    """What is known of (node, lane, epoch). `runs` is sorted, disjoint and without adjacent ones.

    `is_oldest`: no older epoch of this lane is known. `barrier`: the lowest sequence heard of any newer one, or None.
    """

    node: str
    name: str
    epoch: int
    is_oldest: bool = True
    barrier: int | None = None
    runs: list[Run] = field(default_factory=list)
    batches: int = 0
    received: int = 0
    lost: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    forks: int = 0

    @property
    def begin(self) -> Run:
        """The empty run before the first batch of the epoch, as far as is known.

        Nothing can be missing before sequence 1, whatever the node's count of readings was there.
        """
        if self.runs and (not self.is_oldest or self.runs[0].first == FIRST_SEQUENCE):
            first = self.runs[0]
            return Run(first.first, first.first - 1, first.before, first.before)
        return Run(FIRST_SEQUENCE, FIRST_SEQUENCE - 1, 0, 0)

    @property
    def watermark(self) -> int:
        """The highest sequence up to which everything is accounted for; 0 when nothing is."""
        if not self.runs or self.runs[0].first != self.begin.first:
            return 0
        return self.runs[0].last

    @property
    def expected(self) -> int:
        """How many readings the node has sealed in this epoch, as far as any header has said."""
        return self.runs[-1].after - self.begin.before if self.runs else 0

    def knows(self, sequence: int) -> bool:
        """Say whether `sequence` was received or declared lost."""
        index = bisect_right(self.runs, sequence, key=_first) - 1
        return index >= 0 and sequence <= self.runs[index].last


def decide(lane: Lane, sequence: int, content_hash: bytes, held: bytes | Loss | None) -> Decision:
    """Say what a batch is; nothing is changed.

    `held` is what is kept under the sequence when `lane.knows(sequence)`: the content hash of the batch that was
    written, the loss that covers it, or None when the batch is older than the hashes that are kept.
    """
    if lane.knows(sequence):
        if isinstance(held, Loss):
            return Decision.STALE if _is_stale(lane, sequence) else Decision.RECOVERED
        return Decision.DUPLICATE if held is None or held == content_hash else Decision.FORK
    if _is_stale(lane, sequence):
        return Decision.STALE
    return Decision.FRESH if _has_room(lane, sequence, sequence) else Decision.REFUSED


def decide_gap(lane: Lane, gap: Gap) -> Decision:
    """Say what a gap is; nothing is changed. DUPLICATE when its whole range is known already."""
    index = bisect_right(lane.runs, gap.first, key=_first) - 1
    if index >= 0 and gap.last <= lane.runs[index].last:
        return Decision.DUPLICATE
    if _is_stale(lane, gap.last):
        return Decision.STALE
    return Decision.FRESH if _has_room(lane, gap.first, gap.last) else Decision.REFUSED


def take(lane: Lane, sequence: int, readings_before: int, readings: int) -> None:
    """Account for a FRESH batch."""
    _fill(lane, Run(sequence, sequence, readings_before, readings_before + readings))
    lane.batches += 1
    lane.received += readings


def take_gap(lane: Lane, gap: Gap) -> list[Loss]:
    """Account for a FRESH gap and return the losses to keep: one for each hole of its range."""
    holes = _fill(lane, Run(gap.first, gap.last, gap.readings_before, gap.readings_before + gap.readings))
    reason = _reason(lane, gap)
    lane.lost[reason] = lane.lost.get(reason, 0) + sum(hole.readings for hole in holes)
    return [Loss(hole, reason) for hole in holes]


def _reason(lane: Lane, gap: Gap) -> str:
    """Return the reason that a gap is counted and kept under, the same in each database: PostgreSQL's knows no NUL."""
    reason = gap.reason.replace("\0", "\ufffd")
    return reason if reason in lane.lost or len(lane.lost) < REASONS_MAX else OTHER


def take_back(lane: Lane, sequence: int, readings_before: int, readings: int, loss: Loss) -> list[Loss]:
    """Account for a RECOVERED batch and return what remains of the loss that covered it."""
    run, after = loss.run, readings_before + readings
    remains = []
    if sequence > run.first:
        remains.append(Loss(Run(run.first, sequence - 1, run.before, readings_before), loss.reason))
    if sequence < run.last:
        remains.append(Loss(Run(sequence + 1, run.last, after, run.after), loss.reason))
    lane.lost[loss.reason] += sum(piece.run.readings for piece in remains) - run.readings
    lane.batches += 1
    lane.received += readings
    return remains


def pairs(sequences: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Return the pairs (first, last) sorted, with overlapping and adjacent ones merged."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(sequences):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def _is_stale(lane: Lane, sequence: int) -> bool:
    return lane.barrier is not None and sequence >= lane.barrier


def _touching(lane: Lane, first: int, last: int) -> tuple[int, int]:
    """Return the slice of runs that overlap or adjoin first…last."""
    return bisect_left(lane.runs, first - 1, key=_last), bisect_right(lane.runs, last + 1, key=_first)


def _has_room(lane: Lane, first: int, last: int) -> bool:
    begin, end = _touching(lane, first, last)
    return begin < end or len(lane.runs) < RUNS_MAX


def _fill(lane: Lane, new: Run) -> list[Run]:
    """Merge `new` into the runs and return the holes that it filled.

    Where a node's counts contradict each other the merged run takes the outer ones, so the contradiction stays visible
    as a difference between what the runs span and what was received and lost.
    """
    begin, end = _touching(lane, new.first, new.last)
    holes = []
    sequence, position = new.first, new.before
    for run in lane.runs[begin:end]:
        if sequence < run.first:
            holes.append(Run(sequence, min(run.first - 1, new.last), position, min(run.before, new.after)))
        if run.last >= sequence:
            sequence, position = run.last + 1, run.after
    if sequence <= new.last:
        holes.append(Run(sequence, new.last, position, new.after))
    merged = new
    for run in (lane.runs[begin], lane.runs[end - 1]) if begin < end else ():
        if run.first <= merged.first:
            merged = merged._replace(first=run.first, before=run.before)
        if run.last >= merged.last:
            merged = merged._replace(last=run.last, after=run.after)
    lane.runs[begin:end] = [merged]
    return holes
