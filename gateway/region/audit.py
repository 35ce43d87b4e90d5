"""What became of everything that nodes have sealed: the receiver's books held against what the nodes say. Pure.

The receiver knows what came, what was declared lost and what is missing in between. Why something is missing the node
knows: what lies beyond its cursor it still has and will send; what its cursor has passed somebody acknowledged. A
region whose broker's word counts (`acknowledge = "broker"`) may have a broker that accepted and forgot: that is a
verdict here, and no hole in the receiver's books can be anything else.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.region.reconcile import LaneReport, Report


class Verdict(Enum):
    """What a finding is; `is_bad` ones need a person."""

    LOST = "declared lost"
    UNDER_WAY = "under way"
    MISSING = "missing"
    FORGOTTEN = "forgotten"
    FORKED = "forked"
    UNACCOUNTED = "unaccounted"
    UNHEARD = "unheard of"

    @property
    def is_bad(self) -> bool:
        """Whether it is more than what nodes have said themselves, or will mend by themselves."""
        return self not in (Verdict.LOST, Verdict.UNDER_WAY)


class Finding(Struct, frozen=True, kw_only=True):
    """One thing about one lane: `batches` and `readings` it is about, as far as they are known, and a sentence."""

    node: str
    lane: str
    verdict: Verdict
    batches: int
    readings: int
    sentence: str


class NodeState(Struct, frozen=True):
    """What a node says of itself for one region: by lane its cursor there, and the newest sequence it has sealed."""

    node: str
    cursors: dict[str, int]
    heads: dict[str, int]


def state_of(status: Mapping[str, Any], region: str) -> NodeState:
    """Return what `gateway status --json` says of a region; empty means the only one. Raises `ValueError`."""
    try:
        regions = status["regions"]
        if not region and len(regions) != 1:
            raise ValueError(f"it has the regions {', '.join(regions) or 'none'}: say which one this is, with --region")
        if region and region not in regions:
            raise ValueError(f"it has no region {region!r}: it has {', '.join(regions) or 'none'}")
        found = regions[region or next(iter(regions))]
        heads = {lane["name"]: int(lane["head"]) for lane in status["lanes"]}
        return NodeState(str(status["node"]), {lane: int(at) for lane, at in found["cursors"].items()}, heads)
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is not what `gateway status --json` prints: {error}") from error


def audit(report: Report, states: Sequence[NodeState] = ()) -> list[Finding]:
    """Return everything that is not simply there, by node and lane; the worst of each lane last."""
    known = {state.node: state for state in states}
    found = [one for lane in report.lanes for one in _of_lane(lane, known.get(lane.node))]
    for state in states:
        found += _of_node(state, [lane for lane in report.lanes if lane.node == state.node])
    return found


def _of_lane(lane: LaneReport, state: NodeState | None) -> Iterator[Finding]:
    def finding(verdict: Verdict, batches: int, readings: int, sentence: str) -> Finding:
        return Finding(
            node=lane.node, lane=lane.lane, verdict=verdict, batches=batches, readings=readings, sentence=sentence
        )

    for reason, readings in sorted(lane.lost.items()):
        if readings:
            yield finding(Verdict.LOST, 0, readings, f"the node has said why: {reason}")
    cursor = None if state is None else state.cursors.get(lane.lane)
    for hole in lane.holes:
        batches, where = hole.last - hole.first + 1, f"batches {hole.first} to {hole.last}"
        if cursor is None:
            yield finding(Verdict.MISSING, batches, hole.readings, f"{where}: only the node can say why")
        elif hole.first > cursor:
            yield finding(Verdict.UNDER_WAY, batches, hole.readings, f"{where}: the node has them and will send them")
        else:
            sentence = f"{where}: the node was told that they had arrived; the region's broker accepted and forgot them"
            yield finding(Verdict.FORGOTTEN, batches, hole.readings, sentence)
    if lane.forks:
        sentence = "the same identities came with another content: two boxes claim this name, or a disk was copied"
        yield finding(Verdict.FORKED, lane.forks, 0, sentence)
    if lane.unaccounted:
        yield finding(Verdict.UNACCOUNTED, 0, lane.unaccounted, "the books of this receiver do not balance: a defect")


def _of_node(state: NodeState, lanes: Sequence[LaneReport]) -> Iterator[Finding]:
    """Yield what the node has sealed beyond all that was heard of."""
    for lane, head in sorted(state.heads.items()):
        highest = max((one.highest for one in lanes if one.lane == lane), default=0)
        cursor = state.cursors.get(lane)
        if cursor is None or head <= highest:
            continue

        def finding(verdict: Verdict, batches: int, sentence: str, name: str = lane) -> Finding:
            return Finding(node=state.node, lane=name, verdict=verdict, batches=batches, readings=0, sentence=sentence)

        if cursor > highest:
            sentence = f"batches {highest + 1} to {cursor}: the node was told that they had arrived, and none has"
            yield finding(Verdict.UNHEARD, cursor - highest, sentence)
        if head > max(cursor, highest):
            first = max(cursor, highest) + 1
            sentence = f"batches {first} to {head}: the node has them and will send them"
            yield finding(Verdict.UNDER_WAY, head - first + 1, sentence)
