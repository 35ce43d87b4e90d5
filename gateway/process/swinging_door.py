"""Swinging door: of a numeric field only the readings between which a straight line tells the rest.

A line begins at a reading that went on, the start. Every later reading opens a door: the slopes of the lines from the
start that pass it within the bound. What all doors since the start have in common is the cone, `low` to `high`.

            ·  ¦            high = least  of (value + bound - start) / elapsed
        ·  · ─ o newest     low  = most   of (value - bound - start) / elapsed
    start ─ o  ¦            a reading fits when its own slope, (value - start) / elapsed, lies in the cone
        ·    ·

The newest reading is not decided yet: it is **held back**. When the next one fits, the line from the start to it passes
all before within the bound, so the one that was held is left out and the next one is held. When it does not fit, the
held reading goes on as a row of its own with its own time, is the start of a new line, and the next one is held there.
(The published method lets its two doors swing past readings and ends a line when they open beyond parallel; then the
line to the reading that goes on may miss others by up to twice the bound. Here it must itself fit the cone.)

Invariants, for each field of a topic, shown in tests/unit/process/test_swinging_door.py:

- every reading left out lies within the bound of the straight line between the readings that went on before and after
  it in order of arrival; exactly but for rounding: 2^-49 of bound plus distance from the start;
- times rise along a line. A time that does not rise ends it: what is held goes on, and so does the reading itself, as a
  new start; so a clock that was ahead and is set right heals. The same reading once more is left out;
- a reading that fits and lies `silence` or more from the start goes on at once, without being held;
- what is no number is never held: it ends a line, and goes on when it changes or the silence is over. An integer beyond
  2^53 counts as no number, for slopes of it would not be exact.

A held reading is neither left out nor in a batch: it is **open**, as readings in builders are. It is part of the state
and stays no longer than `idle` on the node's timeline: then `HeldBack.release` lets it go on, the start of a new line.

Source: E. H. Bristol, "Swinging door trending: adaptive trend recording?", ISA National Conference, 1990.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from gateway.process.deadband import any_change, remembered

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.model import Row, Value

_SLOPE_MAX: Final = sys.float_info.max
_EXACT_MAX: Final = 2**53
"""Integers to here are floats, too, without rounding."""

_LEFT_OUT: Final = (False, False)
_GOES_ON: Final = (True, False)
_RELEASES: Final = (False, True)
_BOTH: Final = (True, True)


class Line:
    """What the door of one field remembers: its start, the cone from there, and the reading held back, if any."""

    __slots__ = ("field", "held", "held_at", "held_ns", "high", "is_straight", "low", "start", "start_ns", "topic")

    def __init__(self, topic: str, field: str, value: Value, time_ns: int) -> None:
        self.topic = topic
        self.field = field
        self.held_at = 0
        self.begin(value, time_ns)

    def begin(self, value: Value, time_ns: int) -> None:
        """Start a new line at a reading that goes on; nothing is held back."""
        self.start, self.start_ns = remembered(value), time_ns
        self.is_straight = _is_number(value)
        self.held: float | None = None
        self.held_ns = time_ns
        self.low, self.high = -_SLOPE_MAX, _SLOPE_MAX

    def take(self, value: Value, time_ns: int, bound: float, silence_ns: int) -> tuple[bool, bool]:
        """Take the next reading and return whether it goes on, and whether the one held till now goes on before it.

        When neither goes on and one was held, that one is left out. `held` is then what is held now.
        """
        if self.is_straight and time_ns > self.held_ns and (value.__class__ is float or _is_number(value)):
            return self._take_number(value, time_ns, bound, silence_ns)  # type: ignore[arg-type]  # it is one
        if self._tells_nothing_new(value, time_ns, silence_ns):
            return _LEFT_OUT
        outcome = _GOES_ON if self.held is None else _BOTH
        self.begin(value, time_ns)
        return outcome

    def _tells_nothing_new(self, value: Value, time_ns: int, silence_ns: int) -> bool:
        if self.is_straight:
            newest = self.start if self.held is None else self.held
            return time_ns == self.held_ns and _is_number(value) and value == newest
        is_quiet = not silence_ns or abs(time_ns - self.start_ns) < silence_ns
        return is_quiet and not any_change(self.start, value)

    def _take_number(self, value: float, time_ns: int, bound: float, silence_ns: int) -> tuple[bool, bool]:
        outcome = _LEFT_OUT
        change, elapsed_ns = value - self.start, time_ns - self.start_ns  # type: ignore[operator]  # both are numbers
        slope = change / elapsed_ns
        if not self.low <= slope <= self.high and self.held is not None:
            self.begin(self.held, self.held_ns)
            outcome = _RELEASES
            change, elapsed_ns = value - self.start, time_ns - self.start_ns  # type: ignore[operator]  # both are
            slope = change / elapsed_ns
        # A cone without a door holds every slope; what does not fit has none, being too far away for a float.
        if (silence_ns and elapsed_ns >= silence_ns) or not self.low <= slope <= self.high:
            self.begin(value, time_ns)
            return _BOTH if outcome is _RELEASES else _GOES_ON
        low, high = (change - bound) / elapsed_ns, (change + bound) / elapsed_ns
        if low > self.low:  # noqa: PLR1730  # max() and min() are calls: a sixth of the door's time
            self.low = low
        if high < self.high:  # noqa: PLR1730
            self.high = high
        self.held, self.held_ns = value, time_ns
        return outcome

    def state(self) -> tuple[object, ...]:
        """Return all but the topic as plain data, the field first."""
        return (
            self.field,
            self.start,
            self.start_ns,
            self.is_straight,
            self.held,
            self.held_ns,
            self.held_at,
            (
                self.low,
                self.high,
            ),
        )

    @classmethod
    def restored(cls, topic: str, state: Sequence[Any]) -> Line:
        """Return the line of a state."""
        line = cls(topic, state[0], 0, 0)
        _, line.start, line.start_ns, line.is_straight, line.held, line.held_ns, line.held_at, cone = state
        line.low, line.high = cone
        return line


class Released(NamedTuple):
    """Readings of one topic and time that were held back and go on."""

    topic: str
    time_ns: int
    row: Row


class HeldBack:
    """The lines of one route that hold a reading back, the one whose reading came first first."""

    __slots__ = ("_idle_ns", "lines")

    def __init__(self, idle_ns: int) -> None:
        self._idle_ns = idle_ns
        self.lines: OrderedDict[Line, None] = OrderedDict()

    def __len__(self) -> int:
        """Return the number of readings held back."""
        return len(self.lines)

    @property
    def deadline(self) -> int | None:
        """The `at` when the reading that is held longest is due; None when none is held."""
        for line in self.lines:
            return line.held_at + self._idle_ns
        return None

    def note(self, line: Line) -> None:
        """Take note that a line holds another reading than before, or none."""
        if line.held is None:
            self.lines.pop(line, None)
        else:
            self.lines[line] = None
            self.lines.move_to_end(line)

    def release(self, at: int | None) -> Released | None:
        """Let the reading go on that is held longest, if it is due at `at` (None: in any case); None: call no more.

        Readings of the same topic and time that follow it come with it, as one row.
        """
        lines: list[Line] = []
        for line in self.lines:
            if at is not None and line.held_at + self._idle_ns > at:
                break
            if lines and (line.topic, line.held_ns) != (lines[0].topic, lines[0].held_ns):
                break
            lines.append(line)
        if not lines:
            return None
        released = Released(lines[0].topic, lines[0].held_ns, {})
        for line in lines:
            assert line.held is not None, "only lines that hold a reading are here"
            released.row[line.field] = line.held
            del self.lines[line]
            line.begin(line.held, line.held_ns)
        return released

    def order(self) -> Iterator[tuple[str, str]]:
        """Yield topic and field of each line, in order; they may be many."""
        return ((line.topic, line.field) for line in self.lines)


class Doors:
    """The doors of one topic: `bounds` are pairs of a field and its bound."""

    __slots__ = ("_bounds", "_held_back", "_lines", "_move_last", "_released", "_silence_ns", "_topic")

    def __init__(self, topic: str, bounds: tuple[tuple[str, float], ...], silence_ns: int, held: HeldBack) -> None:
        self._topic = topic
        self._bounds = bounds
        self._silence_ns = silence_ns
        self._held_back = held
        self._move_last = held.lines.move_to_end
        self._lines: dict[str, Line] = {}
        self._released: dict[int, Row] = {}

    def apply(self, row: Row, time_ns: int, at: int) -> None:
        """Take out of `row`, which came at `at`, what is left out or held back."""
        lines = self._lines
        for field, bound in self._bounds:
            value = row.get(field)
            if value is None:
                continue
            line = lines.get(field)
            if line is None:
                lines[field] = Line(self._topic, field, value, time_ns)
                continue
            held, held_ns = line.held, line.held_ns
            goes_on, releases = line.take(value, time_ns, bound, self._silence_ns)
            if releases:
                assert held is not None, "nothing else can be released"
                self._released.setdefault(held_ns, {})[field] = held
            if not goes_on:
                del row[field]
            if line.held_ns != held_ns or line.held is not held:
                line.held_at = at
                if held is None or line.held is None:
                    self._held_back.note(line)
                else:
                    self._move_last(line)

    def released(self) -> list[Released]:
        """Return, once, what goes on of readings that were held back; it comes before what went on of the last row."""
        released = [Released(self._topic, time_ns, self._released[time_ns]) for time_ns in sorted(self._released)]
        self._released.clear()
        return released

    def line(self, field: str) -> Line:
        """Return the line of a field that has been seen."""
        return self._lines[field]

    def state(self) -> list[tuple[object, ...]]:
        """Return what `restore` needs; to be asked when `released` was."""
        return [line.state() for line in self._lines.values()]

    def restore(self, state: Sequence[Any]) -> None:
        """Go on from a state."""
        for each in state:
            line = Line.restored(self._topic, each)
            self._lines[line.field] = line
            self._held_back.note(line)


def _is_number(value: Value) -> bool:
    return value.__class__ is float or (isinstance(value, int) and _is_exact(value))


def _is_exact(number: int) -> bool:
    return number.__class__ is int and -_EXACT_MAX <= number <= _EXACT_MAX
