"""A region with a standby: the standby carries on when the region is gone, and gives back when it has returned."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from tests.support.mirroring import Node, Receiver, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

SECOND_NS = 10**9


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def status(node: Node) -> dict[str, object]:
    return node.mirrors[0].status()


def site(tmp_path: Path, pki: Path, east: int, west: int, acknowledge: str = "receiver") -> Node:
    times = {"failover_after_ns": SECOND_NS, "hold_down_ns": SECOND_NS, "acknowledge": acknowledge}
    return Node(
        tmp_path,
        region(pki, east, "east", **times),
        region(pki, west, "west", failover_for="east", acknowledge=acknowledge),
    )


async def test_a_standby_takes_over_and_gives_back_and_each_batch_is_with_one_of_them(
    tmp_path: Path, pki: Path
) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        node = site(tmp_path, pki, east.port, west.port)
        async with receiving(pki, east.port) as at_east, receiving(pki, west.port) as at_west, node.running():
            node.append(10)
            await until(lambda: node.has_all("east"), "the region has all")
            assert (status(node)["place"], at_west.sequences) == ("east", [])
            east.stop()
            node.append(10)
            await until(lambda: node.has_all("east"), "the standby has what the region has not")
            assert status(node)["place"] == "west"
            assert set(at_west.sequences) == set(range(11, 21))
            east.start()
            await until(lambda: status(node)["place"] == "east", "the region carries again")
            node.append(10)
            await until(lambda: node.has_all("east"), "the region has the rest")
            assert (status(node)["failovers"], status(node)["failbacks"]) == (1, 1)
        assert set(at_east.sequences) == {*range(1, 11), *range(21, 31)}
        assert sorted(at_west.sequences) == list(range(11, 21)), "nothing is sent twice without need"
        assert told(at_west) == [(1, 10, 10, 0, "elsewhere")]
        assert told(at_east) == [(11, 20, 10, 10, "elsewhere")]


async def test_after_a_restart_the_region_is_told_what_its_standby_took(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        east.stop()
        node = site(tmp_path, pki, east.port, west.port)
        async with receiving(pki, west.port), node.running():
            node.append(10)
            await until(lambda: node.has_all("east"), "the standby has all")
            node.spool.sync()
            node.spool.save_cursors()
        east.start()
        again = site(tmp_path, pki, east.port, west.port)
        again.appended = dict(node.appended)
        async with receiving(pki, east.port) as at_east, again.running():
            again.append(5)
            await until(lambda: again.has_all("east"), "the region has what is new")
            await until(lambda: at_east.gaps, "it was told")
        assert told(at_east) == [(1, 10, 10, 0, "elsewhere")]
        assert set(at_east.sequences) == set(range(11, 16))


def told(receiver: Receiver) -> list[tuple[int, int, int, int, str]]:
    return [(gap.first, gap.last, gap.readings, gap.readings_before, gap.reason) for gap in receiver.gaps]


async def test_the_old_link_is_let_go_only_when_the_new_one_is_there(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        node = site(tmp_path, pki, east.port, west.port, acknowledge="broker")
        east.stop()
        async with node.running():
            node.append(1)
            await until(lambda: node.has_all("east"), "the standby has it")
            east.start()
            unlinked = 0
            while status(node)["place"] == "west":
                node.append(1)
                await until(lambda: node.has_all("east"), "it arrives")
                unlinked += not status(node)["connected"]
            node.append(1)
            await until(lambda: node.has_all("east"), "it arrives")
            assert unlinked == 0
            assert status(node)["connects"] == 2, "one link to each"


async def test_a_region_that_takes_everything_and_acknowledges_nothing_is_left_for_its_standby(
    tmp_path: Path, pki: Path
) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        node = site(tmp_path, pki, east.port, west.port)
        async with receiving(pki, east.port, says=False), receiving(pki, west.port), node.running():
            node.append(3)
            await until(lambda: node.has_all("east"), "the standby's receiver has said that it has all")
            assert status(node)["place"] == "west"


async def test_without_any_place_each_is_tried_in_turn_until_one_is_there(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        node = site(tmp_path, pki, east.port, west.port, acknowledge="broker")
        east.stop()
        west.stop()
        async with node.running():
            node.append(5)
            await until(lambda: int(str(status(node)["failovers"])) >= 2, "both had their turn")
            west.start()
            await until(lambda: node.has_all("east"), "the standby has all")


async def test_no_wait_before_the_next_attempt_holds_up_the_standby(tmp_path: Path, pki: Path) -> None:
    hour_ns = 3600 * SECOND_NS
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        east.stop()
        times = {"failover_after_ns": SECOND_NS, "backoff_min_ns": hour_ns, "backoff_max_ns": hour_ns}
        here = region(pki, east.port, "east", acknowledge="broker", **times)
        node = Node(tmp_path, here, region(pki, west.port, "west", failover_for="east", acknowledge="broker"))
        async with node.running():
            node.append(5)
            await until(lambda: node.has_all("east"), "the standby has all")
            assert status(node)["place"] == "west"


async def test_a_standby_that_has_nothing_to_do_is_not_left_again(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "east", **region_tls(pki)) as east,
        Mosquitto(tmp_path / "west", **region_tls(pki)) as west,
    ):
        node = site(tmp_path, pki, east.port, west.port, acknowledge="broker")
        east.stop()
        async with node.running():
            node.append(1)
            await until(lambda: node.has_all("east"), "the standby has it")
            await until(lambda: node.mirrors[0]._failover._failing_since is None, "the standby counts as working")
            stable_ns = node.mirrors[0]._failover.stable_ns
            node.mirrors[0]._failover.does_not_work(time.monotonic_ns())  # as after a move with nothing in flight
            await until(lambda: node.mirrors[0]._failover._failing_since is None, "and again, though nothing was sent")
            assert stable_ns < SECOND_NS
            assert status(node)["failovers"] == 1
