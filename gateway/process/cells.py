"""What is known of one field in one open window, and what is computed of it when the window closes.

Only numbers have sum, min, max, mean and all that follow; count, first and last are of any value. First and last go by
time; of equal times the first to come is the first and the last to come the last. Sums are made in order of arrival. A
result beyond what a reading can hold is left out; an integer sum beyond 64 bits becomes a float.

    stddev          standard deviation of a sample (n - 1), by Welford's recurrence, merged by Chan's
    increase, rate  growth of a counter, and per second: each step up counts, a step down is a reset to 0, so the new
                    value counts. The step from the last value before the window counts into it
    twmean          mean by time: each value holds until the next one, the last one to the window's end, and what the
                    last window ended with from this one's start
    p50 … p99       quantiles by a sketch, within 1 % (`gateway.process.sketch`)

Growth and the mean by time go by event time: a value that comes after a later one is left out of them.

Sources: B. P. Welford, Technometrics 4(3), 1962; T. F. Chan, G. H. Golub, R. J. LeVeque, Stanford CS-TR-79-773, 1979.
"""

from __future__ import annotations

from math import isfinite, sqrt
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.process.sketch import Sketch

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gateway.model import Value

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
OF_ANY: Final = frozenset({"count", "first", "last"})
OF_GROWTH: Final = frozenset({"increase", "rate"})
OF_SPREAD: Final = "stddev"
OF_TIME: Final = "twmean"

_NS: Final = 1e9
_PLAIN: Final = 9
"""Items of a cell's state that every cell has."""

Place = tuple[int, float]
"""A number and the time in ns at which it was true, the time first."""


def is_number(value: Value) -> bool:
    """Say whether a value can be computed with."""
    return value.__class__ is float or value.__class__ is int


class Spread:
    """Mean and squared distances, for the standard deviation."""

    __slots__ = ("_distances", "_mean", "_number")

    def __init__(self, number: int = 0, mean: float = 0.0, distances: float = 0.0) -> None:
        self._number, self._mean, self._distances = number, mean, distances

    def add(self, value: float) -> None:
        """Take in a number."""
        self._number += 1
        distance = value - self._mean
        self._mean += distance / self._number
        self._distances += distance * (value - self._mean)

    def merge(self, other: Spread) -> None:
        """Take in all that another one has."""
        number = self._number + other._number
        distance = other._mean - self._mean
        self._distances += other._distances + distance * distance * self._number * other._number / number
        self._mean += distance * other._number / number
        self._number = number

    def deviation(self) -> float | None:
        """Return the standard deviation of the sample; None for fewer than two numbers.

        Distances between numbers of 1e308 pass all floats, to either side: then it is not known.
        """
        return sqrt(self._distances / (self._number - 1)) if self._number > 1 and self._distances >= 0 else None

    def state(self) -> tuple[object, ...]:
        """Return all of it as plain data."""
        return self._number, self._mean, self._distances


class Course:
    """How a number went over time: growth, and value times duration.

    `base` is the last one before the window: growth is measured from it, and its value holds from the window's start.
    """

    __slots__ = ("_area", "_began_ns", "_first", "_grown", "_last_ns", "_since_ns", "_value")

    def __init__(self, start_ns: int, time_ns: int, value: float, base: Place | None) -> None:
        self._area = self._grown = 0.0
        if base is None or base[0] > time_ns:
            self._since_ns = self._began_ns = self._last_ns = time_ns
            self._first = self._value = value
            return
        self._since_ns, self._first = base
        self._began_ns = self._last_ns = max(base[0], start_ns)
        self._value = self._first
        self.add(time_ns, value)

    def add(self, time_ns: int, value: float) -> None:
        """Take in a number; one that is older than the last is left out."""
        if time_ns >= self._last_ns:
            self._area += self._value * (time_ns - self._last_ns)
            self._grown += _growth(self._value, value)
            self._value, self._last_ns = value, time_ns

    def follow(self, later: Course) -> None:
        """Go on with another course, which has no base and begins after this one ends."""
        self._area += self._value * (later._began_ns - self._last_ns) + later._area
        self._grown += _growth(self._value, later._first) + later._grown
        self._value, self._last_ns = later._value, later._last_ns

    @property
    def last(self) -> Place:
        """The last number and its time."""
        return self._last_ns, self._value

    def increase(self) -> float | None:
        """Return the growth of a counter; None when there is nothing to measure it from."""
        return self._grown if self._last_ns > self._since_ns else None

    def rate(self) -> float | None:
        """Return the growth per second; None as for `increase`."""
        elapsed_ns = self._last_ns - self._since_ns
        return self._grown / (elapsed_ns / _NS) if elapsed_ns else None

    def mean(self, end_ns: int) -> float:
        """Return the mean by time until `end_ns`."""
        elapsed_ns = max(end_ns, self._last_ns) - self._began_ns
        if not elapsed_ns:
            return self._value
        return (self._area + self._value * max(0, end_ns - self._last_ns)) / elapsed_ns

    def state(self) -> tuple[object, ...]:
        """Return all of it as plain data."""
        ends = self._since_ns, self._began_ns, self._last_ns
        return *ends, self._first, self._value, self._area, self._grown

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Course:
        """Return the course of a state."""
        course = cls(0, 0, 0, None)
        course._since_ns, course._began_ns, course._last_ns, *rest = state
        course._first, course._value, course._area, course._grown = rest
        return course


