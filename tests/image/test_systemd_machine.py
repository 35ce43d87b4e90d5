"""The units in a machine whose first process is systemd: sandbox, readiness, watchdog, restarts, reload, clean stop.

The machine is made by the test: Debian, mosquitto, and this checkout where a package would put it.
"""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from gateway.demo.pki import write_pki
from tests.support.nspawn import Machine
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

UNIT = "gateway.service"
REGION_UNIT = "gateway-region.service"
NODE = """
[node]
id = "node-1"
state_folder = "/var/lib/edge-gateway"

[broker]
username = "gateway"
password_file = "credential:edge-gateway.password"

[[spool.lanes]]
name = "telemetry"
bytes_max = "64MiB"
linger = "100ms"

[[route]]
name = "plant"
topics = ["plant/#"]
lane = "telemetry"

[[region]]
name = "centre"
host = "localhost"
port = 8883
tls_ca = "pki/ca.pem"
tls_certificate = "pki/node.pem"
tls_key = "credential:edge-gateway.key"
backoff_max = "1s"
"""
RECEIVER = """
[receiver]
port = 8883
state_folder = "/var/lib/edge-gateway-region"
tls_ca = "pki-region/ca.pem"
tls_certificate = "pki-region/receiver.pem"
tls_key = "credential:edge-gateway-region.key"
sinks = ["sqlite"]
"""
LOCAL = """
listener 1883 127.0.0.1
allow_anonymous true
max_queued_messages 0
"""
CENTRAL = """
listener 8883 127.0.0.1
cafile /etc/central/ca.pem
certfile /etc/central/server.pem
keyfile /etc/central/server.key
require_certificate true
allow_anonymous true
"""
FAST = """
[Service]
RestartSec=500ms
WatchdogSec=4s
"""
"""The waits of a test."""

WEDGE = """
import gc, signal
def wedge(*_):
    from gateway.health.standstill import Standstill
    from gateway.spool.lanes import Spool
    gc.unfreeze()
    for one in gc.get_objects():
        if isinstance(one, Standstill):
            one._limit_s = 3.0
        elif isinstance(one, Spool):
            one._writing.acquire()
signal.signal(signal.SIGUSR2, wedge)
"""
"""Takes the lock of the writer thread and never gives it back; and shortens the two minutes that this is given."""

PYTHON = "/opt/edge-gateway/bin/python3"
PUBLISH = """
import sys
import mqtt5, socket
link = socket.create_connection(("127.0.0.1", 1883))
link.sendall(mqtt5.ConnectPacket("sensor", clean_start=True).write())
link.recv(1000)
first, last = map(int, sys.argv[1:])
for number in range(first, last):
    payload = b'{"n": %d}' % number
    topic, qos = "plant/one", mqtt5.QoS.AT_LEAST_ONCE
    link.sendall(mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=number % 65535 + 1).write())
    link.recv(1000)
"""


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("machine")
    pki = folder / "pki"
    write_pki(pki)
    with Machine(folder / "box") as box:
        box.install_checkout()
        configure(box, pki)
        box.boot()
        yield box
        box.power_off()


def configure(box: Machine, pki: Path) -> None:
    """Put in what a person would."""
    box.put("/etc/edge-gateway/gateway.toml", NODE)
    box.put("/etc/edge-gateway/receiver.toml", RECEIVER)
    box.put("/etc/mosquitto/conf.d/local.conf", LOCAL)
    box.put("/etc/central/mosquitto.conf", CENTRAL)
    for name in ("ca.pem", "server.pem", "server.key"):
        box.put(f"/etc/central/{name}", (pki / name).read_bytes())
    for folder, name in (("pki", "node.pem"), ("pki-region", "receiver.pem")):
        box.put(f"/etc/edge-gateway/{folder}/ca.pem", (pki / "ca.pem").read_bytes())
        box.put(f"/etc/edge-gateway/{folder}/{name}", (pki / name).read_bytes())
    for name, content in (
        ("edge-gateway.key", (pki / "node.key").read_bytes()),
        ("edge-gateway.password", b"secret\n"),
        ("edge-gateway-region.key", (pki / "receiver.key").read_bytes()),
    ):
        box.put(f"/etc/credstore/{name}", content, 0o600)
    for unit in (UNIT, REGION_UNIT):
        box.put(f"/etc/systemd/system/{unit}.d/fast.conf", FAST)
    box.put("/publish.py", PUBLISH)


