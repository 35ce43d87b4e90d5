"""Which rows of a topic go on, and which of their fields.

Three steps, each only where it is set, in this order: every n-th row; at most one row in an interval of event time; and
per field a deadband, which leaves a value out until it differs from the last one that went on by at least the band, or
that one is as old as the silence allows. Text and booleans under a deadband go on when they change. Time is always the
row's own, so the outcome is the same however fast the rows come. Interval and silence count in both directions: when a
clock that was ahead is set right, rows that lie far before the last one kept go on, they do not wait until it is past.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.model import Row, Value

_NUMBERS: Final = frozenset({int, float})
_REMEMBERED_MAX: Final = 64
"""Longest text that a deadband remembers as it is; of longer text it remembers a digest."""

_NOTHING: Final[Row] = {}


class Steps:
    """The steps of one route."""

    __slots__ = ("deadband", "every", "interval_ns", "silence_ns")

    def __init__(self, options: schema.Sample) -> None:
        self.every = options.every
        self.interval_ns = options.interval_ns
        self.silence_ns = options.silence_ns
        self.deadband = tuple(options.deadband.items())

    @property
    def are_set(self) -> bool:
        """Whether there is any step: without one, rows go on as they are."""
        return self.every > 1 or self.interval_ns > 0 or bool(self.deadband)


class Sampler:
    """What the steps remember of one topic."""

    __slots__ = ("_kept_ns", "_memory", "_skipped", "_steps")

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self._skipped = 0
        self._kept_ns: int | None = None
        self._memory: dict[str, tuple[Value, int]] = {}

    def thinned(self, row: Row, time_ns: int) -> Row:
        """Return what goes on of `row`, which is used up: the row itself, less some fields, or nothing."""
        steps = self._steps
        if steps.every > 1:
            skipped, self._skipped = self._skipped, (self._skipped + 1) % steps.every
            if skipped:
                return _NOTHING
        if steps.interval_ns:
            if self._kept_ns is not None and abs(time_ns - self._kept_ns) < steps.interval_ns:
                return _NOTHING
            self._kept_ns = time_ns
        if steps.deadband:
            self._apply_deadband(row, time_ns)
        return row

    def _apply_deadband(self, row: Row, time_ns: int) -> None:
        memory, silence_ns = self._memory, self._steps.silence_ns
        for name, band in self._steps.deadband:
            value = row.get(name)
            if value is None:
                continue
            last = memory.get(name)
            if (
                last is None
                or _is_change(last[0], value, band)
                or (silence_ns and abs(time_ns - last[1]) >= silence_ns)
            ):
                memory[name] = (_remembered(value), time_ns)
            else:
                del row[name]

    def state(self) -> tuple[object, ...]:
        """Return what `restore` needs, as plain data."""
        return self._skipped, self._kept_ns, self._memory

    def restore(self, state: Any) -> None:  # noqa: ANN401  # plain data
        """Go on from a state."""
        self._skipped, self._kept_ns, memory = state
        self._memory = {name: (value, time_ns) for name, (value, time_ns) in memory.items()}


def _is_change(last: Value, value: Value, band: float) -> bool:
    if value.__class__ in _NUMBERS and last.__class__ in _NUMBERS:
        return abs(value - last) >= band  # type: ignore[operator,no-any-return]  # both are numbers
    value = _remembered(value)
    return value.__class__ is not last.__class__ or value != last


def _remembered(value: Value) -> Value:
    if isinstance(value, str | bytes) and len(value) > _REMEMBERED_MAX:
        return blake2b(value if isinstance(value, bytes) else value.encode(), digest_size=16).digest()
    return value
