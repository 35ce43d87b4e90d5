"""Lines that cost: windows of a radio, a rate, a budget; alarms go whatever they say."""

from __future__ import annotations

import asyncio
import datetime as dt
import random
import time
from pathlib import Path

import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.model import CLOCK_SYNCHRONISED
from tests.support.mirroring import LANE, Node, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

LANES = ("alarm", LANE)


class SetClock(Clock):
    """Shows what a test sets it to."""

    def __init__(self, text: str) -> None:
        self.set(text)

    def set(self, text: str) -> None:
        self._wall_ns = int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()) * 10**9

    def wall_ns(self) -> int:
        return self._wall_ns

    def quality(self) -> int:
        return CLOCK_SYNCHRONISED


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def status(node: Node) -> dict[str, object]:
    return node.mirrors[0].status()


def line(node: Node) -> dict[str, object]:
    found = status(node)["line"]
    assert isinstance(found, dict)
    return found


def node_of(tmp_path: Path, pki: Path, port: int, clock: Clock, **link: object) -> Node:
    options = schema.Link(**link)  # type: ignore[arg-type]  # options of a link
    return Node(tmp_path, region(pki, port, acknowledge="broker", link=options), lanes=LANES, clock=clock)


async def test_a_radio_goes_up_for_its_window_and_for_alarms_only_between_windows(tmp_path: Path, pki: Path) -> None:
    clock = SetClock("2026-11-23T05:00")
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = node_of(tmp_path, pki, central.port, clock, connect=("0 6 * * *",), connect_for_ns=600 * 10**9)
        async with node.running():
            node.append(5)
            await asyncio.sleep(1.5)
            assert (status(node)["connects"], line(node)["open"]) == (0, False)
            assert not node.mirrors[0].is_away, "it rests"
            node.append(1, lane="alarm")
            await until(lambda: node.has_all(lane="alarm"), "the alarm has arrived")
            await until(lambda: not status(node)["connected"], "the radio is down again")
            assert not node.has_all()
            clock.set("2026-11-23T06:00:05")
            await until(node.has_all, "the window takes everything")
            assert node.mirrors[0].windows_opened == 1
            clock.set("2026-11-23T06:10:00")
            await until(lambda: not status(node)["connected"], "the window has closed")
            assert status(node)["faults"] == 0


async def test_past_the_budget_of_a_day_only_alarms_go_until_the_next_day(tmp_path: Path, pki: Path) -> None:
    clock = SetClock("2026-11-23T05:00")
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = node_of(tmp_path, pki, central.port, clock, bytes_per_day=40_000)
        async with node.running():
            node.append(1, random.Random(1).randbytes(40_000).hex())
            await until(lambda: line(node)["budget_spent"], "the day is spent")
            node.append(3)
            node.append(1, lane="alarm")
            await until(lambda: node.has_all(lane="alarm"), "the alarm has arrived")
            assert not node.has_all()
            clock.set("2026-11-24T00:00")
            await until(node.has_all, "the next day takes the rest")


async def test_what_was_spent_is_known_after_a_restart_with_what_the_line_itself_costs(
    tmp_path: Path, pki: Path
) -> None:
    clock = SetClock("2026-11-23T05:00")
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = node_of(tmp_path, pki, central.port, clock, bytes_per_day=10**6)
        async with node.running():
            node.append(3)
            await until(node.has_all, "all have arrived")
            sent = int(str(status(node)["sent_bytes"]))
            await until(lambda: int(str(line(node)["day_bytes"])) > sent, "headers and handshakes are counted")
            spent = int(str(line(node)["day_bytes"]))
            by_lane = line(node)["month_bytes_by_lane"]
            assert isinstance(by_lane, dict)
            assert by_lane[LANE] == sent
            assert by_lane[""] > 2_000, "a TLS handshake with certificates of both sides has more"
        again = node_of(tmp_path, pki, central.port, clock, bytes_per_day=10**6)
        assert int(str(line(again)["day_bytes"])) >= spent
        again.readers.shutdown()
        again.spool.close()


async def test_a_rate_is_kept(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = node_of(tmp_path, pki, central.port, SetClock("2026-11-23T05:00"), bytes_per_second=100_000)
        async with node.running():
            await until(lambda: status(node)["connected"], "the mirror is connected")
            started = time.monotonic()
            for number in range(5):
                node.append(1, random.Random(number).randbytes(25_000).hex())
            await until(node.has_all, "all have arrived")
            assert time.monotonic() - started > 4 * 25_000 / 100_000


async def test_an_alarm_does_not_wait_for_what_the_rate_has_owed(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", **region_tls(pki)) as central:
        node = node_of(tmp_path, pki, central.port, SetClock("2026-11-23T05:00"), bytes_per_second=1000)
        async with node.running():
            node.append(1, random.Random(1).randbytes(50_000).hex())
            await until(node.has_all, "the first batch goes at once, and is owed for a minute")
            node.append(1)
            node.append(1, lane="alarm")
            await until(lambda: node.has_all(lane="alarm"), "the alarm has arrived")
            assert not node.has_all()
