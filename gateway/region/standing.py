"""What a receiver's books say of all nodes together, and of the few that need a look. Pure.

However many nodes there are: sums, and the `NODES_SHOWN` that miss most or are silent longest.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.region.reconcile import Report

NODES_SHOWN: Final = 10
_NS: Final = 10**9


def standing(report: Report, wall_ns: int) -> dict[str, Any]:
    """Return the sums and the worst nodes."""
    lost: dict[str, int] = {}
    missing: dict[str, int] = {}
    seen: dict[str, int] = {}
    for lane in report.lanes:
        for reason, number in lane.lost.items():
            lost[reason] = lost.get(reason, 0) + number
        missing[lane.node] = missing.get(lane.node, 0) + lane.missing
        seen[lane.node] = max(seen.get(lane.node, 0), lane.seen_ns)
    worst = heapq.nlargest(NODES_SHOWN, missing, key=missing.__getitem__)
    silent = heapq.nsmallest(NODES_SHOWN, seen, key=seen.__getitem__)
    return {
        "nodes": len(seen),
        "lanes": len(report.lanes),
        "missing": sum(missing.values()),
        "unaccounted": report.unaccounted,
        "lost": lost,
        "dead": dict(report.rejected),
        "duplicates": sum(lane.duplicates for lane in report.lanes),
        "forks": sum(lane.forks for lane in report.lanes),
        "outboxes": report.outboxes,
        "worst": {node: missing[node] for node in worst if missing[node]},
        "silent": {node: round(max(0, wall_ns - seen[node]) / _NS, 1) for node in silent},
    }
