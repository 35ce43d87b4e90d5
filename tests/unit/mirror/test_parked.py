"""Parked batches: bounded, the newest kept, each under a name that tells what it is."""

from __future__ import annotations

from pathlib import Path

from gateway.disk import Disk
from gateway.mirror.parked import Parked
from tests.support.spooled import batch, readings_between


def test_a_parked_batch_is_kept_whole_with_its_reason_and_its_gap_is_exact(tmp_path: Path) -> None:
    parked, sealed = Parked(Disk(), tmp_path / "parked"), batch(7)
    gap = parked.park(sealed, "too large")
    assert parked.load("telemetry.100.7") == (sealed.data, "too large")
    assert (gap.first, gap.last, gap.reason) == (7, 7, "refused")
    assert (gap.readings, gap.readings_before) == (sealed.readings, readings_between(1, 6))


def test_parking_a_batch_again_changes_nothing(tmp_path: Path) -> None:
    parked, sealed = Parked(Disk(), tmp_path / "parked"), batch(7)
    assert parked.park(sealed, "too large") == parked.park(sealed, "too large")
    assert parked.names() == ["telemetry.100.7"]


def test_past_the_bound_the_oldest_goes_and_is_counted(tmp_path: Path) -> None:
    sealed = [batch(sequence) for sequence in range(8, 13)]
    parked = Parked(Disk(), tmp_path / "parked", bytes_max=sum(len(one.data) for one in sealed[-3:]))
    for one in sealed:
        parked.park(one, "too large")
    assert parked.names() == ["telemetry.100.10", "telemetry.100.11", "telemetry.100.12"]
    assert parked.counts == {"parked": 5, "parked_removed": 2}
    assert len(list((tmp_path / "parked").iterdir())) == 6


def test_a_batch_larger_than_the_bound_is_kept_alone(tmp_path: Path) -> None:
    parked = Parked(Disk(), tmp_path / "parked", bytes_max=10)
    for sequence in (1, 2):
        parked.park(batch(sequence), "too large")
    assert parked.names() == ["telemetry.100.2"]
