"""Lanes that only some regions take: what nobody waits for may go, and a new taker gets everything that is stored."""

from __future__ import annotations

from pathlib import Path

from gateway.config import schema
from gateway.spool.lanes import Spool
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch

FOLDER = Path("/spool")
SEGMENT = 128 * 1024


def opened(disk: FaultDisk, *takers: str) -> Spool:
    lane = schema.Lane(name="telemetry", bytes_max=16 * SEGMENT, regions=takers)
    options = schema.Spool(lanes=(lane,), segment_bytes=SEGMENT)
    regions = [schema.Region(name=name, host="localhost", tls_ca="ca") for name in ("eu", "us")]
    return Spool.open(disk, FOLDER, options, "node", regions, 100)


def fill(spool: Spool, last: int) -> None:
    for sequence in range(spool.head("telemetry") + 1, last + 1):
        spool.append(batch(sequence))


def test_what_the_takers_have_goes_whatever_others_have() -> None:
    spool = opened(FaultDisk(), "eu")
    fill(spool, 3000)
    spool.acknowledge("eu", "telemetry", 3000)
    spool.sync(0)
    spool.save_cursors()
    (status,) = spool.status()
    assert status["segments"] == 1
    assert status["evicted_batches"] == 0
    assert spool.lanes_of("us") == []


def test_a_region_that_begins_to_take_a_lane_gets_what_is_stored() -> None:
    disk = FaultDisk()
    spool = opened(disk, "eu")
    fill(spool, 50)
    spool.sync(0)
    spool.save_cursors()
    spool.close()
    again = opened(disk, "eu", "us")
    assert again.lanes_of("us") == ["telemetry"]
    assert again.cursor("us", "telemetry") == 0
    assert again.read("telemetry", 1) is not None
