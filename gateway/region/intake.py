"""Take a group of messages from the region's broker: verify, decide, write, commit, and say what is durable.

One group is one transaction: watermarks, hashes, counts, dead letters and the sinks' readings become durable together
or not at all. What cannot be taken (no envelope, another node's name, a fork) is buried as a dead letter, so that the
broker needs not send it for ever; the node keeps what it was not told is durable. Nothing that a verified envelope can
hold makes a commit fail: it would come again and fail again, for ever. Runs in the worker thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.batch.decode import DecodedBatch, decode
from gateway.errors import BatchError
from gateway.region import receiver
from gateway.region.receiver import Decision, Loss
from gateway.region.sink import Taken, batches
from gateway.trace.receiver import Stretch
from gateway.transport import wire

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.clock import Clock
    from gateway.model import Gap
    from gateway.region.sink import Sink
    from gateway.region.store import Entry, Store
    from gateway.trace.receiver import ReceiverTraces

GROUP_READINGS_MAX: Final = 1 << 20
"""Readings of one transaction, so that memory is bounded; a single larger batch still makes one."""

_INT64_MAX = (1 << 63) - 1
_FORGED = "other_node"
_COUNT_TOO_LARGE = "count_too_large"
_NO_BATCH = "no_batch"
_UNSTORABLE = "unstorable"
_TOO_MANY_LANES = "too_many_lanes"
_REASONS = {
    Decision.FORK: "the same identity came with another content before: is the node's disk a copy?",
    Decision.STALE: "a newer epoch of this lane has passed this sequence: is the node's disk a copy?",
    Decision.REFUSED: "the lane has too many holes",
}


class Message(NamedTuple):
    """One message from the region's broker."""

    topic: str
    payload: bytes


class Lane(NamedTuple):
    """Names the line that an acknowledgement is about."""

    node: str
    name: str
    epoch: int


@dataclass(slots=True)
class Outcome:
    """What a committed group came to: runs of sequences per lane that are durable, and counts by decision.

    `messages` is how many it took in; those after them must be given again.
    """

    messages: int = 0
    durable: dict[Lane, list[tuple[int, int]]] = field(default_factory=dict)
    decided: dict[str, int] = field(default_factory=dict)
    readings: int = 0

    def words(self, receiver_name: str, group: str = wire.USUAL_GROUP) -> list[tuple[str, wire.Acknowledgement]]:
        """Return the acknowledgements to say: (node, word)."""
        return [
            (lane.node, wire.Acknowledgement(receiver_name, lane.name, lane.epoch, receiver.pairs(found), group))
            for lane, found in self.durable.items()
        ]


class Intake:
    """Decides and writes. `topic_prefix` is what node and lane stand behind in a topic."""

    def __init__(
        self,
        watermarks: Store,
        sinks: Sequence[Sink],
        clock: Clock,
        topic_prefix: str,
        traces: ReceiverTraces | None = None,
    ) -> None:
        self._watermarks = watermarks
        self._sinks = sinks
        self._clock = clock
        self._topic_prefix = topic_prefix
        self._traces = traces
        with watermarks.transaction() as transaction:
            for sink in sinks:
                sink.prepare(transaction)

    def take(self, messages: Sequence[Message]) -> Outcome:
        """Commit a group, or as much of its beginning as memory allows, at least one message.

        Raises `StoreError`: then nothing of it has happened, and it may be given again.
        """
        began_ns = self._clock.wall_ns()
        opened = self._opened(messages)
        group = _Group(self._watermarks, self._clock.wall_ns())
        group.outcome.messages = len(opened)
        commit_ns = self._clock.wall_ns()
        writing: list[tuple[str, Stretch]] = []
        with self._watermarks.transaction() as transaction:
            self._watermarks.claim(_nodes(opened))
            for message, found in zip(messages, opened, strict=False):
                group.take(message, found)
            for entry in group.entries.values():
                if entry.lane.runs:
                    self._watermarks.save(entry)
            for sink in self._sinks:
                start_ns = self._clock.wall_ns()
                sink.write(transaction, group.fresh)
                writing.append((_name_of(sink), Stretch(start_ns, self._clock.wall_ns())))
            for sink in self._sinks:
                sink.sync()
        if self._traces is not None:
            headers = [batch.header for batch in batches(group.fresh)]
            now_ns = self._clock.wall_ns()
            self._traces.committed(headers, Stretch(began_ns, now_ns), Stretch(commit_ns, now_ns), writing)
        return group.outcome

    def bury(self, message: Message, detail: str) -> Outcome:
        """Keep a message as a dead letter that no database takes as what it is. Raises `StoreError`."""
        with self._watermarks.transaction():
            self._watermarks.bury(self._clock.wall_ns(), message.topic, _UNSTORABLE, detail, message.payload)
        return Outcome(messages=1, decided={f"rejected.{_UNSTORABLE}": 1})

    def _opened(self, messages: Sequence[Message]) -> list[DecodedBatch | Gap | BatchError]:
        opened: list[DecodedBatch | Gap | BatchError] = []
        readings = 0
        for message in messages:
            found = self._open(message)
            opened.append(found)
            if isinstance(found, DecodedBatch):
                readings += found.header.readings
            if readings >= GROUP_READINGS_MAX:
                break
        return opened

    def _open(self, message: Message) -> DecodedBatch | Gap | BatchError:
        try:
            found = decode(message.payload)
        except BatchError as error:
            return error
        identity, counts = (found.header.id, found.header) if isinstance(found, DecodedBatch) else (found, found)
        if counts.readings_before + counts.readings > _INT64_MAX:
            return BatchError("the readings counted so far do not fit 64 bits", reason=_COUNT_TOO_LARGE)
        if message.topic != wire.batch_topic(self._topic_prefix, identity.node, identity.lane):
            fault = f"the envelope names node {identity.node!r} and lane {identity.lane!r}, the topic does not"
            return BatchError(fault, reason=_FORGED)
        return found


