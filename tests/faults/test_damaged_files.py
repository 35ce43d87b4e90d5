"""The medium damages one file: the node starts, tells what is missing, loses nothing else, and makes nothing up.

Every kind of file is flipped byte by byte, cut at every length, emptied, removed, swapped, copied under another name
and dressed as one of a later version. After each damage a new start takes the rest of the input and delivers all of it:

- what arrived, and what gaps say is lost, is what the node counted as sealed, reading by reading;
- nothing that arrived was never sent, and nothing arrived twice unless an epoch had to begin;
- whatever is missing is told: by a gap with exact readings, or by the report that acknowledged input is missing;
- the books balance, and one more start changes nothing.

The short form takes one position in many, by GATEWAY_SEED; GATEWAY_LONG=1 takes every byte and every length.
"""

from __future__ import annotations

import os
import random
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest
from google_crc32c import value as crc32c

from gateway import ledger
from gateway.model import BatchId
from gateway.quarantine import Quarantine
from tests.support.faultdisk import FaultDisk, File
from tests.support.wholenode import STATE, Broker, Node, Receiver, S

MESSAGES = 130
ACKNOWLEDGED = 98
KINDS = ("raw", "alarm", "window")
BYTES = 2048
IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED", "1"))

Files = dict[Path, bytes]


@dataclass
class Crashed:
    """What a crash left: the files, the broker's place, and what had reached the region."""

    files: Files = field(default_factory=dict)
    folders: set[Path] = field(default_factory=set)
    acknowledged: int = 0
    sent: int = 0
    connection: int = 0
    hashes: dict[BatchId, bytes] = field(default_factory=dict)
    sizes: dict[BatchId, int] = field(default_factory=dict)
    readings: list[tuple[str, str, float]] = field(default_factory=list)

    def disk(self) -> FaultDisk:
        disk = FaultDisk()
        disk.folders = set(self.folders)
        for path, data in self.files.items():
            disk.entries[path] = File()
            disk.entries[path].change(0, data)
        return disk

    def broker(self) -> Broker:
        broker = Broker(MESSAGES, KINDS)
        broker.acknowledged, broker.sent, broker.connection = self.acknowledged, self.sent, self.connection
        return broker

    def receiver(self) -> Receiver:
        receiver = Receiver()
        receiver.hashes, receiver.sizes, receiver.readings = dict(self.hashes), dict(self.sizes), list(self.readings)
        return receiver


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    kept = Quarantine(tmp_path / "quarantine.sqlite")
    yield kept
    kept.close()


