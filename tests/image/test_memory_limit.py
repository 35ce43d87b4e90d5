"""A daemon in a control group with a memory limit, under a flood of large messages: it is not killed, and it recovers.

Needs a memory controller that root may make a group in, of version 1 or 2.
"""

from __future__ import annotations

import json
import os
import socket
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import mqtt5
import pytest

from tests.support.mosquitto import Mosquitto
from tests.support.site import Site
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

LIMIT_BYTES = 120 << 20
ROUTES = """
[[route]]
name = "raw"
topics = ["raw/+"]
lane = "telemetry"
"""
BROKER = """
waiting_bytes_max = "256MiB"
qos0_waiting_max = 1000000
"""
CGROUPS = Path("/sys/fs/cgroup")
FLOODS = 2


@contextmanager
def limited_group() -> Iterator[Path]:
    """Make a control group with a limit; its folder."""
    is_first = (CGROUPS / "memory").is_dir()
    group = (CGROUPS / "memory" if is_first else CGROUPS) / f"gateway-test-{os.getpid()}"
    group.mkdir()
    try:
        limit = group / ("memory.limit_in_bytes" if is_first else "memory.max")
        assert limit.exists(), f"{group.parent} gives its groups no memory controller"
        limit.write_text(str(LIMIT_BYTES), "ascii")
        yield group
    finally:
        wait_for(lambda: not (group / "cgroup.procs").read_text("ascii"), "the group is empty")
        group.rmdir()


def killed(group: Path) -> int:
    """Return how many processes the kernel has killed in a group."""
    name = "memory.oom_control" if (group / "memory.oom_control").exists() else "memory.events"
    words = dict(line.split() for line in (group / name).read_text("ascii").splitlines())
    return int(words["oom_kill"])


class Flood(threading.Thread):
    """Sends large messages at QoS 0 as fast as the broker takes them."""

    def __init__(self, port: int, number: int) -> None:
        super().__init__(name=f"flood-{number}", daemon=True)
        self._link = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._link.sendall(mqtt5.ConnectPacket(self.name, clean_start=True, keep_alive=0).write())
        self._link.recv(1000)
        self._link.settimeout(None)
        self._number = number
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.is_set():
            payload = json.dumps({"text": os.urandom(15_000).hex()}).encode()
            packet = mqtt5.PublishPacket(f"raw/{self._number}", payload, qos=mqtt5.QoS.AT_MOST_ONCE).write()
            self._link.sendall(packet * 20)
        self._link.close()


def test_a_flood_that_would_fill_the_memory_is_shed_by_rule_and_kills_nobody(tmp_path: Path) -> None:
    with (
        limited_group() as group,
        Mosquitto(tmp_path / "local", max_queued_messages=1000) as local,
        Site(tmp_path, ROUTES, broker_port=local.port, broker=BROKER) as site,
    ):
        site.daemon.prefix = ("sh", "-c", f'echo $$ >{group}/cgroup.procs; exec "$0" "$@"')
        site.daemon.start()
        assert site.status()["memory"]["budget_bytes"] == LIMIT_BYTES, "the daemon does not know the limit of its group"
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        floods = [Flood(local.port, number) for number in range(FLOODS)]
        for flood in floods:
            flood.start()
        wait_for(lambda: site.ledger().get("message.shed.memory", 0) > 1000, "the flood is shed", 180.0, 0.5)
        for flood in floods:
            flood.is_over.set()
            flood.join(30.0)
        wait_for(lambda: site.status()["memory"]["state"] == "ok", "memory is there again", 120.0, 0.5)
        status = site.status()
        assert status["residual"] == {"messages": 0, "readings": 0}
        assert killed(group) == 0
        assert status["memory"]["entered"]["short"] >= 1
        site.daemon.stop()
