"""What is measured while recorded input is tried: commits of the journal, messages to each region, bytes by topic.

**Commits.** Recorded groups are what a capture wrote five times a second, or what another configuration committed. So
their messages are spread evenly over the time since the group before, at most `_SPREAD_NS`, and are put together again
by the rules of `gateway.ingest`: a group is committed when its first message has waited as long as the pace, and the
linger of its lane, allow, when it holds `commit_bytes`, or when the broker's window is used up; a tick only when
nothing waits. Each is encoded as the journal would, and counted in pages of flash as `gateway.disk` counts them.

**Messages.** For each form that regions get (batches, or events of one shape) a batch is made into its messages once,
and for each region that takes the lane they are counted with what the line adds (`gateway.toll`).

**Topics.** Events name their topic, so their payload counts whole. The bytes of a sealed batch are shared out column by
column (`gateway.batch.attribution`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

from gateway.batch import columns
from gateway.batch.attribution import shared_out
from gateway.disk import PAGE_BYTES
from gateway.ingest.pace import Pace
from gateway.journal import format as journal_format
from gateway.mirror.shipment import Shipper
from gateway.model import QOS1, MessageGroup, Tick
from gateway.toll import hears_receiver, ping_after_s, toll

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gateway.config import schema
    from gateway.model import Entry, OpenBatch, SealedBatch
    from gateway.process.pipeline import Pipeline
    from gateway.transport.contract import Message

    _Message: TypeAlias = tuple[str, bytes, int, int]  # topic, payload, packet id, flags

SAVE_S: Final = 5.0
"""Time between two saves of books and cursors, see `gateway.upkeep`."""

BATCHES: Final = "batches"
EVENTS: Final = "events"

_SPREAD_NS: Final = 10**9
_FIRST_SPREAD_NS: Final = 2 * 10**8
_PACKET_IDS: Final = 65535
_MINUTE_NS: Final = 60 * 10**9
_NS: Final = 10**9


@dataclass(slots=True)
class LaneLine:
    """What one lane sends to one region: messages, bytes of their payloads, and what the line adds to them."""

    messages: int = 0
    payload_bytes: int = 0
    overhead_bytes: int = 0

    @property
    def bytes(self) -> int:
        """All bytes."""
        return self.payload_bytes + self.overhead_bytes


@dataclass(slots=True)
class RegionLine:
    """What goes to one region. `pings` and `heartbeats` fill the silence; `minute_bytes_max` is the busiest minute."""

    lanes: dict[str, LaneLine] = field(default_factory=dict)
    pings: int = 0
    heartbeats: int = 0
    minute_bytes_max: int = 0


@dataclass(slots=True)
class TopicShare:
    """What a topic has in a lane: readings, and the bytes of payload that come from them."""

    readings: int = 0
    bytes: float = 0.0


@dataclass(slots=True)
class Written:
    """What the node writes beside its rings.

    `journal_bytes` are bytes of commits, `journal_flash_bytes` those of the pages that they touch. `book_saves` and
    `cursor_saves` are pages. `checkpoint_bytes` is the size of a checkpoint at the end of the input.
    """

    commits: int = 0
    journal_bytes: int = 0
    journal_flash_bytes: int = 0
    book_saves: int = 0
    cursor_saves: int = 0
    checkpoint_bytes: int = 0


class Survey:
    """Looks on at one trial of `config`; see `trial.Surveyor`. `seconds` is how long the input took."""

    def __init__(self, config: schema.Gateway) -> None:
        self.regions = {region.name: RegionLine() for region in config.mirrored}
        self.topics: dict[tuple[str, str], dict[str, TopicShare]] = {}
        """By (lane, form): topic → share; the form is `BATCHES` or `EVENTS`."""
        self.written = Written()
        self._committer = _Committer(config, self.written)
        self._lanes = {
            region.name: {lane.name for lane in config.spool.lanes if not lane.regions or region.name in lane.regions}
            for region in config.mirrored
        }
        for name, lanes in self._lanes.items():
            self.regions[name].lanes = {lane.name: LaneLine() for lane in config.spool.lanes if lane.name in lanes}
        self._peers = config.mirrored
        self._shippers = {(region.format, region.events): Shipper(region) for region in config.mirrored}
        self._sent_at: dict[str, int] = {}
        self._minute: dict[str, tuple[int, int]] = {}
        self._saved: dict[str, int] = {}

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return (self._committer.last_at - self._committer.first_at) / _NS

    def entries(self, pipeline: Pipeline, found: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
        """Yield the commits that this configuration would make of the messages."""
        return self._committer.entries(pipeline, found)

    def sealed(self, batch: OpenBatch, sealed: SealedBatch, at: int) -> None:
        """Count a batch for every region that takes its lane, and what its topics have in it."""
        lane = batch.id.lane
        made: dict[object, list[Message]] = {}
        for region in self._peers:
            if lane not in self._lanes[region.name]:
                continue
            shape = (region.format, region.events)
            if shape not in made:
                made[shape] = self._shippers[shape].messages(sealed, is_backlog=False)
                self._share_out(batch, sealed, made[shape], region.format)
            self._send(region, lane, made[shape], at)

    def ending(self, pipeline: Pipeline) -> None:
        """Measure a checkpoint."""
        codec, uuid = journal_format.JournalCodec(), bytes(16)
        frames = [codec.state_frame(uuid, number, state) for number, state in enumerate(pipeline.state_slices())]
        self.written.checkpoint_bytes = journal_format.FILE_HEADER_BYTES + sum(map(len, frames))

    def _send(self, region: schema.Region, lane: str, messages: Sequence[Message], at: int) -> None:
        line = self.regions[region.name]
        payload_bytes = sum(len(message.payload) for message in messages)
        overhead_bytes = toll(region, messages, is_heard=hears_receiver(region))
        found = line.lanes[lane]
        found.messages += len(messages)
        found.payload_bytes += payload_bytes
        found.overhead_bytes += overhead_bytes
        silence_s = (at - self._sent_at.get(region.name, at)) / _NS
        line.pings += int(silence_s / ping_after_s(region))
        if region.heartbeat_ns:
            line.heartbeats += int(silence_s * _NS / region.heartbeat_ns)
        self._sent_at[region.name] = at
        minute, size = self._minute.get(region.name, (0, 0))
        size = (size if minute == at // _MINUTE_NS else 0) + payload_bytes + overhead_bytes
        self._minute[region.name] = at // _MINUTE_NS, size
        line.minute_bytes_max = max(line.minute_bytes_max, size)
        if self._saved.get(region.name) != (saved := int(at / _NS / SAVE_S)):
            self._saved[region.name] = saved
            self.written.cursor_saves += 1

    def _share_out(self, batch: OpenBatch, sealed: SealedBatch, messages: Sequence[Message], form: str) -> None:
        key = (batch.id.lane, BATCHES if form == "batch" else EVENTS)
        shares = self.topics.setdefault(key, {})
        for topic, (_, rows) in batch.rows.items():
            shares.setdefault(topic, TopicShare()).readings += sum(map(len, rows))
        if form == "batch":
            content = columns.content(batch.rows)
            for topic, size in zip(content.topics, shared_out(content, sealed.data).tolist(), strict=True):
                shares[topic].bytes += size
            return
        begin = len(batch.id.node) + 1
        for message in messages:
            shares[message.key[begin:]].bytes += len(message.payload)


class _Committer:
    """Divides recorded input into commits, and counts what the journal writes for them."""

    def __init__(self, config: schema.Gateway, written: Written) -> None:
        options = config.journal
        self._written = written
        self._commit_bytes = options.commit_bytes
        self._segment_bytes = options.segment_bytes
        self._window = config.broker.receive_maximum
        self._least_ns = options.commit_interval_ns
        self._pace = Pace(options.commit_interval_ns / _NS, options.commit_interval_max_ns / _NS)
        self._codec = journal_format.JournalCodec()
        self._offset = self._segment_bytes
        self._position = self._packet_id = 0
        self._saved = -1
        self._waiting: _Group | None = None
        self._newest: MessageGroup | None = None
        self.first_at = self.last_at = 0

    def entries(self, pipeline: Pipeline, found: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
        """Yield (position, entry) of what would be journaled, in order."""
        before: int | None = None
        for _, entry in found:
            if isinstance(entry, MessageGroup) and entry.topics:
                spread_ns = _FIRST_SPREAD_NS if before is None else min(entry.at - before, _SPREAD_NS)
                yield from self._taken(pipeline, entry, spread_ns // len(entry.topics))
            before = entry.at
        yield from self._until(pipeline, None)

    def _taken(self, pipeline: Pipeline, entry: MessageGroup, step: int) -> Iterator[tuple[int, Entry]]:
        number = len(entry.topics)
        if self._newest is None:
            self._newest = entry
            self.first_at = entry.at - step * number
        waiting = self._waiting
        if waiting is not None and not waiting.takes(entry):
            yield self._committed(waiting.newest_at)
        columns_of = zip(entry.topics, entry.payloads, entry.packet_ids, entry.flags, strict=True)
        for index, message in enumerate(columns_of, 1):
            at = entry.at - step * (number - index)
            yield from self._until(pipeline, at)
            group = self._waiting
            if group is None:
                group = self._waiting = _Group(entry, at + round(self._pace.interval_s * _NS))
                if index == 1:
                    group.shed = entry.shed
            if pipeline.has_urgent or self._pace.is_slow:
                linger_ns = pipeline.linger_ns(message[0])
                patience_ns = round(self._pace.interval_s * _NS)
                if linger_ns is not None:
                    patience_ns = linger_ns and max(linger_ns, self._least_ns)
                group.due = min(group.due, at + patience_ns)
            group.append(self._numbered(message), at)
            if group.bytes >= self._commit_bytes or group.unacknowledged >= self._window:
                yield self._committed(at)
        self._newest = entry
        self.last_at = entry.at

    def _numbered(self, message: _Message) -> _Message:
        """Return the message with a packet id where it came at QoS 1 and was recorded without: the journal keeps it."""
        topic, payload, packet_id, flags = message
        if packet_id or not flags & QOS1:
            return message
        self._packet_id = self._packet_id % _PACKET_IDS + 1
        return topic, payload, self._packet_id, flags

    def _until(self, pipeline: Pipeline, end: int | None) -> Iterator[tuple[int, Entry]]:
        """Yield what is committed before the node's own time `end`; None: what waits, and no tick."""
        while True:
            if self._waiting is not None:
                if end is not None and self._waiting.due > end:
                    return
                yield self._committed(self._waiting.due)
                continue
            due = pipeline.deadline
            if end is None or due is None or due >= end:
                return
            source = self._newest
            assert source is not None, "only messages make deadlines"
            yield self._journaled(Tick(source.wall_ns + due - source.at, due, source.clock))

    def _committed(self, at: int) -> tuple[int, Entry]:
        group, self._waiting = self._waiting, None
        assert group is not None
        return self._journaled(group.entry(at))

    def _journaled(self, entry: Entry) -> tuple[int, Entry]:
        written, position = self._written, self._position
        size = len(self._codec.frame_of(bytes(16), position, [entry]))
        self._position += 1
        if self._offset >= self._segment_bytes:
            self._offset = journal_format.FILE_HEADER_BYTES
            written.journal_flash_bytes += PAGE_BYTES
        first, last = self._offset // PAGE_BYTES, (self._offset + size - 1) // PAGE_BYTES
        self._offset += size
        written.commits += 1
        written.journal_bytes += size
        written.journal_flash_bytes += (last - first + 1) * PAGE_BYTES
        self._pace.looked(written.journal_bytes, entry.at / _NS)
        if self._saved != (saved := int(entry.at / _NS / SAVE_S)):
            self._saved = saved
            written.book_saves += 1
        return position, entry


