"""The status of a receiver as the paths of the catalogue want it. Pure; see `gateway.health.facts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.health.metric import QUALITIES, limited

if TYPE_CHECKING:
    from collections.abc import Mapping

DECISIONS: Final = ("fresh", "recovered", "duplicate")
LOST: Final = frozenset({"evicted", "thinned", "expired", "lagged", "damaged", "refused", "elsewhere"})
"""Why readings never reach a region."""

REJECTED: Final = frozenset(
    {
        "count_too_large",
        "fork",
        "no_batch",
        "other_node",
        "refused_by_forward",
        "scattered",
        "stale_epoch",
        "too_large",
        "too_many_lanes",
        "unstorable",
    }
)
"""Why a receiver does not take a message."""


def of_receiver(status: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the facts about a receiver."""
    decided = status.get("decided", {})
    rejected = {
        name.removeprefix("rejected."): number for name, number in decided.items() if name.startswith("rejected.")
    }
    facts = {
        **status,
        "info": {status["name"]: {version: 1}},
        "store_fault": bool(status["fault"]),
        "decided": {
            **dict.fromkeys(DECISIONS, 0),
            **{name: number for name, number in decided.items() if not name.startswith("rejected.")},
        },
        "rejected": {**dict.fromkeys(REJECTED, 0), **limited(rejected, REJECTED)},
    }
    if "clock" in status:
        facts["clock_quality"] = QUALITIES[status["clock"]]
    if books := status.get("books"):
        facts["books"] = {
            **books,
            "lost": {**dict.fromkeys(LOST, 0), **limited(books["lost"], LOST)},
            "dead": {**dict.fromkeys(REJECTED, 0), **limited(books["dead"], REJECTED)},
        }
    return facts
