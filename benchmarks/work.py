"""How much work one message is, in numbers that do not depend on how busy the machine is.

- Instructions, counted by valgrind (callgrind): of the codec that reads packets, of the frame of the journal, of the
  pipeline, and of sealing a batch, each alone in a process of its own, for a message of three JSON fields of 60 topics.
  Two runs that take in less and more of the same data are taken from each other: what is left is the stage alone.
- System calls of the whole daemon, counted by strace: as fast as it goes and at 5,000 messages/s.

Both are left out, and a line says so, where valgrind or strace is missing.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ingest import QUEUES, RECEIVE_MAXIMUM, ROUTES, load
from benchmarks.load import packets, payloads
from benchmarks.rows import row, sized
from gateway.batch import envelope
from gateway.config import schema
from gateway.journal.format import JournalCodec
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.pipeline import Pipeline
from gateway.transport.packets import PacketReader
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.model import OpenBatch

FEW, MANY = 2_000, 8_000
COUNT = sized(50_000, 2_000)
RATE = 5000
TOPICS = 60
READ = 64
"""Packets of one read of the socket."""
GROUP = 500
FIELDS = 3
NS = 10**9
START_NS = 1_780_000_000 * NS
TIMEOUT_S = 900.0
ATTACH_S = 1.0


def run() -> list[dict]:
    rows = []
    if shutil.which("valgrind"):
        for stage in STAGES:
            figure = (instructions(stage, MANY) - instructions(stage, FEW)) / (MANY - FEW)
            rows.append(row(f"instructions for a message: {stage}", figure, "instructions"))
    else:
        print("left out: instructions: apt-get install valgrind", file=sys.stderr)
    if shutil.which("strace"):
        rows.append(row("system calls for a message, as fast as it goes", calls(0.0), "calls"))
        rows.append(row(f"system calls for a message, {RATE:,} messages/s", calls(RATE), "calls"))
    else:
        print("left out: system calls: apt-get install strace", file=sys.stderr)
    return rows


def instructions(stage: str, count: int) -> int:
    """Return what a process executes that takes `count` messages through a stage."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--callgrind-out-file=/dev/null",
        sys.executable,
        "-m",
        "benchmarks.work",
    ]
    found = subprocess.run([*command, stage, str(count)], check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
    return int(re.findall(r"Collected : (\d+)", found.stderr)[-1])


def calls(rate: float) -> float:
    """Return the system calls of the daemon for each message."""
    count = COUNT if not rate else min(COUNT, int(rate * 5))
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name), **QUEUES) as broker:
        options = f"receive_maximum = {RECEIVE_MAXIMUM}"
        with Site(Path(name), ROUTES, broker_port=broker.port, broker=options, lane='linger = "1s"') as site:
            site.daemon.start()
            report = Path(name) / "calls"
            tracer = subprocess.Popen(["strace", "-f", "-c", "-qq", "-o", report, "-p", str(site.daemon.pid)])
            time.sleep(ATTACH_S)
            load(broker.port, TOPICS, count, rate)
            wait_for(lambda: site.ledger()["message.received"] >= count, "all messages", TIMEOUT_S, 0.2)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(TIMEOUT_S)
            total = next(line for line in report.read_text().splitlines() if line.endswith("total"))
    return int(total.split()[3]) / count


def codec(count: int) -> None:
    """Read packets as they come from the socket."""
    encoded = packets(TOPICS, payloads(MANY), "bench")
    reader = PacketReader(1 << 20)
    for first in range(0, count, READ):
        data = b"".join(encoded[first : first + READ])
        reader.room()[: len(data)] = data
        reader.received(len(data))


def journal(count: int) -> None:
    """Make the frames of a journal."""
    frames, uuid = JournalCodec(), bytes(16)
    for position, group in enumerate(groups()[: count // GROUP]):
        frames.frame_of(uuid, position, [group])


def groups() -> list[MessageGroup]:
    """Return all messages as groups of a journal."""
    bodies = payloads(MANY)
    found = []
    for first in range(0, MANY, GROUP):
        numbers, at = range(first, first + GROUP), first * NS // RATE
        topics = [f"plant/line{number % 7}/sensor{number % TOPICS}" for number in numbers]
        ids = [number % 65535 + 1 for number in numbers]
        found.append(
            MessageGroup(
                *(START_NS + at, at, CLOCK_SYNCHRONISED, 1, False, topics, bodies[first : first + GROUP], ids),
                *([QOS1] * GROUP, {}),
            )
        )
    return found


def pipeline(count: int) -> None:
    """Decide messages; batches are let go."""
    for _ in decided(count):
        pass


def seal(count: int) -> None:
    """Decide messages and seal their batches; less the pipeline it is the sealing."""
    for batch in decided(count):
        envelope.seal(batch, "benchmark")


def decided(count: int) -> Iterator[OpenBatch]:
    """Yield the batches of the first messages."""
    route = schema.Route(name="bench", topics=("plant/#",), lane="telemetry")
    lane = schema.Lane(name="telemetry", batch_readings_max=FIELDS * 4 * GROUP)
    machine = Pipeline((route,), (lane,), schema.Broker(), "bench", 1)
    for position, group in enumerate(groups()[: count // GROUP]):
        for output in machine.apply(group, position):
            yield from output.batches


STAGES = {"codec": codec, "journal": journal, "pipeline": pipeline, "pipeline and seal": seal}

if __name__ == "__main__":
    STAGES[sys.argv[1]](int(sys.argv[2]))
