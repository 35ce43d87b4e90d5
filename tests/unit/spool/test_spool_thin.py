"""A ring that fills up loses detail before it loses readings, exactly counted, also across power cuts."""

from __future__ import annotations

import random
import sys
from functools import cache
from pathlib import Path

import pytest

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.errors import StoreError
from gateway.model import BatchId, Gap, OpenBatch, SealedBatch
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.spooled import region

FOLDER = Path("/state/spool")
LANE = "telemetry"
SEGMENT = 8192
PER_BATCH = 100
MS = 10**6
LANES = (
    schema.Lane(
        name=LANE,
        bytes_max=64 * SEGMENT,
        policy="thin",
        thin_interval_ns=1000 * MS,
        thin_levels=2,
        thin_factor=10,
    ),
)
OPTIONS = schema.Spool(segment_bytes=SEGMENT, lanes=LANES)


@cache
def batch(sequence: int) -> SealedBatch:
    """Return 100 readings of noise, one each 100 ms, so that ten of them make one coarse row."""
    chance = random.Random(sequence)
    times = [((sequence - 1) * PER_BATCH + number) * 100 * MS for number in range(PER_BATCH)]
    rows = {"plant/a": (times, [{"t": chance.random()} for _ in times])}
    identity = BatchId("node", LANE, 100, sequence)
    return envelope.seal(OpenBatch(identity, rows, PER_BATCH, (sequence - 1) * PER_BATCH, {}, sequence, 2), "boot")


def opened(disk: FaultDisk) -> Spool:
    return Spool.open(disk, FOLDER, OPTIONS, "node", [region("one")], 100)


def append(spool: Spool, count: int) -> None:
    for _ in range(count):
        assert spool.append(batch(spool.head(LANE) + 1)) is Appended.STORED


def thin(spool: Spool, after: int = 0) -> int:
    """Thin as long as there is something to thin; return how many runs."""
    for runs in range(1000):
        run = spool.thinning({LANE: (after, sys.maxsize)})
        if run is None:
            return runs
        spool.thin(run, spool.coarser(run), 0)
    raise AssertionError("thinning never ends")


def status(spool: Spool, lane: str = LANE) -> dict[str, int]:
    return next(one for one in spool.status() if one["name"] == lane)  # type: ignore[return-value]


def counted(spool: Spool) -> int:
    """Read all lanes; return how many original readings are told of, each batch once and whole."""
    told = 0
    for lane in spool.lanes:
        sequence = spool.cursor("one", lane) + 1
        while sequence <= spool.head(lane):
            found = spool.read(lane, sequence)
            if isinstance(found, Gap):
                assert found.reason == "thinned", found
                sequence = found.last + 1
                continue
            assert found is not None
            whole = decode(found.data)
            assert isinstance(whole, DecodedBatch)
            mark = whole.header.thinned
            counts = [one.value for one in whole.readings() if one.field == "t.count"]
            assert mark is None or sum(counts) == mark.readings
            told += whole.header.readings if mark is None else mark.readings
            sequence += 1
    return told


def test_a_ring_that_fills_up_is_made_coarser_and_every_reading_is_still_told_of() -> None:
    spool = opened(FaultDisk())
    for _ in range(60):
        append(spool, 10)
        thin(spool)
    head = spool.head(LANE)
    assert head == 600
    assert counted(spool) == head * PER_BATCH
    base, first = status(spool), status(spool, f"{LANE}.thin1")
    assert base["evicted_batches"] == 0
    assert base["thinned_readings"] == sum(gap.readings for gap in [spool.read(LANE, 1)] if isinstance(gap, Gap))
    assert first["readings"] > 0
    assert base["bytes"] <= base["bytes_max"]


def test_level_after_level_gets_coarser_and_the_last_one_evicts() -> None:
    spool = opened(FaultDisk())
    for _ in range(400):
        append(spool, 10)
        thin(spool)
        if status(spool, f"{LANE}.thin2")["batches"] > 5:
            break
    second = status(spool, f"{LANE}.thin2")
    assert second["batches"] > 0
    assert status(spool, f"{LANE}.thin1")["thinned_batches"] > 0
    assert status(spool, f"{LANE}.thin1")["evicted_batches"] == 0
    assert counted(spool) == spool.head(LANE) * PER_BATCH
    found = spool.read(f"{LANE}.thin2", second["oldest"])
    assert isinstance(found, SealedBatch)
    mark = envelope.peek(found.data).thinned
    assert mark is not None
    assert (mark.lane, mark.interval_ns) == (f"{LANE}.thin1", 10_000 * MS)
    for _ in range(300):
        append(spool, 10)
        thin(spool)
    second = status(spool, f"{LANE}.thin2")
    assert second["evicted_batches"] == second["oldest"] - 1 > 0
    assert status(spool)["evicted_batches"] == status(spool, f"{LANE}.thin1")["evicted_batches"] == 0


def test_what_is_delivered_or_in_flight_is_left_as_it_is() -> None:
    spool = opened(FaultDisk())
    append(spool, 250)
    spool.acknowledge("one", LANE, 20)
    run = spool.thinning({LANE: (40, 42)})
    assert run is not None
    assert (run.first, run.last) == (41, 41), "what was sent out of turn is left as well"
    assert spool.head(LANE) == 40, "no region gets the run while it is worked on"
    spool.thin(run, None, 0)
    assert spool.head(LANE) == 250
    spool.acknowledge("one", LANE, 250)
    assert spool.thinning({}) is None
    spool.save_cursors()
    append(spool, 1)
    assert status(spool)["thinned_batches"] == 0


def test_readings_that_would_not_get_fewer_are_not_thinned() -> None:
    lane = schema.Lane(name=LANE, bytes_max=64 * SEGMENT, policy="thin", thin_interval_ns=MS, thin_levels=1)
    spool = Spool.open(
        FaultDisk(), FOLDER, schema.Spool(segment_bytes=SEGMENT, lanes=(lane,)), "node", [region("one")], 100
    )
    append(spool, 600)
    thin(spool)
    assert status(spool)["thinned_batches"] == 0
    assert status(spool)["evicted_batches"] > 0


def test_a_disk_that_refuses_in_the_middle_loses_and_doubles_nothing() -> None:
    for verb in ("write", "sync", "create", "rename", "remove"):
        disk = FaultDisk()
        spool = opened(disk)
        append(spool, 250)
        run = spool.thinning({})
        assert run is not None
        found = spool.coarser(run)
        disk.fail(verb, times=50)
        try:
            spool.thin(run, found, 0)
        except StoreError:
            disk.heal()
            spool.sync()
        disk.heal()
        spool.sync()
        spool.save_cursors()
        assert counted(spool) == 250 * PER_BATCH, verb
        assert counted(opened(disk)) == 250 * PER_BATCH, verb


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_at_any_operation_of_thinning_loses_and_doubles_nothing(seed: int) -> None:
    operations = 0
    while True:
        disk = FaultDisk()
        spool = opened(disk)
        append(spool, 250)
        spool.sync()
        spool.save_cursors()
        run = spool.thinning({})
        assert run is not None
        found = spool.coarser(run)
        disk.cut_power_in(operations)
        try:
            spool.thin(run, found, 0)
        except PowerCutError:
            disk.power_up(random.Random(seed * 1000 + operations))
            again = opened(disk)
            assert counted(again) == 250 * PER_BATCH, operations
            thin(again)
            assert counted(again) == 250 * PER_BATCH, operations
            operations += 1
            continue
        assert operations > 3
        return