@pytest.fixture
def at_work(machine: Machine) -> Iterator[Machine]:
    """A machine whose gateway runs."""
    machine.run("systemctl", "start", "mosquitto.service", UNIT)
    wait_for(lambda: machine.status()["ingest"]["connected"], "the gateway has subscribed")
    yield machine
    machine.run("systemctl", "stop", UNIT)
    assert machine.show(UNIT, "Result") == "success", machine.journal(UNIT)[-3000:]


def publish(box: Machine, first: int, last: int) -> None:
    box.run(PYTHON, "/publish.py", str(first), str(last))


def pid(box: Machine) -> int:
    return int(box.show(UNIT, "MainPID"))


def restarts(box: Machine) -> int:
    return int(box.show(UNIT, "NRestarts"))


def comes_back(box: Machine, former: int) -> None:
    def is_back() -> bool:
        return box.show(UNIT, "ActiveState") == "active" and pid(box) not in (0, former)

    wait_for(is_back, "systemd has started the gateway anew", 60.0, 0.2)
    wait_for(lambda: status_of(box).get("ingest", {}).get("connected"), "the gateway has subscribed", 60.0, 0.2)


def backlog(status: dict[str, Any]) -> int:
    """Return how many batches wait for the region, or are not sealed yet."""
    (lane,) = status["lanes"]
    return lane["regions"]["centre"]["backlog_batches"] + status["open_readings"]


def status_of(box: Machine) -> dict[str, Any]:
    try:
        return box.status()
    except AssertionError:
        return {}


def test_the_gateway_is_ready_in_its_sandbox_without_its_region(at_work: Machine) -> None:
    assert at_work.show(UNIT, "ActiveState") == "active"
    wait_for(lambda: "away: centre" in at_work.show(UNIT, "StatusText"), "the status names the region", 30.0, 0.5)
    publish(at_work, 0, 100)
    wait_for(lambda: at_work.status()["ledger"].get("message.decoded") == 100, "100 messages are decoded")
    said = at_work.journal(UNIT)
    assert "Traceback" not in said
    assert "ok, node node-1" in said, "the check before the start says nothing"
    process = at_work.run("cat", f"/proc/{pid(at_work)}/status")
    assert re.search(r"^Seccomp:\t2$", process, re.MULTILINE), process
    assert re.search(r"^NoNewPrivs:\t1$", process, re.MULTILINE), process
    assert re.search(r"^CapBnd:\t0+$", process, re.MULTILINE), process


def test_what_the_sandbox_hides_is_known_all_the_same(at_work: Machine) -> None:
    environment = at_work.run("cat", f"/proc/{pid(at_work)}/environ").split("\0")
    boot = at_work.run("cat", "/proc/sys/kernel/random/boot_id").strip()
    assert f"GATEWAY_BOOT_ID={boot.replace('-', '')}" in environment


def test_a_reload_says_whether_the_configuration_was_taken_up(at_work: Machine) -> None:
    before = pid(at_work)
    at_work.put("/etc/edge-gateway/gateway.toml", NODE.replace('"plant/#"', '"plant/#", "more/#"'))
    at_work.run("systemctl", "reload", UNIT)
    wait_for(lambda: at_work.show(UNIT, "ActiveState") == "active", "the reload has ended")
    assert at_work.status()["reloads"]["taken"] == 1
    at_work.put("/etc/edge-gateway/gateway.toml", NODE.replace("plant/#", "plant/#/wrong"))
    assert "failed" in at_work.run("systemctl", "reload", UNIT, is_checked=False)
    at_work.put("/etc/edge-gateway/gateway.toml", NODE)
    assert (pid(at_work), at_work.show(UNIT, "ActiveState")) == (before, "active")


def test_a_gateway_that_stands_still_is_started_anew_by_the_watchdog(at_work: Machine) -> None:
    former, count = pid(at_work), restarts(at_work)
    at_work.run("sh", "-c", f"kill -STOP {former}")
    comes_back(at_work, former)
    assert restarts(at_work) == count + 1
    assert "Watchdog timeout" in at_work.journal(UNIT)