@pytest.fixture
def crashed(quarantine: Quarantine) -> Crashed:
    """Work, with two checkpoints and half of everything delivered, until the power goes."""
    disk, broker, receiver = FaultDisk(), Broker(MESSAGES, KINDS), Receiver()
    node = Node(disk, quarantine, BYTES, BYTES // 4)
    node.connect(broker)
    for turn in range(1, ACKNOWLEDGED // 7 + 1):
        node.take(broker.group(node.at + S), broker)
        if turn in {4, 9}:
            node.mirror(receiver, batches_max=3)
            node.checkpoint()
    files = {path: bytes(file.seen) for path, file in disk.entries.items()}
    assert len([path for path in files if path.suffix == ".seg"]) > 4
    assert len([path for path in files if path.suffix == ".log"]) > 2
    assert len([path for path in files if path.suffix == ".ckpt"]) == 2
    region = (receiver.hashes, receiver.sizes, receiver.readings)
    return Crashed(files, disk.folders, broker.acknowledged, broker.sent, broker.connection, *region)


def go_on(crashed: Crashed, files: Files, quarantine: Quarantine) -> list[str]:
    """Start on damaged files, take the rest, deliver all of it and hold it against the books; return the notes."""
    disk = Crashed(files, crashed.folders).disk()
    broker, receiver = crashed.broker(), crashed.receiver()
    node = Node(disk, quarantine, BYTES, BYTES // 4)
    node.connect(broker)
    while broker.acknowledged < MESSAGES:
        node.take(broker.group(node.at + S), broker)
    node.come_to_rest()
    node.mirror(receiver)
    check(node, receiver)
    node.checkpoint()
    node.checkpoint()
    heads = {lane: node.spool.head(lane) for lane in node.spool.lanes}
    again = Node(disk, quarantine, BYTES, BYTES // 4)
    assert {lane: again.spool.head(lane) for lane in again.spool.lanes} == heads
    assert not again.recovered.journal.damaged
    assert not again.recovered.epoch_began, again.recovered.notes
    delivered = len(receiver.readings)
    again.mirror(receiver)
    assert len(receiver.readings) == delivered
    return node.recovered.notes + node.recovered.journal.notes + node.spool.report


def check(node: Node, receiver: Receiver) -> None:
    recovered = node.recovered
    notes = recovered.notes + recovered.journal.notes + node.spool.report
    assert ledger.residuals(node.pipeline.ledger, node.pipeline.open_readings) == (0, 0)
    sent = {number: Broker(MESSAGES, KINDS).topic(number) for number in range(MESSAGES)}
    found = Counter((topic, int(value)) for topic, _, value in receiver.readings if not topic.startswith("window/"))
    expected = Counter((topic, number) for number, topic in sent.items() if not topic.startswith("window/"))
    windows = Counter[str]()
    for topic, name, value in receiver.readings:
        if topic.startswith("window/"):
            windows[name] += int(value)
    numbers = [number for number, topic in sent.items() if topic.startswith("window/")]
    assert set(found) <= set(expected), "something was made up"
    history_is_whole = not recovered.journal.damaged and not recovered.epoch_began
    if history_is_whole:
        assert found <= expected, "something came twice"
        assert node.pipeline.ledger[ledger.SEALED] == len(receiver.readings) + sum(receiver.lost.values()), notes
        assert node.pipeline.ledger[ledger.RECEIVED] == MESSAGES
    else:
        assert notes
    is_missing = bool(expected - found) or windows["n.count"] < len(numbers)
    if is_missing:
        assert receiver.lost or recovered.journal.damaged, f"missing without a trace: {expected - found} {notes}"
        assert notes
    elif history_is_whole and not receiver.lost:
        assert found == expected
        assert windows == {"n.count": len(numbers), "n.sum": sum(numbers)}


def positions(size: int, chance: random.Random, count: int) -> list[int]:
    return list(range(size)) if IS_LONG else sorted(chance.sample(range(size), min(count, size)))


def by_kind(files: Files) -> dict[str, list[Path]]:
    """Return kind of file → paths in order."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(files):
        inner = path.relative_to(STATE).parts
        name = "/".join(inner[:-1]) + ("" if path.suffix[1:].isdigit() else path.suffix)
        kinds.setdefault(name, []).append(path)
    return kinds


def representatives(files: Files) -> list[Path]:
    """Return the first, a middle and the last file of each kind; all of them in the long form."""
    chosen = []
    for paths in by_kind(files).values():
        chosen += paths if IS_LONG else sorted({paths[0], paths[len(paths) // 2], paths[-1]})
    return chosen


def run_all(crashed: Crashed, quarantine: Quarantine, damages: Iterator[tuple[str, Files]]) -> int:
    """Go on after each damage; fail with the first few that break a promise."""
    failures, tried = [], 0
    for label, files in damages:
        tried += 1
        try:
            go_on(crashed, files, quarantine)
        except Exception as error:  # noqa: BLE001  # every kind of failure is one, and is shown with its damage
            failures.append(f"{label}: {type(error).__name__}: {str(error)[:300]}")
            if len(failures) >= 5:
                break
    assert not failures, "\n".join(failures)
    print(f"{tried} damages, GATEWAY_SEED={SEED}")  # noqa: T201  # for people
    return tried


def changed(files: Files, path: Path, data: bytes | None) -> Files:
    found = dict(files)
    if data is None:
        del found[path]
    else:
        found[path] = data
    return found


def test_a_crash_without_damage_loses_nothing_and_delivers_nothing_twice(crashed, quarantine) -> None:
    assert go_on(crashed, crashed.files, quarantine) == []


def test_any_flipped_byte_costs_at_most_what_is_told(crashed, quarantine) -> None:
    chance = random.Random(SEED)

    def damages() -> Iterator[tuple[str, Files]]:
        for path in representatives(crashed.files):
            data = crashed.files[path]
            for place in positions(len(data.rstrip(b"\0")) or 1, chance, 12):
                flipped = bytearray(data)
                flipped[place] ^= 1 << chance.randrange(8)
                yield f"{path} flipped at {place}", changed(crashed.files, path, bytes(flipped))

    assert run_all(crashed, quarantine, damages()) > 100


def test_any_truncated_file_costs_at_most_what_is_told(crashed, quarantine) -> None:
    chance = random.Random(SEED + 1)

    def damages() -> Iterator[tuple[str, Files]]:
        for path in representatives(crashed.files):
            for size in [0, *positions(len(crashed.files[path]), chance, 6)]:
                yield f"{path} cut to {size}", changed(crashed.files, path, crashed.files[path][:size])

    assert run_all(crashed, quarantine, damages()) > 60


def test_any_file_that_is_gone_costs_at_most_what_is_told(crashed, quarantine) -> None:
    def damages() -> Iterator[tuple[str, Files]]:
        for path in sorted(crashed.files):
            yield f"{path} removed", changed(crashed.files, path, None)
        for kind, paths in by_kind(crashed.files).items():
            yield f"all of {kind} removed", {one: data for one, data in crashed.files.items() if one not in paths}

    run_all(crashed, quarantine, damages())


@pytest.mark.parametrize("part", ["spool", "journal", "checkpoint", "spool/cursors", "spool/lanes/alarm"])
def test_a_folder_that_is_gone_costs_at_most_what_is_told(crashed, quarantine, part: str) -> None:
    files = {path: data for path, data in crashed.files.items() if STATE / part not in path.parents}
    notes = go_on(crashed, files, quarantine)
    if part != "journal":  # without a journal, what came after the checkpoint is gone: the checkpoint cannot know of it
        assert notes


def test_files_that_changed_places_cost_at_most_what_is_told(crashed, quarantine) -> None:
    def damages() -> Iterator[tuple[str, Files]]:
        for paths in by_kind(crashed.files).values():
            for one, other in pairwise(paths):
                swapped = changed(crashed.files, one, crashed.files[other])
                yield f"{one} and {other} swapped", changed(swapped, other, crashed.files[one])
                yield f"{one} copied over {other}", changed(crashed.files, other, crashed.files[one])
        kinds = by_kind(crashed.files)
        for one, other in zip(kinds["spool/lanes/alarm.seg"], kinds["spool/lanes/telemetry.seg"], strict=False):
            swapped = changed(crashed.files, one, crashed.files[other])
            yield f"{one} and {other} swapped", changed(swapped, other, crashed.files[one])

    run_all(crashed, quarantine, damages())


def test_a_copy_under_another_name_changes_nothing_or_is_told(crashed, quarantine) -> None:
    def damages() -> Iterator[tuple[str, Files]]:
        for kind, paths in by_kind(crashed.files).items():
            if not kind.endswith((".seg", ".log", ".ckpt")):
                continue
            for path in (paths[0], paths[-1]):
                for number in (0, 1, 3, int(path.stem) + 1, 10**6):
                    name = path.with_name(f"{number:016d}{path.suffix}")
                    if name not in crashed.files:
                        yield f"{path} copied to {name.name}", changed(crashed.files, name, crashed.files[path])

    assert run_all(crashed, quarantine, damages()) > 10


def versioned(data: bytes, offset: int, end: int, crc: Callable[[bytes], int]) -> bytes:
    """Return `data` with the version at `offset` one higher, and the checksum at `end` right again."""
    head = bytearray(data[:end])
    struct.pack_into("<H", head, offset, struct.unpack_from("<H", head, offset)[0] + 1)
    return bytes(head) + struct.pack("<I", crc(bytes(head))) + data[end + 4 :]


def test_a_segment_of_a_later_version_is_kept_aside_and_told(crashed, quarantine) -> None:
    for path in by_kind(crashed.files)["spool/lanes/telemetry.seg"]:
        data = versioned(crashed.files[path], 4, 60, crc32c)
        tail = versioned(data[-64:], 4, 60, crc32c)
        notes = go_on(crashed, changed(crashed.files, path, data[:-64] + tail), quarantine)
        assert any("version 2" in note for note in notes), (path, notes)


def test_a_journal_file_of_a_later_version_is_told(crashed, quarantine) -> None:
    for path in by_kind(crashed.files)["journal.log"]:
        notes = go_on(crashed, changed(crashed.files, path, versioned(crashed.files[path], 4, 44, crc32c)), quarantine)
        newest = max(one for one in crashed.files if one.suffix == ".ckpt")
        if int(path.stem) >= int(newest.stem):
            assert notes
