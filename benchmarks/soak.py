"""Hours at a fixed rate with an uplink that is cut again and again: nothing may be lost, and nothing may grow.

    python -m benchmarks.soak [--hours 2] [--rate 10000] [--cut-every 300] [--cut-for 30] [--csv build/soak.csv]
    python -m benchmarks.soak --minutes 30 --rate 20000 --scrape [--memory-max 192]

A whole site runs: mosquitto, the daemon, a TCP proxy as the uplink, the region's mosquitto (mTLS), a receiver that
keeps books, and with `--parquet` also the readings: on two cores that is a second load beside the daemon's. Every
message has a number. A probe at the region's broker notes which numbers have come and how long the alarms among them
took from the moment they were due; it is told nothing by the daemon. At the end its list, the ledger of the daemon, the
books of the receiver and the rows of its files are held against what was sent.

A row of figures goes to the CSV every `SAMPLE_S` seconds. `--scrape` lets the daemon trace batches to a collector, and
asks its HTTP endpoint and its console each second for everything it serves. `--memory-max` bounds the daemon's memory
by a control group (needs root). Growth is the median of the last third of the run against that of the first third, the
first fifth left out; latency counts only while the uplink has been whole for a minute. Exit code 0 when every check of
the verdict passes. Ctrl-C judges what was.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from benchmarks.confined import Confined
from benchmarks.probe import Probe, numbers
from benchmarks.rows import quantile
from benchmarks.scrape import Scraper
from benchmarks.verdict import Check, books, growth
from gateway.demo.pki import write_pki
from gateway.errors import BatchError
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.otlp_collector import Collector
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from benchmarks.probe import Seen

SAMPLE_S = 10.0
LOOK_S = 0.5
CALM_AFTER_S = 60.0
SETTLE_S = 180.0
TOPICS = 500
ALARM_EVERY = 100
QUEUES = {"max_inflight_messages": 20_000, "max_queued_messages": 0}
CENTRAL = {"max_inflight_messages": 1000, "max_queued_messages": 0}
ROUTES = """
[[route]]
name = "alarms"
topics = ["bench/alarm/#"]
lane = "alarm"

