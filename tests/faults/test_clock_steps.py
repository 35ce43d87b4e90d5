"""The wall clock steps while windows are open, or a box boots in 1970: nothing is lost, and no deadline waits for it.

A whole node runs on the real timeline, with a clock whose wall time jumps. Sensors of seven kinds speak once a second,
some with a time of their own, which is right. What has to reach the region is computed once more, plainly, from what
was said and when it came: time of arrival or of the payload, deadband, interval, windows with lateness and silence, and
the refusal of times that lie ahead of a clock that is set. The node is killed, or its power is cut, in the middle of
each.

GATEWAY_LONG=1 restarts it at each turn, else at a few; GATEWAY_SEED gives the chance of the power cuts.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import pytest

from gateway import ledger
from gateway.batch.decode import DecodedBatch, decode
from gateway.clock import WALL_FLOOR_NS, Clock
from gateway.config import schema
from gateway.ingest.committer import Timeline
from gateway.model import CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED, QOS1, MessageGroup, Tick
from gateway.quarantine import Quarantine
from gateway.recovery import Settings
from tests.support import oracle
from tests.support.faultdisk import FaultDisk
from tests.support.wholenode import STATE, Node, Receiver, S

IS_LONG = bool(os.environ.get("GATEWAY_LONG"))
SEED = int(os.environ.get("GATEWAY_SEED", "1"))
TRUE_S = 1_764_000_003
HOUR = 3600
YEARS = 10 * 365 * 24 * HOUR
TURNS = 60
AHEAD_S = 300
BAND = 3.0
INTERVAL = schema.Sample(interval_ns=4 * S, deadband={"n": BAND}, silence_ns=9 * S)
WINDOW = schema.Window(size_ns=10 * S, lateness_ns=2 * S, idle_ns=15 * S, functions=("count", "sum"))
TIME = schema.Time(field="t", unit="s", ahead_ns=AHEAD_S * S)
LANES = (
    schema.Lane(name="alarm", bytes_max=4 << 20, batch_readings_max=5, linger_ns=S, expire_after_ns=HOUR * S),
    schema.Lane(name="telemetry", bytes_max=4 << 20, batch_readings_max=50, linger_ns=5 * S, expire_after_ns=HOUR * S),
)
ROUTES = (
    schema.Route(name="alarm", topics=("alarm/+",), lane="alarm"),
    schema.Route(name="raw", topics=("raw/+",), lane="telemetry"),
    schema.Route(name="band", topics=("band/+",), lane="telemetry", sample=schema.Sample(deadband={"n": BAND})),
    schema.Route(name="interval", topics=("interval/+",), lane="telemetry", sample=INTERVAL),
    schema.Route(name="timed", topics=("timed/+",), lane="telemetry", time=TIME),
    schema.Route(name="window", topics=("window/+",), lane="telemetry", window=WINDOW),
    schema.Route(name="timed-window", topics=("timed-window/+",), lane="telemetry", window=WINDOW, time=TIME),
)
KINDS = tuple(route.name for route in ROUTES)
TIMED = {"timed", "timed-window"}
SETTINGS = Settings("node-1", ROUTES, LANES, 1 << 20, 1024, 20)


class SteppingClock(Clock):
    """True time goes on by `pass_time`; the wall shows it with an error, the monotonic clock begins at each boot."""

    def __init__(self) -> None:
        self.passed_ns = 0
        self.error_s = 0
        self._booted_ns = 0

    def pass_time(self, nanoseconds: int) -> None:
        self.passed_ns += nanoseconds

    def boot(self) -> None:
        self._booted_ns = self.passed_ns

    def true_ns(self) -> int:
        return TRUE_S * S + self.passed_ns

    def wall_ns(self) -> int:
        return self.true_ns() + self.error_s * S

    def monotonic_ns(self) -> int:
        return 5 * S + self.passed_ns - self._booted_ns

    def boot_id(self) -> str:
        return f"boot {self._booted_ns}"

    def quality(self) -> int:
        return CLOCK_UNSYNCHRONISED if self.wall_ns() < WALL_FLOOR_NS else CLOCK_SYNCHRONISED


class Said(NamedTuple):
    """One message as it came."""

    at: int
    wall_ns: int
    clock: int
    topic: str
    number: int
    time_ns: int

    @property
    def kind(self) -> str:
        return self.topic.partition("/")[0]


class Dated(NamedTuple):
    """A reading as it must arrive."""

    topic: str
    field: str
    time_ns: int
    value: float


class BookingReceiver(Receiver):
    """Keeps the times of the readings, too."""

    def __init__(self) -> None:
        super().__init__()
        self.dated: Counter[Dated] = Counter()

    def take(self, data: bytes) -> None:
        known = len(self.hashes)
        super().take(data)
        if len(self.hashes) > known:
            batch = decode(data)
            assert isinstance(batch, DecodedBatch)
            self.dated.update(Dated(one.topic, one.field, one.time_ns, one.value) for one in batch.readings())


@dataclass
class Expected:
    """What has to arrive, and what other fates are due."""

    readings: Counter[Dated] = field(default_factory=Counter)
    ahead: int = 0
    late: int = 0
    sampled_out: int = 0


def expected(said: list[Said]) -> Expected:
    found = Expected()
    for topic in {one.topic for one in said}:
        ones = [one for one in said if one.topic == topic]
        if ones[0].kind in TIMED:
            honest = [one for one in ones if not _is_ahead(one)]
            found.ahead += len(ones) - len(honest)
            ones = honest
        if not ones:
            continue
        points = [oracle.Point(one.time_ns if one.kind in TIMED else one.wall_ns, one.number) for one in ones]
        if ones[0].kind.endswith("window"):
            _expect_windows(found, topic, [one.at for one in ones], points)
            continue
        if ones[0].kind == "band":
            kept = oracle.outside_deadband(points, BAND, 0)
            found.sampled_out += len(points) - len(kept)
            points = kept
        if ones[0].kind == "interval":
            kept = oracle.at_intervals(points, INTERVAL.interval_ns)
            kept = oracle.outside_deadband(kept, BAND, INTERVAL.silence_ns)
            found.sampled_out += len(points) - len(kept)
            assert len(kept) >= len(points) // 9, "a step of the clock has silenced a sensor"
            points = kept
        found.readings.update(Dated(topic, "n", *point) for point in points)
    return found


def _is_ahead(one: Said) -> bool:
    return one.clock != CLOCK_UNSYNCHRONISED and one.time_ns > one.wall_ns + AHEAD_S * S


def _expect_windows(found: Expected, topic: str, ats: list[int], points: list[oracle.Point]) -> None:
    """Divide a topic where it was silent, late rows not counting, and sum up the windows of each part."""
    windows: dict[int, list[int]] = {}
    generations = [windows]
    newest = taken_at = 0
    for at, (time_ns, value) in zip(ats, points, strict=True):
        if windows and at - taken_at >= WINDOW.idle_ns:
            windows, newest = {}, 0
            generations.append(windows)
        start = time_ns // WINDOW.size_ns * WINDOW.size_ns
        if start + WINDOW.size_ns + WINDOW.lateness_ns <= newest:
            found.late += 1
            continue
        windows.setdefault(start, []).append(int(value))
        newest, taken_at = max(newest, time_ns), at
    for one in generations:
        for start, values in one.items():
            found.readings[Dated(topic, "n.count", start, len(values))] += 1
            found.readings[Dated(topic, "n.sum", start, sum(values))] += 1


class Site:
    """A node that is started again and again on one disk, and sensors that speak to it."""

    def __init__(self, quarantine: Quarantine) -> None:
        self.disk = FaultDisk()
        self.clock = SteppingClock()
        self.receiver = BookingReceiver()
        self.quarantine = quarantine
        self.said: list[Said] = []
        self.epochs: list[int] = []
        self._at = 0
        self.start()

    def start(self) -> None:
        self.clock.boot()
        self.node = Node(self.disk, self.quarantine, settings=SETTINGS, clock=self.clock)
        self.timeline = Timeline(self.clock, self.node.recovered.at)
        self.epochs.append(self.node.spool.epoch)
        self.node.connection += 1

    def cut_power(self, chance: random.Random) -> None:
        self.disk.power_up(chance)
        self.start()

    def lose_journal(self) -> None:
        for path in [path for path in self.disk.entries if path.parent == STATE / "journal"]:
            del self.disk.entries[path]
        self._at = 0  # the node's own time goes on where the checkpoint ends

    def now(self) -> int:
        at = self.timeline.now()
        assert at >= self._at, "the node's own time went back"
        self._at = at
        return at

    def speak(self) -> None:
        """Let a second pass, with what falls due in it, and every sensor speak; work on."""
        self.pass_time(S)
        at, wall_ns, quality = self.now(), self.clock.wall_ns(), self.clock.quality()
        turn = len(self.said) // len(KINDS)
        time_ns = self.clock.true_ns() // S * S
        new = [Said(at, wall_ns, quality, f"{kind}/{turn % 2}", turn % 7, time_ns) for kind in KINDS]
        payloads = [
            b'{"n": %d, "t": %d}' % (one.number, time_ns // S) if one.kind in TIMED else b'{"n": %d}' % one.number
            for one in new
        ]
        topics, flags = [one.topic for one in new], [QOS1] * len(new)
        packet_ids = [len(self.said) % 60_000 + index for index in range(1, len(new) + 1)]
        connection = self.node.connection
        group = MessageGroup(wall_ns, at, quality, connection, False, topics, payloads, packet_ids, flags, {})
        self.node.take(group, None)
        self.said += new
        if turn % 4 == 3:
            self.node.spool.expire(at)
            self.node.mirror(self.receiver, batches_max=2)
        if turn % 9 == 8:
            self.node.checkpoint()

    def pass_time(self, nanoseconds: int) -> None:
        """Let time pass, with a tick whenever a deadline of the pipeline falls due, as the committer does."""
        end = self.clock.passed_ns + nanoseconds
        while self.clock.passed_ns < end:
            due = self.node.pipeline.deadline
            wait = end - self.clock.passed_ns if due is None else max(0, due - self.now())
            if self.clock.passed_ns + wait >= end:
                self.clock.pass_time(end - self.clock.passed_ns)
                return
            self.clock.pass_time(wait)
            self.node.take(Tick(self.clock.wall_ns(), self.now(), self.clock.quality()), None)
            due = self.node.pipeline.deadline
            assert due is None or due > self.now(), "a deadline that fell due is still waiting"

    def check(self) -> None:
        """Let it come to rest within silence and linger, deliver everything and hold it against what was said."""
        self.pass_time(WINDOW.idle_ns + LANES[1].linger_ns + S)
        node, receiver = self.node, self.receiver
        assert node.pipeline.deadline is None
        assert node.pipeline.open_readings == 0
        node.mirror(receiver)
        wanted, books = expected(self.said), node.pipeline.ledger
        assert ledger.residuals(books, 0) == (0, 0)
        assert books[ledger.RECEIVED] == len(self.said)
        fates = (ledger.QUARANTINED + "time_ahead", ledger.LATE, ledger.SAMPLED_OUT)
        assert tuple(books.get(fate, 0) for fate in fates) == (wanted.ahead, wanted.late, wanted.sampled_out)
        assert receiver.dated == wanted.readings
        assert books[ledger.SEALED] == receiver.dated.total()
        assert not receiver.gaps
        assert self.epochs == sorted(self.epochs)


STEPS: dict[str, dict[int, int]] = {
    "-10 years": {20: -YEARS},
    "-1 h": {20: -HOUR},
    "+1 h": {20: HOUR},
    "+10 years": {20: YEARS},
    "-10 years and back": {15: -YEARS, 33: 0},
    "-1 h and back": {15: -HOUR, 33: 0},
    "+1 h and back": {15: HOUR, 33: 0},
    "+10 years and back": {15: YEARS, 33: 0},
    "-1 h, +10 years, back": {12: -HOUR, 24: YEARS, 37: 0},
    "a boot in 1970": {0: -TRUE_S, 25: 0},
    "a boot in 1970, set in two steps": {0: -TRUE_S, 20: -HOUR, 40: 0},
}
"""Turn → error of the wall clock from then on, in seconds."""


@pytest.fixture
def quarantine(tmp_path: Path) -> Iterator[Quarantine]:
    kept = Quarantine(tmp_path / "quarantine.sqlite")
    yield kept
    kept.close()


def run(quarantine: Quarantine, steps: dict[int, int], restart: int | None = None, power: int | None = None) -> Site:
    """Run through all turns; start again before one of them, by a kill, or by a power cut with a seed."""
    site = Site(quarantine)
    site.clock.error_s = steps.get(0, 0)
    for turn in range(TURNS):
        site.clock.error_s = steps.get(turn, site.clock.error_s)
        if turn == restart and power is None:
            site.start()
        elif turn == restart:
            site.cut_power(random.Random(power))
        site.speak()
    site.check()
    return site


@pytest.mark.parametrize("name", STEPS)
def test_a_step_of_the_clock_loses_nothing_and_holds_up_no_deadline(name, quarantine) -> None:
    site = run(quarantine, STEPS[name])
    assert len(site.said) == TURNS * len(KINDS)
    assert len(site.receiver.hashes) > 20


@pytest.mark.parametrize("name", STEPS)
def test_a_restart_near_a_step_of_the_clock_changes_nothing(name, quarantine) -> None:
    steps = STEPS[name]
    undisturbed = run(quarantine, steps).receiver.dated
    near = {turn + by for turn in steps for by in (-1, 0, 1, 4) if turn + by > 0}
    for restart in sorted(range(1, TURNS) if IS_LONG else near):
        for power in (None, SEED, SEED + 1):
            site = run(quarantine, steps, restart, power)
            assert site.receiver.dated == undisturbed, (restart, power)


@pytest.mark.parametrize("restart", range(1, TURNS) if IS_LONG else (7, 23, 41))
def test_a_box_without_a_clock_boots_in_1970_every_time(restart, quarantine) -> None:
    """It is set ten turns after each boot, and its power is cut in between."""
    steps = {0: -TRUE_S, 10: 0, restart: -TRUE_S - restart, restart + 10: 0}
    run(quarantine, steps, restart, SEED + restart)


@pytest.mark.parametrize("errors", [(0, YEARS, -TRUE_S, -HOUR), (-TRUE_S, -TRUE_S, 0, -YEARS), (YEARS, 0, 0, HOUR)])
def test_epochs_rise_whatever_the_clock_says_when_one_has_to_begin(errors, quarantine) -> None:
    """The journal goes away before each start, so that the spool is ahead and an epoch must begin."""
    site = Site(quarantine)
    minted = [site.node.spool.epoch]
    for error_s in errors:
        site.clock.error_s = error_s
        for _ in range(14):
            site.speak()
        site.lose_journal()
        site.start()
        assert site.node.recovered.epoch_began
        minted.append(site.node.spool.epoch)
    assert minted == sorted(set(minted))
    site.pass_time(HOUR // 2 * S)
    site.node.mirror(site.receiver)
    for lane in ("alarm", "telemetry"):
        used = [one.sequence for one in sorted(site.receiver.hashes) if one.lane == lane]
        assert used == list(range(1, len(used) + 1)), "a later epoch does not go on where the one before it ended"
