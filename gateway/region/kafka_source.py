"""Batches from a topic of Apache Kafka, by a consumer group: the receivers of one group divide its partitions.

Stands where the MQTT session stands (`gateway.transport.subscriber`): hands over what arrives, and is told what may be
acknowledged, which commits the offsets behind it. The store comes first, the offset after it, so a crash in between
brings messages again and the watermarks tell. Nobody keeps a place but the store and the group: a receiver on
PostgreSQL may be started and stopped anywhere. There is no way back to the nodes: they count on the broker's word.

The library works in threads; one thread here polls it. At most `waiting_max` messages are handed over and not yet
acknowledged: then partitions are paused, and polling goes on, so that the group keeps its member.

A record's key must be the node, and its header `ce_subject` the lane, as our nodes send them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from gateway import redaction
from gateway.errors import CredentialError, GatewayError
from gateway.transport import wire
from gateway.transport.backoff import Backoff
from gateway.transport.credentials import Credentials
from gateway.transport.kafka_client import Reasons, client_settings

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from confluent_kafka import KafkaError
    from confluent_kafka import Message as Record

    from gateway.config import schema

log = logging.getLogger(__name__)

STABLE_S: Final = 30.0
CREDENTIALS_S: Final = 2.0
"""Time between two looks at the files."""
SESSION_MS: Final = 10_000
"""Silence after which the group gives a receiver's partitions to others."""

_POLL_S: Final = 0.2
_AT_ONCE: Final = 100
_LANE: Final = "ce_subject"


class Packet(NamedTuple):
    """A record as the receiver takes it; `packet_id` is its number, from 1."""

    topic: str
    payload: bytes
    packet_id: int


