"""The load of the ingest benchmarks, in a process of its own: pre-encoded PUBLISH packets at QoS 1, a window in flight.

    python -m benchmarks.load --port P --topics 60 --count 200000 [--rate 5000] [--prefix bench]

Encoding happens before the clock starts, so that one core can feed any subscriber. Prints one JSON object: `started_at`
and `ended_at` on the monotonic clock that all processes share, `messages`, `payload_bytes`.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import time

import mqtt5

WINDOW = 4000
READ_BYTES = 1 << 18
PUBACK_BYTES = 4
SEED = 20160101


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


def packets(topics: int, bodies: list[bytes], prefix: str) -> list[bytes]:
    """Return the payloads as PUBLISH packets, round robin over the topics, with packet ids 1 to 65535 in turn."""
    return [
        mqtt5.PublishPacket(
            f"{prefix}/line-{index % topics % 10}/sensor-{index % topics}",
            body,
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=index % 65535 + 1,
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


def send(link: socket.socket, encoded: list[bytes], window: int, rate: float) -> None:
    """Send everything, at most `rate` a second when it is not 0, and return when all is acknowledged."""
    started = time.monotonic()
    sent = acknowledged_bytes = 0
    while acknowledged_bytes < PUBACK_BYTES * len(encoded):
        room = window - (sent - acknowledged_bytes // PUBACK_BYTES)
        if rate:
            room = min(room, int((time.monotonic() - started) * rate) - sent)
        if room > 0:
            chunk = encoded[sent : sent + room]
            link.sendall(b"".join(chunk))
            sent += len(chunk)
        if rate and sent * PUBACK_BYTES == acknowledged_bytes:
            time.sleep(0.001)
            continue
        data = link.recv(READ_BYTES)
        assert data, "the broker closed the connection of the load"
        acknowledged_bytes += len(data)


def main() -> None:
    """Feed the broker and report."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--topics", type=int, default=60)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--rate", type=float, default=0.0)
    parser.add_argument("--prefix", default="bench")
    arguments = parser.parse_args()
    bodies = payloads(arguments.count)
    encoded = packets(arguments.topics, bodies, arguments.prefix)
    link, window = connect(arguments.port, "load")
    started_at = time.monotonic()
    send(link, encoded, window, arguments.rate)
    ended_at = time.monotonic()
    link.sendall(mqtt5.DisconnectPacket().write())
    report = {"started_at": started_at, "ended_at": ended_at, "messages": len(bodies)}
    print(json.dumps({**report, "payload_bytes": sum(map(len, bodies))}))


if __name__ == "__main__":
    main()
