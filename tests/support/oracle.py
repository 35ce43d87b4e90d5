"""What the region must hold, computed once more and plainly: filter, every n-th, interval, deadband, windows.

Nothing here comes from the gateway, on purpose. One topic at a time, its observations in order of arrival; everything
is recomputed from lists, because being obviously right matters more than being fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Point(NamedTuple):
    """A value at a time."""

    time_ns: int
    value: float


def every(points: Sequence[Point], number: int) -> list[Point]:
    """Return the first, the (1 + number)-th, the (1 + 2 x number)-th, …"""
    return list(points[::number])


def at_intervals(points: Sequence[Point], interval_ns: int) -> list[Point]:
    """Return those that lie at least an interval from the last one returned, after it or before it."""
    kept: list[Point] = []
    for point in points:
        if not kept or abs(point.time_ns - kept[-1].time_ns) >= interval_ns:
            kept.append(point)
    return kept


def outside_deadband(points: Sequence[Point], band: float, silence_ns: int) -> list[Point]:
    """Return those that differ from the last one returned by at least `band`, or lie `silence_ns` from it."""
    kept: list[Point] = []
    for point in points:
        if (
            not kept
            or abs(point.value - kept[-1].value) >= band
            or (silence_ns and abs(point.time_ns - kept[-1].time_ns) >= silence_ns)
        ):
            kept.append(point)
    return kept


class Windows(NamedTuple):
    """The closed windows, {start: {function: value}}, and how many points were late or are still in open windows."""

    closed: dict[int, dict[str, float]]
    late: int
    waiting: int


def windows(points: Sequence[Point], size_ns: int, lateness_ns: int) -> Windows:
    """Return tumbling windows of one topic: a window closes when the newest time is `lateness_ns` past its end."""
    taken: dict[int, list[Point]] = {}
    newest = late = 0
    for point in points:
        start = point.time_ns // size_ns * size_ns
        if start + size_ns + lateness_ns <= newest:
            late += 1
        else:
            taken.setdefault(start, []).append(point)
            newest = max(newest, point.time_ns)
    closed = {start: summary(inside) for start, inside in taken.items() if start + size_ns + lateness_ns <= newest}
    waiting = sum(len(inside) for start, inside in taken.items() if start not in closed)
    return Windows(closed, late, waiting)


def summary(points: Sequence[Point]) -> dict[str, float]:
    """Return every function of the points of one window; first and last go by time, not by arrival."""
    values = [point.value for point in points]
    total = 0.0
    for value in values:
        total += value
    ordered = sorted(points, key=lambda point: point.time_ns)
    return {
        "count": len(values),
        "sum": total,
        "min": min(values),
        "max": max(values),
        "mean": total / len(values),
        "first": ordered[0].value,
        "last": ordered[-1].value,
    }