[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""
ALARM_LANE = """
[[spool.lanes]]
name = "alarm"
bytes_max = "32MiB"
linger = "0s"
"""
WATCHED = """
[health]
listen = "127.0.0.1:0"

[console]
listen = "127.0.0.1:0"

[trace]
endpoint = "{endpoint}"
"""
SINKS = 'sinks = ["ndjson", "sqlite"]'
PARQUET = 'sinks = ["parquet"]\n[receiver.parquet]\ninterval = "30s"\nrows_max = 200_000\n'


class Soak:
    """One run. `samples` are the rows of the CSV."""

    def __init__(self, arguments: argparse.Namespace, seconds: float, stack: ExitStack) -> None:
        self._arguments = arguments
        self._stack = stack
        self.count = int(seconds * arguments.rate)
        self.seconds = seconds
        self.seen = np.zeros(self.count, bool)
        self.samples: list[dict] = []
        self.alarms: list[tuple[float, float]] = []
        self.scraper: Scraper | None = None
        self.collector: Collector | None = None
        self.confined: Confined | None = None
        self.undecodable = 0

    def __enter__(self) -> Self:
        """Start everything, the load last."""
        enter = self._stack.enter_context
        folder = Path(enter(tempfile.TemporaryDirectory(prefix="soak-", dir=self._arguments.folder)))
        pki = folder / "pki"
        write_pki(pki)
        self.central = enter(Mosquitto(folder / "central", **CENTRAL, **region_tls(pki)))
        self.local = enter(Mosquitto(folder / "local", **QUEUES))
        self.uplink = enter(FaultProxy(self.central.port))
        routes = ROUTES
        if self._arguments.scrape:
            self.collector = enter(Collector())
            routes += WATCHED.format(endpoint=self.collector.endpoint)
        self.site = enter(
            Site(
                folder,
                routes,
                broker_port=self.local.port,
                region_port=self.uplink.port,
                pki=pki,
                broker=ALARM_LANE,  # tables after that of the broker, so that this lane is the first
                lane='linger = "1s"',
            )
        )
        receiver = folder / "receiver.toml"
        text = receiver.read_text("utf-8")
        assert SINKS in text
        text = text.replace(SINKS, PARQUET).replace(f"port = {self.uplink.port}", f"port = {self.central.port}")
        receiver.write_text(text, "utf-8")
        if not self._arguments.parquet:
            self.site.receiver.prefix = (sys.executable, "-m", "benchmarks.bookkeeper")
        if self._arguments.memory_max:
            self.confined = Confined(self._arguments.memory_max, 0)
            # Entered before the site, so left after it: a group that has a process cannot be removed.
            self.site.daemon.prefix = self._stack.enter_context(self.confined).prefix
            self._stack.callback(self.site.daemon.kill)
        self.site.receiver.start()
        self.site.daemon.start()
        wait_for(lambda: self.site.status()["regions"]["centre"]["connected"], "the region is connected")
        self.probe = enter(Probe(self.central.port, ["edge/v1/+/batch/+"], pki=pki))
        if self._arguments.scrape:
            status = self.site.status()
            self.scraper = enter(Scraper({name: str(status[name]["listens"]) for name in ("health", "console")}))
        self._start_load()
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._load.kill()
        self._load.wait()

    def _start_load(self) -> None:
        arguments = self._arguments
        command = [sys.executable, "-m", "benchmarks.load", "--port", str(self.local.port), "--topics", str(TOPICS)]
        command += ["--count", str(self.count), "--rate", str(arguments.rate), "--alarm-every", str(ALARM_EVERY)]
        self._load = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._load.stdout is not None
        self.started_at = float(json.loads(self._load.stdout.readline())["started_at"])

    def run(self, writer: csv.DictWriter | None, on_sample: object) -> dict:
        """Cut and heal the uplink, sample, until the load has ended; return the load's report."""
        next_cut, healed_at, sample_at = self._arguments.cut_every, float("-inf"), SAMPLE_S
        is_cut = False
        while self._load.poll() is None:
            time.sleep(LOOK_S)
            now = self.elapsed_s
            self.look()
            if is_cut and now >= next_cut - self._arguments.cut_every + self._arguments.cut_for:
                self.uplink.refuse(refuses=False)
                is_cut, healed_at = False, now
            # The last cut must have time to heal before the end.
            if now >= next_cut and now + self._arguments.cut_for < self.seconds:
                self.uplink.refuse()
                self.uplink.cut()
                is_cut = True
                next_cut += self._arguments.cut_every
            if now >= sample_at:
                sample_at += SAMPLE_S
                sample = self.sample(is_cut=is_cut, is_calm=not is_cut and now - healed_at > CALM_AFTER_S)
                writer = on_sample(writer, sample)
        assert self._load.returncode == 0, "the load failed"
        assert self._load.stdout is not None
        self.uplink.refuse(refuses=False)
        return json.loads(self._load.stdout.readlines()[-1])

    def settle(self) -> None:
        """Wait until everything that was sent has come, as long as that may take."""
        end_at = time.monotonic() + SETTLE_S
        while time.monotonic() < end_at:
            self.look()
            if self.seen.all():
                return
            time.sleep(LOOK_S)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the first message was due."""
        return time.monotonic() - self.started_at

    def look(self) -> None:
        """Note what has come."""
        found = list(self.probe.seen)
        del self.probe.seen[: len(found)]  # the probe's thread may have appended meanwhile
        for one in found:
            self._note(one)

    def _note(self, one: Seen) -> None:
        try:
            came = np.array(numbers(one.payload), int)
        except BatchError:
            self.undecodable += 1
            return
        if one.topic.endswith("/alarm"):
            fresh = came[~self.seen[came]]
            due = self.started_at + fresh / self._arguments.rate
            self.alarms += [(one.at - self.started_at, one.at - each) for each in due.tolist()]
        self.seen[came] = True

    def sample(self, *, is_cut: bool, is_calm: bool) -> dict:
        """Return one row of figures, and append it to `samples`."""
        since = self.samples[-1]["elapsed_s"] if self.samples else 0.0
        late = [latency * 1000 for at, latency in self.alarms if at > since] or [0.0]
        status = self.site.status()
        daemon, receiver = self.site.daemon.pid, self.site.receiver.pid
        region = status["regions"]["centre"]
        found = {
            "elapsed_s": round(self.elapsed_s, 1),
            "due": min(self.count, int(self.elapsed_s * self._arguments.rate)),
            "received": status["ledger"]["message.received"],
            "delivered": int(self.seen.sum()),
            "is_cut": int(is_cut),
            "is_calm": int(is_calm),
            "backlog_batches": sum(region["backlog"].values()) + region["in_flight"],
            "alarm_p50_ms": round(quantile(late, 0.5), 2),
            "alarm_p99_ms": round(quantile(late, 0.99), 2),
            "daemon_rss_mb": round(memory_mb(daemon), 1),
            "daemon_files": files(daemon),
            "daemon_threads": len(list(Path(f"/proc/{daemon}/task").iterdir())),
            "daemon_cpu_s": round(cpu_s(daemon), 2),
            "receiver_rss_mb": round(memory_mb(receiver), 1),
            "receiver_files": files(receiver),
            "broker_rss_mb": round(memory_mb(self.local.pid), 1),
            "flash_bytes": status["flash"]["process_bytes"],
            "resent": region["resent"],
            "connects": region["connects"],
        }
        if self.scraper is not None:
            found |= self.scraper.sample() | {"spans": len(self.collector.spans) if self.collector else 0}
        if self.confined is not None:
            found |= {f"group_{key}": round(value, 1) for key, value in self.confined.memory().items()}
        self.samples.append(found)
        self.alarms = [one for one in self.alarms if one[0] > found["elapsed_s"]]
        return found

    def verdict(self, report: dict) -> list[Check]:
        """Return what was checked."""
        sent = report["messages"]
        missing = np.flatnonzero(~self.seen[:sent])
        first = f", the first is {missing[0]}" if len(missing) else ""
        status = self.site.status()
        checks = [
            Check("every message at the region", f"{len(missing)} of {sent:,} missing{first}", not len(missing)),
            Check("what the probe was sent is whole", f"{self.undecodable} batches undecodable", not self.undecodable),
            *books(self.site, status, sent, has_files=self._arguments.parquet),
            *growth(self.samples),
        ]
        if self.scraper is not None and self.collector is not None:
            checks += self.scraper.checks()
            spans = len(self.collector.spans)
            checks.append(Check("spans of sampled batches", f"{spans:,} at the collector", spans > 0))
        if self.confined is not None:
            memory = self.confined.memory()
            said = f"{memory['used']:.0f} MB, at most {memory['peak']:.0f} of {self._arguments.memory_max:.0f}"
            checks.append(Check("within its memory", f"{said}, killed {memory['killed']} times", not memory["killed"]))
        late = report["late_p99_s"] * 1000
        checks.append(Check("the load kept its rate", f"p99 {late:.1f} ms late in its first part", is_passed=None))
        return checks


def memory_mb(pid: int) -> float:
    """Return resident memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6


def files(pid: int) -> int:
    """Return how many file descriptors a process holds."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> int:
    """Run it and judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Hours at a fixed rate.")
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--minutes", type=float, help="instead of hours")
    parser.add_argument("--rate", type=float, default=10_000.0, help="messages/s")
    parser.add_argument("--cut-every", type=float, default=300.0, metavar="S", help="seconds between two cuts")
    parser.add_argument("--cut-for", type=float, default=30.0, metavar="S", help="how long the uplink is then away")
    parser.add_argument("--scrape", action="store_true", help="ask the HTTP endpoint each second")
    parser.add_argument("--parquet", action="store_true", help="let the receiver write Parquet as well")
    parser.add_argument("--memory-max", type=float, default=0.0, metavar="MB", help="bound the daemon's memory")
    parser.add_argument("--csv", type=Path, default=Path("build/soak.csv"), metavar="FILE")
    parser.add_argument("--folder", type=Path, help="where state is kept meanwhile, on a real disk")
    arguments = parser.parse_args()
    seconds = 60 * arguments.minutes if arguments.minutes else 3600 * arguments.hours
    arguments.csv.parent.mkdir(parents=True, exist_ok=True)
    with arguments.csv.open("w", newline="", encoding="utf-8") as file, ExitStack() as stack:

        def on_sample(writer: csv.DictWriter | None, sample: dict) -> csv.DictWriter:
            if writer is None:
                writer = csv.DictWriter(file, list(sample))
                writer.writeheader()
            writer.writerow(sample)
            file.flush()
            shown = ("due", "delivered", "is_cut", "alarm_p50_ms", "alarm_p99_ms", "daemon_rss_mb", "daemon_files")
            print(f"{sample['elapsed_s']:8.0f} s ", *(f"{key} {sample[key]:,}" for key in shown), flush=True)
            return writer

        soak = stack.enter_context(Soak(arguments, seconds, stack))
        try:
            report = soak.run(None, on_sample)
        except KeyboardInterrupt:
            report = {"messages": int(soak.elapsed_s * arguments.rate), "late_p99_s": 0.0}
            print("interrupted: what was under way may be missing below")
        soak.settle()
        checks = soak.verdict(report)
    for check in checks:
        print(check)
    is_passed = all(check.is_passed is not False for check in checks)
    print(f"verdict: {'PASSED' if is_passed else 'FAILED'}; {arguments.csv}")
    return 0 if is_passed else 1


if __name__ == "__main__":
    sys.exit(main())
