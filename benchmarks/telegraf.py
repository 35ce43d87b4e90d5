"""The same messages through the gateway and through Telegraf, from the sensor to a central broker; and over faults.

Telegraf is set up to lose nothing that it can keep: QoS 1 on both sides, a persistent session, and its tracking
metrics, with which it acknowledges a message to the local broker only after its output has written it. It has room for
as many undelivered messages as the local broker sends ahead, and the layout and format that were the fastest of those
tried: a batch of line protocol. It has no disk of its own: what it did not acknowledge is the local broker's to keep.
Its line is plain TCP and ends at the central broker. Ours journals first, seals batches at the same age of a second,
sends over mTLS, and a receiver commits what comes.

Three faults at a fixed rate, each in mid-stream: the program is ended with SIGKILL and started again; the line to the
central broker is cut for some seconds; and while it is cut the local broker and the program are ended at once with
SIGKILL, as when a box loses its power, except that what was written without fdatasync is still there. mosquitto saves
what it holds as often as is its default, every half an hour. What is missing is counted of the messages that the local
broker had acknowledged to their sensors: of ours in the database of the receiver, of theirs at the central broker,
behind which Telegraf has nothing that would take repeats out. In the last fault ours may miss what came within its
last second too: the local broker held it, and the journal had not committed it.

A `telegraf` on the PATH is taken, else the one that `make telegraf` builds; without either there are no rows, and a
line says so.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import mqtt5

from benchmarks.latency import CENTRAL
from benchmarks.load import connect
from benchmarks.probe import Probe
from benchmarks.relays import (
    CUT_S,
    LOCAL,
    START_S,
    Load,
    Relay,
    at_full_speed,
    box_killed,
    cut_line,
    interrupted,
    kill,
    ours,
)
from benchmarks.rows import row, sized
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.probe import Seen

    Side = Callable[..., AbstractContextManager[Relay]]

BUILT = Path(__file__).resolve().parents[1] / "build" / "telegraf" / "telegraf"
FAST = Load(sized(200_000, 2000))
ROUNDS = sized(3, 1)
STEADY = Load(sized(15_000, 3000), 1000.0)
AFTER_S = sized(7.0, 1.5)
BOX_AFTER_S = sized((9.0, 9.3, 9.7), (3.0,))
"""At other moments within the second in which both collect."""
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

        def gateway(word: str, *, is_cuttable: bool = False) -> AbstractContextManager[Relay]:
            return ours(Path(name) / f"ours-{word}", linger="1s", is_cuttable=is_cuttable)

        def other(word: str, *, is_cuttable: bool = False) -> AbstractContextManager[Relay]:
            return telegraf(program, Path(name) / f"theirs-{word}", is_cuttable=is_cuttable)

        return [*speeds(gateway, other), *faults(gateway, other)]


def speeds(gateway: Side, other: Side) -> list[dict]:
    """Measure both as fast as they go, in turn."""
    rounds = []
    for number in range(ROUNDS):
        for side in (other, gateway):
            with side(f"fast-{number}") as relay:
                rounds.append(at_full_speed(relay, FAST))
    theirs, own = rounds[::2], rounds[1::2]
    assert not any(one["missing"] for one in own), own
    what = f"{FAST.count:,} messages to a central broker"

    def pair(key: str) -> tuple[float, float]:
        return median(one[key] for one in own), median(one[key] for one in theirs)

    missing = [sum(one["missing"] for one in side) for side in (own, theirs)]
    rate, processor, resident = pair("rate"), pair("processor"), pair("resident")
    return [
        row(f"{what}, against Telegraf", rate[0], "messages/s", rate[1]),
        row(f"{what}, missing at the end, against Telegraf", missing[0], "messages", missing[1]),
        row(f"{what}, processor, against Telegraf", processor[0], "µs/message", processor[1]),
        row(f"{what}, resident, against Telegraf", resident[0], "MB", resident[1]),
    ]


def faults(gateway: Side, other: Side) -> list[dict]:
    """Measure what each fault leaves missing, and what it leaves twice."""
    found = {}
    for whose, side in (("ours", gateway), ("theirs", other)):
        with side("killed") as relay:
            killed = interrupted(relay, STEADY, AFTER_S, kill)
        with side("cut", is_cuttable=True) as relay:
            cut = interrupted(relay, STEADY, AFTER_S, cut_line)
        boxes = []
        for number, after_s in enumerate(BOX_AFTER_S):
            with side(f"box-{number}", is_cuttable=True) as relay:
                boxes.append(box_killed(relay, STEADY, after_s))
        found[whose] = ([killed], [cut], boxes)
        assert whose != "ours" or not killed["missing"] + cut["missing"], (killed, cut)
    rate, cut_s = f"{STEADY.rate:,.0f} messages/s", f"line cut for {CUT_S:.0f} s"
    whats = ("kill -9", cut_s, f"{cut_s}, then kill -9 of the local broker too, {len(BOX_AFTER_S)} times")
    rows = []
    for what, own, theirs in zip(whats, found["ours"], found["theirs"], strict=True):
        for key in ("missing", "twice"):
            ours_in_all, theirs_in_all = (sum(one[key] for one in side) for side in (own, theirs))
            figures = row(f"{rate}, {what}: {key}, against Telegraf", ours_in_all, "messages", theirs_in_all)
            rows.append({**figures, "ours": own, "theirs": theirs})
    return rows


@contextmanager
def telegraf(program: str, folder: Path, *, is_cuttable: bool = False) -> Iterator[Relay]:
    """Run theirs."""
    folder.mkdir()
    processes: list[subprocess.Popen[bytes]] = []

    def start() -> None:
        with (folder / "out.log").open("ab") as log:
            command = [program, "--config", str(folder / "telegraf.conf")]
            processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def end() -> None:
        processes[-1].kill()
        processes[-1].wait()

    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL))
        local = stack.enter_context(Mosquitto(folder / "local", **LOCAL))
        line = stack.enter_context(FaultProxy(central.port)) if is_cuttable else None
        text = CONFIGURATION.format(local=local.port, central=line.port if line else central.port)
        (folder / "telegraf.conf").write_text(text, "utf-8")
        probe = stack.enter_context(Probe(central.port, ["telegraf/#"]))
        start()
        stack.callback(end)
        wait_for(lambda: _speaks(local.port, probe, processes[-1]), "Telegraf sends", START_S, 0.5)
        yield Relay(local, line, probe, _numbers, lambda: processes[-1].pid, end, start)
        assert processes[-1].poll() is None, (folder / "out.log").read_text("utf-8")


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
