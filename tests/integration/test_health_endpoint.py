"""The HTTP endpoint of a daemon and of a receiver as real processes, with well-behaved and with hostile clients."""

import contextlib
import json
import socket
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from gateway.health import web
from tests.support.mosquitto import Mosquitto
from tests.support.scraping import ASK_S, asked, connection_to
from tests.support.site import Program, Site
from tests.support.waiting import wait_for

ROUTE = """
[[route]]
name = "all"
topics = ["#"]
lane = "telemetry"
"""


def answers(where: str) -> bool:
    try:
        return asked(where, "/healthz")[0] == 200
    except OSError:
        return False


def endpoint_of(site: Site) -> str:
    return str(site.status()["health"]["listens"])


@pytest.fixture
def broker(tmp_path):
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


@pytest.fixture
def site(broker, tmp_path):
    with Site(tmp_path, ROUTE + '[health]\nlisten = "127.0.0.1:0"\n', broker_port=broker.port) as site:
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "connected", 10)
        yield site


def test_a_site_at_work_is_well_and_ready_and_tells_its_status(site) -> None:
    where = endpoint_of(site)
    assert asked(where, "/healthz") == (200, "ok\n")
    assert asked(where, "/readyz") == (200, "ok\n")
    code, content = asked(where, "/status")
    assert code == 200
    assert json.loads(content)["node"] == "node-1"
    assert asked(where, "/nothing")[0] == 404
    with urllib.request.urlopen(f"http://{where}/healthz", timeout=ASK_S) as answer:
        assert answer.headers["Cache-Control"] == "no-store"


def test_without_its_broker_a_site_is_well_but_not_ready(site, broker) -> None:
    where = endpoint_of(site)
    broker.stop()
    wait_for(lambda: asked(where, "/readyz")[0] == 503, "not ready", 10)
    assert "not connected to the local broker" in asked(where, "/readyz")[1]
    assert asked(where, "/healthz")[0] == 200


def test_a_web_page_elsewhere_cannot_ask_through_a_browser_here(site) -> None:
    where = endpoint_of(site)
    assert asked(where, "/status", host="evil.example")[0] == 421
    assert asked(where, "/status", host="[::1]:9273")[0] == 200


def test_a_port_that_is_taken_costs_the_endpoint_only_and_is_tried_again(broker, tmp_path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        where = f"127.0.0.1:{other.getsockname()[1]}"
        with Site(tmp_path, ROUTE + f'[health]\nlisten = "{where}"\n', broker_port=broker.port) as site:
            site.daemon.start()
            health = site.status()["health"]
            assert health["listens"] == ""
            assert "cannot be listened on" in health["fault"]
            assert "no health endpoint" in site.daemon.log()
            other.close()
            wait_for(lambda: endpoint_of(site) == where, "the endpoint listens", web.RETRY_S + 10)
            assert asked(where, "/readyz")[0] == 200


def test_a_stale_socket_is_replaced_and_a_file_is_not(broker, tmp_path) -> None:
    path = tmp_path / "health.sock"
    with Site(tmp_path, ROUTE + f'[health]\nlisten = "{path}"\n', broker_port=broker.port) as site:
        site.daemon.start()
        assert asked(str(path), "/healthz", host="whoever")[0] == 200
        assert path.stat().st_mode & 0o777 == 0o600
        site.daemon.kill()
        assert path.is_socket()
        site.daemon.start()
        assert asked(str(path), "/healthz")[0] == 200
        site.daemon.stop()
        assert not path.exists()
        path.write_text("mine", "utf-8")
        site.daemon.start()
        assert "no socket" in str(site.status()["health"]["fault"])
        assert path.read_text("utf-8") == "mine"


def test_hostile_and_silent_clients_hold_neither_the_loop_nor_memory_and_are_cut(site) -> None:
    where = endpoint_of(site)
    before = resident_kib(site)
    lines = [connection_to(where) for _ in range(4 * web.CONNECTIONS_MAX)]
    with contextlib.ExitStack() as stack:
        for line in lines:
            stack.enter_context(line)
        for number, line in enumerate(lines):
            with contextlib.suppress(OSError):
                line.setblocking(False)
                match number % 4:
                    case 0:  # asks and asks, reads nothing
                        line.send(b"GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2000)
                    case 1:  # a field without end
                        line.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 1_000_000)
                    case 2:  # asks byte by byte
                        line.send(b"G")
                    case 3:  # no HTTP
                        line.send(bytes(range(256)) * 100)
        assert asked(where, "/healthz")[0] == 200
        assert site.status()["health"]["connections"] <= web.CONNECTIONS_MAX
        assert resident_kib(site) - before < 32 * 1024
    wait_for(lambda: site.status()["health"]["connections"] <= 1, "the connections are gone", web.SILENT_S + 10)


def test_a_long_request_is_refused(site) -> None:
    where = endpoint_of(site)
    assert asked(where, "/" + "x" * 2 * web.FIELD_BYTES_MAX)[0] == 400
    request = urllib.request.Request(f"http://{where}/status", data=b"x" * 1000)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=ASK_S)  # noqa: S310  # http, as written above
    with refused.value as error:
        assert error.code == 405


def test_many_scrapers_at_once_all_get_an_answer(site) -> None:
    where, codes = endpoint_of(site), []

    def ask() -> None:
        codes.extend(asked(where, "/status")[0] for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert codes == [200] * 160


def test_a_connection_that_is_kept_outlives_many_short_ones(site) -> None:
    where = endpoint_of(site)
    with connection_to(where) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 200")
        for _ in range(10 * web.CONNECTIONS_MAX):
            assert asked(where, "/healthz")[0] == 200
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert line.recv(65536).startswith(b"HTTP/1.1 200")


def test_an_address_beyond_this_machine_is_a_fault_of_the_file(broker, tmp_path) -> None:
    with Site(tmp_path, ROUTE + '[health]\nlisten = "0.0.0.0:9273"\n', broker_port=broker.port) as site:
        site.daemon.spawn()
        process = site.daemon.process
        assert process is not None
        assert process.wait(20) == 78
        assert "health.listen: listens beyond this machine" in site.daemon.log()
        site.daemon.process = None


def test_a_receiver_answers_before_its_broker_does(tmp_path) -> None:
    path, state = tmp_path / "health.sock", tmp_path / "region"
    configuration = Path(tmp_path / "receiver.toml")
    configuration.write_text(RECEIVER.format(state=state, path=path), "utf-8")
    receiver = Program(tmp_path, "receiver", ("region", "run", "-c", str(configuration)))
    try:
        receiver.spawn()
        wait_for(lambda: answers(str(path)), "the endpoint is there", 20)
        assert asked(str(path), "/readyz") == (503, "not connected to the region's broker\n")
        assert json.loads(asked(str(path), "/status")[1])["name"] == "receiver"
    finally:
        receiver.kill()


RECEIVER = """
[receiver]
port = 1
tls_ca = "none"
tls_certificate = "none"
tls_key = "none"
state_folder = "{state}"
[health]
listen = "{path}"
"""


def resident_kib(site: Site) -> int:
    status = Path(f"/proc/{site.daemon.pid}/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
