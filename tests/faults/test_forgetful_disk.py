"""Power cuts under the running daemon, on a disk that forgets what was not synced: every message is at the region once.

The state folder lies on a file system of our own. At an operation drawn by chance the daemon is killed inside it, and
of all pages and names that were not synced until then some are kept, some lost, some pages torn. Brokers, sensors and
receiver live elsewhere and go on. First the disk itself is shown to forget, and to keep what it must; else the rest
proves nothing. The seed is printed; set GATEWAY_SEED to repeat it (the moment is drawn, what the daemon does then is
its own affair: `node.operations` in the test's folder says what it did). GATEWAY_LONG=1 cuts more than 100 times.
"""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.support.disksite import SMALL_FILES, DiskBench, disk_bench
from tests.support.forgetful_mount import ForgetfulMount
from tests.support.sensors import PahoSensor
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
CUTS = 60 if IS_LONG else 3
ROUNDS = 30
PAGE = 4096

CHECKPOINTS_OFTEN = SMALL_FILES.replace("[journal]\n", "[journal]\ncheckpoint_growth = 1\n")
NOISE_BYTES = 800  # so many that 64 KiB of journal, which a checkpoint waits for, come several times a second

WRITER = """
import os, sys
file = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
while True:
    os.write(file, os.urandom(1500).hex().encode())
    os.fdatasync(file)
    sys.stdout.write("x")
    sys.stdout.flush()
"""
NO_SYNC = """
import os
os.fdatasync = os.fsync = lambda handle: None
"""
INSERTER = """
import sqlite3, sys
base = sqlite3.connect(sys.argv[1])
base.execute("pragma journal_mode = wal")
base.execute("create table if not exists row (payload blob)")
while True:
    with base:
        base.execute("insert into row values (randomblob(3000))")
    sys.stdout.write("x")
    sys.stdout.flush()
"""


@pytest.fixture
def chance() -> random.Random:
    seed = int(os.environ.get("GATEWAY_SEED") or random.SystemRandom().randrange(2**32))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201  # what repeats a failure
    return random.Random(seed)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[ForgetfulMount]:
    with ForgetfulMount(tmp_path / "node") as mount:
        yield mount


@contextmanager
def opened(path: Path, flags: int = os.O_RDWR | os.O_CREAT) -> Iterator[int]:
    handle = os.open(path, flags)
    try:
        yield handle
    finally:
        os.close(handle)


def sync_folder(path: Path) -> None:
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as handle:
        os.fsync(handle)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_disk_keeps_pages_that_were_synced_and_keeps_loses_or_tears_the_others(disk) -> None:
    old, new = b"o" * 8 * PAGE, b"n" * 8 * PAGE
    pages_found = set()
    for seed in range(ROUNDS):
        with opened(disk.folder / "synced") as synced, opened(disk.folder / "written") as written:
            os.pwrite(synced, new, 0)
            os.pwrite(written, old, 0)
            os.fdatasync(synced)
            os.fsync(written)
            sync_folder(disk.folder)
            os.pwrite(written, new, 0)
        assert (disk.folder / "written").read_bytes() == new
        disk.power_cycle(random.Random(seed))
        found = contents(disk.folder)
        assert found["synced"] == new
        pages = [found["written"][start : start + PAGE] for start in range(0, len(old), PAGE)]
        assert all(page == b"n" * page.count(b"n") + b"o" * page.count(b"o") and len(page) == PAGE for page in pages)
        pages_found |= {"kept" if page[-1:] == b"n" else "lost" if page[:1] == b"o" else "torn" for page in pages}
    assert pages_found == {"kept", "lost", "torn"}


def test_the_disk_forgets_a_length_that_was_not_synced(disk) -> None:
    lengths = set()
    for seed in range(ROUNDS):
        with opened(disk.folder / "file") as file:
            os.ftruncate(file, PAGE)
            os.fsync(file)
            sync_folder(disk.folder)
            os.posix_fallocate(file, 0, 4 * PAGE)
            assert os.fstat(file).st_size == 4 * PAGE
        disk.power_cycle(random.Random(seed))
        lengths.add((disk.folder / "file").stat().st_size)
    assert {PAGE, 4 * PAGE} <= lengths <= set(range(PAGE, 4 * PAGE + 1))


def test_the_disk_keeps_names_only_once_their_folder_is_synced_and_renames_in_one_step(disk) -> None:
    outcomes = set()
    for seed in range(ROUNDS):
        for name in ("a", "gone"):
            with opened(disk.folder / name) as file:
                os.write(file, name.encode())
                os.fsync(file)
        (disk.folder / "b").unlink(missing_ok=True)
        sync_folder(disk.folder)
        with opened(disk.folder / "created") as file:
            os.write(file, b"created")
            os.fsync(file)
        (disk.folder / "a").rename(disk.folder / "b")
        (disk.folder / "gone").unlink()
        disk.power_cycle(random.Random(seed))
        found = contents(disk.folder)
        assert all(data == (b"a" if name == "b" else name.encode()) for name, data in found.items())
        assert ("a" in found) != ("b" in found)
        outcomes |= {f"{name} {'is there' if name in found else 'is not there'}" for name in ("created", "b", "gone")}
        (disk.folder / "created").unlink(missing_ok=True)
    assert len(outcomes) == 6


def test_the_disk_keeps_a_rename_whose_folder_was_synced(disk) -> None:
    for seed in range(ROUNDS):
        with opened(disk.folder / "new") as file:
            os.write(file, str(seed).encode())
            os.fsync(file)
        (disk.folder / "new").rename(disk.folder / "current")
        sync_folder(disk.folder)
        disk.power_cycle(random.Random(seed))
        assert contents(disk.folder) == {"current": str(seed).encode()}


