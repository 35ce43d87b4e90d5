"""The same messages through the gateway and through the ThingsBoard IoT Gateway, from the sensor to a central broker.

ThingsBoard's gateway is a Python program with the same place in a site: it subscribes at the local broker, converts
JSON and publishes telemetry over MQTT. It keeps what it has not sent in memory here (its default) and acknowledges to
the local broker before it is sent; ours journals first, seals batches, and sends over mTLS. Its platform is played by a
mosquitto and an answer to the one question that it asks of it (its session limits: none). Every message has a number;
the clock runs from the first until the last number is at the central broker, as fast as each takes them.

Its packages conflict with ours, so it has an environment of its own (`make thingsboard`); without one there are no
rows, and a line says so.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import paho.mqtt.client as paho

from benchmarks import relays
from benchmarks.latency import CENTRAL, QUEUES
from benchmarks.probe import Probe
from benchmarks.relays import START_S, Load, fed, numbers_in_json, send
from benchmarks.rows import row, sized
from benchmarks.soak import memory_mb
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import wait_for

PROGRAM = Path(__file__).resolve().parents[1] / "build" / "thingsboard" / "bin" / "thingsboard-gateway"
COUNT = sized(20_000, 1000)
FIELDS = ("n", "temperature", "pressure", "rpm")
LIMITS = {"maxPayloadSize": 65536, "maxInflightMessages": 0, "rateLimits": {}, "gatewayRateLimits": {}}


def run() -> list[dict]:
    if not PROGRAM.exists():
        print("left out: thingsboard: it is not installed, say `make thingsboard`", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "theirs").mkdir()
        theirs = thingsboard(Path(name) / "theirs")
        with relays.ours(Path(name) / "ours") as relay:
            ours = relays.at_full_speed(relay, Load(COUNT))
    assert not ours["missing"], ours
    what = f"{COUNT:,} messages to a central broker"
    return [
        row(f"{what}, against ThingsBoard's gateway", ours["rate"], "messages/s", theirs["rate"]),
        {**row(f"{what}, missing at the end, ours", ours["missing"], "messages"), "theirs": theirs["missing"]},
        row(f"{what}, missing at the end, ThingsBoard's", theirs["missing"], "messages"),
        row(f"{what}, resident, against ThingsBoard's gateway", ours["resident"], "MB", theirs["resident"]),
    ]


def thingsboard(folder: Path) -> dict:
    """Measure theirs."""
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        stack.callback(_platform(central.port))
        configure(folder, local.port, central.port)
        probe = stack.enter_context(Probe(central.port, ["v1/gateway/telemetry", "v1/gateway/connect"]))
        environment = os.environ | {"TB_GW_CONFIG_DIR": str(folder / "config"), "TB_GW_LOGS_PATH": str(folder / "logs")}
        with (folder / "out.log").open("wb") as log:
            process = subprocess.Popen([PROGRAM], cwd=folder, env=environment, stdout=log, stderr=log)
        stack.callback(process.wait)
        stack.callback(process.kill)
        wait_for(lambda: _speaks(local.port, probe, process), "ThingsBoard's gateway sends telemetry", START_S, 1.0)
        probe.seen.clear()
        found = fed(local.port, probe, numbers_in_json, Load(COUNT))
        return {**found, "resident": memory_mb(process.pid)}


def _speaks(port: int, probe: Probe, process: subprocess.Popen) -> bool:
    """Send a message, and say whether one has come through."""
    assert process.poll() is None, "ThingsBoard's gateway has ended"
    send(port, Load(1))
    return any("telemetry" in one.topic for one in probe.seen)


def _platform(port: int) -> object:
    """Answer what the gateway asks of its platform; return what ends that."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="platform")

    def answer(_client: paho.Client, _userdata: object, message: paho.MQTTMessage) -> None:
        client.publish(message.topic.replace("request", "response"), json.dumps(LIMITS), qos=1)

    client.on_message = answer
    client.on_connect = lambda *_: client.subscribe("v1/devices/me/rpc/request/+", qos=1)
    client.connect("127.0.0.1", port)
    client.loop_start()

    def end() -> None:
        client.disconnect()
        client.loop_stop()

    return end


def configure(folder: Path, local: int, central: int) -> None:
    """Write ThingsBoard's configuration: one connector, all its rate limits off, as large a memory as it may have."""
    package = next(PROGRAM.parents[1].glob("lib/*/site-packages/thingsboard_gateway/config"))
    names = folder / "config"
    names.mkdir()
    (folder / "logs").mkdir()
    for name in ("logs.json", "list.json", "connected_devices.json", "statistics.json"):
        if (package / name).exists():
            (names / name).write_bytes((package / name).read_bytes())
    found = json.loads((package / "tb_gateway.json").read_text("utf-8"))
    options = found["thingsboard"]
    options |= {"host": "127.0.0.1", "port": central, "remoteConfiguration": False, "statistics": {"enable": False}}
    options |= {name: "0:0," for name in options if name.lower().endswith("ratelimits")}
    options["security"] = {"type": "accessToken", "accessToken": "benchmark"}
    found["storage"] = {"type": "memory", "read_records_count": 1000, "max_records_count": 10 * COUNT}
    found["connectors"] = [{"name": "local", "type": "mqtt", "configuration": "local.json", "logLevel": "ERROR"}]
    (names / "tb_gateway.json").write_text(json.dumps(found), "utf-8")
    converter = {
        "type": "json",
        "deviceInfo": {
            "deviceNameExpressionSource": "topic",
            "deviceNameExpression": "sensor-[0-9]+",
            "deviceProfileExpressionSource": "constant",
            "deviceProfileExpression": "default",
        },
        "timeout": 60000,
        "attributes": [],
        "timeseries": [{"type": "double", "key": name, "value": f"${{{name}}}"} for name in FIELDS],
    }
    broker = {"host": "127.0.0.1", "port": local, "clientId": "thingsboard", "version": 5}
    broker |= {"maxMessageNumberPerWorker": 10, "maxNumberOfWorkers": 100, "security": {"type": "anonymous"}}
    mapping = [{"topicFilter": "bench/#", "subscriptionQos": 1, "converter": converter}]
    connector = {"broker": broker, "mapping": mapping, "requestsMapping": {}}
    (names / "local.json").write_text(json.dumps(connector), "utf-8")
