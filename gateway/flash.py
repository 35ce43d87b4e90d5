"""What is really written to flash, and how long the flash will last at that.

Three views, because each sees what the others do not. The files of the stores are counted by `gateway.disk` in whole
pages, by purpose. `process` is the kernel's count of what this process had written (`/proc/self/io`), which adds the
quarantine. `device` is the kernel's count of the device under the state folder (`/sys/dev/block/*/stat`), which adds
the file system's own metadata and every other program; it is missing where the file system has no such device (tmpfs,
overlay). The forecast rests on the widest view there is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.disk import Disk

_SECTOR_BYTES: Final = 512
_SECTORS_WRITTEN: Final = 6  # field 7 of Documentation/admin-guide/iostats.rst, counted from 0
_TERA: Final = 10**12
_YEAR_S: Final = 365.25 * 86400
_FORECAST_AFTER_S: Final = 60.0


class Flash:
    """Counts since the start. `endurance_tbw` is what the flash may be written in all, in terabytes; 0 is unknown."""

    def __init__(self, disk: Disk, folder: Path, endurance_tbw: float) -> None:
        self._disk = disk
        self._stat = _device_stat(folder)
        self._endurance_bytes = endurance_tbw * _TERA
        self._process = _process_bytes()
        self._device = self._device_bytes()

    def status(self, payload_bytes: int, uptime_s: float) -> dict[str, object]:
        """Return bytes by purpose and view, bytes per byte of payload, and the forecast in years."""
        written = dict(self._disk.written)
        ours = sum(written.values())
        process = max(ours, _process_bytes() - self._process)
        device = None if self._device is None else (self._device_bytes() or 0) - self._device
        widest = process if device is None else device
        return {
            "bytes": written,
            "process_bytes": process,
            "device_bytes": device,
            "per_payload_byte": round(ours / payload_bytes, 3) if payload_bytes else None,
            "endurance_years": years(self._endurance_bytes, widest, uptime_s),
        }

    def _device_bytes(self) -> int | None:
        if self._stat is None:
            return None
        return int(self._stat.read_text("ascii").split()[_SECTORS_WRITTEN]) * _SECTOR_BYTES


def years(endurance_bytes: float, written: int, seconds: float) -> float | None:
    """Return how many years of writing as in these `seconds` the flash endures; None when it cannot be told yet."""
    if not endurance_bytes or not written or seconds < _FORECAST_AFTER_S:
        return None
    return round(endurance_bytes / (written / seconds) / _YEAR_S, 1)


def _process_bytes() -> int:
    try:
        fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text("ascii").splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("write_bytes", 0))


def _device_stat(folder: Path) -> Path | None:
    try:
        number = folder.stat().st_dev
        path = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}/stat")
        path.read_text("ascii")
    except OSError:
        return None
    return path
