"""Tumbling windows in event time: many rows of a topic in, one row a window out, at the window's start.

A window begins at a multiple of its size. Each topic has a watermark of its own, the newest time it has shown: a
window closes when the watermark is `lateness` past its end, and what comes for it after that is late. A topic that is
silent for `idle` on the node's timeline is forgotten whole, its windows closed. It begins afresh with whatever it says
next, so a watermark that a wrong clock drove ahead heals by itself (late rows do not break a silence). The price: rows
that come after a silence for a window that it closed make a second row for that window, with what the first one lacks.

Only numbers have sum, min, max and mean; count, first and last are of any value. First and last go by time; of equal
times the first to come is the first and the last to come the last. Sums are made in order of arrival. A sum or mean
beyond what a reading can hold is left out; an integer sum beyond 64 bits becomes a float. What is dated before 1970
is late.

Memory is bounded by `TOPICS_MAX` and `CELLS_MAX` for each route (a cell is a field of an open window; text it holds
counts as more of them): `is_crowded` says that `refusal` must be asked before a row is added.
"""

from __future__ import annotations

from collections import OrderedDict
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema
    from gateway.model import Row, Value

TOPICS_MAX: Final = 100_000
CELLS_MAX: Final = 200_000
_CELL_CHARACTERS: Final = 256
_OF_ANY: Final = frozenset({"count", "first", "last"})

Closed = list[tuple[int, "Row"]]
"""Windows that closed: (start in ns, row), oldest first."""


class Cell:
    """One field in one open window."""

    __slots__ = ("count", "first", "first_ns", "high", "last", "last_ns", "low", "numbers", "total")

    def __init__(self, time_ns: int, value: Value) -> None:
        self.count = 0
        self.numbers = 0
        self.total: float = 0
        self.low: float = 0
        self.high: float = 0
        self.first_ns = self.last_ns = time_ns
        self.first = self.last = value

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

    def state(self) -> tuple[object, ...]:
        """Return all of it as plain data; an integer of any size as text, for MessagePack ends at 64 bits."""
        total = str(self.total) if self.total.__class__ is int else self.total
        ends = self.first_ns, self.first, self.last_ns, self.last
        return self.count, self.numbers, total, self.low, self.high, *ends

    @classmethod
    def restored(cls, state: Sequence[Any]) -> Cell:
        """Return the cell of a state."""
        cell = cls(0, 0)
        cell.count, cell.numbers, total, cell.low, cell.high, *ends = state
        cell.first_ns, cell.first, cell.last_ns, cell.last = ends
        cell.total = int(total) if total.__class__ is str else total
        return cell


class _Topic:
    """The open windows of one topic, {start: {field: cell}}; the oldest of them closes at watermark `closes_ns`."""

    __slots__ = ("closes_ns", "newest_ns", "open", "taken_at")

    def __init__(self) -> None:
        self.newest_ns = 0
        self.taken_at = 0
        self.closes_ns = 0
        self.open: dict[int, dict[str, Cell]] = {}