class KafkaSource:
    """One member of the group. `on_packets` is called in the loop with itself and what has arrived."""

    def __init__(
        self,
        options: schema.Receiver,
        on_packets: Callable[[Any, list[Any]], None],
        chance: random.Random,
        on_ready: Callable[[Any], None],
    ) -> None:
        self._options = options
        self._on_packets = on_packets
        self._on_ready = on_ready
        self._backoff = Backoff(chance, 1.0, 60.0, STABLE_S)
        self._lock = threading.Lock()
        self._places: dict[int, TopicPartition] = {}
        self._done: dict[tuple[str, int], TopicPartition] = {}
        self._number = 0
        self._is_ending = threading.Event()
        self._fault = ""
        self._was_assigned = False
        self._credentials = credentials_of(options)
        self._reasons = Reasons(options.host, options.usual_port, self._credentials)

    @property
    def connection(self) -> KafkaSource:
        """What is acknowledged to."""
        return self

    @property
    def is_connected(self) -> bool:
        """Whether the group has given us partitions, be it none, and nothing is wrong since."""
        return self._was_assigned and not self._fault

    def publish(self, topic: str, payload: bytes) -> int:
        """Leave the words to the nodes unsaid: they need none."""
        del topic, payload
        return 1

    def acknowledge(self, numbers: Sequence[int]) -> bool:
        """Let the offsets behind these records be committed."""
        with self._lock:
            for number in numbers:
                place = self._places.pop(number)
                self._done[place.topic, place.partition] = place
        return True

    async def run(self) -> None:
        """Consume until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            began_at = loop.time()
            try:
                await self._consume(loop)
                continue  # with new credentials
            except GatewayError as error:
                self._note(error.fault)
            except KafkaException as error:
                self._note(error.args[0].str())
            await asyncio.sleep(self._backoff.next_wait_s(loop.time() - began_at))

    async def _consume(self, loop: asyncio.AbstractEventLoop) -> None:
        connected = await loop.run_in_executor(None, connection, self._options, self._credentials)
        settings = {**connected, **consuming(self._options)}
        self._is_ending.clear()
        work = loop.run_in_executor(None, self._poll, settings, loop)
        watching = asyncio.create_task(self._watch_credentials(loop), name="Kafka: credentials")
        try:
            await asyncio.shield(work)
        finally:
            watching.cancel()
            self._is_ending.set()
            with contextlib.suppress(asyncio.CancelledError):
                await work

    async def _watch_credentials(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the consumer when the files have changed: the library uses what it was made with for ever."""
        # Files tell nobody that they changed.
        while not await loop.run_in_executor(None, self._credentials.have_changed):  # noqa: ASYNC110
            await asyncio.sleep(CREDENTIALS_S)
        log.info("Kafka: new credentials, connecting anew")
        self._is_ending.set()

    def _poll(self, settings: dict[str, Any], loop: asyncio.AbstractEventLoop) -> None:
        """Consume until the end, in a thread of its own; offsets of what was acknowledged are committed on the way."""
        try:
            consumer = Consumer({**settings, "error_cb": lambda error: self._on_error(loop, error)})
        except KafkaException as error:
            raise CredentialError(f"the Kafka client cannot be set up: {error.args[0].str()}") from error
        assigned = threading.Event()

        def on_assign(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            consumer.incremental_assign(partitions)
            assigned.set()
            loop.call_soon_threadsafe(self._is_assigned)

        is_paused = False
        try:
            consumer.subscribe([self._options.kafka.topic], on_assign=on_assign)
            while not self._is_ending.is_set():
                room = self._options.receive_maximum - len(self._places)
                if room <= 0 or is_paused:
                    # Partitions that were assigned meanwhile run, so all are told each time.
                    (consumer.pause if room <= 0 else consumer.resume)(consumer.assignment())
                    is_paused = room <= 0
                records = consumer.consume(max(1, min(room, _AT_ONCE)), _POLL_S)
                packets = [packet for packet in map(self._taken, records) if packet is not None]
                if packets:
                    self._fault = ""
                    loop.call_soon_threadsafe(self._on_packets, self, packets)
                self._commit(consumer)
        finally:
            if not self._fault:  # else nobody would answer for long; the records come again, and the watermarks tell
                self._commit(consumer)
            consumer.close()

    def _taken(self, record: Record) -> Packet | None:
        error = record.error()
        if error is not None:
            log.warning("Kafka: %s", error.str())
            return None
        place = TopicPartition(record.topic() or "", record.partition() or 0, (record.offset() or 0) + 1)
        with self._lock:
            self._number += 1
            self._places[self._number] = place
            return Packet(topic_of(record, self._options.topic_prefix), record.value() or b"", self._number)

    def _commit(self, consumer: Consumer) -> None:
        with self._lock:
            places, self._done = list(self._done.values()), {}
        if places:
            try:
                consumer.commit(offsets=places, asynchronous=False)
            except KafkaException as error:
                # The records come again to whoever has the partition now; the watermarks tell.
                log.warning("Kafka: offsets cannot be committed: %s", error.args[0].str())

    def _on_error(self, loop: asyncio.AbstractEventLoop, error: KafkaError) -> None:
        fault = self._reasons.of(error)
        if fault:
            loop.call_soon_threadsafe(self._note, fault)

    def _is_assigned(self) -> None:
        self._was_assigned = True
        self._fault = ""
        self._on_ready(self)

    def _note(self, fault: str) -> None:
        if fault != self._fault:
            log.warning("Kafka: %s (the receiver tries again by itself)", fault)
        self._fault = fault


def credentials_of(options: schema.Receiver) -> Credentials:
    """Return the files that say who the receiver is at the cluster."""
    return Credentials(options.tls_ca, options.tls_certificate, options.tls_key, options.kafka.password_file)


def connection(options: schema.Receiver, credentials: Credentials) -> dict[str, Any]:
    """Return how a client of the library reaches the cluster. Reads files; raises `CredentialError`."""
    kafka = options.kafka
    files = credentials.pem_files()
    password = ""
    if kafka.password_file:
        try:
            password = Path(kafka.password_file).read_text("utf-8").rstrip("\r\n")
            redaction.learn(password.encode())
        except (OSError, ValueError) as error:
            raise CredentialError(f"cannot read {kafka.password_file}: {error}") from error
    servers = [f"{options.host}:{options.usual_port}", *kafka.servers]
    return client_settings(servers, files, kafka.sasl if kafka.username else "", kafka.username, password)


def consuming(options: schema.Receiver) -> dict[str, Any]:
    """Return what a member of the group is set up with besides."""
    return {
        "client.id": f"edge-region-{options.name}",
        "group.id": options.share_group,
        "session.timeout.ms": SESSION_MS,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "isolation.level": "read_committed",
        "partition.assignment.strategy": "cooperative-sticky",
        "fetch.message.max.bytes": options.batch_bytes_max,
        "fetch.max.bytes": max(options.batch_bytes_max, 16 << 20),
        "queued.max.messages.kbytes": max(options.batch_bytes_max >> 10, 16 << 10),
    }


def topic_of(record: Record, prefix: str) -> str:
    """Return the MQTT topic that a batch would have come on: the node is the key, the lane a header."""
    node = as_bytes(record.key()).decode(errors="replace")
    lane = as_bytes(dict(record.headers() or ()).get(_LANE)).decode(errors="replace")
    return wire.batch_topic(prefix, node, lane)


def as_bytes(value: object) -> bytes:
    """Return what the library gives as bytes, text or nothing."""
    return value if isinstance(value, bytes) else str(value or "").encode()