def cut_under(disk: ForgetfulMount, chance: random.Random, program: str, path: Path) -> int:
    """Run a program on the disk, cut the power under it, and return how many steps it had said are done."""
    command = [sys.executable, "-S", "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            disk.arm(chance.randrange(60), process.pid, has_effect=chance.random() < 0.5)
            disk.wait_dark()
            with pytest.raises(OSError, match="Input/output error"):
                path.with_name("after").touch()
        finally:
            process.kill()
        done, _ = process.communicate()
    disk.power_cycle(chance)
    return len(done)


def test_a_process_dies_in_the_operation_and_what_a_sync_was_answered_for_is_there(disk, chance) -> None:
    path = disk.folder / "log"
    path.touch()
    sync_folder(disk.folder)
    for _ in range(ROUNDS):
        before = path.stat().st_size
        done = cut_under(disk, chance, WRITER, path)
        assert before + 3000 * done <= path.stat().st_size <= before + 3000 * (done + 1)
    assert not path.with_name("after").exists()


def test_sqlite_in_wal_mode_lives_on_the_disk_and_keeps_what_it_committed(disk, chance) -> None:
    path = disk.folder / "base.sqlite"
    done = 0
    for _ in range(ROUNDS):
        done += cut_under(disk, chance, INSERTER, path)
        with closing(sqlite3.connect(path)) as base:
            assert base.execute("pragma integrity_check").fetchall() == [("ok",)]
            if done:
                assert base.execute("select count(*) from row").fetchone()[0] >= done


@pytest.mark.parametrize("syncs", [True, False], ids=["with_syncs", "without_syncs"])
def test_what_was_acknowledged_outlives_a_cut_only_because_the_daemon_syncs(tmp_path, disk, syncs) -> None:
    with disk_bench(tmp_path) as bench:
        if not syncs:
            (tmp_path / "sitecustomize.py").write_text(NO_SYNC, "utf-8")
            bench.site.daemon.prefix = ("env", f"PYTHONPATH={tmp_path}")
        bench.central.kill()
        total = sum(bench.start().stop().values())
        wait_for(lambda: bench.acknowledged() >= total, "the gateway has acknowledged everything", poll_s=0.05)
        bench.site.daemon.kill()
        disk.power_cycle(random.Random(0), share_kept=0.0)
        bench.restart()
        assert bench.site.ledger().get("message.received", 0) == (total if syncs else 0)


def cut_power(bench: DiskBench, disk: ForgetfulMount, chance: random.Random) -> dict[str, object]:
    """Start the daemon, cut the power under it while it starts or works, and return what happened."""
    story: dict[str, object] = {}
    if chance.random() < 0.3:
        bench.site.daemon.spawn()  # it takes a while until it touches the disk: the power goes while it recovers
        after = chance.randrange(60)
    else:
        story |= start(bench)
        after = chance.randrange(chance.choice((20, 100, 500)))
    disk.arm(after, bench.site.daemon.pid, has_effect=chance.random() < 0.5)
    try:
        story |= disk.wait_dark()
    except AssertionError as error:
        raise AssertionError(bench.site.daemon.log()) from error
    bench.site.daemon.kill()
    return story | disk.power_cycle(chance)


def start(bench: DiskBench) -> dict[str, object]:
    """Start the daemon on what a power cut has left, and check what it says of it."""
    began = time.monotonic()
    bench.site.daemon.start()
    took = round(time.monotonic() - began, 2)
    report = bench.site.status()["recovery"]
    assert not report["acknowledged_input_missing"], report
    assert (report["messages_missing"], report["positions_missing"]) == (0, []), report
    assert "conflict" not in report["batches"], report
    return {"start": took, "recovery": report["seconds"], "notes": report["notes"]}


@pytest.mark.parametrize(
    ("settings", "is_away"),
    [(SMALL_FILES, True), (CHECKPOINTS_OFTEN, False)],
    ids=["ring_grows_while_the_region_is_away", "segments_come_and_go_and_checkpoints_are_frequent"],
)
def test_no_power_cut_loses_or_doubles_a_message(tmp_path, disk, chance, settings, is_away) -> None:
    with disk_bench(tmp_path, settings=settings) as bench:
        if is_away:  # then what is lost from the ring is nowhere else
            bench.central.kill()
        stream = bench.start(noise_bytes=NOISE_BYTES)
        with PahoSensor(bench.local.port, "bad-sensor", 4) as bad:
            stories = []
            bench.site.daemon.kill()
            for number in range(CUTS):
                bad.publish("plant/bad", b"\xff%d" % number, 1)
                stories.append(cut_power(bench, disk, chance))
                print(number, stories[-1])  # noqa: T201  # for people
            bad.wait_until_at_most(0)
        if is_away:
            bench.central.start()
        stories.append(start(bench))
        total = bench.check_everything_arrived_once(stream)
        ledger = bench.site.ledger()
        assert sum(times for fate, times in ledger.items() if fate.startswith("message.quarantined")) == CUTS, ledger
    assert disk.log.read_text("utf-8").count("create /spool/lanes/telemetry/") > 1, "the ring did not roll"
    longest = max(float(str(story["start"])) for story in stories if "start" in story)
    print(f"{CUTS} cuts, {total} messages, longest start {longest:.2f} s")  # noqa: T201  # for people
