"""Windows in event time: many rows of a topic in, one row a window out, at the window's start.

    tumbling   `size` long, beginning at multiples of it
    hopping    `size` long, one beginning every `hop`: a row goes into each that it falls into
    session    as long as rows follow each other within `gap`; its row stands at its first time

A watermark is the newest time shown: by the topic, or by any topic of the route, as `watermark` says. A window closes
when the watermark is `lateness` past its end; what comes for it after that is late. A topic that is silent for `idle`
on the node's timeline is forgotten whole, its windows closed. It begins afresh with whatever it says next, so a
watermark of its own that a wrong clock drove ahead heals by itself (late rows do not break a silence); one of the route
is as wrong as the most wrong clock of its topics. The price: rows that come after a silence for a window that it closed
make a second row for that window, with what the first one lacks. What is dated before 1970 is late.

What is due is given out by `due`, at most `CLOSED_MAX` windows a call, so that nothing holds the loop however many fall
due together; `has_due` says that there is more, and `deadline` then lies in the past.

Memory is bounded by `TOPICS_MAX` and `CELLS_MAX` for each route (a cell is a field of an open window; text it holds,
and what quantiles need, count as more of them): `is_crowded` says that `refusal` must be asked before a row is taken.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import INTEGER_MIN
from gateway.process.cells import Cell, Wanted, is_number

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema
    from gateway.model import Row, Value
    from gateway.process.cells import Place

TOPICS_MAX: Final = 100_000
CELLS_MAX: Final = 200_000
CLOSED_MAX: Final = 64
"""Windows that one call of `due` closes."""

LATE: Final = "late"
"""Field of a row that corrects a window which is closed already."""

_CELL_CHARACTERS: Final = 256
_SKETCH_CELLS: Final = 16
"""What a sketch of many numbers takes, in cells."""

_PAST: Final = 0
_NO_END: Final = 1 << 63

Closed = tuple[str, int, "Row"]
"""A window that closed: (topic, start in ns, row)."""


class _Window:
    """One open window of a topic; `end` is the time after its last."""

    __slots__ = ("cells", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.cells: dict[str, Cell] = {}


class _Topic:
    """What is open of one topic, by start.

    `closes` is a heap of (when it closes, start); an entry may be too early for a session that has grown, or stand for
    one that is gone. `places` are the last numbers of fields, where functions go on from them.
    """

    __slots__ = ("closes", "name", "newest_ns", "open", "places", "taken_at")

    def __init__(self, name: str) -> None:
        self.name = name
        self.newest_ns = 0
        self.taken_at = 0
        self.open: dict[int, _Window] = {}
        self.closes: list[tuple[int, int]] = []
        self.places: dict[str, Place] = {}


class Windows:
    """The windows of one route."""

    def __init__(self, options: schema.Window) -> None:
        self._size_ns = options.size_ns
        self._hop_ns = options.hop_ns or options.size_ns
        self._gap_ns = options.gap_ns
        self._lateness_ns = options.lateness_ns
        self._idle_ns = options.idle_ns
        self._wanted = Wanted(options.functions)
        self._cell_cost = 1 + (_SKETCH_CELLS if self._wanted.sketch else 0)
        self._is_shared = options.watermark == "route"
        # No overlaps, no sessions, and nothing that goes on from window to window: the quick way.
        self._is_tumbling = (
            not self._gap_ns and self._hop_ns == self._size_ns and not self._is_shared and not self._wanted.course
        )
        self.corrects = options.late == "correct"
        self._newest_ns = 0
        self._topics: OrderedDict[str, _Topic] = OrderedDict()  # the longest silent first
        self._ending: deque[_Topic] = deque()  # silent ones, whose windows are still to be given out
        self._ready: dict[str, None] = {}  # topics that have windows past their watermark
        self._first_to_close: list[tuple[int, str]] = []  # heap of (when, topic), for a watermark of the route
        self._cells = 0
        self._characters = 0
        self._restored: tuple[_Topic, _Window] = _Topic(""), _Window(0, 0)

    @property
    def deadline(self) -> int | None:
        """The `at` when the topic that has been silent longest is due; None when there is none."""
        if self.has_due:
            return _PAST
        for topic in self._topics.values():
            return topic.taken_at + self._idle_ns
        return None

    @property
    def has_due(self) -> bool:
        """Whether `due` has windows to give out."""
        return bool(self._ready or self._ending)

    @property
    def is_crowded(self) -> bool:
        """Whether there may be no room for another topic or window."""
        return len(self._topics) >= TOPICS_MAX or self._used >= CELLS_MAX

    @property
    def _used(self) -> int:
        return self._cells + self._characters // _CELL_CHARACTERS

    def refusal(self, topic: str, time_ns: int, row: Row) -> str:
        """Return why there is no room for a row, as the reason of a quarantine; empty when there is."""
        known = self._topics.get(topic)
        if known is None and len(self._topics) >= TOPICS_MAX:
            return "too_many_topics"
        if self._used < CELLS_MAX:
            return ""
        windows = [] if known is None else self._known_windows(known, time_ns)
        is_known = bool(windows) and all(
            window is not None and name in window.cells and is_number(value)
            for window in windows
            for name, value in row.items()
        )
        return "" if is_known else "too_many_windows"

    def take(self, name: str, time_ns: int, row: Row, at: int) -> bool:
        """Take a row in; False when it is late. Then ask `has_due`."""
        topic = self._topics.get(name)
        if topic is None or not self._is_tumbling:
            return self._take_slowly(topic, name, time_ns, row, at)
        window = topic.open.get(time_ns - time_ns % self._size_ns)
        if window is None:
            return self._take_slowly(topic, name, time_ns, row, at)
        self._fill(topic, window, time_ns, row)
        if topic.taken_at != at:
            topic.taken_at = at
            self._topics.move_to_end(name)
        if time_ns > topic.newest_ns:
            topic.newest_ns = time_ns
            if topic.closes[0][0] <= time_ns:
                self._ready[name] = None
        return True

    def _take_slowly(self, topic: _Topic | None, name: str, time_ns: int, row: Row, at: int) -> bool:
        """Take a row in where it is not just one more for a window that is open."""
        known = topic or _Topic(name)
        windows = self._session(known, time_ns) if self._gap_ns else self._spans(known, time_ns)
        if not windows:
            return False
        if topic is None:
            self._topics[name] = known
        for window in windows:
            self._fill(known, window, time_ns, row)
        if self._wanted.course:
            self._note_places(known, time_ns, row)
        if known.taken_at != at or topic is None:
            known.taken_at = at
            self._topics.move_to_end(name)
        known.newest_ns = max(known.newest_ns, time_ns)
        self._newest_ns = max(self._newest_ns, time_ns)
        self._note_ready(known)
        return True

    def correction(self, time_ns: int, row: Row) -> tuple[int, Row]:
        """Return (start, row) that corrects the last of the windows that a late row belongs to: what it alone gives.

        A window may begin before all times that a reading can have; its row then stands at the earliest of them.
        """
        start = time_ns if self._gap_ns else time_ns - time_ns % self._hop_ns
        topic, window = _Topic(""), _Window(start, start + (self._gap_ns or self._size_ns))
        self._fill(topic, window, time_ns, row)
        corrected = self._emptied(window)
        if corrected:
            corrected[LATE] = True
        return max(start, INTEGER_MIN), corrected

    def expire(self, at: int | None) -> bool:
        """Let topics end that are silent for too long at `at`, or (None) all; False when there was none.

        At most `CLOSED_MAX` a call. `due` gives out their windows.
        """
        for _ in range(CLOSED_MAX):
            topic = next(iter(self._topics.values()), None)
            if topic is None or (at is not None and topic.taken_at + self._idle_ns > at):
                return False
            del self._topics[topic.name]
            self._ready.pop(topic.name, None)
            self._cells -= len(topic.places)
            self._ending.append(topic)
        return True

    def due(self, readings_max: int) -> list[Closed]:
        """Close the next windows that are due and return what they have to say, until it is `readings_max` readings.

        At most `CLOSED_MAX` windows.
        """
        closed: list[Closed] = []
        readings = 0
        for _ in range(CLOSED_MAX):
            if readings >= readings_max:
                break
            if self._ending:
                topic, watermark = self._ending[0], _NO_END
            elif self._ready:
                topic = self._topics[next(iter(self._ready))]
                watermark = self._watermark(topic)
            else:
                break
            window = _next_closed(topic, watermark, self._lateness_ns)
            if window is None:
                self._done(topic)
                continue
            row = self._emptied(window)
            if row:
                closed.append((topic.name, window.start, row))
                readings += len(row)
        return closed

    def _done(self, topic: _Topic) -> None:
        """Forget that a topic has windows that are due."""
        if self._ending:
            self._ending.popleft()
            return
        del self._ready[topic.name]
        if self._is_shared and topic.closes:
            heappush(self._first_to_close, (topic.closes[0][0], topic.name))

    def _watermark(self, topic: _Topic) -> int:
        return self._newest_ns if self._is_shared else topic.newest_ns

    def _note_ready(self, topic: _Topic) -> None:
        """See what the watermark has passed."""
        if not self._is_shared:
            if topic.closes[0][0] <= topic.newest_ns:
                self._ready[topic.name] = None
            return
        while self._first_to_close and self._first_to_close[0][0] <= self._newest_ns:
            _, name = heappop(self._first_to_close)
            if name in self._topics:
                self._ready[name] = None

    def _spans(self, topic: _Topic, time_ns: int) -> list[_Window]:
        """Return the windows of fixed length that a time falls into, opened where needed; none when it is late."""
        start = time_ns - time_ns % self._hop_ns
        window = topic.open.get(start)
        if window is not None and self._hop_ns == self._size_ns:
            return [window]
        watermark, found = self._watermark(topic), []
        while start > time_ns - self._size_ns:
            window = topic.open.get(start)
            if window is None and start + self._size_ns + self._lateness_ns > watermark and start >= 0:
                window = self._opened(topic, start, start + self._size_ns)
            if window is not None:
                found.append(window)
            start -= self._hop_ns
        return found

    def _session(self, topic: _Topic, time_ns: int) -> list[_Window]:
        """Return the session that a time belongs to, opened, extended or joined where needed; none when it is late."""
        gap_ns = self._gap_ns
        touched = sorted(
            (one for one in topic.open.values() if one.start - gap_ns < time_ns < one.end), key=lambda one: one.start
        )
        if not touched:
            if time_ns < 0 or time_ns + gap_ns + self._lateness_ns <= self._watermark(topic):
                return []
            return [self._opened(topic, time_ns, time_ns + gap_ns)]
        first, *others = touched
        for other in others:
            self._join(first, topic.open.pop(other.start))
        if time_ns < first.start:
            del topic.open[first.start]
            first.start = time_ns
            topic.open[time_ns] = first
            heappush(topic.closes, (first.end + self._lateness_ns, time_ns))
        first.end = max(first.end, time_ns + gap_ns)
        return [first]

    def _known_windows(self, topic: _Topic, time_ns: int) -> list[_Window | None]:
        if self._gap_ns:
            gap_ns = self._gap_ns
            return [one for one in topic.open.values() if one.start - gap_ns < time_ns < one.end]
        first = time_ns - time_ns % self._hop_ns
        return [topic.open.get(start) for start in range(first, time_ns - self._size_ns, -self._hop_ns)]

    def _opened(self, topic: _Topic, start: int, end: int) -> _Window:
        window = topic.open[start] = _Window(start, end)
        closes_ns = end + self._lateness_ns
        if self._is_shared and (not topic.closes or closes_ns < topic.closes[0][0]):
            heappush(self._first_to_close, (closes_ns, topic.name))
        heappush(topic.closes, (closes_ns, start))
        return window

    def _join(self, first: _Window, later: _Window) -> None:
        first.end = max(first.end, later.end)
        for name, cell in later.cells.items():
            mine = first.cells.get(name)
            if mine is None:
                first.cells[name] = cell
                continue
            self._characters -= _characters(mine.last) + _characters(cell.first)
            self._cells -= self._cell_cost
            mine.merge(cell)

    def _fill(self, topic: _Topic, window: _Window, time_ns: int, row: Row) -> None:
        cells, wanted = window.cells, self._wanted
        for name, value in row.items():
            is_numeric = value.__class__ is float or value.__class__ is int
            cell = cells.get(name)
            if cell is None:
                kept = value if is_numeric or wanted.text else False
                cell = cells[name] = Cell(time_ns, kept)
                self._cells += self._cell_cost
                self._characters += 2 * _characters(kept)
            elif not is_numeric or self._characters:
                self._move_ends(cell, time_ns, value if is_numeric or wanted.text else False)
            elif time_ns >= cell.last_ns:
                cell.last_ns, cell.last = time_ns, value
            elif time_ns < cell.first_ns:
                cell.first_ns, cell.first = time_ns, value
            cell.count += 1
            if is_numeric:
                number: float = value  # type: ignore[assignment]  # it is one
                cell.count_number(number)
                if wanted.more:
                    cell.count_more(wanted, window.start, (time_ns, number), topic.places.get(name))

    def _note_places(self, topic: _Topic, time_ns: int, row: Row) -> None:
        """Remember the last number of each field, for the windows to come."""
        places = topic.places
        for name, value in row.items():
            if value.__class__ is float or value.__class__ is int:
                place = places.get(name)
                if place is None:
                    self._cells += 1
                if place is None or place[0] <= time_ns:
                    places[name] = time_ns, value

    def _move_ends(self, cell: Cell, time_ns: int, value: Value) -> None:
        """Move first and last where text may be among them, and account for it."""
        if time_ns >= cell.last_ns:
            self._characters += _characters(value) - _characters(cell.last)
            cell.last_ns, cell.last = time_ns, value
        elif time_ns < cell.first_ns:
            self._characters += _characters(value) - _characters(cell.first)
            cell.first_ns, cell.first = time_ns, value

    def _emptied(self, window: _Window) -> Row:
        row: Row = {}
        end_ns = window.end - self._gap_ns
        for name, cell in window.cells.items():
            self._characters -= _characters(cell.first) + _characters(cell.last)
            for function in self._wanted.functions:
                value = cell.computed(function, end_ns)
                if value is not None:
                    row[f"{name}.{function}"] = value
        self._cells -= self._cell_cost * len(window.cells)
        return row

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield records, each with its kind first; a topic is followed by its places, windows and their cells."""
        yield _NEWEST, self._newest_ns
        for is_ending, topics in ((True, self._ending), (False, self._topics.values())):
            for topic in topics:
                yield _TOPIC, topic.name, topic.newest_ns, topic.taken_at, is_ending
                for field, place in topic.places.items():
                    yield _PLACE, field, *place
                for window in topic.open.values():
                    yield _WINDOW, window.start, window.end
                    for field, cell in window.cells.items():
                        yield _CELL, field, *cell.state()
        for name in self._ready:
            yield _READY, name

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of windows with the same options."""
        topic, window = self._restored
        for kind, *rest in records:
            if kind == _CELL:
                cell = window.cells[rest[0]] = Cell.restored(rest[1:])
                self._cells += self._cell_cost
                self._characters += _characters(cell.first) + _characters(cell.last)
            elif kind == _WINDOW:
                window = self._opened(topic, *rest)
            elif kind == _PLACE:
                topic.places[rest[0]] = rest[1], rest[2]
                self._cells += topic.name in self._topics
            elif kind == _TOPIC:
                topic = _Topic(rest[0])
                _, topic.newest_ns, topic.taken_at, is_ending = rest
                if is_ending:
                    self._ending.append(topic)
                else:
                    self._topics[topic.name] = topic
            elif kind == _NEWEST:
                (self._newest_ns,) = rest
            else:
                self._ready[rest[0]] = None
        self._restored = topic, window


_NEWEST, _TOPIC, _PLACE, _WINDOW, _CELL, _READY = range(6)


def _next_closed(topic: _Topic, watermark: int, lateness_ns: int) -> _Window | None:
    """Take the window that closes next out of a topic; None when none is due by `watermark`."""
    while topic.closes and topic.closes[0][0] <= watermark:
        _, start = heappop(topic.closes)
        window = topic.open.get(start)
        if window is None:
            continue
        if window.end + lateness_ns > watermark:
            heappush(topic.closes, (window.end + lateness_ns, start))
            continue
        return topic.open.pop(start)
    return None


def _characters(value: Value) -> int:
    return len(value) if isinstance(value, str | bytes) else 0
