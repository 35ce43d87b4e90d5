"""Hold what was received against what the node says it sent, lane by lane: the receiver's half of the ledger.

The node counts readings as it seals them and each header carries the count so far, so the highest header says what is
**expected**. Of that, some was received, some was declared lost by gaps, and what lies in holes between runs is
**missing**: not lost yet, and nameable sequence by sequence. What is left over is `unaccounted`: anything but zero
means that the node's own counts contradict each other, or that this receiver has a defect.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from msgspec import Struct, field

if TYPE_CHECKING:
    from gateway.model import Ledger
    from gateway.region.receiver import Lane

HOLES_NAMED_MAX: Final = 100


class Hole(Struct, frozen=True):
    """Batches that have neither arrived nor been declared lost, with their exact number of readings."""

    first: int
    last: int
    readings: int


class LaneReport(Struct, kw_only=True):
    """One lane of one epoch. `highest` is the last sequence heard of; `holes` are bounded, `missing` counts them all.

    `ledger` is the node's own, as of batch `ledger_sequence`; `seen_ns` is when the lane was last heard of.
    """

    node: str
    lane: str
    epoch: int
    is_newest_epoch: bool
    watermark: int
    highest: int
    batches: int
    received: int
    lost: dict[str, int]
    missing: int
    holes: list[Hole]
    expected: int
    unaccounted: int
    duplicates: int
    forks: int
    ledger: Ledger
    ledger_sequence: int
    seen_ns: int


class Report(Struct, kw_only=True):
    """The whole receiver. `rejected` counts what was not taken, by reason; `dead_letters` names the newest of it.

    `outboxes` says by forward how many messages and bytes wait to be handed on.
    """

    lanes: list[LaneReport]
    rejected: dict[str, int]
    dead_letters: list[dict[str, str | int]] = field(default_factory=list)
    outboxes: dict[str, dict[str, int]] = field(default_factory=dict)

    @property
    def unaccounted(self) -> int:
        """The sum over all lanes, sign left out, so that two faults never cancel."""
        return sum(abs(lane.unaccounted) for lane in self.lanes)


def reconcile(lane: Lane, *, is_newest_epoch: bool, ledger: Ledger, ledger_sequence: int, seen_ns: int) -> LaneReport:
    """Return the report of one lane."""
    holes = [
        Hole(left.last + 1, right.first - 1, max(0, right.before - left.after))
        for left, right in pairwise([lane.begin, *lane.runs])
        if left.last + 1 < right.first
    ]
    missing = sum(hole.readings for hole in holes)
    return LaneReport(
        node=lane.node,
        lane=lane.name,
        epoch=lane.epoch,
        is_newest_epoch=is_newest_epoch,
        watermark=lane.watermark,
        highest=lane.runs[-1].last if lane.runs else 0,
        batches=lane.batches,
        received=lane.received,
        lost=dict(lane.lost),
        missing=missing,
        holes=holes[:HOLES_NAMED_MAX],
        expected=lane.expected,
        unaccounted=lane.expected - lane.received - sum(lane.lost.values()) - missing,
        duplicates=lane.duplicates,
        forks=lane.forks,
        ledger=ledger,
        ledger_sequence=ledger_sequence,
        seen_ns=seen_ns,
    )
