"""What a crash of a whole node leaves on its disk, to be damaged in every way, and what is promised after each damage.

`GROUP` messages are one entry of the journal, so a number names the position that held it. After each damage `go_on`
starts the node, starts it once more before anything else happens, takes the rest of the input, delivers all of it and
holds it against the books:

- what arrived, and what gaps say is lost, is what the node counted as sealed, reading by reading;
- nothing that arrived was never sent, and nothing arrived twice unless an epoch had to begin;
- whatever is missing lies at a position that the report names, behind the end of the journal that it names, or in a
  gap with exact readings;
- the books balance, and further starts change nothing.
"""

from __future__ import annotations

import os
import random
import struct
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from google_crc32c import value as crc32c

from gateway import ledger
from gateway.model import BatchId
from gateway.quarantine import Quarantine
from tests.support.faultdisk import FaultDisk, File
from tests.support.wholenode import GROUP, STATE, Broker, Node, Receiver, S

MESSAGES = 130
ACKNOWLEDGED = 98
KINDS = ("raw", "alarm", "window")
BYTES = 2048
IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED", "1"))

Files = dict[Path, bytes]
Damages = Iterator[tuple[str, Files]]


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

    def disk(self, files: Files) -> FaultDisk:
        disk = FaultDisk()
        disk.folders = set(self.folders)
        for path, data in files.items():
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


@dataclass
class Outcome:
    """What a start on damaged files came to: its node, the disk, what reached the region, and what it said."""

    node: Node
    disk: FaultDisk
    receiver: Receiver
    notes: list[str]

    def files(self) -> set[bytes]:
        """Return the contents of all files."""
        return {bytes(file.seen) for file in self.disk.entries.values()}

    def missing(self) -> set[int]:
        """Return the numbers of the messages that are not windowed and did not arrive."""
        found = {int(value) for topic, _, value in self.receiver.readings if not topic.startswith("window/")}
        topic = Broker(MESSAGES, KINDS).topic
        return {number for number in range(MESSAGES) if not topic(number).startswith("window/")} - found


def crash(quarantine: Quarantine) -> Crashed:
    """Work, with two checkpoints and half of everything delivered, until the power goes."""
    disk, broker, receiver = FaultDisk(), Broker(MESSAGES, KINDS), Receiver()
    node = Node(disk, quarantine, BYTES, BYTES // 4)
    node.connect(broker)
    for turn in range(1, ACKNOWLEDGED // GROUP + 1):
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


def heads(node: Node) -> dict[str, int]:
    return {lane: node.spool.head(lane) for lane in node.spool.lanes}


def go_on(crashed: Crashed, files: Files, quarantine: Quarantine) -> Outcome:
    """Start on damaged files, take the rest, deliver all of it and hold it against the books."""
    disk = crashed.disk(files)
    broker, receiver = crashed.broker(), crashed.receiver()
    first = Node(disk, quarantine, BYTES, BYTES // 4)
    node = Node(disk, quarantine, BYTES, BYTES // 4)
    assert (heads(node), node.position) == (heads(first), first.position), "the second start made something more"
    assert node.pipeline.sequences == first.pipeline.sequences
    node.connect(broker)
    while broker.acknowledged < MESSAGES:
        node.take(broker.group(node.at + S), broker)
    node.come_to_rest()
    node.mirror(receiver)
    notes = first.recovered.notes + first.recovered.journal.notes
    notes += [note for note in node.spool.report if note not in notes]  # a body is looked at when it is read
    outcome = Outcome(first, disk, receiver, notes)
    check(first, node, outcome)
    node.checkpoint()
    node.checkpoint()
    again = Node(disk, quarantine, BYTES, BYTES // 4)
    assert heads(again) == heads(node)
    assert not again.recovered.journal.damaged
    assert not again.recovered.epoch_began, again.recovered.notes
    delivered = len(receiver.readings)
    again.mirror(receiver)
    assert len(receiver.readings) == delivered
    return outcome


def check(first: Node, node: Node, outcome: Outcome) -> None:
    """Hold what arrived against what was sent; `first` is the start that met the damage, `node` the one that worked."""
    recovered, receiver, notes = first.recovered, outcome.receiver, outcome.notes
    books = node.pipeline.ledger
    assert ledger.residuals(books, node.pipeline.open_readings) == (0, 0)
    topic_of = Broker(MESSAGES, KINDS).topic
    plain = [number for number in range(MESSAGES) if not topic_of(number).startswith("window/")]
    windowed = sorted(set(range(MESSAGES)) - set(plain))
    expected = Counter((topic_of(number), number) for number in plain)
    found = Counter((topic, int(value)) for topic, _, value in receiver.readings if not topic.startswith("window/"))
    windows = Counter[str]()
    for topic, name, value in receiver.readings:
        if topic.startswith("window/"):
            windows[name] += int(value)
    assert set(found) <= set(expected), "something was made up"
    history_is_whole = not recovered.journal.damaged and not recovered.epoch_began
    lost = sum(receiver.lost.values())
    if history_is_whole:
        assert found <= expected, "something came twice"
        assert books[ledger.SEALED] == len(receiver.readings) + lost, notes
        assert books[ledger.RECEIVED] == MESSAGES
        if not lost:
            assert found == expected
            assert windows == {"n.count": len(windowed), "n.sum": sum(windowed)}
    else:
        assert notes
    unexplained = [number for number in outcome.missing() if not _is_named(first, number // GROUP)]
    assert len(unexplained) <= lost, f"missing without a trace: {sorted(unexplained)} {notes}"
    if unexplained or windows["n.count"] < len(windowed):
        assert lost or recovered.journal.damaged, f"windows are missing without a trace {notes}"
        assert notes


def _is_named(first: Node, position: int) -> bool:
    """Say whether the report says that the entry at a position is gone, in a run or behind the end of the journal."""
    journal = first.recovered.journal
    if not journal.damaged:
        return False
    return position >= first.position or any(one <= position <= last for one, last in journal.missing)


def positions(size: int, chance: random.Random, count: int) -> list[int]:
    """Return all positions in `size` bytes in the long form, else some."""
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


def run_all(crashed: Crashed, quarantine: Quarantine, damages: Damages) -> int:
    """Go on after each damage; fail with the first few that break a promise."""
    failures, tried = [], 0
    for label, files in damages:
        tried += 1
        try:
            go_on(crashed, files, quarantine)
        except Exception as error:  # noqa: BLE001  # every kind of failure is one, and is shown with its damage
            line = traceback.extract_tb(error.__traceback__)[-1]
            failures.append(f"{label}: {line.filename}:{line.lineno}: {type(error).__name__}: {str(error)[:300]}")
            if len(failures) >= 5:
                break
    assert not failures, "\n".join(failures)
    print(f"{tried} damages, GATEWAY_SEED={SEED}")  # noqa: T201  # for people
    return tried


def changed(files: Files, path: Path, data: bytes | None) -> Files:
    """Return the files with other content in one, or without it."""
    found = dict(files)
    if data is None:
        del found[path]
    else:
        found[path] = data
    return found


def flipped(data: bytes, place: int, bit: int = 0) -> bytes:
    """Return `data` with one bit wrong."""
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


def of_later_version(data: bytes, crc_at: int) -> bytes:
    """Return `data` with the version at offset 4 one higher, and the checksum of the header at `crc_at` right again."""
    head = bytearray(data[:crc_at])
    struct.pack_into("<H", head, 4, struct.unpack_from("<H", head, 4)[0] + 1)
    return bytes(head) + struct.pack("<I", crc32c(bytes(head))) + data[crc_at + 4 :]
