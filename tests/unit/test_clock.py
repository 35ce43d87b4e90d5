from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from gateway import clock as module
from gateway.clock import Clock
from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED

if TYPE_CHECKING:
    from pathlib import Path

WALL_S = 1_900_000_000


class Library:
    """The C library of a sandbox that forbids adjtimex."""

    def __init__(self, _: None) -> None:
        pass

    def adjtimex(self, _: object) -> int:
        return -1


@pytest.fixture
def synchronised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timesyncd's file is, in a sandbox."""
    path = tmp_path / "synchronized"
    monkeypatch.setattr(module.ctypes, "CDLL", Library)
    monkeypatch.setattr(module, "TIMESYNC_FILE", path)
    monkeypatch.setattr(module.time, "time", lambda: float(WALL_S))
    monkeypatch.setattr(module.time, "time_ns", lambda: WALL_S * 10**9)
    return path


def test_in_a_sandbox_timesyncd_says_whether_the_clock_is_synchronised(synchronised: Path) -> None:
    assert Clock().quality() == CLOCK_HOLDOVER
    synchronised.touch()
    os.utime(synchronised, (WALL_S - 2048, WALL_S - 2048))
    assert Clock().quality() == CLOCK_SYNCHRONISED


def test_a_synchronisation_of_long_ago_counts_no_more(synchronised: Path) -> None:
    synchronised.touch()
    long_ago = WALL_S - module.TIMESYNC_AGE_S
    os.utime(synchronised, (long_ago, long_ago))
    assert Clock().quality() == CLOCK_HOLDOVER


def test_where_the_kernel_hides_the_boot_the_unit_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    kernels = Clock().boot_id()
    assert len(kernels) == 36
    monkeypatch.setattr(module.Path, "read_text", lambda *_: (_ for _ in ()).throw(FileNotFoundError()))
    monkeypatch.setenv(module.BOOT_ID, kernels.replace("-", ""))
    assert Clock().boot_id() == kernels
    monkeypatch.setenv(module.BOOT_ID, "no identity")
    assert Clock().boot_id() == ""
