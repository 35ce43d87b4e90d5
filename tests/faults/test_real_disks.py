"""Real file systems that are full, read-only, broken or frozen under the running daemon.

A tmpfs or an ext4 of their own holds the state folder, and real brokers, sensors and a receiver work around it. After
each fault: the daemon has not ended by itself, went on by itself once the disk was healed, and every message that was
published is at the region exactly once, or, where a ring was made to overflow, in a gap that says so.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.region import watermarks
from tests.support.disksite import EVICTS, REFUSES, SMALL_FILES, DiskBench, disk_bench
from tests.support.injected import Injection
from tests.support.mounts import LoopExt4, Neighbour, read_only_view, tmpfs
from tests.support.sensors import PahoSensor
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
TMPFS_BYTES = 24 << 20
EXT4_BYTES = 64 << 20
READ_ONLY_S = 5.0
FULL = os.strerror(errno.ENOSPC)
READ_ONLY = os.strerror(errno.EROFS)

NO_CHECKPOINTS = SMALL_FILES.replace('checkpoint_bytes_min = "64KiB"', 'checkpoint_bytes_min = "64MiB"').replace(
    'checkpoint_interval = "1s"', 'checkpoint_interval = "600s"'
)
ROOMY_JOURNAL = NO_CHECKPOINTS.replace('segment_bytes = "64KiB"', 'segment_bytes = "4MiB"')
NO_SPARE_SPACE = SMALL_FILES.replace('free_bytes_min = "1MiB"', "free_bytes_min = 0").replace(
    'segment_bytes = "128KiB"', 'segment_bytes = "1MiB"'
)


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[LoopExt4]:
    with LoopExt4(tmp_path / "node", EXT4_BYTES) as volume:
        yield volume


@pytest.fixture
def small_tmpfs(tmp_path: Path) -> Iterator[Path]:
    with tmpfs(tmp_path / "node", TMPFS_BYTES) as folder:
        yield folder


def volumes(short: str) -> list[str]:
    """Return on which file systems a test runs: one in the short form, both in the long one."""
    return ["small_tmpfs", "ext4"] if IS_LONG else [short]


def check_named_once(bench: DiskBench, words: str) -> None:
    """Check that this start's log names the fault, each way of it once, however often it was tried again."""
    named = {sentence: times for sentence, times in bench.named().items() if words in sentence}
    assert set(named.values()) == {1}, named


@pytest.mark.parametrize("volume", volumes("small_tmpfs"))
def test_a_disk_that_a_neighbour_fills_and_leaves_costs_no_message_and_no_restart(request, tmp_path, volume) -> None:
    request.getfixturevalue(volume)
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        with Neighbour(bench.site.state / "foreign"):
            bench.wait_for_fault("full")
            time.sleep(3.0)
            check_named_once(bench, FULL)
        bench.wait_acknowledged(500)
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


@pytest.mark.parametrize("volume", volumes("ext4"))
@pytest.mark.parametrize("lane", [REFUSES, EVICTS], ids=["refuse", "evict_oldest"])
def test_a_daemon_killed_on_a_full_disk_starts_on_it_and_goes_on_when_there_is_space(
    request, tmp_path, volume, lane
) -> None:
    request.getfixturevalue(volume)
    with disk_bench(tmp_path, lane=lane) as bench:
        stream = bench.start()
        with Neighbour(bench.site.state / "foreign"):
            bench.wait_for_fault("full")
            time.sleep(1.0)
            bench.site.daemon.kill()
            bench.restart()
            bench.wait_for_fault("full")
            time.sleep(1.0)
            check_named_once(bench, FULL)
        bench.wait_acknowledged(500)
        bench.check_everything_arrived_once(stream, may_evict=lane is EVICTS)


@pytest.mark.usefixtures("small_tmpfs")
def test_a_ring_wider_than_its_disk_loses_its_oldest_batches_and_says_exactly_which(tmp_path) -> None:
    with disk_bench(tmp_path, settings=NO_SPARE_SPACE, lane=EVICTS) as bench:
        stream = bench.start(noise_bytes=12_000, rate=300)
        bench.central.kill()

        def lost() -> int:
            bench.is_running()
            return bench.site.status()["lanes"][0]["evicted_batches"]

        wait_for(lost, "the ring overflows", 60.0, 0.1)
        assert bench.site.status()["lanes"][0]["bytes"] < TMPFS_BYTES
        bench.central.start()
        bench.check_everything_arrived_once(stream, may_evict=True)
        assert watermarks.report(bench.site.region_state).lanes[0].lost["evicted"] > 0


