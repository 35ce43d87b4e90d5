"""A node without a daemon: sends sealed envelopes over mutual TLS, and books what the receiver says it has.

The library's thread only collects; everything else happens in the caller's thread.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Self

import paho.mqtt.client as paho

from gateway.transport import wire
from tests.support.receiving import PREFIX
from tests.support.site import pems

if TYPE_CHECKING:
    from pathlib import Path

    from gateway.region.intake import Message

CONNECT_S = 10.0


class SendingNode:
    """Publishes for one node name; `durable` holds (lane, epoch, sequence) of all that was acknowledged so far."""

    def __init__(self, name: str, port: int, pki: Path) -> None:
        self._name = name
        self._words: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._ready = threading.Event()
        self.durable: set[tuple[str, int, int]] = set()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=name, protocol=paho.MQTTv5)
        files = pems(pki, "node")
        self._client.tls_set(files["ca"], files["certificate"], files["key"])
        self._client.on_connect = lambda client, *_: client.subscribe(wire.acknowledgement_topic(PREFIX, name), qos=1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda _client, _data, message: self._words.put(message.payload)
        self._client.reconnect_delay_set(min_delay=1, max_delay=1)
        self._client.max_inflight_messages_set(200)
        self._client.connect("localhost", port)
        self._client.loop_start()
        assert self._ready.wait(CONNECT_S), f"{name}: not subscribed within {CONNECT_S} s"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def send(self, message: Message) -> None:
        """Hand one message to the library."""
        self._client.publish(message.topic, message.payload, qos=1)

    def hear(self) -> int:
        """Book the acknowledgements that have come; return how many batches are known to be durable."""
        while not self._words.empty():
            word = wire.decode_acknowledgement(self._words.get())
            for first, last in word.done:
                self.durable.update((word.lane, word.epoch, sequence) for sequence in range(first, last + 1))
        return len(self.durable)