def _name_of(sink: Sink) -> str:
    return type(sink).__name__.removesuffix("Sink").lower()


class _Group:
    """The work on one group inside its transaction."""

    def __init__(self, watermarks: Store, wall_ns: int) -> None:
        self._watermarks = watermarks
        self._wall_ns = wall_ns
        self.outcome = Outcome()
        self.entries: dict[Lane, Entry] = {}
        self.fresh: list[Taken] = []

    def take(self, message: Message, found: DecodedBatch | Gap | BatchError) -> None:
        """Decide one message and note what it changes."""
        if isinstance(found, BatchError):
            self._bury(message, str(found.facts.get("reason", _NO_BATCH)), found.fault)
            return
        identity = found.header.id if isinstance(found, DecodedBatch) else found
        name = Lane(identity.node, identity.lane, identity.epoch)
        entry = self._entry(name)
        if entry is None:
            self._bury(message, _TOO_MANY_LANES, f"node {name.node} has more lanes and epochs than are kept")
            return
        entry.seen_ns = self._wall_ns
        if isinstance(found, DecodedBatch):
            decision = self._take_batch(entry, found)
            run = (found.header.id.sequence, found.header.id.sequence)
        else:
            decision = self._take_gap(entry, found)
            run = (found.first, found.last)
        if decision.is_written:
            self.fresh.append(Taken(found, message.payload))
        self._count(decision.value)
        if decision.is_durable:
            self.outcome.durable.setdefault(name, []).append(run)
        else:
            self._bury(message, decision.value, _REASONS[decision])

    def _entry(self, name: Lane) -> Entry | None:
        if name not in self.entries:
            entry = self._watermarks.load(*name)
            if entry is None:
                return None
            self.entries[name] = entry
            self._relate(entry)
        return self.entries[name]

    def _take_batch(self, entry: Entry, batch: DecodedBatch) -> Decision:
        lane, header = entry.lane, batch.header
        sequence, content = header.id.sequence, header.hash
        held = self._watermarks.held(entry, sequence) if lane.knows(sequence) else None
        decision = receiver.decide(lane, sequence, content, held)
        if decision is Decision.FRESH:
            receiver.take(lane, sequence, header.readings_before, header.readings)
        elif decision is Decision.RECOVERED:
            assert isinstance(held, Loss)
            remains = receiver.take_back(lane, sequence, header.readings_before, header.readings, held)
            self._watermarks.replace_loss(entry, held, remains)
        elif decision is Decision.DUPLICATE:
            lane.duplicates += 1
        elif decision is Decision.FORK:
            lane.forks += 1
        if decision.is_written:
            self._watermarks.keep_hash(entry, sequence, content)
            self.outcome.readings += header.readings
            self._relate(entry)
            if sequence > entry.ledger_sequence:
                entry.ledger, entry.ledger_sequence = header.ledger, sequence
        return decision

    def _take_gap(self, entry: Entry, gap: Gap) -> Decision:
        decision = receiver.decide_gap(entry.lane, gap)
        if decision is Decision.FRESH:
            self._watermarks.replace_loss(entry, None, receiver.take_gap(entry.lane, gap))
            self._relate(entry)
        elif decision is Decision.DUPLICATE:
            entry.lane.duplicates += 1
        return decision

    def _relate(self, entry: Entry) -> None:
        """Let epochs of one lane know of each other while they are in this group and not in the store."""
        mine = entry.lane
        for other in (held.lane for held in self.entries.values()):
            if (other.node, other.name) != (mine.node, mine.name) or other is mine:
                continue
            older, newer = (mine, other) if mine.epoch < other.epoch else (other, mine)
            if older.runs:
                newer.is_oldest = False
            if newer.runs:
                reach = newer.runs[0].first
                older.barrier = reach if older.barrier is None else min(older.barrier, reach)

    def _bury(self, message: Message, reason: str, detail: str) -> None:
        self._watermarks.bury(self._wall_ns, message.topic, reason, detail, message.payload)
        self._count(f"rejected.{reason}")

    def _count(self, name: str) -> None:
        self.outcome.decided[name] = self.outcome.decided.get(name, 0) + 1


def _nodes(opened: Sequence[DecodedBatch | Gap | BatchError]) -> set[str]:
    """Return the names of the nodes that anything is said of."""
    return {
        one.header.id.node if isinstance(one, DecodedBatch) else one.node
        for one in opened
        if not isinstance(one, BatchError)
    }
