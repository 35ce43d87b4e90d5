"""The power is cut at every operation on the disk: what was acknowledged reaches the region, once, whatever survives.

The node here is made of the real journal, pipeline, batches, spool, checkpoints and recovery, in the order in which the
flow uses them, on a disk in memory that keeps, loses or tears what was not synced. The broker sends again what was not
acknowledged, with the same packet ids. GATEWAY_LONG=1 cuts at each operation, else at one in a few.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path

import pytest

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.config import schema
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.writer import JournalWriter
from gateway.model import DUPLICATE, QOS1, MessageGroup, SealedBatch, Tick
from gateway.quarantine import Quarantine
from gateway.recovery import Recovery, Settings
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk, PowerCutError

STATE = Path("/state")
MESSAGES = 120
GROUP = 7
S = 10**9
LANES = (schema.Lane(name="telemetry", bytes_max=4 << 20, batch_readings_max=9, linger_ns=S),)
SPOOL = schema.Spool(lanes=LANES, segment_bytes=64 << 10)
JOURNAL = schema.Journal(segment_bytes=64 << 10)
FILES = {"tls_ca": "a", "tls_certificate": "b", "tls_key": "c"}
REGIONS = (schema.Region(name="centre", host="localhost", **FILES),)
ROUTES = (
    schema.Route(name="raw", topics=("raw/+",), lane="telemetry"),
    schema.Route(
        name="window",
        topics=("window/+",),
        lane="telemetry",
        window=schema.Window(size_ns=10 * S, idle_ns=50 * S, functions=("count", "sum")),
    ),
)
SETTINGS = Settings("node-1", ROUTES, LANES, 1 << 20, 1024, 20)


class StoppedClock:
    """A clock that stands: in these tests all time comes with the input."""

    def wall_ns(self) -> int:
        return 1_764_000_000 * S

    def boot_id(self) -> str:
        return "boot"


class Receiver:
    """What reached the region: identity → content hash, and the readings of each identity once."""

    def __init__(self) -> None:
        self.hashes: dict[object, bytes] = {}
        self.readings: list[tuple[str, str, float]] = []

    def take(self, data: bytes) -> None:
        batch = decode(data)
        assert isinstance(batch, DecodedBatch)
        known = self.hashes.setdefault(batch.header.id, batch.header.hash)
        assert known == batch.header.hash, f"{batch.header.id} has two contents"
        self.readings += (
            [] if known is not batch.header.hash else [(r.topic, r.field, r.value) for r in batch.readings()]
        )


class Broker:
    """Has numbered messages for the node, sends a window of them, and again what was not acknowledged."""

    def __init__(self) -> None:
        self.connection = 0
        self.acknowledged = 0
        self.sent = 0

    def group(self, at: int) -> MessageGroup:
        """Return the next messages; even numbers go on as they are, odd ones through windows."""
        numbers = range(self.acknowledged, min(self.acknowledged + GROUP, MESSAGES))
        flags = [QOS1 | (DUPLICATE if number < self.sent else 0) for number in numbers]
        self.sent = max(self.sent, numbers.stop)
        topics = [f"{'window' if number % 2 else 'raw'}/{number % 3}" for number in numbers]
        payloads = [b'{"n": %d}' % number for number in numbers]
        packet_ids = [number % 1000 + 1 for number in numbers]
        wall_ns = 1_764_000_000 * S + numbers.start * S
        return MessageGroup(
            wall_ns, at, 2, self.connection, self.connection > 1, topics, payloads, packet_ids, flags, {}
        )


class Node:
    """One start of the node: recovery, then work."""

    def __init__(self, disk: FaultDisk, quarantine: Quarantine) -> None:
        self.spool = Spool.open(disk, STATE / "spool", SPOOL, "node-1", REGIONS, 1_764_000_000)
        self.checkpoints = CheckpointStore(disk, STATE / "checkpoint")
        recovery = Recovery(disk, StoppedClock(), STATE / "journal", self.checkpoints, self.spool, quarantine)
        recovered = recovery.run(SETTINGS)
        assert not recovered.journal.damaged, recovered.journal.notes
        assert not recovered.epoch_began, recovered.notes
        assert not recovered.refused
        assert "conflict" not in recovered.batches
        self.pipeline = recovered.pipeline
        self.position, self.at = recovered.position, recovered.at
        self.connection = recovered.connection
        self.journal = JournalWriter(disk, STATE / "journal", JOURNAL, recovered.journal.next_position)

    def take(self, entry: MessageGroup | Tick, broker: Broker | None) -> None:
        """Commit, acknowledge, apply, seal, spool."""
        position = self.journal.commit([entry])
        if broker is not None and isinstance(entry, MessageGroup):
            broker.acknowledged += len(entry.topics)
        for output in self.pipeline.apply(entry, position):
            for batch in output.batches:
                assert self.spool.append(envelope.seal(batch, "boot")) in {Appended.STORED, Appended.KNOWN}
        self.position, self.at = position + 1, entry.at

    def checkpoint(self) -> None:
        """Keep the state as the flow does."""
        writer = self.checkpoints.begin(
            layout.Checkpoint(self.position, self.at, 0, self.connection, self.pipeline.epoch, SETTINGS_JSON)
        )
        for state in self.pipeline.state_slices():
            writer.pack(state)
            writer.flush()
        self.spool.sync()
        self.spool.save_cursors()
        self.journal.trim(self.checkpoints.finish(writer))

    def mirror(self, receiver: Receiver) -> None:
        """Send everything that the region has not acknowledged."""
        for sequence in range(self.spool.cursor("centre", "telemetry") + 1, self.spool.head("telemetry") + 1):
            found = self.spool.read("telemetry", sequence)
            assert isinstance(found, SealedBatch), found
            receiver.take(found.data)
            self.spool.acknowledge("centre", "telemetry", sequence)


SETTINGS_JSON = layout.msgspec.json.encode(SETTINGS)


def work(disk: FaultDisk, broker: Broker, receiver: Receiver, quarantine: Quarantine) -> None:
    """Start, take everything that the broker has, with checkpoints and deliveries in between, and come to an end."""
    node = Node(disk, quarantine)
    broker.connection = max(broker.connection, node.connection) + 1
    node.connection = broker.connection
    turn = 0
    while broker.acknowledged < MESSAGES:
        turn += 1
        node.take(broker.group(node.at + S), broker)
        if turn % 2 == 0:
            node.mirror(receiver)
        if turn % 4 == 3:
            node.checkpoint()
    node.take(Tick(0, node.at + 1000 * S, 2), None)
    node.take(Tick(0, node.at + 2000 * S, 2), None)
    assert node.pipeline.open_readings == 0
    node.mirror(receiver)


def check(receiver: Receiver) -> None:
    """Every message is there once: raw ones by number, windowed ones in counts and sums."""
    raw = Counter(int(value) for topic, _, value in receiver.readings if topic.startswith("raw/"))
    assert raw == Counter(range(0, MESSAGES, 2))
    totals = Counter[str]()
    for topic, field, value in receiver.readings:
        if topic.startswith("window/"):
            totals[field] += int(value)
    assert totals == {"n.count": MESSAGES // 2, "n.sum": sum(range(1, MESSAGES, 2))}


def run(tmp_path: Path, cuts: list[int], seed: int) -> FaultDisk:
    """Run to the end, cutting the power after so many operations of each start."""
    chance = random.Random(seed)
    disk, broker, receiver = FaultDisk(), Broker(), Receiver()
    quarantine = Quarantine(tmp_path / "quarantine.sqlite")
    try:
        for cut in cuts:
            disk.cut_power_in(cut)
            try:
                work(disk, broker, receiver, quarantine)
            except PowerCutError:
                disk.power_up(chance)
        disk.heal()
        work(disk, broker, receiver, quarantine)
    finally:
        quarantine.close()
    check(receiver)
    return disk


def changes(disk: FaultDisk) -> int:
    """Return how many operations of a run change something: that is where the power can be cut."""
    return sum(number for verb, number in disk.counts().items() if verb not in {"open", "close", "read", "load"})


def test_without_a_fault_everything_arrives_once(tmp_path: Path) -> None:
    assert changes(run(tmp_path, [], 0)) > 100


def test_the_power_may_be_cut_at_any_operation(tmp_path: Path) -> None:
    total = changes(run(tmp_path, [], 0))
    step = 1 if os.environ.get("GATEWAY_LONG") else 5
    for cut in range(0, total, step):
        for seed in range(3):
            run(tmp_path, [cut], 1000 * cut + seed)


@pytest.mark.parametrize("seed", range(100 if os.environ.get("GATEWAY_LONG") else 15))
def test_the_power_may_be_cut_again_and_again_also_while_recovering(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run(tmp_path, [chance.randrange(chance.choice((12, 60, 200))) for _ in range(6)], seed)
