"""When a region's radio may be on: windows that cron expressions begin, all of one length, in UTC. Pure.

While the clock has never been set there are no windows to keep: the link may be what sets it.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from cronsim import CronSim, CronSimError

if TYPE_CHECKING:
    from collections.abc import Sequence

_NS: Final = 10**9
_SECOND: Final = dt.timedelta(seconds=1)


def fault(expression: str) -> str:
    """Return what is wrong with a cron expression; empty when nothing is."""
    try:
        next(CronSim(expression, dt.datetime(2025, 1, 1, tzinfo=dt.UTC)))
    except CronSimError as error:
        return str(error).lower() or "it is no cron expression"
    except StopIteration:
        return "it never comes"
    return ""


class Windows:
    """The windows of one region. Without any expression the line is always open."""

    def __init__(self, expressions: Sequence[str], length_ns: int) -> None:
        self._expressions = expressions
        self._length = dt.timedelta(microseconds=length_ns // 1000)
        self._open_until: dt.datetime | None = None
        self._next = dt.datetime.min.replace(tzinfo=dt.UTC)
        self._looked_at = self._next

    def is_open(self, wall_ns: int, *, is_set: bool) -> bool:
        """Say whether the line may be up at this time; `is_set`: the clock has ever been set."""
        if not self._expressions or not is_set:
            return True
        now = dt.datetime.fromtimestamp(wall_ns // _NS, dt.UTC)
        if now >= self._next or now < self._looked_at:  # a window has begun, or the clock has stepped back
            self._look(now)
        self._looked_at = now
        return self._open_until is not None and now < self._open_until

    def next_ns(self) -> int:
        """Return when the next window begins, in Unix time, as of the last look."""
        return int(self._next.timestamp()) * _NS

    def _look(self, now: dt.datetime) -> None:
        # Neither look, back or ahead, finds the moment that it begins at.
        self._open_until = (
            max(next(CronSim(one, now + _SECOND, reverse=True)) for one in self._expressions) + self._length
        )
        self._next = min(next(CronSim(one, now)) for one in self._expressions)
