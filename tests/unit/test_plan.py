"""What recorded input says of a day is plain arithmetic, and agrees with what rings and stores do in that time."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway import cli, plan, trial
from gateway.batch import envelope
from gateway.config import schema
from gateway.disk import Disk
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.writer import JournalWriter
from gateway.ledger import RECEIVED
from gateway.model import QOS1, MessageGroup, Tick
from gateway.recovery import Settings
from gateway.spool import format as spool_layout
from gateway.spool.books import TakenIn
from gateway.spool.lanes import Spool
from gateway.survey import BATCHES, EVENTS, LaneLine, RegionLine, Survey
from gateway.toll import HANDSHAKE_BYTES, PING_BYTES
from tests.support.faultdisk import FaultDisk
from tests.support.spooled import batch
from tests.support.spooled import region as region_named

S = 10**9
WALL_NS = 1_764_000_000 * S
LANES = (schema.Lane(name="alarm", linger_ns=S // 10), schema.Lane(name="telemetry", linger_ns=5 * S))
ROUTES = (
    schema.Route(name="alarm", topics=("alarm/#",), lane="alarm"),
    schema.Route(name="all", topics=("plant/#",), lane="telemetry"),
)
FILES = {"host": "localhost", "tls_ca": "a", "tls_certificate": "b", "tls_key": "c"}


def configured(*regions: schema.Region, lanes: tuple[schema.Lane, ...] = LANES, **more: Any) -> schema.Gateway:
    spool = schema.Spool(lanes=lanes, **more)
    return schema.Gateway(node=schema.Node(id="node"), spool=spool, route=ROUTES, region=regions)


def group(at: int, *messages: tuple[str, bytes], connection: int = 1) -> MessageGroup:
    topics, payloads = [topic for topic, _ in messages], [payload for _, payload in messages]
    ids, flags = [0] * len(messages), [QOS1] * len(messages)
    return MessageGroup(WALL_NS + at, at, 2, connection, False, topics, payloads, ids, flags, {})


def captured(seconds: int) -> list[tuple[int, MessageGroup]]:
    """Return what a capture has of five presses, ten times a second each."""
    found = []
    for number in range(5 * seconds):
        at = number * S // 5
        messages = [(f"plant/{one % 5}", b'{"t": %.3f}' % math.sin(number / 50 + one)) for one in range(10)]
        found.append((number, group(at, *messages)))
    return found


def tried(config: schema.Gateway, entries: list[tuple[int, MessageGroup]]) -> tuple[trial.Trial, Survey]:
    survey = Survey(config)
    return trial.run(Settings.of(config), {}, entries, surveyor=survey), survey


def region(name: str = "centre", **options: Any) -> schema.Region:
    return schema.Region(name=name, **FILES, **{"heartbeat_ns": 0, **options})


def test_captured_groups_become_the_commits_that_the_node_would_make() -> None:
    entries = [(0, group(10 * S, ("plant/a", b'{"t": 1}'), ("plant/a", b'{"t": 2}')))]
    entries += [(1, group(11 * S, ("alarm/a", b'{"t": 1}'), ("plant/a", b'{"t": 2}')))]
    entries += [(2, group(60 * S, ("plant/a", b'{"t": 3}')))]
    config = configured()
    survey = Survey(config)
    pipeline = Settings.of(config).pipeline(1)
    found = []
    for _, entry in survey.entries(pipeline, entries):
        list(pipeline.apply(entry, 0))
        found.append(entry)
    groups = [(one.at / S, one.payloads) for one in found if isinstance(one, MessageGroup)]
    # Two messages of 9.9 s and 10 s wait a second for each other; an alarm, of 10.5 s, waits no longer than its lane.
    assert groups == [
        (10.6, [b'{"t": 1}', b'{"t": 2}', b'{"t": 1}']),
        (12.0, [b'{"t": 2}']),
        (61.0, [b'{"t": 3}']),
    ]
    ticks = [one.at / S for one in found if isinstance(one, Tick)]
    assert ticks == [10.7, 15.6], "the alarm has lingered, and what came with it and after; nothing waited then"
    assert [one.wall_ns - one.at for one in found] == [WALL_NS] * len(found)
    assert survey.written.commits == len(found)


def test_messages_of_two_connections_never_share_a_commit() -> None:
    entries = [(0, group(S, ("plant/a", b"{}"))), (1, group(S + 1, ("plant/a", b"{}"), connection=2))]
    survey = Survey(configured())
    found = [entry for _, entry in survey.entries(Settings.of(configured()).pipeline(1), entries)]
    assert [(one.connection, len(one.topics)) for one in found if isinstance(one, MessageGroup)] == [(1, 1), (2, 1)]


def test_a_full_window_of_the_broker_and_full_bytes_commit_at_once() -> None:
    config = msgspec.structs.replace(configured(), broker=schema.Broker(receive_maximum=4))
    entries = [(0, group(S, *[("plant/a", b'{"t": 1}')] * 10))]
    found = [entry for _, entry in Survey(config).entries(Settings.of(config).pipeline(1), entries)]
    assert [len(one.topics) for one in found if isinstance(one, MessageGroup)] == [4, 4, 2]
    ids = [number for one in found if isinstance(one, MessageGroup) for number in one.packet_ids]
    assert ids == list(range(1, 11)), "a capture leaves them out, the journal does not"


def test_each_region_is_counted_with_the_lanes_and_the_format_that_it_gets() -> None:
    lanes = (msgspec.structs.replace(LANES[0], regions=("centre",)), LANES[1])
    config = configured(region(), region("apps", format="events", acknowledge="broker"), lanes=lanes)
    entries = [*captured(60), (999, group(60 * S, ("alarm/a", b'{"high": true}')))]
    found, survey = tried(config, entries)
    assert list(survey.regions["centre"].lanes) == ["alarm", "telemetry"]
    assert list(survey.regions["apps"].lanes) == ["telemetry"]
    assert survey.regions["centre"].lanes["telemetry"].messages == found.lanes["telemetry"].batches
    events = survey.regions["apps"].lanes["telemetry"]
    assert events.messages == found.lanes["telemetry"].readings == 3000
    by_topic = survey.topics["telemetry", EVENTS]
    assert sum(share.bytes for share in by_topic.values()) == events.payload_bytes
    assert {share.readings for share in by_topic.values()} == {600}
    assert ("alarm", EVENTS) not in survey.topics
    assert survey.topics["alarm", BATCHES]["alarm/a"].bytes == pytest.approx(
        survey.regions["centre"].lanes["alarm"].payload_bytes
    )


def test_silence_between_batches_costs_pings() -> None:
    entries = [(number, group(number * 100 * S, ("plant/a", b'{"t": 1}'))) for number in range(10)]
    _, survey = tried(configured(region()), entries)
    assert survey.regions["centre"].pings == 9 * 6, "one in each 15 s of 100"


def line(payload: int, urgent: int = 0) -> RegionLine:
    lanes = {"alarm": LaneLine(1, urgent, 0), "telemetry": LaneLine(10, payload, 0)}
    return RegionLine(lanes)


def test_a_budget_of_the_day_that_is_too_small_is_spent_before_the_day_ends() -> None:
    link = schema.Link(bytes_per_day=1_000_000, bytes_per_month=40_000_000, bytes_per_second=10)
    seconds = plan.DAY_S / 10
    payload = 160_000 - HANDSHAKE_BYTES // 10
    found = plan.link(region(link=link), line(payload, 40_000), "node-1", ["alarm", "telemetry"], seconds, 0.5)
    assert found.day_bytes == pytest.approx(2_000_000)
    assert found.month_bytes == pytest.approx(62_000_000)
    assert found.cost_month == pytest.approx(31.0)
    day, month, rate = found.budgets
    assert (day.over, day.spent_after_s) == (pytest.approx(1_000_000), pytest.approx(plan.DAY_S / 2))
    # In the other half of the day alarms go, at 400,000 a day; the month sees no more than the days let through.
    assert found.held_bytes == pytest.approx(800_000)
    assert (month.estimate, month.over, month.spent_after_s) == (pytest.approx(37_200_000), 0.0, None)
    assert (rate.over, rate.spent_after_s) == (pytest.approx(2_000_000 / plan.DAY_S - 10), None)


def test_a_month_is_spent_on_the_day_that_its_bytes_last_to() -> None:
    options = schema.Link(bytes_per_month=1_000_000)
    found = plan.link(region(link=options), line(100_000 - HANDSHAKE_BYTES), "node-1", ["alarm"], plan.DAY_S, None)
    (month,) = found.budgets
    assert month.spent_after_s == pytest.approx(10 * plan.DAY_S)
    assert (found.cost_month, found.held_bytes) == (None, 0.0)


def test_windows_of_a_radio_cost_a_handshake_each_and_leave_less_time() -> None:
    options = schema.Link(connect=("0 */4 * * *",), connect_for_ns=600 * S, bytes_per_second=100)
    assert plan.openings(options) == (pytest.approx(6.0), pytest.approx(1 / 24))
    assert plan.openings(schema.Link()) == (0.0, 1.0)
    found = plan.link(region(link=options), line(864_000), "node-1", ["alarm"], plan.DAY_S, None)
    assert found.fixed_bytes == pytest.approx(6 * HANDSHAKE_BYTES + 6 * 40 * PING_BYTES)
    assert found.budgets[0].estimate == pytest.approx(found.day_bytes / 3600)


def test_overlapping_windows_are_one() -> None:
    options = schema.Link(connect=("0 6 * * *", "5 6 * * *"), connect_for_ns=600 * S)
    assert plan.openings(options) == (pytest.approx(1.0), pytest.approx(15 / 1440))


SEGMENT = 16 * 1024


def ring_lane(name: str, segments: int, reserved: int = 0, **options: Any) -> schema.Lane:
    return schema.Lane(name=name, bytes_max=segments * SEGMENT, bytes_reserved=reserved * SEGMENT, **options)


def first_losses(config: schema.Gateway, every: dict[str, int], seconds: int) -> dict[str, int]:
    """Store a small batch of each lane `every` so many seconds in a real spool; return when each first lost or refused.

    Its regions take nothing. Each second all is made durable, as checkpoints do.
    """
    spool = Spool.open(FaultDisk(), Path("/spool"), config.spool, "node", config.mirrored, 1)
    sequences = dict.fromkeys(every, 0)
    lost: dict[str, int] = {}
    for second in range(1, seconds):
        for name, interval in every.items():
            if second % interval == 0:
                sequences[name] += 1
                spool.append(batch(sequences[name], name), second * S)
        spool.sync(second * S)
        for status in spool.status():
            if status["evicted_batches"] or status["refused"]:
                lost.setdefault(str(status["name"]), second)
    return lost


@pytest.mark.parametrize(
    ("lanes", "every", "bytes_max"),
    [
        ((ring_lane("alarm", 10), ring_lane("telemetry", 20)), {"alarm": 3, "telemetry": 1}, 100),
        ((ring_lane("alarm", 90), ring_lane("telemetry", 90)), {"alarm": 3, "telemetry": 1}, 20),
        ((ring_lane("alarm", 90), ring_lane("telemetry", 90, reserved=8)), {"alarm": 1, "telemetry": 1}, 20),
        ((ring_lane("alarm", 90), ring_lane("telemetry", 90, reserved=18)), {"alarm": 1, "telemetry": 1}, 20),
        (
            (ring_lane("alarm", 90, 4), ring_lane("bulk", 90), ring_lane("low", 90)),
            {"alarm": 9, "bulk": 1, "low": 2},
            30,
        ),
        ((ring_lane("alarm", 9, policy="refuse"), ring_lane("telemetry", 9)), {"alarm": 1, "telemetry": 2}, 99),
    ],
    ids=[
        "own sizes",
        "the sum",
        "a reserve that is reached",
        "a reserve that takes",
        "three lanes",
        "one that refuses",
    ],
)
def test_rings_last_as_long_as_a_real_spool_takes_everything(lanes, every, bytes_max) -> None:
    options = {"segment_bytes": SEGMENT, "bytes_max": bytes_max * SEGMENT}
    config = configured(region_named("one"), lanes=lanes, **options)
    frame = sum(plan.stored_bytes(of_one(batch(number))) for number in range(1, 101)) / 100
    found = plan.rings(config, {name: plan.DAY_S / seconds * frame for name, seconds in every.items()})
    segment_s = {name: SEGMENT / frame * seconds for name, seconds in every.items()}
    expected = first_losses(config, every, 2500)
    assert expected
    for name, ring in found.items():
        if name in expected:
            assert ring.hours is not None
            assert ring.hours * 3600 == pytest.approx(expected[name], abs=segment_s[name] + 1)
        else:
            assert ring.hours is None or ring.hours * 3600 > 2400
    assert [ring.then for ring in found.values()] == [lane.policy for lane in lanes]


def of_one(sealed) -> trial.LaneTrial:
    """Return what a trial would count of one batch."""
    return trial.LaneTrial(1, sealed.readings, 0, spool_layout.batch_frame_bytes(len(sealed.data)))


def test_a_ring_to_which_nothing_comes_lasts_for_ever_and_old_batches_expire() -> None:
    lanes = (ring_lane("alarm", 10), ring_lane("telemetry", 10, expire_after_ns=3600 * S))
    config = configured(region(), lanes=lanes, segment_bytes=SEGMENT)
    found = plan.rings(config, {"alarm": 0.0, "telemetry": 1000.0})
    assert found["alarm"] == plan.Ring(0.0, None, False, "evict_oldest")
    assert found["telemetry"] == plan.Ring(1000.0, 1.0, False, "expire")


def test_a_lane_that_outlives_all_patience_lasts_at_least_so_long() -> None:
    lanes = (ring_lane("alarm", 1000), ring_lane("telemetry", 10))
    found = plan.rings(configured(region(), lanes=lanes, segment_bytes=SEGMENT), {"alarm": 1.0, "telemetry": 1e9})
    assert found["alarm"].is_least
    assert found["alarm"].hours > 1


def test_a_big_ring_of_small_segments_is_soon_filled_on_paper() -> None:
    lanes = (schema.Lane(name="alarm", bytes_max=1 << 40),)
    config = configured(region(), lanes=lanes, segment_bytes=64 << 10, bytes_max=1 << 40)
    found = plan.rings(config, {"alarm": 1e9})
    assert found["alarm"].hours == pytest.approx(2**40 / 1e9 * 24, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "batches", "route", "named"),
    [
        (30.0, 9, {}, {"": "the input lasts 30 s, a day needs at least 60 s"}),
        (90.0, 9, {}, {}),
        (90.0, 0, {"sample": schema.Sample(interval_ns=60 * S)}, {}),
        (90.0, 9, {"sample": schema.Sample(interval_ns=60 * S)}, {"telemetry": "240 s, 4 times its sample.interval"}),
        (90.0, 9, {"window": schema.Window(size_ns=30 * S)}, {"telemetry": "120 s, 4 times its window.size"}),
        (130.0, 9, {"window": schema.Window(size_ns=30 * S)}, {}),
    ],
)
def test_input_is_too_short_when_it_holds_few_of_what_a_lane_waits_for(seconds, batches, route, named) -> None:
    routes = (ROUTES[0], msgspec.structs.replace(ROUTES[1], **route))
    config = msgspec.structs.replace(configured(region()), route=routes)
    lanes = {"alarm": trial.LaneTrial(), "telemetry": trial.LaneTrial(batches=batches)}
    found = plan.too_short(config, seconds, lanes)
    assert found.keys() == named.keys()
    assert all(found[name].endswith(named[name]) for name in named)


def test_a_long_linger_needs_long_input_unless_batches_fill_before() -> None:
    config = configured(region(), lanes=(LANES[0], schema.Lane(name="telemetry", linger_ns=900 * S)))
    lanes = {"alarm": trial.LaneTrial(), "telemetry": trial.LaneTrial(batches=1)}
    assert plan.too_short(config, 1800.0, lanes)["telemetry"].endswith("3,600 s, 4 times its linger")
    lanes["telemetry"].batches = 5
    assert plan.too_short(config, 1800.0, lanes) == {}


def written_by_the_stores(
    config: schema.Gateway, entries: list[tuple[int, MessageGroup]], folder: Path
) -> dict[str, int]:
    """Let real stores do what the flow does with these messages; return the bytes of flash by purpose."""
    disk, options, survey = Disk(), config.journal, Survey(config)
    for purpose in ("journal", "spool", "checkpoint"):
        disk.name_folder(folder / purpose, purpose)
    spool = Spool.open(disk, folder / "spool", config.spool, "node", config.mirrored, 1)
    journal = JournalWriter(disk, folder / "journal", options, 0)
    checkpoints = CheckpointStore(disk, folder / "checkpoint")
    pipeline = Settings.of(config).pipeline(spool.epoch)
    before, checkpoint_at, saved_at = dict(disk.written), 0, 0
    for position, entry in survey.entries(pipeline, entries):
        journal.commit([entry])
        for output in pipeline.apply(entry, position):
            for made in output.batches:
                spool.append(envelope.seal(made, "boot"), entry.at)
                spool.acknowledge("centre", made.id.lane, made.id.sequence)
        spool.taken_in = TakenIn(position + 1, pipeline.ledger[RECEIVED])
        grown = journal.bytes_since_checkpoint
        is_large = grown >= max(options.checkpoint_bytes_min, options.checkpoint_growth * checkpoints.size)
        if is_large or entry.at - checkpoint_at >= options.checkpoint_interval_ns:
            checkpoint_at = entry.at
            writer = checkpoints.begin(layout.Checkpoint(position + 1, entry.at, 0, 1, spool.epoch, b"{}"))
            for state in pipeline.state_slices():
                writer.pack(state)
            spool.sync(entry.at)
            spool.save_cursors()
            journal.checkpointed(checkpoints.finish(writer))
        if entry.at - saved_at >= 5 * S:
            saved_at = entry.at
            spool.save_cursors()
    journal.close()
    spool.close()
    return {purpose: disk.written[purpose] - before[purpose] for purpose in before}


@pytest.mark.parametrize("checkpoint_bytes_min", [64 << 10, 2 << 20])
def test_a_day_of_flash_is_what_the_stores_write_in_it(tmp_path: Path, monkeypatch, checkpoint_bytes_min: int) -> None:
    for name in ("fdatasync", "fsync"):
        monkeypatch.setattr(os, name, lambda _: None)  # pages are counted all the same, and this is a matter of minutes
    journal = schema.Journal(checkpoint_bytes_min=checkpoint_bytes_min, checkpoint_interval_ns=120 * S)
    config = msgspec.structs.replace(configured(region()), journal=journal)
    entries = captured(600)
    found, survey = tried(config, entries)
    day = plan.flash(config, survey.written, found.lanes, survey.seconds, found.payload_bytes, 40.0)
    written = written_by_the_stores(config, entries, tmp_path)
    scale = survey.seconds / plan.DAY_S
    assert day.journal * scale == pytest.approx(written["journal"], rel=0.02)
    assert day.checkpoint * scale == pytest.approx(written["checkpoint"], rel=0.25)
    assert (day.ring + day.books) * scale == pytest.approx(written["spool"], rel=0.1)
    assert day.total * scale == pytest.approx(sum(written.values()), rel=0.05)
    assert day.per_payload_byte == pytest.approx(sum(written.values()) / found.payload_bytes, rel=0.05)
    assert day.years == pytest.approx(40e12 / day.total / 365.25, abs=0.1)


TOML = """
[node]
id = "node-1"
state_folder = "{state}"

