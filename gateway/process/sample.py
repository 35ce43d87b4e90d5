"""Which rows of a topic go on, and which of their fields.

Each step only where it is set, in this order:

    share ▸ every n-th row ▸ one row an interval ▸ per field: a deadband or on change, or a swinging door

The share takes whole topics, or fields of them, by the hash of their name (`hashed`). A deadband leaves a value out
until it differs enough from the last one that went on (`deadband`), a swinging door as long as a straight line tells it
(`swinging_door`); either lets a value go on that is `silence` from the last one, and every n-th row knows a silence of
its own. Time is always the row's own, so the outcome is the same however fast the rows come. Interval and silence count
in both directions: when a clock that was ahead is set right, rows that lie far before the last one kept go on, they do
not wait until it is past.

Each reading of a row ends in one way: it goes on, it is left out, or a door holds it back until a later row, or `idle`
on the node's timeline, decides. So over any call of `thinned`, with h the length of the route's `HeldBack`:

    left out  =  h before + readings in - readings returned - readings `released` - h after  >= 0
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.process.deadband import absolute, any_change, percent, remembered
from gateway.process.hashed import ChosenFields, is_chosen
from gateway.process.swinging_door import Doors, HeldBack, Line

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.model import Row, Value
    from gateway.process.swinging_door import Released

_NOTHING: Final[Row] = {}


class Steps:
    """The steps of one route. `percent` is of the last value that went on, with `floor` as its least band."""

    __slots__ = (
        "bounds",
        "changes",
        "every",
        "every_silence_ns",
        "idle_ns",
        "interval_ns",
        "series_share",
        "silence_ns",
        "topic_share",
    )

    def __init__(self, options: schema.Sample) -> None:
        self.topic_share = options.share if options.share_of == "topics" else 1.0
        self.series_share = options.share if options.share_of == "series" else 1.0
        self.every = options.every
        self.every_silence_ns = options.every_silence_ns
        self.interval_ns = options.interval_ns
        self.silence_ns = options.silence_ns
        self.idle_ns = options.idle_ns
        self.changes = (
            *((name, any_change) for name in options.on_change),
            *((name, absolute(band)) for name, band in options.deadband.items()),
            *((name, percent(part / 100, options.floor.get(name, 0.0))) for name, part in options.percent.items()),
        )
        self.bounds = tuple(options.swinging_door.items())

    @property
    def are_set(self) -> bool:
        """Whether there is any step: without one, rows go on as they are."""
        is_shared = self.topic_share < 1 or self.series_share < 1
        return is_shared or self.every > 1 or self.interval_ns > 0 or bool(self.changes) or bool(self.bounds)

    @property
    def hold_back(self) -> bool:
        """Whether readings may be held back: `Sampler.released` must then be asked after each row."""
        return bool(self.bounds)


class Sampler:
    """What the steps remember of one topic. `held` is shared by all topics of the route."""

    __slots__ = (
        "_chosen",
        "_counted_ns",
        "_doors",
        "_is_chosen",
        "_is_whole",
        "_kept_ns",
        "_memory",
        "_skipped",
        "_steps",
    )

    def __init__(self, steps: Steps, topic: str = "", held: HeldBack | None = None) -> None:
        self._steps = steps
        self._is_chosen = steps.topic_share >= 1 or is_chosen(steps.topic_share, topic)
        self._chosen = ChosenFields(steps.series_share, topic) if steps.series_share < 1 else None
        self._is_whole = self._is_chosen and self._chosen is None
        self._skipped = 0
        self._counted_ns: int | None = None
        self._kept_ns: int | None = None
        self._memory: dict[str, tuple[Value, int]] = {}
        self._doors: Doors | None = None
        if steps.bounds:
            self._doors = Doors(
                topic, steps.bounds, steps.silence_ns, HeldBack(steps.idle_ns) if held is None else held
            )

    def thinned(self, row: Row, time_ns: int, at: int = 0) -> Row:
        """Return what goes on of `row`, which came at `at` and is used up: the row, less some fields, or nothing.

        What `released` returns goes on before it.
        """
        steps = self._steps
        if not self._is_whole and not self._takes_its_share_of(row):
            return _NOTHING
        if steps.every > 1 and not self._is_counted(time_ns):
            return _NOTHING
        if steps.interval_ns:
            if self._kept_ns is not None and abs(time_ns - self._kept_ns) < steps.interval_ns:
                return _NOTHING
            self._kept_ns = time_ns
        if steps.changes:
            self._leave_out_unchanged(row, time_ns)
        if self._doors is not None:
            self._doors.apply(row, time_ns, at)
        return row

    def released(self) -> list[Released]:
        """Return, once, what was held back until the last row, in order of time."""
        return [] if self._doors is None else self._doors.released()

    def line(self, name: str) -> Line:
        """Return the line of a field under a swinging door that has been seen."""
        assert self._doors is not None, "no door, no line"
        return self._doors.line(name)

    def _takes_its_share_of(self, row: Row) -> bool:
        """Take out of `row` what is not in the share, and return whether anything is left."""
        if self._chosen is not None:
            for name in [name for name in row if not self._chosen[name]]:
                del row[name]
        return self._is_chosen and bool(row)

    def _is_counted(self, time_ns: int) -> bool:
        """Return whether this is the n-th row, or the silence is over; then the count begins again."""
        steps = self._steps
        if self._skipped:
            is_silent = self._counted_ns is not None and abs(time_ns - self._counted_ns) >= steps.every_silence_ns
            if not (steps.every_silence_ns and is_silent):
                self._skipped = (self._skipped + 1) % steps.every
                return False
        self._skipped = 1
        if steps.every_silence_ns:
            self._counted_ns = time_ns
        return True

    def _leave_out_unchanged(self, row: Row, time_ns: int) -> None:
        memory, silence_ns = self._memory, self._steps.silence_ns
        for name, is_change in self._steps.changes:
            value = row.get(name)
            if value is None:
                continue
            last = memory.get(name)
            if last is None or is_change(last[0], value) or (silence_ns and abs(time_ns - last[1]) >= silence_ns):
                memory[name] = (remembered(value), time_ns)
            else:
                del row[name]

    def state(self) -> tuple[object, ...]:
        """Return what `restore` needs, as plain data; silence of rows and lines only where there are such steps."""
        state = self._skipped, self._kept_ns, self._memory
        if not self._steps.every_silence_ns and self._doors is None:
            return state
        return *state, self._counted_ns, [] if self._doors is None else self._doors.state()

    def restore(self, state: Any) -> None:  # noqa: ANN401  # plain data
        """Go on from a state of the same topic under the same steps."""
        self._skipped, self._kept_ns, memory, *more = state
        self._memory = {name: (value, time_ns) for name, (value, time_ns) in memory.items()}
        if more:
            self._counted_ns, lines = more
            if self._doors is not None:
                self._doors.restore(lines)
