"""The only place that asks the machine for the time, its boot or the quality of its clock.

Pure modules are handed times as integers; shells ask a `Clock`. Tests hand in one of their own.

A sandbox may hide what we ask. Where `ProcSubset=pid` hides the boot's identity, the unit hands it in as `BOOT_ID`.
Where `ProtectClock=yes` forbids adjtimex(2) even to those who only read, systemd-timesyncd's file is asked: it touches
that at each successful synchronisation. With another time service there is no such file and the clock is in holdover;
docs/operate/systemd.md says how to let the unit ask the kernel.
"""

from __future__ import annotations

import ctypes
import os
import time
import uuid
from pathlib import Path

from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED

WALL_FLOOR_NS = 1_735_689_600 * 10**9
"""2025-01-01 UTC: a wall clock before this has certainly not been set."""

BOOT_ID = "GATEWAY_BOOT_ID"
"""The variable with the boot's identity, as systemd's `%b` writes it."""

TIMESYNC_FILE = Path("/run/systemd/timesync/synchronized")
"""Of systemd-timesyncd.service(8)."""

TIMESYNC_AGE_S = 2 * 2048 + 60
"""Two of timesyncd's longest intervals, and a margin for one that is late."""

_STA_UNSYNC = 0x40
_TIME_ERROR = 5


class _Timex(ctypes.Structure):
    """`struct timex` of adjtimex(2): only `modes` and `status` are used, the rest is room for the kernel."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Clock:
    """The machine's clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, as far as the machine knows."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since boot, sleep included; never steps."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def boot_id(self) -> str:
        """The kernel's identity of this boot, or an empty string where it gives none."""
        try:
            return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        except OSError:
            return _written_out(os.environ.get(BOOT_ID, ""))

    def quality(self) -> int:
        """How far the wall clock can be trusted: unsynchronised, holdover or synchronised."""
        if self.wall_ns() < WALL_FLOOR_NS:
            return CLOCK_UNSYNCHRONISED
        timex = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
        is_good = _timesync_is_fresh() if state == -1 else state != _TIME_ERROR and not timex.status & _STA_UNSYNC
        return CLOCK_SYNCHRONISED if is_good else CLOCK_HOLDOVER


def _timesync_is_fresh() -> bool:
    """Say whether timesyncd has synchronised the clock lately."""
    try:
        return abs(time.time() - TIMESYNC_FILE.stat().st_mtime) < TIMESYNC_AGE_S
    except OSError:
        return False


def _written_out(boot_id: str) -> str:
    """Return an identity of 32 hex digits as the kernel writes it; empty when it is none."""
    try:
        return str(uuid.UUID(boot_id))
    except ValueError:
        return ""
