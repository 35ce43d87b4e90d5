"""The load of the benchmarks, in a process of its own: a plant with a seed that publishes to one broker.

    python -m benchmarks.load --port P --count 200000 [--topics 60] [--qos 1] [--rate 5000] [--alarm-every 100]

Without a rate it sends as fast as the broker takes: packets are encoded before the clock starts, so that one core can
feed any subscriber. At QoS 1 it keeps a window in flight, at QoS 0 the socket alone holds it back.

With a rate, message n is due at `started_at + n / rate` whatever happened to those before it. Whoever measures latency
counts from that moment and not from when a message really left (the load's own lateness is in the report), so a stall
of the broker or of the load makes latencies longer and never fewer: no coordinated omission. Messages are encoded as
they fall due, so a run may last for hours.

Each payload is a JSON object of three fields with the noise and drift of a plant. With `--alarm-every N` each N-th
message goes to a topic of alarms. With a rate the payload also has its number `n`, by which it is found again. Prints
the time of the start as soon as it is known, when there is a rate, and one JSON object at the end: `started_at` and
`ended_at` on the monotonic clock that all processes share, `messages`, `payload_bytes`, and of a rate `late_p99_s`.
With `--until-cut` a broker that ends is the end of the load too; `messages` are then those that it had acknowledged.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import socket
import time

import mqtt5

from benchmarks.rows import quantile

WINDOW = 4000
READ_BYTES = 1 << 18
PUBACK_BYTES = 4
PACKET_IDS = 65535
SEED = 20160101
PIECE_MAX = 500
PATTERNS = 65536
LATENESSES_MAX = 100_000
SHORTEST_SLEEP_S = 0.0002


def payloads(count: int, seed: int = SEED) -> list[bytes]:
    """Return `count` JSON objects of three fields with the noise and drift of a real plant; same seed, same bytes."""
    chance = random.Random(seed)
    temperature, pressure = 21.0, 1013.0
    made = []
    for _ in range(count):
        temperature += chance.gauss(0.0, 0.05)
        pressure += chance.gauss(0.0, 0.02)
        values = {
            "temperature": round(temperature, 2),
            "pressure": round(pressure, 2),
            "rpm": chance.randrange(2900, 3100),
        }
        made.append(json.dumps(values).encode())
    return made


def topic_of(index: int, topics: int, prefix: str, alarm_every: int) -> str:
    """Return the topic of message `index`: round robin over the sensors, each `alarm_every`-th an alarm."""
    if alarm_every and index % alarm_every == 0:
        return f"{prefix}/alarm/sensor-{index // alarm_every % topics}"
    return f"{prefix}/line-{index % topics % 10}/sensor-{index % topics}"


def packets(topics: int, bodies: list[bytes], prefix: str, qos: int = 1) -> list[bytes]:
    """Return the payloads as PUBLISH packets, round robin over the topics, with packet ids 1 to 65535 in turn."""
    return [
        mqtt5.PublishPacket(
            topic_of(index, topics, prefix, 0),
            body,
            qos=mqtt5.QoS(qos),
            packet_id=index % PACKET_IDS + 1 if qos else None,
        ).write()
        for index, body in enumerate(bodies)
    ]


def connect(port: int, client_id: str) -> tuple[socket.socket, int]:
    """Connect to a broker on this machine and return the socket and how many messages may be in flight."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.sendall(mqtt5.ConnectPacket(client_id, clean_start=True).write())
    answer, _ = mqtt5.read(memoryview(link.recv(READ_BYTES)))
    assert isinstance(answer, mqtt5.ConnAckPacket), answer
    return link, min(WINDOW, answer.receive_max)


