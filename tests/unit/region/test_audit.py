"""The audit: what is not there, and why, as far as the receiver and the nodes know."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.region.audit import Finding, NodeState, Verdict, audit, state_of
from tests.support.receiving import Region, gap, sent, sent_gap
from tests.support.spooled import readings_between


def found(tmp_path: Path, *states: NodeState) -> dict[Verdict, Finding]:
    """Return the findings about batches 1, 4 (received), 6 and 7 (declared lost), by verdict."""
    with Region(tmp_path) as region:
        region.take(sent(1), sent(4), sent_gap(gap(6, 7)))
        return {one.verdict: one for one in audit(region.report(), states)}


def state(cursor: int, head: int) -> NodeState:
    return NodeState("node", {"telemetry": cursor}, {"telemetry": head})


def test_without_the_node_a_hole_is_missing_and_what_was_declared_lost_has_its_reason(tmp_path: Path) -> None:
    verdicts = found(tmp_path)
    assert verdicts.keys() == {Verdict.LOST, Verdict.MISSING}
    assert (verdicts[Verdict.LOST].readings, verdicts[Verdict.LOST].sentence) == (
        readings_between(6, 7),
        "the node has said why: evicted",
    )
    assert verdicts[Verdict.MISSING].verdict.is_bad


def test_what_lies_beyond_the_nodes_cursor_is_under_way(tmp_path: Path) -> None:
    verdicts = found(tmp_path, state(1, 9))
    assert verdicts.keys() == {Verdict.LOST, Verdict.UNDER_WAY}
    assert not any(verdict.is_bad for verdict in verdicts)


def test_what_the_nodes_cursor_has_passed_was_accepted_and_forgotten(tmp_path: Path) -> None:
    verdicts = found(tmp_path, state(7, 7))
    assert verdicts.keys() == {Verdict.LOST, Verdict.FORGOTTEN}
    assert "batches 5 to 5" in verdicts[Verdict.FORGOTTEN].sentence
    assert verdicts[Verdict.FORGOTTEN].verdict.is_bad


def test_batches_that_were_acknowledged_and_never_heard_of_are_named(tmp_path: Path) -> None:
    verdicts = found(tmp_path, state(12, 20))
    assert (verdicts[Verdict.UNHEARD].batches, verdicts[Verdict.UNDER_WAY].batches) == (5, 8)
    assert "batches 8 to 12" in verdicts[Verdict.UNHEARD].sentence


def test_a_fork_needs_a_person(tmp_path: Path) -> None:
    with Region(tmp_path) as region:
        region.take(sent(1), sent(1, salt=1.0))
        (fork,) = audit(region.report())
    assert (fork.verdict, fork.verdict.is_bad) == (Verdict.FORKED, True)


def test_a_receiver_that_has_all_has_nothing_to_say(tmp_path: Path) -> None:
    with Region(tmp_path) as region:
        region.take(sent(1), sent(2))
        assert audit(region.report(), [state(2, 2)]) == []


def test_a_nodes_status_is_read_for_the_region_that_is_meant() -> None:
    status = {
        "node": "n",
        "lanes": [{"name": "telemetry", "head": 9}],
        "regions": {"east": {"cursors": {"telemetry": 4}}, "west": {"cursors": {"telemetry": 8}}},
    }
    assert state_of(status, "west") == NodeState("n", {"telemetry": 8}, {"telemetry": 9})
    with pytest.raises(ValueError, match="say which one"):
        state_of(status, "")
    with pytest.raises(ValueError, match="no region 'north'"):
        state_of(status, "north")
    with pytest.raises(ValueError, match="gateway status --json"):
        state_of({"regions": {"east": {}}}, "")
