"""The same messages through the gateway and through Telegraf, from the sensor to a central broker; and over a kill.

Telegraf is set up to lose nothing that it can keep: QoS 1 on both sides, a persistent session, and its tracking
metrics, with which it acknowledges a message to the local broker only after its output has written it. It has room for
as many undelivered messages as the local broker sends ahead, and the layout and format that were the fastest of those
tried here: a batch of line protocol. It has no disk of its own: over a kill the local broker keeps what it did not
acknowledge, and may send again what the central broker has already. Its line is plain TCP and ends at the central
broker; ours journals first, sends over mTLS, and a receiver commits what comes.

The second run is at a fixed rate. The program is ended with SIGKILL in mid-stream and started again. Then it counts
what is missing, and what is there twice: of ours in the database of the receiver, of theirs at the central broker,
behind which it has nothing that would take repeats out.

A `telegraf` on the PATH is taken, else the one that `make telegraf` builds; without either there are no rows, and a
line says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import mqtt5

from benchmarks.latency import CENTRAL, QUEUES
from benchmarks.load import connect
from benchmarks.probe import Probe
from benchmarks.relays import START_S, Interruption, Load, fed, gateway, used
from benchmarks.rows import row, sized
from benchmarks.soak import cpu_s
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from benchmarks.probe import Seen

BUILT = Path(__file__).resolve().parents[1] / "build" / "telegraf" / "telegraf"
FAST = Load(sized(200_000, 2000))
ROUNDS = sized(3, 1)
STEADY = Load(sized(15_000, 3000), 1000.0)
KILLED_AFTER_S = sized(7, 2)
LINE = re.compile(rb"[ ,]n=(\d+)")
CONFIGURATION = """
[agent]
interval = "1s"
flush_interval = "1s"
flush_jitter = "0s"
metric_batch_size = 5000
metric_buffer_limit = 100000
omit_hostname = true

[[inputs.mqtt_consumer]]
servers = ["tcp://127.0.0.1:{local}"]
topics = ["bench/#"]
qos = 1
persistent_session = true
client_id = "telegraf"
max_undelivered_messages = 20000
data_format = "json"

[[outputs.mqtt]]
servers = ["tcp://127.0.0.1:{central}"]
topic = "telegraf/bench"
qos = 1
keep_alive = 30
layout = "batch"
data_format = "influx"
"""


def run() -> list[dict]:
    program = shutil.which("telegraf") or (str(BUILT) if BUILT.exists() else None)
    if program is None:
        print("left out: telegraf: it is not installed, say `make telegraf`", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as name:
        rounds = []
        for number in range(ROUNDS):
            folders = [_made(Path(name) / f"{whose}-{number}") for whose in ("theirs", "ours")]
            rounds.append((telegraf(program, folders[0], FAST), gateway(folders[1], FAST)))
        theirs, ours = ([each[side] for each in rounds] for side in (0, 1))
        theirs_killed = telegraf(program, _made(Path(name) / "theirs-killed"), STEADY, KILLED_AFTER_S)
        ours_killed = gateway(_made(Path(name) / "ours-killed"), STEADY, KILLED_AFTER_S)
    assert not any(one["missing"] for one in [*ours, ours_killed]), (ours, ours_killed)
    what = f"{FAST.count:,} messages to a central broker"
    killed = f"{STEADY.count:,} messages at {STEADY.rate:,.0f}/s, kill -9 in mid-stream"
    keys = ("rate", "processor", "resident")
    pairs = {key: [median(one[key] for one in side) for side in (ours, theirs)] for key in keys}
    return [
        row(f"{what}, against Telegraf", pairs["rate"][0], "messages/s", pairs["rate"][1]),
        row(f"{what}, beside Telegraf, missing at the end, ours", sum(one["missing"] for one in ours), "messages"),
        row(f"{what}, missing at the end, Telegraf's", sum(one["missing"] for one in theirs), "messages"),
        row(f"{what}, processor, against Telegraf", pairs["processor"][0], "µs/message", pairs["processor"][1]),
        row(f"{what}, resident, against Telegraf", pairs["resident"][0], "MB", pairs["resident"][1]),
        row(f"{killed}, missing, ours", ours_killed["missing"], "messages"),
        row(f"{killed}, missing, Telegraf's", theirs_killed["missing"], "messages"),
        row(f"{killed}, there twice, ours", ours_killed["twice"], "messages"),
        row(f"{killed}, there twice, Telegraf's", theirs_killed["twice"], "messages"),
    ]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def telegraf(program: str, folder: Path, load: Load, killed_after_s: float | None = None) -> dict:
    """Measure theirs; with `killed_after_s` it is ended with SIGKILL in mid-stream and started again."""
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (folder / "out.log").open("ab") as log:
            command = [program, "--config", str(folder / "telegraf.conf")]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def kill() -> None:
        processes[-1].kill()
        processes[-1].wait()

    def kill_and_start() -> None:
        kill()
        start()

    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL))
        local = stack.enter_context(Mosquitto(folder / "local", **QUEUES))
        text = CONFIGURATION.format(local=local.port, central=central.port)
        (folder / "telegraf.conf").write_text(text, "utf-8")
        probe = stack.enter_context(Probe(central.port, ["telegraf/#"]))
        start()
        stack.callback(kill)
        wait_for(lambda: _speaks(local.port, probe, processes[-1]), "Telegraf sends", START_S, 0.5)
        interruption = Interruption(killed_after_s, kill_and_start) if killed_after_s else None
        before = cpu_s(processes[-1].pid)
        found = fed(local.port, probe, _numbers, load, interruption)
        assert processes[-1].poll() is None, (folder / "out.log").read_text("utf-8")
        return found | used(processes[-1].pid, 0.0 if interruption else before, load.count)


def _speaks(port: int, probe: Probe, process: subprocess.Popen[bytes]) -> bool:
    """Send a message without a number, and say whether one has come through."""
    assert process.poll() is None, "Telegraf has ended"
    message = mqtt5.PublishPacket("bench/line-0/sensor-0", b'{"temperature": 21.0}')
    link, _ = connect(port, "first")
    with link:
        link.sendall(message.write() + mqtt5.DisconnectPacket().write())
    return bool(probe.seen)


def _numbers(seen: Seen) -> list[int]:
    """Return the numbers in a batch of line protocol."""
    return [int(number) for number in LINE.findall(seen.payload)]