def test_a_file_system_that_fails_and_turns_read_only_stops_acknowledgements_and_a_repair_restores_all(
    tmp_path, ext4
) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        ext4.break_down()
        bench.wait_for_fault("read_only", "failed")
        bench.check_nothing_acknowledged(1.5)
        check_named_once(bench, READ_ONLY)
        bench.site.daemon.kill()
        ext4.unmount()
        ext4.repair()
        ext4.mount()
        bench.restart()
        bench.wait_acknowledged(200)
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


def test_a_daemon_starts_on_a_read_only_disk_and_goes_on_when_it_is_writable(tmp_path, ext4) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        bench.site.daemon.kill()
        ext4.unmount()
        ext4.mount("ro")
        bench.restart()
        bench.wait_for_fault("read_only")
        bench.check_nothing_acknowledged(1.5)
        check_named_once(bench, READ_ONLY)
        ext4.make_writable()
        bench.wait_acknowledged(200)
        bench.check_everything_arrived_once(stream)


def test_a_disk_read_only_for_seconds_under_load_is_used_again_without_a_restart(tmp_path, ext4) -> None:
    # The kernel refuses to remount while files are open for writing. So names are made read-only by a view laid over
    # the folder, and what is open already by strace.
    refused = [f"{call}:error=EROFS" for call in ("pwrite64", "fdatasync", "fallocate", "ftruncate")]
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        with ExitStack() as stack:
            stack.enter_context(read_only_view(ext4.folder))
            stack.enter_context(Injection(bench.site.daemon.pid, tmp_path, *refused))
            bench.wait_for_fault("read_only")
            bench.check_nothing_acknowledged(READ_ONLY_S)
            check_named_once(bench, READ_ONLY)
        bench.wait_acknowledged(500)
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


def test_a_disk_that_hangs_stops_acknowledgements_but_neither_status_nor_daemon(tmp_path, ext4) -> None:
    with disk_bench(tmp_path) as bench:
        stream = bench.start()
        with ext4.frozen():
            time.sleep(0.5)
            bench.check_nothing_acknowledged(1.5)
            bench.disk()
        bench.wait_acknowledged(500)
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


def test_bad_messages_that_find_no_room_in_the_quarantine_are_counted_and_stop_nothing(tmp_path, ext4) -> None:
    with disk_bench(tmp_path, settings=ROOMY_JOURNAL) as bench:
        stream = bench.start(noise_bytes=0)
        with PahoSensor(bench.local.port, "bad sensor", 5) as sensor, ExitStack() as stack:
            stack.enter_context(Neighbour(ext4.folder / "foreign"))
            publish_bad_until(bench, sensor, "unkept")
            bench.wait_acknowledged(200)
            stack.close()
            publish_bad_until(bench, sensor, "kept")
            sent = len(sensor.acknowledged)
        wait_for(lambda: quarantined(bench) == sent, f"{sent} bad messages are counted")
        counts = bench.site.status()["quarantine"]
        assert counts["kept"] + counts["unkept"] == sent, counts
        assert sum("the quarantine cannot be written" in sentence for sentence in bench.named()) == 1, bench.named()
        bench.wait_healed()
        bench.check_everything_arrived_once(stream)


def publish_bad_until(bench: DiskBench, sensor: PahoSensor, count: str) -> int:
    """Publish messages that nobody can decode, until the quarantine's `count` has risen; return it."""
    before = bench.site.status()["quarantine"][count]

    def has_risen() -> int:
        bench.is_running()
        for _ in range(20):
            sensor.publish("plant/0", b"\xff" * 4000, 1)
        sensor.wait_until_at_most()
        return bench.site.status()["quarantine"][count] - before

    return wait_for(has_risen, f"the quarantine counts {count}", poll_s=0.2)


def quarantined(bench: DiskBench) -> int:
    """Return how many messages the ledger says are in quarantine."""
    return sum(number for fate, number in bench.site.ledger().items() if fate.startswith("message.quarantined."))


@pytest.mark.parametrize("mib", [24, 40] if IS_LONG else [24])
def test_a_node_with_default_sizes_on_a_disk_that_is_too_small_for_them_survives_restarts(tmp_path, mib) -> None:
    with tmpfs(tmp_path / "node", mib << 20), disk_bench(tmp_path, settings="", lane='linger = "100ms"') as bench:
        stream = bench.start()
        for _ in range(2):
            bench.site.daemon.kill()
            bench.restart()
            time.sleep(2)
        bench.check_everything_arrived_once(stream)