def _growth(before: float, after: float) -> float:
    """Return by how much a counter has grown; one that is lower was reset to 0 in between."""
    return after - before if after >= before else after


class Wanted:
    """What the functions of a route need a cell to keep."""

    __slots__ = ("course", "functions", "growth", "sketch", "spread", "text")

    def __init__(self, functions: Collection[str]) -> None:
        self.functions = tuple(functions)
        self.text = "first" in functions or "last" in functions
        self.spread = OF_SPREAD in functions
        self.growth = not OF_GROWTH.isdisjoint(functions)
        self.course = self.growth or OF_TIME in functions
        self.sketch = not QUANTILES.keys().isdisjoint(functions)

    @property
    def more(self) -> bool:
        """Whether a number costs more than sum, min and max."""
        return self.spread or self.course or self.sketch


class Cell:
    """One field in one open window."""

    __slots__ = (
        "count", "course", "first", "first_ns", "high", "last", "last_ns", "low", "numbers",
        "sketch", "spread", "total",
    )  # fmt: skip

    def __init__(self, time_ns: int, value: Value) -> None:
        self.count = 0
        self.numbers = 0
        self.total: float = 0
        self.low: float = 0
        self.high: float = 0
        self.first_ns = self.last_ns = time_ns
        self.first = self.last = value
        self.spread: Spread | None = None
        self.course: Course | None = None
        self.sketch: Sketch | None = None

    def count_number(self, value: float) -> None:
        """Take a number into what only numbers have."""
        self.numbers += 1
        if self.numbers == 1:
            self.total = self.low = self.high = value
            return
        self.total += value
        if value < self.low:
            self.low = value
        elif value > self.high:
            self.high = value

    def count_more(self, wanted: Wanted, start_ns: int, place: Place, base: Place | None) -> None:
        """Take a number into what costs more; `base` is the last one before the window."""
        time_ns, value = place
        if wanted.spread:
            self.spread = self.spread or Spread()
            self.spread.add(value)
        if wanted.course:
            if self.course is None:
                self.course = Course(start_ns, time_ns, value, base)
            else:
                self.course.add(time_ns, value)
        if wanted.sketch:
            self.sketch = self.sketch or Sketch()
            self.sketch.add(value)

    def merge(self, later: Cell) -> None:
        """Take in the cell of a session that begins after this one's ends."""
        self.count += later.count
        if later.numbers:
            if self.numbers:
                self.total += later.total
                self.low, self.high = min(self.low, later.low), max(self.high, later.high)
            else:
                self.total, self.low, self.high = later.total, later.low, later.high
            self.numbers += later.numbers
        self.last_ns, self.last = later.last_ns, later.last
        for name, join in (("spread", Spread.merge), ("course", Course.follow), ("sketch", Sketch.merge)):
            mine, theirs = getattr(self, name), getattr(later, name)
            if mine is None:
                setattr(self, name, theirs)
            elif theirs is not None:
                join(mine, theirs)

    def computed(self, function: str, end_ns: int) -> Value | None:
        """Return a function of the cell, whose window ends at `end_ns`; None when it has no such value."""
        if function in OF_ANY:
            return getattr(self, function)  # type: ignore[no-any-return]  # an attribute of that name
        if not self.numbers:
            return None
        if function == "min":
            return self.low
        if function == "max":
            return self.high
        number = self._number(function, end_ns)
        return None if number is None else _storable(number)

    def _number(self, function: str, end_ns: int) -> float | None:
        if function in QUANTILES:
            return None if self.sketch is None else self.sketch.quantile(QUANTILES[function])
        if function == "sum":
            return self.total
        if function == "mean":
            return self.total / self.numbers
        if function == OF_SPREAD:
            return None if self.spread is None else self.spread.deviation()
        assert self.course is not None
        if function == OF_TIME:
            return self.course.mean(end_ns)
        return self.course.increase() if function == "increase" else self.course.rate()

    def state(self) -> tuple[object, ...]:
        """Return all of it as plain data; an integer of any size as text, for MessagePack ends at 64 bits."""
        total = str(self.total) if self.total.__class__ is int else self.total
        ends = self.first_ns, self.first, self.last_ns, self.last
        plain = self.count, self.numbers, total, self.low, self.high, *ends
        more = [None if one is None else one.state() for one in (self.spread, self.course, self.sketch)]
        return (*plain, more) if any(more) else plain

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Cell:
        """Return the cell of a state."""
        cell = cls(0, 0)
        cell.count, cell.numbers, total, cell.low, cell.high, *ends = state[:_PLAIN]
        cell.first_ns, cell.first, cell.last_ns, cell.last = ends
        cell.total = int(total) if total.__class__ is str else total
        if len(state) > _PLAIN:
            spread, course, sketch = state[_PLAIN]
            cell.spread = None if spread is None else Spread(*spread)
            cell.course = None if course is None else Course.restored(course)
            cell.sketch = None if sketch is None else Sketch.restored(sketch)
        return cell


def _storable(number: float) -> float | None:
    if isinstance(number, int):
        return number if INTEGER_MIN <= number <= INTEGER_MAX else float(number)
    return number if isfinite(number) else None
