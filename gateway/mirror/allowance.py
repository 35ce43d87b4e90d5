"""What a region's line is allowed to do now: its budget and its windows, and who is above both.

Urgent lanes go whenever they have something. All others wait while no window is open, while the rate has bytes owed,
and while the day or the month has had its bytes. What was spent is kept across restarts in two slots, written every
`SAVE_S` when it has changed.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.errors import StoreError
from gateway.mirror.budget import Budget, Spent
from gateway.model import CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED
from gateway.spool.slots import Slots
from gateway.transport.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk

log = logging.getLogger(__name__)

SAVE_S: Final = 300.0
_NS: Final = 10**9


class Allowance:
    """The allowance of one region. `look` is called about once a second, from the loop."""

    def __init__(
        self, name: str, options: schema.Link, lanes: Sequence[str], clock: Clock, disk: Disk, path: Path
    ) -> None:
        self._name = name
        self._clock = clock
        self._disk = disk
        self._folder = path.parent
        self._slots = Slots(disk, path)
        self._windows = Windows(options.connect, options.connect_for_ns)
        self._urgent = frozenset(options.urgent_lanes or lanes[:1])
        self._limits = {
            "bytes_per_second": options.bytes_per_second,
            "bytes_per_day": options.bytes_per_day,
            "bytes_per_month": options.bytes_per_month,
        }
        self.is_limited = bool(
            options.connect or options.bytes_per_second or options.bytes_per_day or options.bytes_per_month
        )
        self.budget = Budget(options, self._load())
        self.is_open = True
        self.opened = 0
        """How many windows have begun since the start in which open batches are to go."""
        self._flushes = options.flush
        self._was_spent = False
        self._saved = b""
        self._saved_at = time.monotonic()
        self.look()

    def look(self) -> None:
        """Look at the clock."""
        wall_ns, quality = self._clock.wall_ns(), self._clock.quality()
        self.budget.look(wall_ns, is_trusted=quality == CLOCK_SYNCHRONISED)
        is_open = self._windows.is_open(wall_ns, is_set=quality != CLOCK_UNSYNCHRONISED)
        if is_open != self.is_open:
            self.opened += is_open and self._flushes
            log.info("region %s: its line may be %s now", self._name, "up" if is_open else "down")
        self.is_open = is_open
        if self.budget.is_spent != self._was_spent:
            self._was_spent = self.budget.is_spent
            state = "is spent: only urgent lanes go" if self._was_spent else "begins anew"
            log.warning("region %s: the budget of its line %s", self._name, state)

    def permits(self, lane: str) -> bool:
        """Say whether a lane may be sent now."""
        if lane in self._urgent:
            return True
        return self.is_open and not self.budget.is_spent and not self.budget.wait_ns(time.monotonic_ns())

    def status(self) -> dict[str, object]:
        """Return what people want to know."""
        spent = self.budget.spent
        return {
            "open": self.is_open,
            "next_window": 0 if self.is_open else self._windows.next_ns(),
            "budget_spent": self.budget.is_spent,
            "day_bytes": spent.day_bytes,
            "month_bytes": spent.month_bytes,
            "month_bytes_by_lane": spent.lanes,
            **self._limits,
        }

    @property
    def is_due(self) -> bool:
        """Whether `save` has something to do."""
        return time.monotonic() - self._saved_at >= SAVE_S

    def save(self) -> None:
        """Make durable what was spent. From any thread; a disk that refuses costs what was not saved."""
        self._saved_at = time.monotonic()
        data = msgspec.json.encode(self.budget.spent)
        if data != self._saved:
            with contextlib.suppress(StoreError):
                self._disk.make_folder(self._folder)
                self._slots.save(data)
                self._saved = data

    def _load(self) -> Spent:
        try:
            data = self._slots.load()
            return Spent() if data is None else msgspec.json.decode(data, type=Spent)
        except (StoreError, msgspec.DecodeError):
            return Spent()
