"""The only place that asks the machine for the time, its boot or the quality of its clock.

Pure modules are handed times as integers; shells ask a `Clock`. Tests hand in one of their own.
"""

from __future__ import annotations

import ctypes
import time
from pathlib import Path

from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED

WALL_FLOOR_NS = 1_735_689_600 * 10**9
"""2025-01-01 UTC: a wall clock before this has certainly not been set."""

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
            return ""

    def quality(self) -> int:
        """How far the wall clock can be trusted: unsynchronised, holdover or synchronised."""
        if self.wall_ns() < WALL_FLOOR_NS:
            return CLOCK_UNSYNCHRONISED
        timex = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
        if state in (-1, _TIME_ERROR) or timex.status & _STA_UNSYNC:
            return CLOCK_HOLDOVER
        return CLOCK_SYNCHRONISED
