"""A control group for one process: a bound on memory, and on the share of one core.

Control groups of version 1 and 2 are used where they can be written, which takes root. Nothing else bounds a process
the same way; `why_not` tells whether there are any, and who needs one says so in its figures.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Self

ROOT = Path("/sys/fs/cgroup")
PERIOD_US = 100_000
MB = 10**6


class Confined:
    """One group, removed at the end. `memory_mb` and `core_share` of 0 mean no bound."""

    def __init__(self, memory_mb: float, core_share: float) -> None:
        self._name = f"gateway-benchmark-{os.getpid()}"
        self._memory_mb, self._core_share = memory_mb, core_share
        self._folders: list[Path] = []
        self.is_unified = (ROOT / "cgroup.controllers").exists()

    def __enter__(self) -> Self:
        """Make the group. Raises `OSError` where it cannot be made."""
        if self.is_unified:
            folder = self._made(ROOT / self._name)
            if self._memory_mb:
                _write(folder / "memory.max", int(self._memory_mb * MB))
            if self._core_share:
                _write(folder / "cpu.max", f"{int(self._core_share * PERIOD_US)} {PERIOD_US}")
            return self
        if self._memory_mb:
            folder = self._made(ROOT / "memory" / self._name)
            _write(folder / "memory.limit_in_bytes", int(self._memory_mb * MB))
        if self._core_share:
            folder = self._made(ROOT / "cpu" / self._name)
            _write(folder / "cpu.cfs_period_us", PERIOD_US)
            _write(folder / "cpu.cfs_quota_us", int(self._core_share * PERIOD_US))
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the group; its process must have ended."""
        for folder in self._folders:
            folder.rmdir()

    @property
    def prefix(self) -> tuple[str, ...]:
        """What stands before a command line so that the program runs inside from its first moment."""
        files = " ".join(f"'{folder / 'cgroup.procs'}'" for folder in self._folders)
        return ("sh", "-c", f'for file in {files}; do echo $$ > "$file" || exit 1; done; exec "$@"', "sh")

    def memory(self) -> dict[str, float]:
        """Return MB used by the group, page cache included, its highest value, and how often the bound was met."""
        if self.is_unified:
            (folder,) = self._folders
            events = dict(line.split() for line in (folder / "memory.events").read_text("ascii").splitlines())
            peak = folder / "memory.peak"
            return {
                "used": _number(folder / "memory.current") / MB,
                "peak": (_number(peak) if peak.exists() else 0) / MB,
                "bound_met": int(events["max"]),
                "killed": int(events["oom_kill"]),
            }
        folder = ROOT / "memory" / self._name
        control = dict(line.split() for line in (folder / "memory.oom_control").read_text("ascii").splitlines())
        return {
            "used": _number(folder / "memory.usage_in_bytes") / MB,
            "peak": _number(folder / "memory.max_usage_in_bytes") / MB,
            "bound_met": _number(folder / "memory.failcnt"),
            "killed": int(control.get("oom_kill", 0)),
        }

    def throttled(self) -> dict[str, int]:
        """Return the kernel's counts of periods, and of those in which the process had to wait for the next."""
        folder = self._folders[0] if self.is_unified else ROOT / "cpu" / self._name
        found = dict(line.split() for line in (folder / "cpu.stat").read_text("ascii").splitlines())
        return {key: int(found[key]) for key in ("nr_periods", "nr_throttled")}

    def _made(self, folder: Path) -> Path:
        folder.mkdir()
        self._folders.append(folder)
        return folder


def why_not() -> str:
    """Say why no group can be made here; empty where one can."""
    try:
        with Confined(64, 0.5):
            return ""
    except OSError as error:
        return f"no control group can be made: {error}"


def _write(path: Path, value: object) -> None:
    path.write_text(f"{value}\n", "ascii")


def _number(path: Path) -> int:
    return int(path.read_text("ascii"))