class Windows:
    """The windows of one route."""

    def __init__(self, options: schema.Window) -> None:
        self._size_ns = options.size_ns
        self._span_ns = options.size_ns + options.lateness_ns
        self._idle_ns = options.idle_ns
        self._functions = options.functions
        self._keeps_text = "first" in options.functions or "last" in options.functions
        self._topics: OrderedDict[str, _Topic] = OrderedDict()  # the longest silent first
        self._cells = 0
        self._characters = 0

    @property
    def deadline(self) -> int | None:
        """The `at` when the topic that has been silent longest is due; None when there is none."""
        for topic in self._topics.values():
            return topic.taken_at + self._idle_ns
        return None

    @property
    def is_crowded(self) -> bool:
        """Whether there may be no room for another topic or window."""
        return len(self._topics) >= TOPICS_MAX or self._cells + self._characters // _CELL_CHARACTERS >= CELLS_MAX

    def refusal(self, topic: str, time_ns: int, row: Row) -> str:
        """Return why there is no room for a row, as the reason of a quarantine; empty when there is."""
        known = self._topics.get(topic)
        if known is None and len(self._topics) >= TOPICS_MAX:
            return "too_many_topics"
        used = self._cells + self._characters // _CELL_CHARACTERS
        if used < CELLS_MAX:
            return ""
        cells = known.open.get(time_ns // self._size_ns * self._size_ns) if known else None
        is_known = cells is not None and all(name in cells and _is_number(value) for name, value in row.items())
        return "" if is_known else "too_many_windows"

    def add(self, topic: str, time_ns: int, row: Row, at: int) -> Closed | None:
        """Take a row in and return the windows of its topic that this closes; None when the row is late."""
        known = self._topics.get(topic)
        newest_ns = 0 if known is None else known.newest_ns
        start = time_ns - time_ns % self._size_ns
        closes_ns = start + self._span_ns
        if closes_ns <= newest_ns:
            return None
        if known is None:
            known = self._topics[topic] = _Topic()
        cells = known.open.get(start)
        if cells is None:
            if not known.open or closes_ns < known.closes_ns:
                known.closes_ns = closes_ns
            cells = known.open[start] = {}
        self._fill(cells, time_ns, row)
        if known.taken_at != at:
            known.taken_at = at
            self._topics.move_to_end(topic)
        if time_ns > newest_ns:
            known.newest_ns = time_ns
            if time_ns >= known.closes_ns:
                return self._close(known)
        return []

    def _fill(self, cells: dict[str, Cell], time_ns: int, row: Row) -> None:
        for name, value in row.items():
            is_number = value.__class__ is float or value.__class__ is int
            cell = cells.get(name)
            if cell is None:
                kept = value if is_number or self._keeps_text else False
                cell = cells[name] = Cell(time_ns, kept)
                self._cells += 1
                self._characters += 2 * _characters(kept)
            elif not is_number or self._characters:
                self._move_ends(cell, time_ns, value if is_number or self._keeps_text else False)
            elif time_ns >= cell.last_ns:
                cell.last_ns, cell.last = time_ns, value
            elif time_ns < cell.first_ns:
                cell.first_ns, cell.first = time_ns, value
            cell.count += 1
            if is_number:
                cell.count_number(value)  # type: ignore[arg-type]  # it is one

    def _move_ends(self, cell: Cell, time_ns: int, value: Value) -> None:
        """Move first and last where text may be among them, and account for it."""
        if time_ns >= cell.last_ns:
            self._characters += _characters(value) - _characters(cell.last)
            cell.last_ns, cell.last = time_ns, value
        elif time_ns < cell.first_ns:
            self._characters += _characters(value) - _characters(cell.first)
            cell.first_ns, cell.first = time_ns, value

    def _close(self, topic: _Topic) -> Closed:
        due = sorted(start for start in topic.open if start + self._span_ns <= topic.newest_ns)
        closed = [(start, self._emptied(topic.open.pop(start))) for start in due]
        topic.closes_ns = min(topic.open) + self._span_ns
        return [(start, row) for start, row in closed if row]

    def expire(self, at: int | None) -> tuple[str, Closed] | None:
        """Forget the longest silent topic if it is due at `at` (None: in any case) and return its windows.

        None when no topic is due: call until then.
        """
        deadline = self.deadline
        if deadline is None or (at is not None and deadline > at):
            return None
        name, topic = self._topics.popitem(last=False)
        closed = [(start, self._emptied(topic.open[start])) for start in sorted(topic.open)]
        return name, [(start, row) for start, row in closed if row]

    def _emptied(self, cells: dict[str, Cell]) -> Row:
        row: Row = {}
        for name, cell in cells.items():
            self._characters -= _characters(cell.first) + _characters(cell.last)
            for function in self._functions:
                value = _computed(function, cell)
                if value is not None:
                    row[f"{name}.{function}"] = value
        self._cells -= len(cells)
        return row

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield each topic, its name first, followed by its cells, each with the start of its window first."""
        for name, topic in self._topics.items():
            yield name, topic.newest_ns, topic.taken_at, topic.closes_ns
            for start, cells in topic.open.items():
                for field, cell in cells.items():
                    yield start, field, *cell.state()

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of windows with the same options."""
        topic = self._topics[next(reversed(self._topics))] if self._topics else _Topic()
        for first, second, *rest in records:
            if first.__class__ is str:
                topic = self._topics[first] = _Topic()
                topic.newest_ns, (topic.taken_at, topic.closes_ns) = second, rest
                continue
            cell = topic.open.setdefault(first, {})[second] = Cell.restored(rest)
            self._cells += 1
            self._characters += _characters(cell.first) + _characters(cell.last)


def _computed(function: str, cell: Cell) -> Value | None:
    """Return a function of a cell, None when it has no such value."""
    if function in _OF_ANY:
        return getattr(cell, function)  # type: ignore[no-any-return]  # an attribute of that name
    if not cell.numbers:
        return None
    if function == "min":
        return cell.low
    if function == "max":
        return cell.high
    return _storable(cell.total if function == "sum" else cell.total / cell.numbers)


def _storable(number: float) -> float | None:
    if isinstance(number, int):
        return number if INTEGER_MIN <= number <= INTEGER_MAX else float(number)
    return number if isfinite(number) else None


def _is_number(value: Value) -> bool:
    return value.__class__ is float or value.__class__ is int


def _characters(value: Value) -> int:
    return len(value) if isinstance(value, str | bytes) else 0
