"""What share of a busy line a lane has, live and for its backlog. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.config import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WEIGHT_MAX: Final = 1000.0
_STEP: Final = 10.0


def weigher(lanes: Sequence[schema.Lane], backlog_share: float) -> Callable[[tuple[str, bool]], float]:
    """Return the weight of (lane, whether it is backlog); a lane that only drains weighs what the last one does.

    Backlog has `backlog_share` of its lane's weight, what is live the rest; whoever is alone has everything.
    """
    weights: dict[str, float] = {}
    weight = 1.0 / _STEP
    for lane in reversed(lanes):
        weight = float(lane.weight or min(_STEP * weight, WEIGHT_MAX))
        for name in (lane.name, *(schema.thin_lane(lane.name, level) for level in range(1, lane.thin_levels + 1))):
            weights[name] = weight
    least = min(weights.values(), default=1.0)

    def weigh(turn: tuple[str, bool]) -> float:
        lane, is_backlog = turn
        return weights.get(lane, least) * (backlog_share if is_backlog else 1.0 - backlog_share)

    return weigh
