"""A region behind Apache Kafka: an idempotent producer, acknowledged by all replicas in sync.

The key of a message is its node or series, and chooses the partition as Java's clients do (murmur2), so the order of a
key is the order of the calls. Attributes travel as headers `ce_<name>`, the type of content as `content-type`. Within
one link the producer writes each message once; what is sent again over the next link is told by its identity.

The library (librdkafka) works in threads of its own and connects to brokers as it likes: a link here is one producer.
It ends when no broker can be reached, when the library gives up, or when nothing moves for `silence_s` while something
waits. One thread a link fetches the library's answers; nobody waits for it to end.

Source: CloudEvents Kafka Protocol Binding 1.0.2; librdkafka's INTRODUCTION.md and CONFIGURATION.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Final

import msgspec
from confluent_kafka import KafkaException, Producer

from gateway.errors import CredentialError, LinkError
from gateway.transport.address import Address
from gateway.transport.contract import Refusal
from gateway.transport.counted import SEGMENT_OVERHEAD_BYTES
from gateway.transport.kafka_client import NO_BROKER, Reasons, client_settings, headers, registry
from gateway.transport.subscriber import password_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from confluent_kafka import KafkaError
    from confluent_kafka import Message as Produced

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials
    from gateway.transport.schema_registry import SchemaRegistry

CONNECT_S: Final = 10.0
SET_BYTES_MAX: Final = 512 * 1024
"""Bytes of messages that go together, so that what a broker finds too large is a single message.

A topic that takes less refuses sets of messages that it would take one by one: then smaller ones are made.
"""
QUEUE_MESSAGES_MAX: Final = 4000

_POLL_S: Final = 0.1
_ASK_S: Final = 1.0
_FULL_S: Final = 0.002
_RATE_S: Final = 1.0
_AT_ONCE_BYTES: Final = 64 * 1024
_SEGMENT_BYTES: Final = 1400
_REQUEST_OVERHEAD_BYTES: Final = 2 * (SEGMENT_OVERHEAD_BYTES + 22)
"""Of a request: a TCP segment that is not full, its acknowledgement, and a TLS 1.3 record (RFC 8446, section 5.2)."""
_NS: Final = 10**9
_SMALLER: Final = 16
_REFUSED: Final = {
    "MSG_SIZE_TOO_LARGE": "it exceeds the topic's max.message.bytes",
    "RECORD_LIST_TOO_LARGE": "it exceeds the topic's segment.bytes",
    "INVALID_RECORD": "the broker calls it invalid",
    "POLICY_VIOLATION": "it breaks a policy of the broker",
}
_UNKNOWN: Final = {"UNKNOWN_TOPIC_OR_PART", "_UNKNOWN_TOPIC", "_UNKNOWN_PARTITION"}
_ENDING: Final = {NO_BROKER, "_AUTHENTICATION"}


class _Moved(msgspec.Struct):
    """What the library counts over all its connections, as far as it matters here: requests and bytes."""

    tx: int = 0
    rx: int = 0
    tx_bytes: int = 0
    rx_bytes: int = 0


class _Run:
    """Messages of one call. `answers` are filled in the library's order; `done` is set after the last one."""

    def __init__(self, count: int) -> None:
        self.answers: list[KafkaError | None] = [None] * count
        self.left = count
        self.done = asyncio.Event()


