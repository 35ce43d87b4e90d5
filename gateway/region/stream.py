"""A receiver that keeps nothing: from a topic of Kafka to another one of the same cluster, each reading once.

    batches ─▶ consumer group ─▶ intake ─▶ events, dead letters, changes of state, offsets: one transaction of Kafka

What is known of the nodes of a partition lies in the same partition of a compacted topic (`state_topic`) and, while the
partition is ours, in memory (`PartitionState`). Whoever gets the partition next reads it back first. The transaction
carries the generation of the group, so a receiver that was thought dead cannot write after its partitions have gone to
another; and offsets are asked for only once no transaction on them is open, the state only after that.

Everything happens in one thread, one transaction after the other; a rebalance happens between two. Whatever fails ends
the session, memory and all, and the next one begins where the last committed transaction ended: so there is one way
back, and it is used at each start. What the cluster finds too large for its topic becomes a dead letter: the session
that hears so ends, the next one begins at once and knows.

Source: KIP-98 (transactions), KIP-447 (fencing by the group); librdkafka's "Transactional Producer API".
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource  # type: ignore[attr-defined]  # it is said not to be there

from gateway.errors import GatewayError, LinkError
from gateway.events import cloud_event
from gateway.events.choice import encoding
from gateway.events.cloud_event import Shape
from gateway.region import kafka_source
from gateway.region.intake import Intake, Message
from gateway.region.kafka_state import read_state
from gateway.region.partition_state import Buried, PartitionState
from gateway.transport import kafka_client
from gateway.transport.address import Address
from gateway.transport.backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable, Sequence

    from confluent_kafka import KafkaError
    from confluent_kafka import Message as Record

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.region.sink import Taken
    from gateway.transport import contract

log = logging.getLogger(__name__)

STABLE_S: Final = 30.0
ANSWER_S: Final = 30.0
"""Longest wait for the cluster within a transaction."""
TRANSACTION_S: Final = 60.0
"""Age at which the cluster ends a transaction whose receiver hangs."""
READINGS_MAX: Final = 100_000
"""Readings after which a transaction takes no more batches."""
SET_BYTES_MAX: Final = 64 * 1024
DEAD_BYTES_MAX: Final = 100 * 1000
"""Most of a dead letter that is kept: any topic takes that."""
SAID_MAX: Final = 500
"""Most characters of what is said of it; some is what a stranger wrote, such as the key of a record."""
IDLE_MS: Final = 5000

_POLL_S: Final = 0.2
_AT_ONCE: Final = 200
_IN_ONE_GO: Final = 16
_SMALLER: Final = 16
_DEAD: Final = "too_large"
_TOO_LARGE: Final = frozenset({"MSG_SIZE_TOO_LARGE", "RECORD_LIST_TOO_LARGE"})


class _TooLargeError(LinkError):
    """What is too large was learned; the next session takes that into account."""


class _Fresh:
    """A sink that only remembers what it was given."""

    def __init__(self) -> None:
        self._taken: list[Taken] = []

    def prepare(self, transaction: object) -> None:
        """Do nothing."""

    def write(self, transaction: object, taken: Sequence[Taken]) -> None:
        del transaction
        self._taken += taken

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def drain(self) -> list[Taken]:
        found, self._taken = self._taken, []
        return found


class _Partition:
    """One partition that is ours."""

    def __init__(self, clock: Clock, prefix: str) -> None:
        self.state = PartitionState()
        self.fresh = _Fresh()
        self.intake = Intake(self.state, [self.fresh], clock, prefix)


class Stream:
    """One receiver. `counts` are since the start."""

    def __init__(self, options: schema.Receiver, clock: Clock, chance: random.Random) -> None:
        self.options = options
        self.clock = clock
        self.counts = {"messages": 0, "readings": 0, "groups": 0, "shed": 0}
        self.too_large: dict[str, str] = {}
        self.set_bytes_max = SET_BYTES_MAX
        self.is_ending = threading.Event()
        self.credentials = kafka_source.credentials_of(options)
        self._reasons = kafka_client.Reasons(options.host, options.usual_port, self.credentials)
        sink = options.kafka.sink
        self.shape = Shape(encoding(sink.events), sink.events.of == "reading", sink.events.mode == "binary")
        self._registry = kafka_client.registry(sink.registry, sink.events.encoding, options.tls_ca, options.name)
        self._backoff = Backoff(chance, 1.0, 60.0, STABLE_S)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ready: Callable[[], None] | None = None
        self._fault = ""

    async def run(self, ready: Callable[[], None]) -> None:
        """Receive until `stop`; `ready` is called when the group has given us partitions, be it none."""
        self._ready, self._loop = ready, asyncio.get_running_loop()
        work = self._loop.run_in_executor(None, self._work)
        try:
            await asyncio.shield(work)
        finally:
            self.is_ending.set()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    def stop(self) -> None:
        """Let `run` end after the transaction in hand."""
        self.is_ending.set()

    def status(self) -> dict[str, object]:
        """Return what has been done since the start."""
        readings = {"kafka": self.counts["readings"]}
        return {"fault": self._fault, "connected": not self.unready(), "counts": self.counts, "sinks": readings}

    def unwell(self) -> str:
        """Return nothing: what fails is begun anew by itself."""
        return ""

    def marks(self) -> dict[str, Hashable | None]:
        """Return nothing: all that its thread does is to wait for Kafka, with bounds of its own."""
        return {}

    def unready(self) -> str:
        """Return why nothing is taken in now; empty when it is."""
        if self.is_ending.is_set():
            return "stopping"
        return self._fault or ("" if self._ready is None else "the group has given us no partitions yet")

    def close(self) -> None:
        """Do nothing: what is ours ends with `run`."""

    def is_assigned(self) -> None:
        """Hear that the group has given us partitions."""
        self._fault = ""
        ready, self._ready = self._ready, None
        if ready is not None and self._loop is not None:
            self._loop.call_soon_threadsafe(ready)

    def on_error(self, error: KafkaError) -> None:
        """Hear what the library says of its connections."""
        self.note(self._reasons.of(error))

    def note(self, fault: str) -> None:
        """Log a fault unless it is the same again."""
        if not fault:
            return
        if fault != self._fault:
            log.warning("Kafka: %s (the receiver tries again by itself)", fault)
        self._fault = fault

    def begin(self, topic: str) -> bytes:
        """Return what a payload for the topic begins with: a schema's number, where there is a registry."""
        if self._registry is None:
            return b""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(self._registry.begin(topic), self._loop).result(ANSWER_S)

    def _work(self) -> None:
        while not self.is_ending.is_set():
            began_at = time.monotonic()
            try:
                with contextlib.closing(_Session(self)) as session:
                    session.run()
                continue  # with new credentials
            except _TooLargeError as error:
                log.info("Kafka: %s", error.fault)
                continue
            except GatewayError as error:
                self.note(str(error))
            except KafkaException as error:
                self.note(error.args[0].str())
            if not self.is_ending.is_set():
                self.is_ending.wait(self._backoff.next_wait_s(time.monotonic() - began_at))


