"""What a region's broker is sent, seen from a subscriber of its own: each message with the moment at which it came.

The probe is a thread that blocks in the socket, so that nothing but the kernel decides when it notes the time. It notes
and acknowledges; what the messages hold is looked at by whoever asks, or by `on_message`, after the time was taken.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, Self

import mqtt5

from gateway.batch.decode import decode
from tests.support.site import pems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

READ_BYTES = 1 << 18
RECEIVE_MAXIMUM = 65535
READY_S = 10.0


class Seen(NamedTuple):
    """One message, and when it came on the clock that all processes share."""

    at: float
    topic: str
    payload: bytes


class Probe:
    """Subscribed to `filters` at QoS 1 while it is entered; `pki` makes it mTLS."""

    def __init__(
        self,
        port: int,
        filters: Sequence[str],
        *,
        pki: Path | None = None,
        on_message: Callable[[Seen], None] | None = None,
    ) -> None:
        self.seen: list[Seen] = []
        self._port, self._filters, self._pki = port, filters, pki
        self._note = on_message or self.seen.append
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="probe", daemon=True)
        self._is_ending = False
        self.fault = ""

    def __enter__(self) -> Self:
        self._link = self._connected()
        self._thread.start()
        assert self._ready.wait(READY_S), f"the probe was not granted its subscription: {self.fault}"
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ending = True
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError as error:
            self.fault = str(error)
        self._thread.join()
        self._link.close()

    def _connected(self) -> socket.socket:
        link = socket.create_connection(("localhost", self._port))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._pki is not None:
            files = pems(self._pki, "receiver")
            context = ssl.create_default_context(cafile=files["ca"])
            context.load_cert_chain(files["certificate"], files["key"])
            link = context.wrap_socket(link, server_hostname="localhost")
        wanted = [mqtt5.TopicFilter(one, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for one in self._filters]
        connect = mqtt5.ConnectPacket(f"probe-{self._port}", clean_start=True, receive_max=RECEIVE_MAXIMUM)
        link.sendall(connect.write() + mqtt5.SubscribePacket(1, wanted).write())
        return link

    def _run(self) -> None:
        waiting = bytearray()
        try:
            while not self._is_ending and (data := self._link.recv(READ_BYTES)):
                at = time.monotonic()
                waiting += data
                used = self._take(at, waiting)
                del waiting[:used]
            self.fault = self.fault or "the broker closed the connection"
        except OSError as error:
            self.fault = str(error)

    def _take(self, at: float, waiting: bytearray) -> int:
        used, answers = 0, []
        for packet, size in _packets(waiting):
            used += size
            if isinstance(packet, mqtt5.SubAckPacket):
                self._ready.set()
            elif isinstance(packet, mqtt5.PublishPacket):
                self._note(Seen(at, packet.topic, bytes(packet.payload)))
                if packet.packet_id:
                    answers.append(mqtt5.PubAckPacket(packet.packet_id).write())
        if answers:
            self._link.sendall(b"".join(answers))
        return used


def _packets(waiting: bytearray) -> Iterator[tuple[mqtt5.Packet, int]]:
    """Yield the whole packets of a stream, with their sizes."""
    data, start = bytes(waiting), 0
    view = memoryview(data)
    while start < len(data):
        try:
            packet, size = mqtt5.read(view[start:])
        except IndexError:
            return
        yield packet, size
        start += size


def numbers(payload: bytes, field: str = "n") -> list[int]:
    """Return the values of one integer field in a sealed batch."""
    return [int(value) for table in decode(payload).tables if table.field == field for value in table.values]