def test_a_writer_thread_that_is_wedged_makes_systemd_start_the_gateway_anew(at_work: Machine) -> None:
    place = "/opt/edge-gateway/lib/python3.11/site-packages"
    at_work.put(f"{place}/wedge.py", WEDGE)
    at_work.put(f"{place}/wedge.pth", "import wedge\n")
    at_work.run("systemctl", "restart", UNIT)
    (at_work.tree / place.lstrip("/") / "wedge.pth").unlink()
    former = pid(at_work)
    received = received_once(at_work)
    at_work.run("sh", "-c", f"kill -USR2 {former}")
    publish(at_work, 1000, 1010)
    comes_back(at_work, former)
    said = at_work.journal(UNIT)
    assert re.search("stuck: .*thread writer", said)
    assert "Fatal Python error: Aborted" in said, "nobody can see where the thread was stuck"
    assert "in append" in said
    wait_for(lambda: received_once(at_work) == received + 10, "all 10 messages are in the books")


def received_once(box: Machine) -> int:
    ledger = box.status()["ledger"]
    return ledger["message.received"] - ledger.get("message.duplicate", 0)


def test_a_gateway_that_is_killed_comes_back_with_everything(at_work: Machine) -> None:
    received = received_once(at_work)
    publish(at_work, 100, 200)
    former = pid(at_work)
    at_work.run("sh", "-c", f"kill -KILL {former}")
    publish(at_work, 200, 300)
    comes_back(at_work, former)

    wait_for(lambda: received_once(at_work) == received + 200, "all 200 messages are in the books")


def test_sigterm_ends_it_cleanly_and_systemctl_keeps_it_ended(at_work: Machine) -> None:
    publish(at_work, 300, 400)
    at_work.run("systemctl", "stop", UNIT)
    assert at_work.show(UNIT, "Result") == "success"
    assert at_work.show(UNIT, "ExecMainStatus") == "0"
    assert "stopped with work left" not in at_work.journal(UNIT)


def test_a_gateway_without_its_certificate_starts_and_warns(machine: Machine) -> None:
    place = machine.tree / "etc/edge-gateway/pki/node.pem"
    content = place.read_bytes()
    place.unlink()
    machine.run("systemctl", "start", UNIT)
    assert "warning: region[0].tls_certificate: cannot read" in machine.journal(UNIT)
    machine.run("systemctl", "stop", UNIT)
    place.write_bytes(content)


def test_a_wrong_configuration_is_tried_until_it_is_right(machine: Machine) -> None:
    machine.put("/etc/edge-gateway/gateway.toml", "[node]\n")
    machine.run("systemctl", "start", UNIT, is_checked=False)
    wait_for(lambda: restarts(machine) >= 6, "systemd tries six times, more than its usual limit", 60.0, 0.2)
    machine.put("/etc/edge-gateway/gateway.toml", NODE)
    wait_for(lambda: machine.show(UNIT, "ActiveState") == "active", "the gateway runs", 60.0, 0.2)
    machine.run("systemctl", "stop", UNIT)


def test_the_receiver_takes_in_what_the_box_has_kept(at_work: Machine) -> None:
    broker = ("systemd-run", "--unit=central", "mosquitto", "-c", "/etc/central/mosquitto.conf")
    at_work.run("systemctl", "start", REGION_UNIT)
    assert at_work.show(REGION_UNIT, "ActiveState") == "active"
    at_work.run(*broker)
    publish(at_work, 400, 500)

    def is_there() -> bool:
        status = at_work.status()
        return status["ledger"].get("reading.sealed", 0) >= 100 and not backlog(status)

    wait_for(is_there, "the region has everything", 60.0, 0.5)
    report = at_work.run(
        *("env", "CREDENTIALS_DIRECTORY=/etc/credstore", "/opt/edge-gateway/bin/gateway"),
        *("region", "status", "-c", "/etc/edge-gateway/receiver.toml"),
    )
    assert "unaccounted: 0" in report
    at_work.run("systemctl", "stop", REGION_UNIT, "central.service")
    assert at_work.show(REGION_UNIT, "Result") == "success", at_work.journal(REGION_UNIT)[-3000:]


def test_no_other_user_can_read_the_state(at_work: Machine) -> None:
    assert shutil.which("setpriv")
    said = at_work.run("setpriv", "--reuid=nobody", "--clear-groups", "ls", "/var/lib/edge-gateway", is_checked=False)
    assert "Permission denied" in said
