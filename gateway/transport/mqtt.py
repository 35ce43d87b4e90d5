"""A region behind an MQTT 5 broker, over mTLS: batches to the receivers of a share group, and their words back.

    <prefix>/<node>/batch/<lane>   batches and gaps; <prefix>/<node>/event/<lane> for events
    <prefix>/<node>/ack            the receiver's words

The session at the region is kept for `SESSION_EXPIRY_S`, so words that were said while the link was down are read
before anything is sent again. Little waits in the kernel, so what is sent next is decided late.

A link ends as a whole, with the reason: when the broker closes, is silent, or acknowledges nothing for too long
although the line has taken everything. As long as the line takes bytes a slow link
is waited for, however long one message needs. What exceeds the broker's Maximum Packet Size is refused without being
sent: the broker would end the connection at it, each time. So is an event with an attribute that is no text of MQTT
(section 1.5.4: control characters may be, and by mosquitto are, taken for a malformed packet).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Final

import mqtt5

from gateway.errors import GatewayError, LinkError
from gateway.transport import opening, wire
from gateway.transport.connection import Connection
from gateway.transport.contract import Refusal
from gateway.transport.packets import TOO_LARGE
from gateway.transport.subscriber import password_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from gateway.config import schema
    from gateway.transport.contract import Message
    from gateway.transport.credentials import Credentials

SESSION_EXPIRY_S: Final = 86400
WORDS_MAX: Final = 1000
"""Words of receivers that wait to be read; more are let go: what they are about is sent, and said, again."""
WORD_BYTES_MAX: Final = 1 << 20
"""Largest packet that the broker may send us; the longest word has a tenth of it."""
RECEIVE_MAXIMUM: Final = 100
CLOSE_S: Final = 1.0
"""Longest wait for what is unsent at the end of a link; a broker that is gone takes nothing more."""
LOOK_S: Final = 0.25
"""Time between two looks at a line on which something is not acknowledged, as a share of the bound and at most."""

_NS: Final = 10**9
_NO_SUBSCRIBERS: Final = 0x10
_SUCCESS: Final = 0x00
_PACKET_OVERHEAD: Final = 16
"""Fixed header, packet id and length of the properties, at their longest."""
_TEXT_BYTES_MAX: Final = 65_534
_NO_TEXT: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_FOR_GOOD: Final = frozenset({0x90, 0x99})
"""Topic name invalid, payload format invalid: the same message gets the same answer."""


class MqttLink:
    """One connection; see `contract.Link`."""

    def __init__(
        self,
        topic: Callable[[Message], str],
        acknowledged_within_s: float,
        on_unheard: Callable[[], None],
        *,
        is_batch: bool,
        beats_to: str,
    ) -> None:
        self._topic = topic
        self._is_batch = is_batch
        self._beats_to = beats_to
        self._acknowledged_within_s = acknowledged_within_s
        self._on_unheard = on_unheard
        self._connection: Connection | None = None
        self._waiting: dict[int, asyncio.Future[tuple[str, bool]]] = {}
        self._room = asyncio.Event()
        self._turn = asyncio.Lock()
        self._words: asyncio.Queue[bytes] = asyncio.Queue(WORDS_MAX)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._acknowledged_at = 0.0

    async def send(self, messages: Sequence[Message]) -> list[Refusal]:
        """Publish at QoS 1, in order, as the broker's Receive Maximum allows, and wait for the PUBACKs."""
        refusals: list[Refusal] = []
        sent: list[tuple[int, asyncio.Future[tuple[str, bool]]]] = []
        async with self._turn:
            for position, message in enumerate(messages):
                reason = self._too_large(message) or ("" if self._is_batch else _unsayable(message))
                if reason:
                    refusals.append(Refusal(position, reason))
                else:
                    said = {} if self._is_batch else _properties(message)
                    sent.append((position, await self._published(self._topic(message), message.payload, said)))
        for position, future in sent:
            reason, is_final = await future
            if reason:
                refusals.append(Refusal(position, reason, is_final))
        return refusals

    async def ready(self) -> None:
        """Wait until little is unsent."""
        await self._alive().drained()
        self._alive()

    async def words(self) -> AsyncIterator[bytes]:
        """Yield what arrives on the topic that was subscribed to."""
        while True:
            word = asyncio.ensure_future(self._words.get())
            waited: set[asyncio.Future[Any]] = {word, self._failed}
            try:
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
                if not word.done():
                    self._alive()
                yield word.result()
            finally:
                word.cancel()

    async def beat(self, number: int) -> None:
        """Publish a heartbeat at QoS 1. One that the broker does not permit is one that nobody answers."""
        async with self._turn:
            taken = await self._published(self._beats_to, wire.encode_heartbeat(number), {})
        await taken

    async def probe(self) -> None:
        """Wait for the answer to a PINGREQ, as long as for an acknowledgement."""
        connection = self._alive()
        asked_at = asyncio.get_running_loop().time()
        connection.ping()
        while connection.received_at < asked_at:
            self._alive()
            await asyncio.sleep(LOOK_S)

    def traffic(self) -> int:
        """Return the bytes on the line so far."""
        return 0 if self._connection is None else self._connection.traffic()

    def attach(self, connection: Connection) -> None:
        """Work on this connection."""
        self._connection = connection

    def acknowledged(self, packet: mqtt5.PubAckPacket) -> None:
        """Settle what was sent under a packet id."""
        self._acknowledged_at = asyncio.get_running_loop().time()
        self._room.set()
        future = self._waiting.pop(packet.packet_id, None)
        if future is None or future.done():
            return
        code = packet.reason_code.value
        text = packet.reason_str or packet.reason_code.name.lower().replace("_", " ")
        if code == _NO_SUBSCRIBERS:
            self._on_unheard()
        if code in (_SUCCESS, _NO_SUBSCRIBERS):
            future.set_result(("", True))
        else:
            future.set_result((f"the broker refuses it: {text}", code in _FOR_GOOD or packet.reason_str == TOO_LARGE))

    def heard(self, packets: list[mqtt5.PublishPacket]) -> list[int]:
        """Keep what a receiver says as far as there is room; return what is to be acknowledged, which is all."""
        for packet in packets:
            with contextlib.suppress(asyncio.QueueFull):
                self._words.put_nowait(bytes(packet.payload))
        return [packet.packet_id for packet in packets if packet.packet_id]

    def fail(self, error: GatewayError) -> None:
        """End the link: everything that waits raises."""
        if not self._failed.done():
            self._failed.set_exception(error)
            self._failed.exception()  # nobody may be waiting, and that is no fault of its own
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)
                future.exception()
        self._waiting.clear()
        self._room.set()
        if self._connection is not None:
            self._connection.close(error)

    async def watch(self) -> None:
        """Keep the connection alive and the acknowledgements coming, until it ends; then the link has failed."""
        connection = self._alive()
        async with asyncio.TaskGroup() as group:
            silence = group.create_task(self._watch_silence(connection), name="link: silence")
            try:
                await opening.served(connection)
            except GatewayError as error:
                self.fail(LinkError(f"the link to the region ended: {error.fault}"))
            silence.cancel()

    async def _watch_silence(self, connection: Connection) -> None:
        loop = asyncio.get_running_loop()
        bound_s = self._acknowledged_within_s
        while True:
            await asyncio.sleep(min(LOOK_S, bound_s / 4))
            if not self._waiting:
                self._acknowledged_at = loop.time()
            elif loop.time() - max(self._acknowledged_at, connection.taken_at()) > bound_s:
                self.fail(LinkError(f"the region's broker acknowledged nothing for {bound_s:g} s"))

    def _alive(self) -> Connection:
        if self._failed.done():
            self._failed.result()
        assert self._connection is not None
        return self._connection

    async def _published(self, topic: str, payload: bytes, said: dict[str, Any]) -> asyncio.Future[tuple[str, bool]]:
        connection = self._alive()
        while not connection.has_room:
            self._room.clear()
            await self._room.wait()
            self._alive()
        if not self._waiting:
            self._acknowledged_at = asyncio.get_running_loop().time()
        packet_id = connection.publish(topic, payload, **said)
        future: asyncio.Future[tuple[str, bool]] = asyncio.get_running_loop().create_future()
        self._waiting[packet_id] = future
        return future

    def _too_large(self, message: Message) -> str:
        most = self._alive().packet_bytes_max
        size = len(message.payload) + len(self._topic(message).encode()) + _PACKET_OVERHEAD
        return f"its packet of {size} bytes exceeds the broker's maximum of {most}" if 0 < most < size else ""


