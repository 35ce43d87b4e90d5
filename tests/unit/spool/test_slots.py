"""A slot holds the newest value through any damage of one copy, and never destroys what another version wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.spool import format as layout
from gateway.spool.slots import Slots
from tests.support.faultdisk import FaultDisk

PATH = Path("/state/spool/ledger")


def saved(*values: bytes) -> FaultDisk:
    disk = FaultDisk()
    slots = Slots(disk, PATH)
    for value in values:
        slots.save(value)
    return disk


@pytest.mark.parametrize("number", [0, 1])
def test_a_damaged_copy_leaves_the_other(number: int) -> None:
    disk = saved(b"one", b"two")
    disk.entries[PATH.with_name(f"ledger.{number}")].seen[9] ^= 1
    slots = Slots(disk, PATH)
    assert slots.load() == (b"two", b"one")[number]
    assert slots.notes == [f"ledger.{number} is damaged or was never finished, the other copy counts"]
    slots.save(b"three")
    assert Slots(disk, PATH).load() == b"three"


def test_what_a_program_of_another_version_wrote_is_kept_when_its_place_is_taken() -> None:
    disk = saved(b"one", b"two")
    later = PATH.with_name("ledger.1")
    disk.entries[later].seen[:4] = b"EGT2"
    data = bytes(disk.entries[later].seen)
    slots = Slots(disk, PATH)
    assert slots.load() == b"one"
    assert slots.notes == ["ledger.1 is of another version, the other copy counts"]
    assert bytes(disk.entries[later].seen) == data, "reading changes nothing"
    for value in (b"three", b"four"):
        slots.save(value)
    kept = later.with_name("ledger.1" + layout.FOREIGN_SUFFIX)
    assert bytes(disk.entries[kept].seen) == data
    assert Slots(disk, PATH).load() == b"four"
    assert Slots(disk, PATH).notes == []