class _Group:
    """A group in the making, of messages that came on one connection. `due` is when it is committed at the latest."""

    def __init__(self, source: MessageGroup, due: int) -> None:
        self._source = source
        self.due = due
        self.newest_at = 0
        self.bytes = self.unacknowledged = 0
        self.shed: dict[str, int] = {}
        self._topics: list[str] = []
        self._payloads: list[bytes] = []
        self._packet_ids: list[int] = []
        self._flags: list[int] = []

    def takes(self, source: MessageGroup) -> bool:
        """Say whether messages of `source` may stand in the same group."""
        own = self._source
        return (own.connection, own.resumed, own.pressure, own.clock) == (
            source.connection,
            source.resumed,
            source.pressure,
            source.clock,
        ) and not source.shed

    def append(self, message: _Message, at: int) -> None:
        """Take in a message that came at `at`."""
        topic, payload, packet_id, flags = message
        self._topics.append(topic)
        self._payloads.append(payload)
        self._packet_ids.append(packet_id)
        self._flags.append(flags)
        self.bytes += len(payload)
        self.unacknowledged += bool(flags & QOS1)
        self.newest_at = at

    def entry(self, at: int) -> MessageGroup:
        """Return what is journaled at `at`."""
        source = self._source
        return MessageGroup(
            source.wall_ns + at - source.at,
            at,
            source.clock,
            source.connection,
            source.resumed,
            self._topics,
            self._payloads,
            self._packet_ids,
            self._flags,
            self.shed,
            source.pressure,
        )