def send(link: socket.socket, encoded: list[bytes], window: int) -> None:
    """Send everything with a window in flight, and return when all is acknowledged."""
    sent = acknowledged_bytes = 0
    while acknowledged_bytes < PUBACK_BYTES * len(encoded):
        room = window - (sent - acknowledged_bytes // PUBACK_BYTES)
        if room > 0:
            chunk = encoded[sent : sent + room]
            link.sendall(b"".join(chunk))
            sent += len(chunk)
        data = link.recv(READ_BYTES)
        assert data, "the broker closed the connection of the load"
        acknowledged_bytes += len(data)


def send_at_once(link: socket.socket, encoded: list[bytes]) -> None:
    """Send everything at QoS 0, and return when the broker has read it: it answers a ping behind it."""
    for first in range(0, len(encoded), PIECE_MAX):
        link.sendall(b"".join(encoded[first : first + PIECE_MAX]))
    link.sendall(mqtt5.PingReqPacket().write())
    assert link.recv(READ_BYTES), "the broker closed the connection of the load"


class Paced:
    """Messages at a fixed rate; `send` returns when the last is acknowledged.

    Where the broker's window is used up the messages that fall due wait for it, and are late.
    """

    def __init__(self, topics: int, prefix: str, alarm_every: int, rate: float) -> None:
        self._topics, self._prefix, self._alarm_every = topics, prefix, alarm_every
        self._rate = rate
        self._tails = [b"," + body[1:].replace(b" ", b"") for body in payloads(PATTERNS)]
        self.payload_bytes = self.acknowledged = 0
        self.latenesses: list[float] = []

    def send(self, link: socket.socket, window: int, count: int, started_at: float) -> None:
        """Send `count` messages, number n at `started_at + n / rate`."""
        sent = acknowledged_bytes = 0
        link.setblocking(False)
        waiting = memoryview(b"")
        while acknowledged_bytes < PUBACK_BYTES * count:
            now = time.monotonic()
            room = window - (sent - acknowledged_bytes // PUBACK_BYTES)
            due = min(int((now - started_at) * self._rate) + 1, count) if now >= started_at else 0
            number = min(due - sent, room, PIECE_MAX)
            if number > 0 and not waiting:
                if len(self.latenesses) < LATENESSES_MAX:
                    self.latenesses.append(now - started_at - sent / self._rate)
                waiting = memoryview(b"".join(self._packet(index) for index in range(sent, sent + number)))
                sent += number
            if waiting:
                waiting = waiting[_written(link, waiting) :]
            next_at = started_at + sent / self._rate if sent < count and room > 0 else now + 1.0
            wait_s = max(SHORTEST_SLEEP_S, next_at - time.monotonic())
            readable, _, _ = select.select([link], [link] if waiting else [], [], wait_s)
            if readable:
                data = link.recv(READ_BYTES)
                if not data:
                    raise ConnectionResetError("the broker closed the connection of the load")
                acknowledged_bytes += len(data)
                self.acknowledged = acknowledged_bytes // PUBACK_BYTES

    def _packet(self, index: int) -> bytes:
        topic = topic_of(index, self._topics, self._prefix, self._alarm_every)
        body = b'{"n":%d' % index + self._tails[index % PATTERNS]
        self.payload_bytes += len(body)
        packet_id = index % PACKET_IDS + 1
        return mqtt5.PublishPacket(topic, body, qos=mqtt5.QoS.AT_LEAST_ONCE, packet_id=packet_id).write()


def _written(link: socket.socket, data: memoryview) -> int:
    try:
        return link.send(data)
    except BlockingIOError:
        return 0


def main() -> None:
    """Feed the broker and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topics", type=int, default=60)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--qos", type=int, choices=(0, 1), default=1)
    parser.add_argument("--alarm-every", type=int, default=0)
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--until-cut", action="store_true", help="the broker may end before all is sent")
    arguments = parser.parse_args()
    if arguments.rate:
        paced(arguments)
        return
    bodies = payloads(arguments.count)
    encoded = packets(arguments.topics, bodies, arguments.prefix, arguments.qos)
    link, window = connect(arguments.port, "load")
    started_at = time.monotonic()
    if arguments.qos:
        send(link, encoded, window)
    else:
        send_at_once(link, encoded)
    ended_at = time.monotonic()
    link.sendall(mqtt5.DisconnectPacket().write())
    report = {"started_at": started_at, "ended_at": ended_at, "messages": len(bodies)}
    print(json.dumps({**report, "payload_bytes": sum(map(len, bodies))}))


def paced(arguments: argparse.Namespace) -> None:
    """Send at a fixed rate."""
    assert arguments.qos == 1, "a fixed rate is for QoS 1"
    plant = Paced(arguments.topics, arguments.prefix, arguments.alarm_every, arguments.rate)
    link, window = connect(arguments.port, "load")
    started_at = time.monotonic() + 0.05
    print(json.dumps({"started_at": started_at}), flush=True)
    try:
        plant.send(link, window, arguments.count, started_at)
        link.setblocking(True)
        link.sendall(mqtt5.DisconnectPacket().write())
    except ConnectionError:
        if not arguments.until_cut:
            raise
    ended_at = time.monotonic()
    report = {"started_at": started_at, "ended_at": ended_at, "messages": plant.acknowledged}
    report |= {"payload_bytes": plant.payload_bytes, "late_p99_s": quantile(plant.latenesses, 0.99)}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
