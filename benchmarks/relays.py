"""What the comparisons with other gateways share: one load, one way to count what comes, and ours beside theirs.

A relay takes every message from the local broker and brings it, batched or not, to a central one. Every message has a
number; a probe at the central broker says which numbers have come and when, whatever a relay has packed them into. The
clock runs from the first message sent until the last number is there. In other runs something is done in mid-stream: a
kill of the relay, a cut of the line, and a kill of the relay and the local broker at once while the line is cut. Then
what is missing and what is there twice counts, at the place where the relay's own programs leave a message: ours in the
receiver's database.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.latency import CENTRAL, QUEUES
from benchmarks.probe import Probe, Seen, numbers
from benchmarks.rows import sized
from benchmarks.soak import cpu_s, memory_mb
from gateway.demo.pki import write_pki
from tests.support.fault_proxy import FaultProxy
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site, region_tls
from tests.support.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

TOPICS = 60
FASTEST = 1e6
START_S = 60.0
SILENT_S = 20.0
"""A run ends when nothing new has come for so long; what is missing then is lost, or stuck."""
SETTLED_S = 3.0
MISSED_S = 10.0
"""So long nothing new has come at the end of a run with a fault: when nothing is missing, and when something is."""
LOCAL = {**QUEUES, "autosave_interval": 1800}
"""How often a mosquitto saves what it holds is left at its default."""
CUT_S = sized(5.0, 1.0)
NUMBER = re.compile(rb'"n": ?"?(\d+)')
ROUTES = """
[[route]]
name = "bench"
topics = ["bench/#"]
lane = "telemetry"
"""


class Load(NamedTuple):
    """How many numbered messages, and how many of them in a second."""

    count: int
    rate: float = FASTEST


class Relay(NamedTuple):
    """A relay that runs between its two brokers."""

    local: Mosquitto
    line: FaultProxy | None
    probe: Probe
    numbers_of: Callable[[Seen], Iterable[int]]
    pid: Callable[[], int]
    kill: Callable[[], None]
    start: Callable[[], None]
    arrived: Callable[[], list[int]] | None = None
    """The numbers of all messages at the very end, where that is not the central broker; repeats repeated."""


@contextmanager
def ours(folder: Path, *, linger: str = "100ms", is_cuttable: bool = False) -> Iterator[Relay]:
    """Run ours: journal, pipeline, spool, mTLS to the central broker, and a receiver that commits there."""
    folder.mkdir()
    write_pki(folder / "pki")
    with ExitStack() as stack:
        central = stack.enter_context(Mosquitto(folder / "central", **CENTRAL, **region_tls(folder / "pki")))
        local = stack.enter_context(Mosquitto(folder / "local", **LOCAL))
        line = stack.enter_context(FaultProxy(central.port)) if is_cuttable else None
        lane, ports = f'linger = "{linger}"', {"broker_port": local.port, "region_port": central.port}
        site = Site(folder, ROUTES, **ports, pki=folder / "pki", lane=lane)
        if line:  # of the node alone: the receiver is beside the central broker
            text = site.configuration.read_text("utf-8")
            site.configuration.write_text(text.replace(f"port = {central.port}\n", f"port = {line.port}\n"), "utf-8")
        stack.enter_context(site)
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["regions"]["centre"]["connected"], "the region", START_S)
        probe = stack.enter_context(Probe(central.port, ["edge/v1/+/batch/+"], pki=folder / "pki"))
        daemon = site.daemon
        yield Relay(
            local,
            line,
            probe,
            lambda one: numbers(one.payload),
            lambda: daemon.pid,
            daemon.kill,
            daemon.start,
            lambda: [int(one.value) for one in site.readings() if one.field == "n"],
        )


def at_full_speed(relay: Relay, load: Load) -> dict:
    """Return rate, missing and twice, and what the relay holds and spends."""
    pid = relay.pid()
    before = cpu_s(pid)
    found = fed(relay.local.port, relay.probe, relay.numbers_of, load)
    processor = (cpu_s(pid) - before) * 1e6 / load.count
    return {**found, "resident": memory_mb(pid), "processor": processor}


def interrupted(relay: Relay, load: Load, after_s: float, act: Callable[[Relay], None]) -> dict:
    """Return what is missing and what is there twice after a run in which something was done in mid-stream."""
    fed(relay.local.port, relay.probe, relay.numbers_of, load, (after_s, lambda: act(relay)))
    return balance(relay, load.count)


def kill(relay: Relay) -> None:
    """End the relay with SIGKILL and start it again."""
    relay.kill()
    relay.start()


def cut_line(relay: Relay) -> None:
    """Cut the line to the central broker, and let it be whole again after a while."""
    _line(relay, is_whole=False)
    time.sleep(CUT_S)
    _line(relay, is_whole=True)


def _line(relay: Relay, *, is_whole: bool) -> None:
    assert relay.line is not None
    relay.line.refuse(refuses=not is_whole)
    if not is_whole:
        assert relay.line.cut(with_reset=True), "nothing went over the line"


def box_killed(relay: Relay, load: Load, after_s: float) -> dict:
    """Cut the line, later end the local broker and the relay at once with SIGKILL; then all is whole and starts again.

    Return what is missing of the messages that the local broker had acknowledged to their sensors. The line is cut
    `CUT_S` before the end of `after_s`.
    """
    reports: list[dict] = []
    thread = threading.Thread(target=lambda: reports.append(send(relay.local.port, load, "--until-cut")))
    thread.start()
    time.sleep(after_s - CUT_S)
    _line(relay, is_whole=False)
    time.sleep(CUT_S)
    relay.local.kill()
    relay.kill()
    thread.join()
    _line(relay, is_whole=True)
    relay.local.start()
    relay.start()
    (report,) = reports
    assert report["messages"] < load.count, "the run was over before it was interrupted"
    return {**balance(relay, report["messages"]), "messages": report["messages"]}


def balance(relay: Relay, count: int) -> dict:
    """Wait until nothing new comes, and return how many of the first `count` numbers are missing and how many twice."""
    arrived: list[int] = []
    missing, news_at = count, time.monotonic()
    while time.monotonic() - news_at < (MISSED_S if missing else SETTLED_S):
        time.sleep(0.5)
        found = relay.arrived() if relay.arrived else _at_probe(relay)
        if len(found) > len(arrived):
            news_at = time.monotonic()
        arrived = found
        missing = count - len(set(arrived) & set(range(count)))
    return {"missing": missing, "twice": len(arrived) - len(set(arrived))}


def _at_probe(relay: Relay) -> list[int]:
    return [number for one in list(relay.probe.seen) for number in relay.numbers_of(one)]


def fed(
    port: int,
    probe: Probe,
    numbers_of: Callable[[Seen], Iterable[int]],
    load: Load,
    interruption: tuple[float, Callable[[], None]] | None = None,
) -> dict:
    """Send all messages and wait until nothing new comes.

    Return the rate until the last, how many are missing, and how often a number came that was there already.
    """
    reports: list[dict] = []
    thread = threading.Thread(target=lambda: reports.append(send(port, load)))
    thread.start()
    begun_at = time.monotonic()
    arrivals: dict[int, float] = {}
    came, looked, news_at = 0, 0, begun_at
    while len(arrivals) < load.count and time.monotonic() - news_at < SILENT_S:
        time.sleep(0.1)
        if interruption and time.monotonic() - begun_at >= interruption[0]:
            interruption[1]()
            interruption = None
        for one in probe.seen[looked:]:
            looked += 1
            for number in numbers_of(one):
                came += 1
                arrivals.setdefault(number, one.at)
                news_at = one.at
    thread.join()
    assert interruption is None, "the run was over before it was interrupted"
    (report,) = reports
    return {
        "rate": len(arrivals) / (max(arrivals.values()) - report["started_at"]),
        "missing": load.count - len(arrivals),
        "twice": came - len(arrivals),
    }


def send(port: int, load: Load, *options: str) -> dict:
    """Send numbered messages, at full speed as fast as the broker takes them."""
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(port), "--topics", str(TOPICS)]
    command += ["--count", str(load.count), "--rate", str(load.rate), *options]
    found = subprocess.run(command, check=True, capture_output=True, timeout=10 * START_S)
    return json.loads(found.stdout.splitlines()[-1])


def numbers_in_json(seen: Seen) -> list[int]:
    """Return the numbers of all messages that a payload of JSON holds, however they are nested."""
    return [int(number) for number in NUMBER.findall(seen.payload)]