def _unsayable(message: Message) -> str:
    """Return which attribute no packet may carry; empty when there is none."""
    for name, value in message.attributes.items():
        if len(value.encode(errors="replace")) > _TEXT_BYTES_MAX:
            return f"its attribute {name} is longer than a text of MQTT may be"
        if found := _NO_TEXT.search(value):
            return f"its attribute {name} holds U+{ord(found[0]):04X}, at which brokers may end the connection"
    return ""


def _properties(message: Message) -> dict[str, Any]:
    """Return the properties of an event; of CloudEvents' MQTT protocol binding 1.0.2 for MQTT 5."""
    return {"content_type": message.content_type, "user_properties": list(message.attributes.items())}


class MqttTransport:
    """Makes links to one region. `on_unheard` is called for each message that nobody subscribes to."""

    def __init__(
        self, region: schema.Peer, node: str, credentials: Credentials, on_unheard: Callable[[], None] = lambda: None
    ) -> None:
        self._region = region
        self._node = node
        self._credentials = credentials
        self._on_unheard = on_unheard
        self._password = password_of(region.password_file)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[MqttLink]:
        """Connect, subscribe to the receiver's words, and disconnect in the end."""
        region = self._region
        link = MqttLink(
            self._topic,
            region.resend_after_ns / _NS,
            self._on_unheard,
            is_batch=region.format == "batch",
            beats_to=wire.heartbeat_topic(region.topic_prefix, self._node),
        )
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, self._credentials.context)
        connect = mqtt5.ConnectPacket(
            f"edge-gateway-{self._node}-{region.name}",
            username=region.username or None,
            password=self._password(),
            clean_start=False,
            keep_alive=round(region.keep_alive_ns / _NS),
            session_expiry_interval=SESSION_EXPIRY_S,
            receive_max=RECEIVE_MAXIMUM,
            max_packet_size=WORD_BYTES_MAX,
        )

        def heard(connection: Connection, packets: list[mqtt5.PublishPacket]) -> None:
            connection.acknowledge(link.heard(packets))

        connection = await opening.opened(
            region.host,
            region.usual_port,
            context,
            lambda: Connection(0, connect, heard, on_acknowledged=link.acknowledged),
        )
        link.attach(connection)
        watching: asyncio.Task[None] | None = None
        try:
            topic = wire.acknowledgement_topic(region.topic_prefix, self._node)
            await opening.subscribed(connection, [mqtt5.TopicFilter(topic, max_qos=mqtt5.QoS.AT_LEAST_ONCE)])
            watching = asyncio.create_task(link.watch(), name=f"{region.name}: link")
            yield link
        finally:
            link.fail(LinkError("the link was closed"))
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            await asyncio.wait({connection.closed}, timeout=CLOSE_S)
            connection.abort()

    def _topic(self, message: Message) -> str:
        topic = wire.batch_topic if self._region.format == "batch" else wire.event_topic
        return topic(self._region.topic_prefix, message.node, message.lane)
