"""Publishers that keep books: what the broker has acknowledged to them is what the gateway owes the region.

`PahoSensor` speaks MQTT 3.1.1 or 5 through a client library; `Stream` speaks MQTT 5 from its own thread on a bare
socket with a window of QoS 1 messages in flight, and numbers the messages of each topic 0, 1, 2, …
"""

from __future__ import annotations

import base64
import json
import os
import select
import socket
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Self

import mqtt5
import paho.mqtt.client as paho

from gateway.transport.tls import client_context
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES = 65536
CONNECT_S = 10.0


class PahoSensor:
    """One client of the library; `acknowledged` lists (topic, payload) in order of the broker's PUBACK.

    The library's thread only notes packet ids; the books are kept in the caller's thread, because the library calls
    back under a lock that its `publish` takes too.
    """

    def __init__(
        self,
        port: int,
        client_id: str,
        version: int,
        tls: dict[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        protocol = {4: paho.MQTTv311, 5: paho.MQTTv5}[version]
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=client_id, protocol=protocol)
        self._client.max_inflight_messages_set(100)
        self._client.on_publish = lambda *arguments: self._done.append(arguments[2:4])
        self._connected = threading.Event()
        self._client.on_connect = lambda *_: self._connected.set()
        self._done: deque[tuple[int, object]] = deque()
        self._waiting: dict[int, tuple[str, bytes]] = {}
        self.acknowledged: list[tuple[str, bytes]] = []
        if login is not None:
            self._client.username_pw_set(*login)
        if tls is not None:
            self._client.tls_set_context(client_context(tls["ca"], tls["certificate"], tls["key"]))
        self._client.connect("127.0.0.1" if tls is None else "localhost", port)
        self._client.loop_start()
        assert self._connected.wait(CONNECT_S), f"{client_id}: no CONNACK within {CONNECT_S} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
        self._client._reset_sockets()  # else left to the garbage collector, whose order decides whether it warns

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> None:
        """Hand one message to the library; at QoS 0 it counts as acknowledged when it is written to the socket."""
        info = self._client.publish(topic, payload, qos, retain=retain)
        self._waiting[info.mid] = (topic, payload)

    def subscribe(self, pattern: str) -> list[bytes]:
        """Subscribe at QoS 0, and return the list that payloads will be appended to; back when it is granted."""
        payloads: list[bytes] = []
        granted = threading.Event()
        self._client.on_subscribe = lambda *_: granted.set()
        self._client.message_callback_add(pattern, lambda *arguments: payloads.append(arguments[2].payload))
        self._client.subscribe(pattern)
        assert granted.wait(CONNECT_S), f"{pattern}: no SUBACK within {CONNECT_S} s"
        return payloads

    def waiting(self) -> int:
        """Return how many messages are not acknowledged yet."""
        while self._done:
            mid, reason = self._done.popleft()
            assert not getattr(reason, "is_failure", False), reason
            self.acknowledged.append(self._waiting.pop(mid))
        return len(self._waiting)

    def wait_until_at_most(self, waiting: int = 0) -> None:
        """Wait until at most so many messages are unacknowledged: the sender's flow control."""
        wait_for(lambda: self.waiting() <= waiting, f"at most {waiting} unacknowledged messages", poll_s=0.001)


class Stream(threading.Thread):
    """Numbered messages at QoS 1, round robin over topics, at most `window` in flight, about `rate` a second.

    `acknowledged[topic]` is how many of the topic's messages, 0 to n - 1, the broker has acknowledged (it does so in
    order on one connection). A PUBACK that says "no matching subscribers" is counted in `unmatched`: such a message
    was never the gateway's. `noise_bytes` of text that does not compress make each message heavier.
    """

    def __init__(self, port: int, topics: list[str], *, rate: float, window: int = 200, noise_bytes: int = 0) -> None:
        super().__init__(name="stream", daemon=True)
        self._topics = topics
        self._rate = rate
        self._window = window
        self._noise_bytes = noise_bytes
        self.is_noisy = noise_bytes > 0
        self._stop_asked = threading.Event()
        self._in_flight: dict[int, tuple[str, int]] = {}
        self._buffer = bytearray()
        self.acknowledged = dict.fromkeys(topics, 0)
        self.total = 0
        self.unmatched = 0
        self.fault: BaseException | None = None
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=CONNECT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.sendall(mqtt5.ConnectPacket("stream", clean_start=True, keep_alive=0).write())
        answer = self._packets(CONNECT_S)[0]
        assert isinstance(answer, mqtt5.ConnAckPacket), answer
        self._window = min(window, answer.receive_max)

    def stop(self) -> dict[str, int]:
        """Stop sending, wait for the last PUBACK and return the books: topic → number of acknowledged messages."""
        self._stop_asked.set()
        self.join(CONNECT_S)
        assert self.fault is None, self.fault
        assert not self.is_alive(), "the broker stopped acknowledging"
        return dict(self.acknowledged)

    def run(self) -> None:
        """Send and book until stopped."""
        try:
            self._run()
        except BaseException as error:  # noqa: BLE001  # shown by stop(), in the test's thread
            self.fault = error
        finally:
            self._socket.close()

    def _run(self) -> None:
        messages = self._messages()
        started = time.monotonic()
        sent = 0
        while not self._stop_asked.is_set() or self._in_flight:
            due = int((time.monotonic() - started) * self._rate) - sent
            room = min(due, self._window - len(self._in_flight))
            if room > 0 and not self._stop_asked.is_set():
                self._socket.sendall(b"".join(next(messages) for _ in range(room)))
                sent += room
            for packet in self._packets(0.005):
                self._book(packet)

    def _messages(self) -> Iterator[bytes]:
        number = packet_id = 0
        while True:
            for topic in self._topics:
                packet_id = packet_id % 65535 + 1
                assert packet_id not in self._in_flight
                self._in_flight[packet_id] = (topic, number)
                yield mqtt5.PublishPacket(
                    topic,
                    json.dumps({"n": number, **self._noise()}).encode(),
                    qos=mqtt5.QoS.AT_LEAST_ONCE,
                    packet_id=packet_id,
                ).write()
            number += 1

    def _noise(self) -> dict[str, str]:
        size = self._noise_bytes
        return {"noise": base64.b85encode(os.urandom(size)).decode()[:size]} if size else {}

    def _book(self, packet: mqtt5.Packet) -> None:
        assert isinstance(packet, mqtt5.PubAckPacket), packet
        topic, number = self._in_flight.pop(packet.packet_id)
        assert number == self.acknowledged[topic], "the broker acknowledged out of order"
        self.acknowledged[topic] += 1
        self.total += 1
        self.unmatched += packet.reason_code == mqtt5.PubAckReasonCode.NO_MATCHING_SUBSCRIBERS

    def _packets(self, wait_s: float) -> list[mqtt5.Packet]:
        if select.select([self._socket], [], [], wait_s)[0]:
            data = self._socket.recv(READ_BYTES)
            assert data, "the broker closed the publisher's connection"
            self._buffer += data
        packets: list[mqtt5.Packet] = []
        while self._buffer:
            try:
                packet, used = mqtt5.read(memoryview(bytes(self._buffer)))
            except IndexError:
                break
            packets.append(packet)
            del self._buffer[:used]
        return packets
