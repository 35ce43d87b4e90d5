"""The TCP fault proxy itself: each fault is seen at a plain socket, and healing takes it back."""

from __future__ import annotations

import gc
import socket
import socketserver
import threading
import time
import warnings
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import FaultProxy
from tests.support.waiting import wait_for

SHORT_S = 0.3
REFUSALS = 300
SOME = bytes(range(256)) * 64


class _Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        """A reset is what these tests are about."""


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    with _Server(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with FaultProxy(server.server_address[1]) as made:
            yield made
        server.shutdown()
        thread.join()


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=5.0)


def read(link: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = link.recv(65536)
        if not part:
            break
        data += part
    return data


def is_silent(link: socket.socket) -> bool:
    link.settimeout(SHORT_S)
    try:
        link.recv(1)
    except TimeoutError:
        return True
    finally:
        link.settimeout(5.0)
    return False


def is_echoed(link: socket.socket, data: bytes = SOME) -> bool:
    link.sendall(data)
    return read(link, len(data)) == data


def test_without_a_fault_bytes_pass_both_ways(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        assert (proxy.moved("up"), proxy.moved("down"), proxy.living(), len(proxy.connects)) == (
            len(SOME),
            len(SOME),
            1,
            1,
        )


def test_an_end_on_either_side_reaches_the_other(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        link.shutdown(socket.SHUT_WR)
        assert link.recv(1) == b""
    wait_for(lambda: proxy.living() == 0, "the connection is gone")


@pytest.mark.parametrize("with_reset", [False, True])
def test_a_cut_ends_every_connection_and_the_next_one_is_taken(proxy, with_reset) -> None:
    with connected(proxy) as link, connected(proxy) as other:
        assert is_echoed(link)
        assert is_echoed(other)
        assert proxy.cut(with_reset=with_reset) == 2
        for one in (link, other):
            if with_reset:
                with pytest.raises(ConnectionResetError):
                    one.recv(1)
            else:
                assert one.recv(1) == b""
    with connected(proxy) as link:
        assert is_echoed(link)


def test_refusing_leaves_what_lives_and_keeps_the_port(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
        assert is_echoed(link)
        proxy.refuse(refuses=False)
        with connected(proxy) as other:
            assert is_echoed(other)


def test_a_black_hole_swallows_old_and_new_connections_and_gives_none_of_them_back(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        proxy.black_hole()
        with connected(proxy) as other:
            for one in (link, other):
                one.sendall(SOME)
                assert is_silent(one)
            proxy.heal()
            for one in (link, other):
                one.sendall(SOME)
                assert is_silent(one)
        with connected(proxy) as later:
            assert is_echoed(later)


def test_a_black_hole_may_be_one_way(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        proxy.black_hole(("down",))
        before = proxy.moved("down")
        link.sendall(SOME)
        wait_for(lambda: proxy.moved("down") - before == len(SOME), "the server's answer is swallowed")
        assert is_silent(link)


def test_a_stall_holds_everything_up_and_loses_nothing(proxy) -> None:
    with connected(proxy) as link:
        assert is_echoed(link)
        proxy.stall()
        link.sendall(SOME)
        assert is_silent(link)
        proxy.stall(stalls=False)
        assert read(link, len(SOME)) == SOME


def test_a_stall_holds_up_a_sender_that_goes_on(proxy) -> None:
    with connected(proxy) as link:
        link.settimeout(SHORT_S)
        proxy.stall(("up",))
        with pytest.raises(TimeoutError):
            link.sendall(bytes(32 << 20))


def test_a_rate_and_a_delay_are_kept(proxy) -> None:
    with connected(proxy) as link:
        proxy.limit(20_000.0, ("up",))
        started = time.monotonic()
        assert is_echoed(link, bytes(10_000))
        assert time.monotonic() - started >= 0.45
        proxy.heal()
        proxy.delay(0.2)
        started = time.monotonic()
        assert is_echoed(link, b"1")
        assert time.monotonic() - started >= 0.4


def test_a_delayed_stream_is_whole_and_in_order(proxy) -> None:
    proxy.delay(0.05)
    with connected(proxy) as link:
        assert is_echoed(link, SOME * 20)


def test_a_reset_comes_after_exactly_so_many_bytes_and_once(proxy) -> None:
    proxy.reset_after(1000, "down")
    with connected(proxy) as link:
        link.sendall(SOME)
        found = b""
        try:
            while part := link.recv(100):
                found += part
            pytest.fail("it was no reset")
        except ConnectionResetError:  # which also takes what was not read yet
            assert found == SOME[: min(len(found), 1000)]
    with connected(proxy) as link:
        assert is_echoed(link)


def test_a_slow_reader_holds_up_the_sender_with_a_small_window_and_healing_takes_it_back(proxy) -> None:
    proxy.read_slowly(2000.0, window_bytes=4096)
    with connected(proxy) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        link.settimeout(SHORT_S)
        with pytest.raises(TimeoutError):
            link.sendall(bytes(100_000))
        assert proxy.moved("up") < 5000
    proxy.heal()
    with connected(proxy) as link:
        assert is_echoed(link, SOME * 20)


def test_no_socket_is_left_to_nobody_when_refusing_begins_while_clients_come(proxy, monkeypatch) -> None:
    left: list[str] = []
    monkeypatch.setattr("sys.unraisablehook", lambda found: left.append(str(found.exc_value)))
    over = threading.Event()

    def knock() -> None:
        while not over.is_set():
            with socket.socket() as link:
                link.connect_ex(("127.0.0.1", proxy.port))

    clients = [threading.Thread(target=knock) for _ in range(2)]
    for client in clients:
        client.start()
    for _ in range(REFUSALS):
        proxy.refuse()
        proxy.refuse(refuses=False)
        time.sleep(0.002)
    over.set()
    for client in clients:
        client.join()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert left == []
