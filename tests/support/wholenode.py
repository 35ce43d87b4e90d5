"""A whole node without threads, on a disk in memory: real journal, pipeline, batches, spool, checkpoints and recovery.

They are called in the order in which the flow calls them. The broker beside it sends again what was not acknowledged,
with the same packet ids; the receiver books every identity and every reading.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.clock import Clock
from gateway.config import schema
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.writer import JournalWriter
from gateway.ledger import RECEIVED
from gateway.model import DUPLICATE, QOS1, BatchId, Gap, MessageGroup, SealedBatch, Tick
from gateway.recovery import Recovery, Settings
from gateway.spool.books import TakenIn
from gateway.spool.lanes import Appended, Spool

if TYPE_CHECKING:
    from gateway.quarantine import Quarantine
    from tests.support.faultdisk import FaultDisk

STATE = Path("/state")
GROUP = 7
S = 10**9
WALL_S = 1_764_000_000
LANES = (
    schema.Lane(name="alarm", bytes_max=4 << 20, batch_readings_max=5, linger_ns=S),
    schema.Lane(name="telemetry", bytes_max=4 << 20, batch_readings_max=9, linger_ns=S),
)
FILES = {"tls_ca": "a", "tls_certificate": "b", "tls_key": "c"}
REGIONS = (schema.Region(name="centre", host="localhost", **FILES),)
ROUTES = (
    schema.Route(name="raw", topics=("raw/+",), lane="telemetry"),
    schema.Route(name="alarm", topics=("alarm/+",), lane="alarm"),
    schema.Route(
        name="window",
        topics=("window/+",),
        lane="telemetry",
        window=schema.Window(size_ns=10 * S, idle_ns=50 * S, functions=("count", "sum")),
    ),
)
SETTINGS = Settings("node-1", ROUTES, LANES, 1 << 20, 1024, 20)


class StoppedClock(Clock):
    """A clock that stands: in these tests all time comes with the input."""

    def wall_ns(self) -> int:
        return WALL_S * S

    def boot_id(self) -> str:
        return "boot"


STOPPED = StoppedClock()


class Receiver:
    """What reached the region: identity → content hash, the readings of each identity once, and gaps as they came."""

    def __init__(self) -> None:
        self.hashes: dict[BatchId, bytes] = {}
        self.sizes: dict[BatchId, int] = {}
        self.readings: list[tuple[str, str, float]] = []
        self.gaps: list[Gap] = []

    def take(self, data: bytes) -> None:
        batch = decode(data)
        assert isinstance(batch, DecodedBatch)
        known = self.hashes.setdefault(batch.header.id, batch.header.hash)
        assert known == batch.header.hash, f"{batch.header.id} has two contents"
        if known is batch.header.hash:
            self.sizes[batch.header.id] = batch.header.readings
            self.readings += [(one.topic, one.field, one.value) for one in batch.readings()]

    @property
    def lost(self) -> dict[str, int]:
        """Readings that gaps say are lost, by reason, without what is here; a gap that grew counts as it is now."""
        latest = {(gap.lane, gap.epoch, gap.first): gap for gap in self.gaps}
        found: dict[str, int] = {}
        for gap in latest.values():
            here = sum(
                size
                for identity, size in self.sizes.items()
                if (identity.lane, identity.epoch) == (gap.lane, gap.epoch)
                and gap.first <= identity.sequence <= gap.last
            )
            if gap.readings > here:
                found[gap.reason] = found.get(gap.reason, 0) + gap.readings - here
        return found


class Broker:
    """Has `messages` numbered messages for the node, sends a window of them, and again what was not acknowledged."""

    def __init__(self, messages: int, kinds: tuple[str, ...] = ("raw", "window")) -> None:
        self.messages = messages
        self.kinds = kinds
        self.connection = 0
        self.acknowledged = 0
        self.sent = 0

    def topic(self, number: int) -> str:
        return f"{self.kinds[number % len(self.kinds)]}/{number % 3}"

    def group(self, at: int) -> MessageGroup:
        """Return the next messages, of one kind after the other."""
        numbers = range(self.acknowledged, min(self.acknowledged + GROUP, self.messages))
        flags = [QOS1 | (DUPLICATE if number < self.sent else 0) for number in numbers]
        self.sent = max(self.sent, numbers.stop)
        topics = [self.topic(number) for number in numbers]
        payloads = [b'{"n": %d}' % number for number in numbers]
        packet_ids = [number % 1000 + 1 for number in numbers]
        wall_ns = (WALL_S + numbers.start) * S
        resumed = self.connection > 1
        return MessageGroup(wall_ns, at, 2, self.connection, resumed, topics, payloads, packet_ids, flags, {})


class Node:
    """One start of the node: recovery, then work."""

    def __init__(
        self,
        disk: FaultDisk,
        quarantine: Quarantine,
        segment_bytes: int = 64 << 10,
        journal_bytes: int = 64 << 10,
        *,
        settings: Settings = SETTINGS,
        clock: Clock = STOPPED,
    ) -> None:
        self.settings = settings
        options = schema.Spool(lanes=settings.lanes, segment_bytes=segment_bytes)
        self.spool = Spool.open(disk, STATE / "spool", options, "node-1", REGIONS, clock.wall_ns() // S)
        self.checkpoints = CheckpointStore(disk, STATE / "checkpoint")
        recovery = Recovery(disk, clock, STATE / "journal", self.checkpoints, self.spool, quarantine)
        self.recovered = recovery.run(settings)
        self.pipeline = self.recovered.pipeline
        self.position, self.at = self.recovered.position, self.recovered.at
        self.connection = self.recovered.connection
        journal = schema.Journal(segment_bytes=journal_bytes)
        self.journal = JournalWriter(disk, STATE / "journal", journal, self.recovered.journal.next_position)

    def connect(self, broker: Broker) -> None:
        """Begin a connection that the node never had."""
        broker.connection = max(broker.connection, self.connection) + 1
        self.connection = broker.connection

    def take(self, entry: MessageGroup | Tick, broker: Broker | None) -> None:
        """Commit, acknowledge, apply, seal, spool."""
        position = self.journal.commit([entry])
        if broker is not None and isinstance(entry, MessageGroup):
            broker.acknowledged += len(entry.topics)
        for output in self.pipeline.apply(entry, position):
            for batch in output.batches:
                assert self.spool.append(envelope.seal(batch, "boot"), entry.at) in {Appended.STORED, Appended.KNOWN}
        self.position, self.at = position + 1, entry.at
        self.spool.taken_in = TakenIn(self.position, self.pipeline.ledger[RECEIVED])

    def come_to_rest(self) -> None:
        """Let all windows close and all batches be sealed."""
        for seconds in (1000, 2000):
            self.take(Tick(0, self.at + seconds * S, 2), None)
        assert self.pipeline.open_readings == 0

    def checkpoint(self) -> None:
        """Keep the state as the flow does."""
        settings = msgspec.json.encode(self.settings)
        writer = self.checkpoints.begin(
            layout.Checkpoint(self.position, self.at, 0, self.connection, self.pipeline.epoch, settings)
        )
        for state in self.pipeline.state_slices():
            writer.pack(state)
            writer.flush()
        self.spool.sync()
        self.spool.save_cursors()
        self.journal.checkpointed(self.checkpoints.finish(writer))

    def mirror(self, receiver: Receiver, batches_max: int = 1 << 30) -> None:
        """Send what the region has not acknowledged, lane by lane."""
        for lane in self.spool.lanes:
            sequence = self.spool.cursor("centre", lane) + 1
            end = min(self.spool.head(lane), sequence + batches_max - 1)
            while sequence <= end:
                found = self.spool.read(lane, sequence)
                assert found is not None
                if isinstance(found, SealedBatch):
                    receiver.take(found.data)
                else:
                    receiver.gaps.append(found)
                    sequence = found.last
                self.spool.acknowledge("centre", lane, sequence)
                sequence += 1
