"""The Debian package on a box: installed, at work, upgraded with readings in its ring, removed, purged.

The box is a Debian machine run by systemd-nspawn, with Debian's mosquitto and no network: nothing can be fetched. The
publisher numbers its messages and goes on while the package is upgraded; each number must be in the ring once.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from images.debian.releases import RELEASES
from tests.support.debian_box import built, tree_for
from tests.support.nspawn import Machine
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

CONFIG = "/etc/edge-gateway/gateway.toml"
OLD, NEW = "1.0.0", "1.0.1"
BEFORE = 2000
REGION_BROKER = """
listener 8883
cafile {pki}/ca.pem
certfile {pki}/server.pem
keyfile {pki}/server.key
require_certificate true
use_identity_as_username true
"""
REGION = """
[[region]]
name = "centre"
host = "localhost"
tls_ca = "pki/ca.pem"
tls_certificate = "pki/node.pem"
tls_key = "pki/node.key"
"""
PAUSE_S = 0.005
SETTLED_S = 180.0
OUTSIDE = re.compile(
    r"/(proc|sys|dev|run|tmp|root|var/log|var/cache|var/tmp|var/lib/(dpkg|apt|systemd|mosquitto))(/|$)"
)
"""Where other programs keep what they remember."""


@pytest.fixture(scope="module", params=RELEASES)
def release(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def packages(release, tmp_path_factory) -> dict[str, Path]:
    """Return version → package; not compressed, which takes most of the time otherwise."""
    folder = tmp_path_factory.mktemp(f"packages-{release}")
    yield {version: built(release, version, folder) for version in (OLD, NEW)}
    shutil.rmtree(folder)


@pytest.fixture
def box(release, packages, tmp_path) -> Iterator[Machine]:
    """A machine that has what the package depends on, and no more."""
    with Machine(tmp_path / "box", tree_for(release, packages[OLD])) as machine:
        for version, path in packages.items():
            shutil.copyfile(path, machine.tree / "root" / f"{version}.deb")
        machine.boot()
        wait_for(lambda: is_active(machine, "mosquitto"), "mosquitto runs")
        yield machine


def is_active(box: Machine, unit: str) -> bool:
    return box.attempt("systemctl", "is-active", unit).stdout.strip() == "active"


def install(box: Machine, version: str) -> str:
    """Install a version as apt does, with nobody there to answer a question."""
    command = ("apt-get", "install", "--yes", "--option", "APT::Sandbox::User=root", f"/root/{version}.deb")
    done = box.attempt("env", "DEBIAN_FRONTEND=noninteractive", *command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def received(box: Machine) -> int:
    return box.status()["ledger"].get("message.received", 0)


def invocations(box: Machine) -> list[str]:
    """Return one id for each time that the daemon was started."""
    lines = box.run("journalctl", "--unit", "gateway", "--output=json", "--no-pager").splitlines()
    entries = [json.loads(line) for line in lines]
    found = {one["_SYSTEMD_INVOCATION_ID"]: None for one in entries if "_SYSTEMD_INVOCATION_ID" in one}
    return list(found)


def numbers_in_the_ring(box: Machine) -> Counter[int]:
    """Return how often each number is in the ring; the daemon must be stopped, so that all is in it."""
    found: Counter[int] = Counter()
    for line in box.run("gateway", "spool", "cat", "--json", "-c", CONFIG).splitlines():
        one = json.loads(line)
        if one.get("field") == "n":
            found[int(one["value"])] += 1
    return found


def files(box: Machine) -> set[str]:
    """Return every file of the machine but those that other programs keep."""
    return {path for path in box.run("find", "/", "-xdev").splitlines() if not OUTSIDE.match(path)}


@contextmanager
def publishing(box: Machine, first: int) -> Iterator[list[int]]:
    """Publish numbers from `first` until left, at QoS 1; what is yielded holds the end of the range after that."""
    command = [*box.enter(), "mosquitto_pub", "-q", "1", "-t", "sensors/oven", "-l", "-i", "oven", "-c"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, text=True)
    assert process.stdin is not None
    is_over = threading.Event()
    end = [first]

    def publish() -> None:
        while not is_over.is_set():
            process.stdin.write(f'{{"n": {end[0]}}}\n')
            process.stdin.flush()
            end[0] += 1
            time.sleep(PAUSE_S)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield end
    finally:
        is_over.set()
        thread.join()
        process.stdin.close()
        assert process.wait(SETTLED_S) == 0


def test_a_box_is_installed_upgraded_with_readings_in_its_ring_and_purged(box) -> None:
    before = files(box)
    said = install(box, OLD)
    assert is_active(box, "gateway"), said + box.journal("gateway")
    assert box.run("systemctl", "is-enabled", "gateway").strip() == "enabled"
    assert box.attempt("systemctl", "is-enabled", "gateway-region").stdout.strip() == "disabled"
    assert box.status()["node"] == "box", "a node is named after its host"

    log = box.tree / "var/log/mosquitto/mosquitto.log"
    assert "/etc/mosquitto/conf.d/edge-gateway.conf" in log.read_text("utf-8"), "a running broker has read our limits"

    # The broker takes our limits beside Debian's own configuration, from a cold start too.
    box.run("systemctl", "restart", "mosquitto")
    wait_for(lambda: box.status()["ingest"]["connected"], "the gateway is connected again")

    lines = "".join(f'{{"n": {number}}}\n' for number in range(BEFORE))
    box.run("mosquitto_pub", "-q", "1", "-t", "sensors/oven", "-l", stdin=lines)
    wait_for(lambda: received(box) == BEFORE, f"{BEFORE} messages received", SETTLED_S, 0.5)
    epoch = box.status()["epoch"]
    edited = box.run("cat", CONFIG) + "\n# edited by the operator\n"
    (box.tree / CONFIG.removeprefix("/")).write_text(edited, "utf-8")

    with publishing(box, BEFORE) as end:
        wait_for(lambda: received(box) > BEFORE + 100, "messages flow", SETTLED_S, 0.5)
        took = time.monotonic()
        install(box, NEW)
        took = time.monotonic() - took
        at_restart = received(box)
        wait_for(lambda: received(box) > at_restart + 100, "messages flow again", SETTLED_S, 0.5)
    total = end[0]
    wait_for(lambda: received(box) >= total, f"{total} messages received", SETTLED_S, 0.5)
    wait_for(lambda: box.status()["open_readings"] == 0, "every reading is in a batch", SETTLED_S, 0.5)
    assert len(invocations(box)) == 2, "an upgrade restarts the daemon once"
    assert box.run("cat", CONFIG) == edited
    after = box.status()
    assert after["epoch"] == epoch
    assert after["residual"] == {"messages": 0, "readings": 0}
    print(f"upgraded in {took:.1f} s under load; {total} messages")  # noqa: T201  # for people

    # What an operator has stopped stays stopped.
    box.run("systemctl", "stop", "gateway")
    assert numbers_in_the_ring(box) == Counter(range(total)), "each number is in the ring once"
    box.run("dpkg", "--install", f"/root/{NEW}.deb")
    assert not is_active(box, "gateway")

    # Removed and installed again it goes on where it was.
    box.run("systemctl", "start", "gateway")
    box.run("apt-get", "remove", "--yes", "edge-gateway")
    assert box.attempt("test", "-e", "/usr/bin/gateway").returncode != 0
    assert box.attempt("test", "-d", "/var/lib/edge-gateway/spool").returncode == 0
    install(box, NEW)
    assert is_active(box, "gateway")
    assert box.status()["epoch"] == epoch

    said = box.run("apt-get", "purge", "--yes", "edge-gateway")
    assert "removing state" in said
    assert files(box) - before == set()
    assert box.attempt("getent", "passwd", "gateway").returncode != 0


def test_after_a_restart_of_the_box_the_daemon_starts_by_itself_and_goes_on(box) -> None:
    install(box, OLD)
    wait_for(lambda: box.status()["ingest"]["connected"], "the daemon is connected", SETTLED_S, 0.5)
    box.run("mosquitto_pub", "-q", "1", "-t", "sensors/oven", "-m", '{"n": 1}')
    wait_for(lambda: received(box) == 1, "a message received", SETTLED_S, 0.5)
    epoch = box.status()["epoch"]
    box.power_off()
    box.boot()
    assert is_active(box, "gateway")
    assert box.status()["epoch"] == epoch


def test_a_configuration_with_a_fault_fails_no_upgrade_and_is_named(box) -> None:
    install(box, OLD)
    (box.tree / CONFIG.removeprefix("/")).write_text('[node]\nid = "box"\nstate_foldr = "x"\n', "utf-8")
    said = install(box, NEW)
    assert "state_foldr" in said
    assert box.run("dpkg-query", "--show", "--showformat=${Status}", "edge-gateway") == "install ok installed"


def test_the_receiver_of_the_package_takes_what_the_box_sends(box) -> None:
    install(box, OLD)
    box.run("gateway", "dev-pki", "/root/pki", "--node", "box")
    box.run("cp", "--recursive", "/root/pki", "/etc/mosquitto/pki")
    box.run("chown", "--recursive", "mosquitto", "/etc/mosquitto/pki")
    box.put("/etc/mosquitto/region.conf", REGION_BROKER.format(pki="/etc/mosquitto/pki"))
    box.run("mosquitto", "-d", "-c", "/etc/mosquitto/region.conf")

    for folder, group, who in (("pki", "gateway", "node"), ("pki-region", "gateway-region", "receiver")):
        for name in ("ca.pem", f"{who}.pem", f"{who}.key"):
            target = f"/etc/edge-gateway/{folder}/"
            box.run("install", "--group", group, "--mode", "0640", f"/root/pki/{name}", target)
    box.run("cp", "/usr/share/doc/edge-gateway/examples/receiver.toml", "/etc/edge-gateway/")
    box.run("systemctl", "enable", "--now", "gateway-region")
    box.put(CONFIG, box.run("cat", CONFIG) + REGION)
    box.run("systemctl", "reload", "gateway")

    box.run("mosquitto_pub", "-q", "1", "-t", "sensors/oven", "-m", '{"n": 1}')
    told = ("gateway", "region", "status", "--json", "-c", "/etc/edge-gateway/receiver.toml")

    def at_the_region() -> int:
        return sum(lane["received"] for lane in json.loads(box.run(*told))["lanes"])

    wait_for(lambda: at_the_region() == 1, "the reading is at the region", SETTLED_S, 0.5)