class KafkaLink:
    """One producer; see `contract.Link`."""

    def __init__(
        self, settings: dict[str, Any], topic: str, silence_s: float, registry: SchemaRegistry | None = None
    ) -> None:
        self.set_bytes_max: int = settings["batch.size"]
        self._topic = Address(topic)
        self._registry = registry
        self._silence_s = silence_s
        self._loop = asyncio.get_running_loop()
        self._failed: asyncio.Future[None] = self._loop.create_future()
        self._turn = asyncio.Lock()
        self._moved = _Moved()
        self._moved_at = self._loop.time()
        self._waiting_bytes = 0
        self._delivered: deque[tuple[float, int]] = deque()
        self._delivered_bytes = 0
        self._changed = asyncio.Event()
        self._fault = ""
        self._is_ending = threading.Event()
        callbacks = {"error_cb": self._on_error, "stats_cb": self._on_statistics}
        try:
            self._producer = Producer({**settings, **callbacks})
        except KafkaException as error:
            raise CredentialError(f"the Kafka client cannot be set up: {error.args[0].str()}") from error
        threading.Thread(target=self._fetch_answers, args=(self._producer,), name="kafka", daemon=True).start()

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Produce in order, and wait until all replicas in sync have each, or a broker has refused it."""
        run = _Run(len(messages))
        async with self._turn:
            for position, message in enumerate(messages):
                await self._produce(run, position, message)
        while run.left:
            run.done.clear()
            await self._settle(run.done)
        refusals = []
        for position, error in enumerate(run.answers):
            if error is not None:
                refusals.append(self._refusal(position, error, len(messages[position].payload)))
        return refusals

    async def ready(self) -> None:
        """Wait until what is on its way is no more than the cluster takes in a second."""
        while self._waiting_bytes > max(_AT_ONCE_BYTES, self._rate()):
            self._changed.clear()
            await self._settle(self._changed)
        self._check()

    async def words(self) -> AsyncIterator[bytes]:
        """Yield nothing, until the link fails: there is no way back from a receiver."""
        await asyncio.shield(self._failed)
        yield b""

    async def probe(self) -> None:
        """Ask a broker for the topics."""
        await self.ask("")

    def traffic(self) -> int:
        """Return the bytes moved so far: the library's count each second, with the headers of TLS, TCP and IP on top.

        The library opens its sockets itself, so what the kernel sent again is not in it.
        """
        moved = self._moved
        plain = moved.tx_bytes + moved.rx_bytes
        return (
            plain + plain // _SEGMENT_BYTES * SEGMENT_OVERHEAD_BYTES + (moved.tx + moved.rx) * _REQUEST_OVERHEAD_BYTES
        )

    async def ask(self, topic: str) -> None:
        """Return when a broker has described a topic, or all; `LinkError` when none answers or the topic is unknown."""
        give_up_at = self._loop.time() + CONNECT_S
        while True:
            self._check()
            try:
                found = await self._loop.run_in_executor(None, self._list_topics, topic)
                break
            except KafkaException as error:
                if self._loop.time() >= give_up_at:
                    raise LinkError(f"no broker answers: {self._fault or error.args[0].str()}") from error
        described = found.topics.get(topic)
        if described is not None and described.error is not None:
            raise LinkError(f"the topic {topic!r} cannot be used: {described.error.str()}")

    def end(self) -> None:
        """Let go; the library's threads end by themselves."""
        self._is_ending.set()
        self._fail(LinkError("the link was closed"))

    async def _produce(self, run: _Run, position: int, message: Message) -> None:
        def on_delivery(error: KafkaError | None, _: Produced) -> None:
            self._call(self._answered, run, position, size, error)

        topic, key, payload = self._topic(message), message.key.encode(), message.payload
        if self._registry is not None:
            payload = await self._registry.begin(topic) + payload
        size = len(payload)
        said = headers(message)
        while True:
            self._check()
            try:
                self._producer.produce(topic, payload, key, headers=said, on_delivery=on_delivery)
            except BufferError:
                await asyncio.sleep(_FULL_S)
            except KafkaException as error:
                self._waiting_bytes += size
                self._answered(run, position, size, error.args[0])
                return
            else:
                if not self._waiting_bytes:
                    self._moved_at = self._loop.time()
                self._waiting_bytes += size
                return

    def _answered(self, run: _Run, position: int, size: int, error: KafkaError | None) -> None:
        now = self._loop.time()
        self._moved_at = now
        self._waiting_bytes -= size
        self._delivered.append((now, size))
        self._delivered_bytes += size
        self._changed.set()
        run.answers[position] = error
        run.left -= 1
        if not run.left:
            run.done.set()

    def _refusal(self, position: int, error: KafkaError, size: int) -> Refusal:
        """Return why a message is refused; `LinkError` where the answer is not about the message, or not surely."""
        reason = _REFUSED.get(error.name())
        if reason is None:
            fault = "the topic does not exist: make it" if error.name() in _UNKNOWN else error.str()
            raise LinkError(f"the region's broker did not take a message: {fault}")
        if size < self.set_bytes_max:
            self.set_bytes_max = max(1, self.set_bytes_max // _SMALLER)
            raise LinkError(f"a set of messages was refused, {reason} ({error.str()}): smaller ones are sent now")
        return Refusal(position, f"{reason} ({error.str()})")

    def _rate(self) -> int:
        """Return the bytes that were delivered in the last second."""
        too_old = self._loop.time() - _RATE_S
        while self._delivered and self._delivered[0][0] < too_old:
            self._delivered_bytes -= self._delivered.popleft()[1]
        return self._delivered_bytes

    async def _settle(self, event: asyncio.Event) -> None:
        """Wait for an event; `LinkError` when the link fails, or nothing moves any more."""
        waiting = self._loop.create_task(event.wait())
        try:
            await asyncio.wait((waiting, self._failed), timeout=_ASK_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._waiting_bytes and self._loop.time() - self._moved_at >= self._silence_s:
            reason = self._fault or "nothing was acknowledged, and nothing moved"
            self._fail(LinkError(f"the region took nothing for {self._silence_s:g} s: {reason}"))
        self._check()

    def _check(self) -> None:
        if self._failed.done():
            self._failed.result()

    def _fail(self, error: LinkError) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # nobody may be waiting, and that is no fault of its own

    def _list_topics(self, topic: str) -> Any:  # noqa: ANN401  # the library's
        return self._producer.list_topics(topic or None, timeout=_ASK_S)

    def _on_error(self, error: KafkaError) -> None:
        self._call(self._note, error)

    def _note(self, error: KafkaError) -> None:
        if error.name() != NO_BROKER:
            self._fault = error.str()
        if error.fatal() or error.name() in _ENDING:
            self._fail(LinkError(f"the link to the region ended: {self._fault or error.str()}"))

    def _on_statistics(self, text: str) -> None:
        self._call(self._look, msgspec.json.decode(text, type=_Moved))

    def _look(self, moved: _Moved) -> None:
        if moved.tx_bytes != self._moved.tx_bytes:
            self._moved_at = self._loop.time()
        self._moved = moved

    def _call(self, function: Any, *arguments: object) -> None:  # noqa: ANN401  # any of the above
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits for the answer any more
            self._loop.call_soon_threadsafe(function, *arguments)

    def _fetch_answers(self, producer: Producer) -> None:
        """Let the library call back, until the end; then drop what it still holds, which is sent over the next link."""
        while not self._is_ending.is_set():
            producer.poll(_POLL_S)
        producer.purge(blocking=False)
        producer.poll(0)


class KafkaTransport:
    """Makes links to one region."""

    def __init__(self, region: schema.Peer, node: str, credentials: Credentials) -> None:
        self._region = region
        self._node = node
        self._credentials = credentials
        self._password = password_of(region.password_file)
        self._set_bytes_max = SET_BYTES_MAX
        self._reasons = Reasons(region.host, region.usual_port, credentials)
        self._registry = registry(region.kafka.registry, region.events.encoding, region.tls_ca, region.name)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[KafkaLink]:
        """Make a producer, and look whether a broker answers, and knows the topic where it is the same for all."""
        region, options = self._region, self._region.kafka
        loop = asyncio.get_running_loop()
        files = await loop.run_in_executor(None, self._credentials.pem_files)
        settings = client_settings(
            [f"{region.host}:{region.usual_port}", *options.servers],
            files,
            options.sasl if region.username else "",
            region.username,
            (self._password() or b"").decode(errors="replace") if region.username else "",
        )
        link = KafkaLink({**settings, **self._producing()}, options.topic, region.resend_after_ns / _NS, self._registry)
        is_one = "{" not in options.topic
        try:
            try:
                await link.ask(options.topic if is_one else "")
            except LinkError as error:
                raise LinkError(await loop.run_in_executor(None, self._reasons.of_certificate, error.fault)) from error
            if self._registry is not None and is_one:
                await self._registry.begin(options.topic)
            yield link
        finally:
            self._set_bytes_max = link.set_bytes_max
            link.end()

    def _producing(self) -> dict[str, Any]:
        region, options = self._region, self._region.kafka
        compression = options.compression
        if compression == "auto":
            compression = "zstd" if region.format == "events" else "none"
        return {
            "client.id": f"edge-gateway-{self._node}-{region.name}",
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "compression.type": compression,
            "linger.ms": options.linger_ns / 10**6,
            "batch.size": self._set_bytes_max,
            "message.max.bytes": 10**9,
            "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
            # How long nothing may move is ours to say; the library would give up what merely waits for a slow line.
            "message.timeout.ms": 0,
            "socket.timeout.ms": 300_000,
            "request.timeout.ms": 900_000,
            # What the kernel holds is neither acknowledged nor can be overtaken.
            "socket.send.buffer.bytes": _AT_ONCE_BYTES,
            "statistics.interval.ms": 1000,
        }
