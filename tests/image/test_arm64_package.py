"""The package for arm64 was made on another machine; here it runs, each instruction of it emulated by qemu."""

from __future__ import annotations

import json
import subprocess

import pytest

from images.debian.releases import RELEASES
from tests.support.debian_box import arm64_tree, built, qemu_arm64
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import Stream
from tests.support.site import NODE
from tests.support.waiting import wait_for

pytestmark = pytest.mark.root

READY_S = 120.0
SETTLED_S = 120.0
RATE = 50
ENOUGH = 200
ROUTES = """
[[route]]
name = "sensors"
topics = ["sensors/#"]
lane = "telemetry"
"""
IMPORTS = """
import importlib, pathlib, platform, psycopg, site
folder = pathlib.Path(site.getsitepackages()[0])
names = [path.relative_to(folder) for path in folder.rglob("*.so") if "_tests" not in path.name]
names = [name for name in names if not name.parts[0].endswith(".libs")]
modules = [".".join((*name.parent.parts, name.name.split(".")[0])) for name in names]
for module in modules:
    importlib.import_module(module)
print(platform.machine(), len(modules))
"""
"""Imports every compiled module of the package, but for numpy's own tests."""


@pytest.mark.parametrize("release", RELEASES)
def test_every_compiled_library_of_the_package_for_arm64_can_be_loaded_and_the_daemon_works(release, tmp_path) -> None:
    tree = arm64_tree(release, built(release, "1.0.0", tmp_path, "arm64"), tmp_path)
    loaded = subprocess.run(qemu_arm64(tree, "-c", IMPORTS), check=False, capture_output=True, text=True)
    assert loaded.returncode == 0, loaded.stderr[-3000:]
    machine, count = loaded.stdout.split()
    assert machine == "aarch64"
    assert int(count) > 20
    print(f"{count} compiled modules loaded")  # noqa: T201  # for people

    with Mosquitto(tmp_path / "local", log_type="all") as broker:
        text = NODE.format(state="/srv/node", port=broker.port, broker="", lane='linger = "100ms"') + ROUTES
        (tree / "root" / "gateway.toml").write_text(text, "utf-8")
        gateway = ("-IB", "/opt/edge-gateway/bin/gateway")
        log = tmp_path / "daemon.log"
        with log.open("wb") as said:
            command = qemu_arm64(tree, *gateway, "run", "-c", "/root/gateway.toml")
            daemon = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            wait_for(lambda: "ready" in log.read_text("utf-8").splitlines(), "the daemon is ready", READY_S)
            wait_for(lambda: "Sending SUBACK" in broker.log(), "the gateway has subscribed", READY_S)
            stream = Stream(broker.port, ["sensors/oven", "sensors/hall"], rate=RATE)
            stream.start()
            wait_for(lambda: sum(stream.acknowledged.values()) > ENOUGH, "messages are published", SETTLED_S)
            total = sum(stream.stop().values())

            def status() -> dict:
                asked = qemu_arm64(tree, *gateway, "status", "--json", "-c", "/root/gateway.toml")
                return json.loads(subprocess.run(asked, check=True, capture_output=True, text=True).stdout)

            wait_for(lambda: status()["ledger"].get("message.received", 0) == total, f"{total} received", SETTLED_S)
            wait_for(lambda: status()["open_readings"] == 0, "all is in batches", SETTLED_S)
            assert status()["residual"] == {"messages": 0, "readings": 0}
        finally:
            daemon.terminate()
            assert daemon.wait(SETTLED_S) == 0, log.read_text("utf-8")
    assert (tree / "srv/node/spool").is_dir()