class _Session:
    """One member of the group with its producer, until anything fails."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        options, sink = stream.options, stream.options.kafka.sink
        self._topic = Address(sink.topic)
        self._set_bytes_max = stream.set_bytes_max
        self._failed = ""
        self._has_learned = False
        self._given_up: list[str] = []
        self._partitions: dict[int, _Partition] = {}
        self._waiting: dict[int, list[Record]] = {}
        self._settings = kafka_source.connection(options, stream.credentials)
        shared = {**self._settings, "error_cb": stream.on_error}
        self._producer = Producer({**shared, **_producing(stream)})
        self._consumer = Consumer({**shared, **kafka_source.consuming(options)})

    def run(self) -> None:
        """Work until the end or new credentials. Raises `LinkError`, `StoreError`, `KafkaException`."""
        stream, options = self._stream, self._stream.options
        self._look_at_topics()
        self._producer.init_transactions(ANSWER_S)
        self._consumer.subscribe(
            [options.kafka.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        looked_at = time.monotonic()
        while not stream.is_ending.is_set():
            if time.monotonic() - looked_at >= kafka_source.CREDENTIALS_S:
                looked_at = time.monotonic()
                if stream.credentials.have_changed():
                    log.info("Kafka: new credentials, connecting anew")
                    return
            # Something is asked for each time: that is when the group says what has changed.
            records = self._consumer.consume(*((1, 0.0) if self._waiting else (_AT_ONCE, _POLL_S)))
            for record in records:
                error = record.error()
                if error is None:
                    # It may have been collected right before its partition was taken from us.
                    if record.partition() in self._partitions:
                        self._waiting.setdefault(record.partition() or 0, []).append(record)
                elif not error.retriable():
                    raise LinkError(error.str())
            if self._waiting:
                self._take()

    def close(self) -> None:
        """Leave the group."""
        try:
            self._consumer.close()
        except KafkaException as error:
            self._stream.note(error.args[0].str())
        # What the producer still holds belongs to no transaction that will be committed.
        self._producer.purge(blocking=False)

    def _take(self) -> None:
        """Bring what waits, or as much as one transaction takes, from the one topic to the others."""
        stream = self._stream
        self._producer.begin_transaction()
        offsets, messages, readings = [], 0, 0
        for number in list(self._waiting):
            if readings >= READINGS_MAX:
                break
            group = self._waiting.pop(number)
            taken, found = self._take_partition(self._partitions[number], group)
            messages, readings = messages + taken, readings + found
            if taken < len(group):
                self._waiting[number] = group[taken:]
            last = group[taken - 1]
            offsets.append(TopicPartition(last.topic() or "", number, (last.offset() or 0) + 1))
            self._write_state(number)
        self._flush()
        self._producer.send_offsets_to_transaction(offsets, self._consumer.consumer_group_metadata(), ANSWER_S)
        self._producer.commit_transaction(ANSWER_S)
        for identity in self._given_up:
            stream.too_large.pop(identity, None)
        self._given_up.clear()
        stream.counts["groups"] += 1
        stream.counts["messages"] += messages
        stream.counts["readings"] += readings

    def _take_partition(self, partition: _Partition, group: Sequence[Record]) -> tuple[int, int]:
        """Return how many of these records were taken, at least one, and how many readings."""
        prefix = self._stream.options.topic_prefix
        taken = readings = 0
        while taken < len(group) and readings < READINGS_MAX:
            some = group[taken : taken + _IN_ONE_GO]
            messages = [Message(kafka_source.topic_of(one, prefix), one.value() or b"") for one in some]
            outcome = partition.intake.take(messages)
            taken, readings = taken + outcome.messages, readings + outcome.readings
            self._write_events(partition)
        return taken, readings

    def _write_state(self, number: int) -> None:
        state, sink = self._partitions[number].state, self._stream.options.kafka.sink
        for key, value in state.changes():
            self._produce(sink.state_topic, value, key, number)
        for letter in state.buried():
            self._bury(letter)

    def _write_events(self, partition: _Partition) -> None:
        stream = self._stream
        for taken in partition.fresh.drain():
            for message in cloud_event.messages(taken.found, stream.shape):
                reason = stream.too_large.get(message.id)
                if reason is not None:
                    self._given_up.append(message.id)
                    self._bury(Buried(message.id, _DEAD, reason, message.payload))
                    continue
                topic = self._topic(message)
                payload = stream.begin(topic) + message.payload
                headers = kafka_client.headers(message)
                self._produce(topic, payload, message.key.encode(), headers=headers, message=message)

    def _bury(self, letter: Buried) -> None:
        said = {"reason": letter.reason, "detail": letter.detail, "topic": letter.topic}
        log.warning("not taken (%s), see the topic of dead letters: %s", letter.reason, letter.detail)
        headers = [(name, text[:SAID_MAX].encode()) for name, text in said.items()]
        topic = self._stream.options.kafka.sink.dead_letter_topic
        self._produce(topic, letter.payload[:DEAD_BYTES_MAX], None, headers=headers)

    def _produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        partition: int = -1,
        *,
        headers: Sequence[tuple[str, str | bytes | None]] = (),
        message: contract.Message | None = None,
    ) -> None:
        def on_delivery(error: KafkaError | None, _: Record) -> None:
            if error is not None:
                self._failed = self._failed or f"topic {topic}: {error.str()}"
                if message is not None:
                    self._refused(message, error)

        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=on_delivery, headers=[*headers])
            except BufferError:
                self._producer.poll(_POLL_S)
                self._check()
            else:
                return

    def _check(self) -> None:
        if self._failed:
            kind = _TooLargeError if self._has_learned else LinkError
            raise kind(f"the cluster does not take a record: {self._failed}")

    def _flush(self) -> None:
        """Wait until the cluster has everything; `LinkError` as soon as it refuses anything."""
        give_up_at = time.monotonic() + ANSWER_S
        while self._producer.flush(_POLL_S) and not self._failed:
            if time.monotonic() >= give_up_at:
                raise LinkError(f"the cluster has not taken everything within {ANSWER_S:.0f} s")
        self._check()

    def _refused(self, message: contract.Message, error: KafkaError) -> None:
        """Note what is too large for its topic. The transaction fails, and the next one takes that into account."""
        if error.name() not in _TOO_LARGE:
            return
        self._has_learned, stream = True, self._stream
        if len(message.payload) < self._set_bytes_max:
            # It may have been refused because of those it went with.
            stream.set_bytes_max = max(1, self._set_bytes_max // _SMALLER)
        else:
            stream.too_large[message.id] = error.str()

    def _look_at_topics(self) -> None:
        kafka = self._stream.options.kafka
        found = self._consumer.list_topics(timeout=ANSWER_S).topics
        needed = [kafka.topic, kafka.sink.state_topic, kafka.sink.dead_letter_topic]
        if "{" not in kafka.sink.topic:
            needed.append(kafka.sink.topic)
        for topic in needed:
            if topic not in found:
                raise LinkError(f"the topic {topic!r} does not exist: make it")
        wanted, there = (len(found[topic].partitions) for topic in needed[:2])
        if there < wanted:
            raise LinkError(f"the topic {needed[1]!r} has {there} partitions and {needed[0]!r} has {wanted}: add some")
        if _policy(self._settings, kafka.sink.state_topic) not in ("compact", ""):
            fault = f"the topic {kafka.sink.state_topic!r} forgets what is old, and with it which batches have come"
            raise LinkError(fault, hint="set its cleanup.policy to compact")

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        options = self._stream.options
        # Only once no transaction on them is open; what is read after that is all that was committed before.
        places = consumer.committed(partitions, TRANSACTION_S + ANSWER_S) if partitions else []
        for place in places:
            if place.error is not None:
                raise LinkError(f"the group's offset cannot be read: {place.error.str()}")
            made = _Partition(self._stream.clock, options.topic_prefix)
            made.state.restore(read_state(self._settings, options.kafka.sink.state_topic, place.partition))
            self._partitions[place.partition] = made
        consumer.incremental_assign(places)
        self._stream.is_assigned()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for place in partitions:
            partition = self._partitions.pop(place.partition, None)  # an assignment may have failed half-way
            if partition is not None:
                partition.state.close()
            self._waiting.pop(place.partition, None)
        consumer.incremental_unassign(partitions)


def _policy(settings: dict[str, Any], topic: str) -> str:
    """Return the cleanup policy of a topic; empty where we may not ask."""
    client = AdminClient(settings)
    (answer,) = client.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
    try:
        found = answer.result(ANSWER_S).get("cleanup.policy")
    except (KafkaException, TimeoutError):
        return ""
    return "" if found is None else str(found.value)


def _producing(stream: Stream) -> dict[str, Any]:
    options = stream.options
    return {
        "client.id": f"edge-region-{options.name}",
        "transactional.id": f"edge-region-{options.share_group}-{options.name}",
        "transaction.timeout.ms": round(TRANSACTION_S * 1000),
        "partitioner": "murmur2_random",
        "compression.type": options.kafka.sink.compression,
        "linger.ms": 5,
        # The library (2.16) may wait for a coordinator that is gone until any connection changes its state, whatever
        # timeout it is given (its issues 5456 and 5511); connections that are closed when idle bound that.
        "connections.max.idle.ms": IDLE_MS,
        "batch.size": stream.set_bytes_max,
        "message.max.bytes": 10**9,
    }
