"""Lanes that only some regions take: nothing of them goes elsewhere, and nobody waits for who does not take them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config import schema
from gateway.demo.pki import write_pki
from tests.support.mirroring import SEGMENT_BYTES, Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

LANES = (
    schema.Lane(name="personal", regions=("eu",), bytes_max=4 * SEGMENT_BYTES),
    schema.Lane(name="plant", bytes_max=4 * SEGMENT_BYTES),
)


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


async def test_a_lane_goes_to_the_regions_that_take_it_and_to_no_other(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "eu", **region_tls(pki)) as eu,
        Mosquitto(tmp_path / "us", **region_tls(pki)) as us,
    ):
        node = Node(tmp_path, region(pki, eu.port, "eu"), region(pki, us.port, "us"), lanes=LANES)
        async with receiving(pki, eu.port) as at_eu, receiving(pki, us.port) as at_us, node.running():
            node.append(5, lane="personal")
            node.append(3, lane="plant")
            await until(lambda: node.has_all("eu", "personal"), "who takes it has it")
            await until(lambda: node.has_all("eu", "plant") and node.has_all("us", "plant"), "both have the other")
            assert len(at_eu.sequences) == 8
            assert len(at_us.sequences) == 3


async def test_a_region_that_is_away_holds_nothing_of_a_lane_that_it_does_not_take(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "eu", **region_tls(pki)) as eu:
        node = Node(tmp_path, region(pki, eu.port, "eu"), region(pki, 1, "us"), lanes=LANES)
        async with receiving(pki, eu.port), node.running():
            for _ in range(40):
                node.append(1, "x" * 200_000 + str(node.appended), lane="personal")
                await until(lambda: node.has_all("eu", "personal"), "who takes it has it")
            by_lane = {str(one["name"]): one for one in node.spool.status()}
            assert list(by_lane["personal"]["regions"]) == ["eu"]  # type: ignore[call-overload]  # a mapping
            assert list(by_lane["plant"]["regions"]) == ["eu", "us"]  # type: ignore[call-overload]  # a mapping
            assert node.mirrors[1].unsent("personal") == (0, None)
