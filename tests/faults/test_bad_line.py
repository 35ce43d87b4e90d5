"""The bad line itself, measured: round trip, loss and throughput; a partition; nothing of it is left behind.

What a busy machine may add is not bounded here: bounds are on the side that it cannot touch. Figures are printed.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.netns import Line
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root

PORT = 7777
PACKETS = 2000


@pytest.fixture
def line() -> Iterator[Line]:
    with Line(seed=7) as made:
        yield made


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(5.0)
    return made


def far_udp(line: Line) -> socket.socket:
    def made() -> socket.socket:
        one = udp()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        one.bind((line.far, PORT))
        return one

    return line.inside(made)


@contextlib.contextmanager
def echoing(line: Line) -> Iterator[None]:
    over = threading.Event()
    with far_udp(line) as far:
        far.settimeout(0.05)

        def echo() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    far.sendto(*far.recvfrom(2048))

        thread = threading.Thread(target=echo)
        thread.start()
        yield
        over.set()
        thread.join()


def round_trip_s(line: Line) -> float:
    with udp() as near:
        started = time.monotonic()
        near.sendto(b"ping", (line.far, PORT))
        assert near.recv(100) == b"ping"
        return time.monotonic() - started


def test_a_round_trip_takes_twice_the_delay(line) -> None:
    with echoing(line):
        bare_s = min(round_trip_s(line) for _ in range(5))
        line.shape(delay_s=0.15)
        delayed_s = [round_trip_s(line) for _ in range(3)]
        line.shape()
        again_s = min(round_trip_s(line) for _ in range(5))
    print(f"round trip: {bare_s * 1e3:.2f} ms bare, {min(delayed_s) * 1e3:.1f} ms with 2 x 150 ms")  # noqa: T201
    assert min(delayed_s) >= 0.3
    assert max(bare_s, again_s) < min(delayed_s)


def test_the_share_of_packets_that_was_asked_for_is_lost(line) -> None:
    line.shape(loss=0.05)
    found = 0
    with far_udp(line) as far, udp() as near:
        for number in range(PACKETS):
            near.sendto(b"%d" % number, (line.far, PORT))
            if number % 100 == 99:  # the device's queue is short
                wait_for(lambda sent=number: line.out.passed + line.out.lost > sent, "the shim has them")
        far.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while far.recv(100):
                found += 1
    lost = 1 - found / PACKETS
    print(f"lost: {lost:.2%} of {PACKETS} packets, 5 % asked for")  # noqa: T201
    assert 0.03 <= lost <= 0.07  # four standard deviations, and the seed is fixed


def test_no_more_than_the_rate_gets_through(line) -> None:
    line.shape(bits_s=256_000)
    listener = line.inside(lambda: socket.create_server((line.far, PORT)))
    with listener, socket.create_connection((line.far, PORT), timeout=10.0) as near:
        far, _ = listener.accept()
        with far:
            far.settimeout(10.0)
            started = time.monotonic()
            threading.Thread(target=near.sendall, args=(bytes(64_000),), daemon=True).start()
            left = 64_000
            while left:
                left -= len(far.recv(left))
            rate = 64_000 * 8 / (time.monotonic() - started)
    print(f"throughput: {rate / 1000:.0f} kbit/s of payload, 256 kbit/s on the line")  # noqa: T201
    assert rate <= 300_000  # the bucket's burst, and what the queue held when it began


def test_a_partition_stops_everything_and_heals(line) -> None:
    with echoing(line):
        round_trip_s(line)
        line.cut()
        with udp() as near:
            near.settimeout(0.3)
            near.sendto(b"ping", (line.far, PORT))
            with pytest.raises(TimeoutError):
                near.recv(100)
        line.cut(is_cut=False)
        round_trip_s(line)


def test_a_connection_outlives_loss_and_keeps_its_bytes(line) -> None:
    line.shape(delay_s=0.01, loss=0.05)
    data = bytes(range(256)) * 400
    listener = line.inside(lambda: socket.create_server((line.far, PORT)))
    with listener, socket.create_connection((line.far, PORT), timeout=10.0) as near:
        far, _ = listener.accept()
        with far:
            far.settimeout(10.0)
            threading.Thread(target=near.sendall, args=(data,), daemon=True).start()
            found = b""
            while len(found) < len(data):
                found += far.recv(65536)
    assert found == data
    assert line.out.lost > 0


def test_a_program_runs_behind_the_line_and_nothing_is_left_of_it_in_the_end() -> None:
    with Line() as line:
        shown = subprocess.run((*line.prefix, "ip", "-4", "-br", "address"), check=True, capture_output=True, text=True)
        assert line.far in shown.stdout
        assert line.near in subprocess.run(("ip", "address"), check=True, capture_output=True, text=True).stdout
    assert not Path("/run/netns", line.name).exists()
    wait_for(
        lambda: line.near not in subprocess.run(("ip", "address"), check=True, capture_output=True, text=True).stdout,
        "the device is gone",
    )


def test_what_a_killed_run_left_behind_is_removed_by_the_next() -> None:
    ended = subprocess.Popen(("true",))
    ended.wait()
    name = f"gwline-{ended.pid}-1"
    subprocess.run(("ip", "netns", "add", name), check=True)
    with Line():
        assert not Path("/run/netns", name).exists()
