"""How much work one message is, in numbers that do not depend on how busy the machine is.

- Instructions, counted by valgrind (callgrind): of the codec that reads packets, of the frame of the journal, of the
  pipeline, and of sealing a batch, each alone in a process of its own, for a message of three JSON fields of 60 topics.
  Two runs that take in less and more of the same data are taken from each other: what is left is the stage alone.
- Bytes copied in memory by the same stages, counted by valgrind (dhat) at calls of memcpy and the like; copies that
  a compiler has turned into instructions are not seen. The codec's figure has the two that stand for the socket here.
- System calls of the whole daemon, counted by strace: as fast as it goes and at 5,000 messages/s.
- Bytes that cross from the kernel and to it, by TCP and files, as strace sees them: each is copied once there.

Both are left out, and a line says so, where valgrind or strace is missing.
"""

from __future__ import annotations

import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
MOVES = ("read", "write", "pread64", "pwrite64", "readv", "writev", "recvfrom", "sendto", "recvmsg", "sendmsg")
CROSSED = re.compile(r"^\d+ +\w+\(\d+<(?:TCP|/).* = (\d+)$", re.MULTILINE)
"""A call of a TCP socket or a file that moved bytes."""
ATTACH_S = 1.0


def run() -> list[dict]:
    rows = []
    if shutil.which("valgrind"):
        for what, tool in TOOLS.items():
            for stage in STAGES:
                figure = (tool.count(stage, MANY) - tool.count(stage, FEW)) / (MANY - FEW)
                rows.append(row(f"{what} for a message: {stage}", figure, tool.unit))
    else:
        print("left out: instructions, bytes copied: apt-get install valgrind", file=sys.stderr)
    if shutil.which("strace"):
        rows.append(row("system calls for a message, as fast as it goes", calls(0.0), "calls"))
        rows.append(row(f"system calls for a message, {RATE:,} messages/s", calls(RATE), "calls"))
        for rate, word in ((0.0, "as fast as it goes"), (RATE, f"{RATE:,} messages/s")):
            name = f"from and to the kernel for a message, {word}"
            rows.append(row(name, crossed(rate), "bytes", statistics.mean(map(len, payloads(COUNT)))))
    else:
        print("left out: system calls: apt-get install strace", file=sys.stderr)
    return rows


class Tool(NamedTuple):
    """A tool of valgrind, and where in its report the total stands."""

    options: tuple[str, ...]
    total: str
    unit: str

    def count(self, stage: str, count: int) -> int:
        """Return the total of a process that takes `count` messages through a stage."""
        command = ["valgrind", *self.options, sys.executable, "-m", "benchmarks.work", stage, str(count)]
        found = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S)
        return int(re.findall(self.total, found.stderr)[-1].replace(",", ""))


TOOLS = {
    "instructions": Tool(("--tool=callgrind", "--callgrind-out-file=/dev/null"), r"Collected : (\d+)", "instructions"),
    "bytes copied": Tool(
        ("--tool=dhat", "--mode=copy", "--dhat-out-file=/dev/null"), r"Total: +([\d,]+) bytes", "bytes"
    ),
}


def calls(rate: float) -> float:
    """Return the system calls of the daemon for each message."""
    report, count = traced(rate, "-c")
    total = next(line for line in report.splitlines() if line.endswith("total"))
    return int(total.split()[3]) / count


def crossed(rate: float) -> float:
    """Return the bytes that the daemon gets from the kernel or gives it for each message; its status is not counted."""
    report, count = traced(rate, "-yy", "-e", "trace=" + ",".join(MOVES))
    return sum(int(size) for size in CROSSED.findall(report)) / count


def traced(rate: float, *options: str) -> tuple[str, int]:
    """Return what strace reports of the daemon while it takes in messages, and how many of them."""
    count = COUNT if not rate else min(COUNT, int(rate * 5))
    with tempfile.TemporaryDirectory() as name, Mosquitto(Path(name), **QUEUES) as broker:
        window = f"receive_maximum = {RECEIVE_MAXIMUM}"
        with Site(Path(name), ROUTES, broker_port=broker.port, broker=window, lane='linger = "1s"') as site:
            site.daemon.start()
            report = Path(name) / "calls"
            tracer = subprocess.Popen(["strace", "-f", "-qq", *options, "-o", report, "-p", str(site.daemon.pid)])
            time.sleep(ATTACH_S)
            load(broker.port, TOPICS, count, rate)
            wait_for(lambda: site.ledger()["message.received"] >= count, "all messages", TIMEOUT_S, 0.2)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(TIMEOUT_S)
            return report.read_text("utf-8", "replace"), count


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
