"""Sums over all nodes, and the few that need a look."""

from gateway.region.reconcile import LaneReport, Report
from gateway.region.standing import NODES_SHOWN, standing


def lane(node: str, missing: int = 0, seen_ns: int = 0, **more) -> LaneReport:
    fixed = {
        "lane": "telemetry",
        "epoch": 1,
        "is_newest_epoch": True,
        "watermark": 1,
        "highest": 1,
        "batches": 1,
        "received": 10,
        "holes": [],
        "expected": 10,
        "unaccounted": 0,
        "duplicates": 2,
        "forks": 0,
        "ledger": {},
        "ledger_sequence": 1,
    }
    return LaneReport(**{**fixed, "node": node, "missing": missing, "seen_ns": seen_ns, "lost": {}, **more})


def test_sums_are_over_all_lanes_and_the_worst_are_few() -> None:
    lanes = [lane(f"node-{number}", missing=number, seen_ns=number * 10**9) for number in range(500)]
    lanes.append(lane("node-499", missing=5, lost={"evicted": 7}))
    found = standing(Report(lanes=lanes, rejected={"fork": 3}), 500 * 10**9)
    assert (found["nodes"], found["lanes"], found["duplicates"]) == (500, 501, 1002)
    assert found["missing"] == sum(range(500)) + 5
    assert found["lost"] == {"evicted": 7}
    assert found["dead"] == {"fork": 3}
    assert len(found["worst"]) == len(found["silent"]) == NODES_SHOWN
    assert next(iter(found["worst"].items())) == ("node-499", 504)
    assert next(iter(found["silent"].items())) == ("node-0", 500.0)


def test_nothing_missing_names_no_node() -> None:
    assert standing(Report(lanes=[lane("node-1")], rejected={}), 0)["worst"] == {}
