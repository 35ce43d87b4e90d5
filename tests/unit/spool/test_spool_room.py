"""Who gives way when there is no room: shares of lanes, full and low file systems, memory, age, regions that lag."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.config import schema
from gateway.errors import StoreError
from gateway.model import Gap
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch, options, readings_between, region

LANE = "telemetry"
FOLDER = Path("/state/spool")
SEGMENT = 4096
S = 10**9


def opened(disk: FaultDisk, spool: schema.Spool, *regions: schema.Region) -> Spool:
    return Spool.open(disk, FOLDER, spool, "node", regions or (region("one"),), 100)


def lanes(*shapes: schema.Lane, segments: int) -> schema.Spool:
    return schema.Spool(segment_bytes=SEGMENT, bytes_max=segments * SEGMENT, lanes=shapes)


def lane(name: str, reserved: int = 0, policy: str = "evict_oldest", segments: int = 100) -> schema.Lane:
    return schema.Lane(
        name=name,
        bytes_max=segments * SEGMENT,
        bytes_reserved=reserved * SEGMENT,
        policy=policy,  # type: ignore[arg-type]
    )


def append(spool: Spool, name: str, first: int, last: int, at: int = 0) -> None:
    for sequence in range(first, last + 1):
        assert spool.append(batch(sequence, name), at) is Appended.STORED, sequence


def fill(spool: Spool, name: str, segments: int, at: int = 0) -> int:
    """Append until a lane has so many segments; return its head."""
    for _ in range(50 * segments):
        if status(spool, name)["segments"] == segments:
            return spool.head(name)
        append(spool, name, spool.head(name) + 1, spool.head(name) + 1, at)
    raise AssertionError(f"{name} never had {segments} segments")


def status(spool: Spool, name: str = LANE) -> dict[str, int]:
    return next(one for one in spool.status() if one["name"] == name)  # type: ignore[return-value]


def segments_of(spool: Spool) -> dict[str, int]:
    return {one["name"]: one["segments"] for one in spool.status()}  # type: ignore[misc]


def test_space_is_taken_from_the_least_important_lane_first() -> None:
    spool = opened(FaultDisk(), lanes(lane("alarm"), lane("telemetry"), lane("bulk"), segments=9))
    for name in ("alarm", "telemetry", "bulk"):
        fill(spool, name, 3)
    fill(spool, "alarm", 5)
    assert segments_of(spool) == {"alarm": 5, "telemetry": 3, "bulk": 1}
    fill(spool, "alarm", 7)
    assert segments_of(spool) == {"alarm": 7, "telemetry": 1, "bulk": 1}, "the one that is written to stays"
    evicted = status(spool, "telemetry")["evicted_readings"]
    assert evicted == readings_between(1, status(spool, "telemetry")["oldest"] - 1)


def test_no_lane_takes_what_another_has_reserved() -> None:
    spool = opened(FaultDisk(), lanes(lane("alarm"), lane("bulk", reserved=3), segments=8))
    fill(spool, "bulk", 3)
    fill(spool, "alarm", 5)
    append(spool, "alarm", spool.head("alarm") + 1, spool.head("alarm") + 40)
    assert segments_of(spool) == {"alarm": 5, "bulk": 3}
    assert status(spool, "bulk")["evicted_batches"] == 0


def test_a_lane_inside_its_reserve_takes_from_a_more_important_one_above_its_own() -> None:
    spool = opened(FaultDisk(), lanes(lane("alarm", reserved=2), lane("bulk", reserved=3), segments=8))
    fill(spool, "alarm", 8)
    fill(spool, "bulk", 3)
    assert segments_of(spool) == {"alarm": 5, "bulk": 3}


def test_a_lane_above_its_reserve_gives_its_own_before_it_takes_from_a_more_important_one() -> None:
    spool = opened(FaultDisk(), lanes(lane("alarm"), lane("bulk"), segments=6))
    fill(spool, "alarm", 3)
    fill(spool, "bulk", 3)
    append(spool, "bulk", spool.head("bulk") + 1, spool.head("bulk") + 40)
    assert segments_of(spool) == {"alarm": 3, "bulk": 3}


def test_a_lane_that_refuses_gives_nothing_that_a_required_region_waits_for() -> None:
    spool = opened(FaultDisk(), lanes(lane("alarm"), lane("orders", policy="refuse"), segments=6))
    fill(spool, "orders", 3)
    fill(spool, "alarm", 3)
    append(spool, "alarm", spool.head("alarm") + 1, spool.head("alarm") + 40)
    assert segments_of(spool) == {"alarm": 3, "orders": 3}
    spool.acknowledge("one", "orders", spool.head("orders") - 1)
    fill(spool, "alarm", 5)
    assert segments_of(spool) == {"alarm": 5, "orders": 1}
    assert status(spool, "orders")["evicted_batches"] == 0


def test_what_only_an_optional_region_waits_for_goes_before_anything_else() -> None:
    regions = (region("one"), region("spare", required=False))
    spool = opened(FaultDisk(), lanes(lane("alarm"), lane("bulk"), segments=6), *regions)
    fill(spool, "alarm", 3)
    fill(spool, "bulk", 3)
    spool.acknowledge("one", "alarm", spool.head("alarm"))
    append(spool, "bulk", spool.head("bulk") + 1, spool.head("bulk") + 10)
    assert segments_of(spool)["bulk"] > 3
    assert status(spool, "bulk")["evicted_batches"] == 0
    lagged = status(spool, "alarm")["lagged_batches"]
    assert lagged > 0
    found = spool.read("alarm", 1)
    assert isinstance(found, Gap)
    assert (found.reason, found.last) == ("lagged", lagged)


def test_an_optional_region_holds_back_no_more_than_its_cap() -> None:
    spare = msgspec.structs.replace(region("spare", required=False), lag_bytes_max=2 * SEGMENT)
    spool = opened(FaultDisk(), lanes(lane(LANE), segments=50), region("one"), spare)
    head = fill(spool, LANE, 6)
    spool.sync()
    spool.acknowledge("one", LANE, head)
    spool.save_cursors()
    assert status(spool)["segments"] == 2
    found = spool.read(LANE, 1)
    assert isinstance(found, Gap)
    assert found.reason == "lagged"
    assert found.readings == readings_between(1, found.last)
    assert status(spool)["evicted_batches"] == 0
    spool.acknowledge("spare", LANE, head)
    spool.save_cursors()
    assert status(spool)["segments"] == 1


def test_batches_older_than_the_lane_allows_are_given_up_and_counted() -> None:
    shape = msgspec.structs.replace(lane(LANE), expire_after_ns=100 * S)
    disk = FaultDisk()
    spool = opened(disk, lanes(shape, segments=50))
    append(spool, LANE, 1, 3, at=10 * S)
    spool.expire(20 * S)
    append(spool, LANE, 4, 6, at=40 * S)
    spool.expire(50 * S)
    append(spool, LANE, 7, 7, at=60 * S)
    spool.expire(149 * S)
    assert status(spool)["expired_batches"] == 0
    spool.expire(151 * S)
    found = spool.read(LANE, 1)
    assert isinstance(found, Gap)
    assert (found.reason, found.first, found.last, found.readings) == ("expired", 1, 6, readings_between(1, 6))
    assert spool.read(LANE, 7) == batch(7)
    assert status(spool)["expired_readings"] == readings_between(1, 6)
    spool.sync()
    spool.save_cursors()
    spool.close()
    again = opened(disk, lanes(shape, segments=50))
    assert again.read(LANE, 1) == found
    again.expire(0)
    assert again.read(LANE, 7) == batch(7), "a clock that begins anew expires nothing"


def test_a_lane_without_an_age_limit_keeps_everything() -> None:
    spool = opened(FaultDisk(), lanes(lane(LANE), segments=50))
    append(spool, LANE, 1, 3)
    spool.expire(10**18)
    assert spool.read(LANE, 1) == batch(1)


def test_on_a_full_file_system_the_ring_makes_do_with_the_space_that_it_has() -> None:
    disk = FaultDisk()
    spool = opened(disk, options(segments=8))
    head = fill(spool, LANE, 4)
    disk.space = sum(len(file.seen) for file in disk.entries.values())
    append(spool, LANE, head + 1, head + 40)
    assert not spool.is_held
    assert status(spool)["bytes"] <= 4 * SEGMENT
    assert status(spool)["evicted_readings"] == readings_between(1, status(spool)["oldest"] - 1)


def test_a_file_system_that_others_filled_gets_the_oldest_segment_back_on_demand() -> None:
    disk = FaultDisk()
    spool = opened(disk, options(segments=8))
    fill(spool, LANE, 4)
    used = sum(len(file.seen) for file in disk.entries.values())
    assert spool.shrink()
    assert status(spool)["segments"] == 3
    assert used - sum(len(file.seen) for file in disk.entries.values()) >= SEGMENT


def test_memory_that_is_used_up_refuses_and_batches_that_every_region_has_make_room_in_it() -> None:
    disk = FaultDisk()
    shape = msgspec.structs.replace(options(), memory_bytes_max=2000)
    spool = opened(disk, shape)
    disk.fail("create", times=1000)
    with pytest.raises(StoreError, match="memory"):
        append(spool, LANE, 1, 100)
    held = spool.head(LANE)
    assert held > 2
    spool.acknowledge("one", LANE, held)
    append(spool, LANE, held + 1, held + 2)
    disk.heal()
    spool.sync()
    spool.save_cursors()
    again = opened(disk, shape)
    assert again.report == []
    assert again.cursor("one", LANE) == held
    assert [again.read(LANE, one) for one in (held + 1, held + 2)] == [batch(held + 1), batch(held + 2)]


def test_while_the_file_system_is_low_on_space_a_ring_grows_no_further() -> None:
    spool = opened(FaultDisk(), options(segments=8))
    head = fill(spool, LANE, 3)
    spool.note_space(is_low=True)
    append(spool, LANE, head + 1, head + 40)
    assert status(spool)["segments"] == 3
    spool.note_space(is_low=False)
    fill(spool, LANE, 8)