[[spool.lanes]]
name = "telemetry"
linger = "5s"

[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"

[[region]]
name = "centre"
host = "localhost"
tls_ca = "a"
tls_certificate = "b"
tls_key = "c"

[region.link]
bytes_per_day = "1MB"
"""


@pytest.fixture
def said(tmp_path: Path, capsys):
    """Return what runs `gateway plan` on a capture of so many seconds: exit code, output, errors."""

    def run(seconds: int, *words: str) -> tuple[int, str, str]:
        configuration = tmp_path / "gateway.toml"
        configuration.write_text(TOML.format(state=tmp_path / "state"), "utf-8")
        if seconds:
            writer = JournalWriter(Disk(), tmp_path / "captured", schema.Journal(segment_bytes=1 << 20), 0)
            for _, entry in captured(seconds):
                writer.commit([entry])
            writer.close()
        code = cli.main(["plan", "-c", str(configuration), "--capture", str(tmp_path / "captured"), *words])
        return code, *capsys.readouterr()

    return run


def test_the_text_says_what_a_day_costs_and_which_topics_it_comes_from(said) -> None:
    code, text, errors = said(120, "--price", "0.5", "--flash-tbw", "40", "--most", "2")
    assert (code, errors) == (0, "")
    lines = text.splitlines()
    assert lines[0].startswith("6,000 messages with ")
    assert "! centre: bytes_per_day is 1,000,000, " in text
    assert ", then only urgent lanes go: telemetry" in text
    (topics,) = [number for number, line in enumerate(lines) if line == "what the batches of lane telemetry come from:"]
    shares = [float(line.split()[-1].rstrip("%")) for line in lines[topics + 3 :]]
    assert shares[0] >= shares[1]
    assert sum(shares) == pytest.approx(100, abs=0.3)
    assert lines[-1].split()[:2] == ["3", "others"]
    assert len(lines) == topics + 6
    assert "  -" not in next(line for line in lines if line.startswith("centre  batch"))


def test_json_says_the_same(said) -> None:
    code, text, _ = said(120, "--price", "centre=0.5", "--json")
    found = json.loads(text)
    day = found["regions"]["centre"]["day"]
    assert code == 0
    assert found["too_short"] == []
    assert day["cost_month"] == pytest.approx(day["month_bytes"] / 2e6)
    assert found["flash"]["years"] is None
    assert found["rings"]["telemetry"]["then"] == "evict_oldest"
    (topics,) = found["topics"]
    assert sum(topic["share"] for topic in topics["topics"]) == pytest.approx(1.0)
    assert (len(topics["topics"]), topics["others"]) == (5, 0)


def test_short_input_says_nothing_of_a_day(said) -> None:
    code, text, _ = said(20)
    assert code == 0
    assert "the input lasts 20 s, a day needs at least 60 s" in text
    assert not any(word in text for word in ("a day at this pace", "ring lasts", "years", "bytes_per_day"))


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("--price", "north=1"), 78, "the node mirrors to no region north"),
        ((), 78, "holds no messages"),
    ],
)
def test_what_cannot_be_planned_is_told(said, words, code, fault) -> None:
    got, _, errors = said(0, *words)
    assert got == code
    assert fault in errors


@pytest.mark.parametrize("words", [("--price", "cheap"), ("--price", "-1"), ("--flash-tbw", "nan"), ("--most", "0")])
def test_options_that_mean_nothing_are_wrong_use(said, words) -> None:
    with pytest.raises(SystemExit) as caught:
        said(0, *words)
    assert caught.value.code == 64
