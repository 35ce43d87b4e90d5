"""A box with the package boots cold: ready without any region or network, within its memory, and after a power cut too.

The machine is emulated by qemu, with Debian's kernel and its limits of memory (cgroup v2). Times are printed, and are
those of an emulator.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.box_guest import CGROUP, BoxGuest
from tests.support.debian_box import built, tree_for
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

RELEASE = "bookworm"
CONFIG = "/etc/edge-gateway/gateway.toml"
GROUP = f"{CGROUP}/system.slice/gateway.service"
SETTLED_S = 400.0  # an emulator on a busy machine
MESSAGES = 200
HOG = f"""sh -c 'echo $$ >{GROUP}/cgroup.procs && exec python3.11 -c "bytearray(400 * 2**20)"'"""
"""A process in the daemon's group that takes more than the group may have."""


@pytest.fixture
def box(tmp_path) -> Iterator[BoxGuest]:
    package = built(RELEASE, "1.0.0", tmp_path)
    with BoxGuest(tmp_path / "guest", tree_for(RELEASE, package), package) as guest:
        yield guest


def status(box: BoxGuest) -> dict[str, Any]:
    return json.loads(box.run(f"gateway status --json -c {CONFIG}"))


def shown(box: BoxGuest, name: str) -> str:
    return box.run(f"systemctl show --value --property={name} gateway.service").strip()


def received(box: BoxGuest) -> int:
    return status(box)["ledger"].get("message.received", 0)


def ready_after(box: BoxGuest) -> str:
    """Return when the daemon was ready, in seconds since the kernel's start, and how long its own start took."""
    ready, began = (int(shown(box, f"{name}TimestampMonotonic")) for name in ("ActiveEnter", "InactiveExit"))
    took = (ready - began) / 1e6
    return f"the daemon was ready {ready / 1e6:.1f} s after the start of the kernel, {took:.1f} s after its own"


def test_a_box_boots_cold_takes_messages_in_keeps_to_its_memory_and_comes_back_after_a_power_cut(box: BoxGuest) -> None:
    box.boot()
    assert shown(box, "ActiveState") == "active", box.run("journalctl --no-pager -u gateway")
    print(ready_after(box))  # noqa: T201  # for people
    numbers = "seq 200 | sed 's/.*/{\"n\": &}/'"
    wait_for(lambda: status(box)["ingest"]["connected"], "the gateway is connected", SETTLED_S, 1)
    box.run(f"{numbers} | mosquitto_pub -q 1 -t sensors/oven -l")
    wait_for(lambda: received(box) == MESSAGES, f"{MESSAGES} messages received", SETTLED_S, 1)
    epoch = status(box)["epoch"]

    # The limit of the unit is the kernel's, and holds.
    limit = int(box.run(f"cat {GROUP}/memory.max"))
    assert limit == int(shown(box, "MemoryMax"))
    assert 0 < limit < 400 * 2**20
    used = int(shown(box, "MemoryCurrent"))
    assert used < limit
    print(f"MemoryMax {limit / 2**20:.0f} MiB, in use {used / 2**20:.0f} MiB")  # noqa: T201  # for people
    process = shown(box, "MainPID")
    box.run(HOG, is_checked=False)
    wait_for(lambda: "oom-kill" in box.run("journalctl --no-pager -u gateway"), "systemd has seen it", SETTLED_S, 1)
    wait_for(lambda: shown(box, "ActiveState") == "active", "the daemon is back", SETTLED_S, 5)
    assert shown(box, "MainPID") != process
    assert received(box) == MESSAGES

    box.cut()
    box.boot()
    assert shown(box, "ActiveState") == "active", box.run("journalctl --no-pager -u gateway")
    print(f"after a power cut: {ready_after(box)}")  # noqa: T201  # for people
    after = status(box)
    assert after["epoch"] == epoch
    assert after["ledger"]["message.received"] == MESSAGES
    assert after["residual"] == {"messages": 0, "readings": 0}
