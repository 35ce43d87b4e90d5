"""What a region never takes: it is parked, a gap says so in its place, and what comes behind it goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.mirror.parked import Parked
from tests.support.mirroring import LANE, Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls

LARGE = 3
"""The sequence of the batch that does not fit."""


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def fill(node: Node) -> None:
    """Append five batches, one of them too large for the region's broker."""
    node.append(LARGE - 1)
    node.append(1, random.Random(1).randbytes(50_000).hex())
    node.append(2)


@pytest.mark.parametrize("acknowledge", ["broker", "receiver"])
@pytest.mark.parametrize("bound", ["message_size_limit", "max_packet_size"])
async def test_a_batch_that_is_too_large_for_the_region_is_parked_and_the_others_arrive(
    tmp_path: Path, pki: Path, bound: str, acknowledge: str
) -> None:
    with Mosquitto(tmp_path / "central", **{bound: 20_000}, **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge=acknowledge, in_flight_max=2))
        async with receiving(pki, central.port) as receiver, node.running():
            await until(lambda: node.mirrors[0].is_connected, "the mirror is connected")
            fill(node)
            await until(node.has_all, "the region has all that it takes")
            await until(lambda: len(receiver.sequences) == 4 and receiver.gaps, "the receiver has heard of all")
            status = node.mirrors[0].status()
            assert status["parked"] == 1
            assert status["connects"] == 1
        (gap,) = receiver.gaps
        assert (gap.lane, gap.first, gap.last, gap.readings, gap.readings_before) == (LANE, LARGE, LARGE, 1, LARGE - 1)
        assert gap.reason == "refused"
        assert sorted(receiver.sequences) == [1, 2, 4, 5]


async def test_what_is_parked_can_be_read_again_with_the_reason(tmp_path: Path, pki: Path) -> None:
    with Mosquitto(tmp_path / "central", message_size_limit=20_000, **region_tls(pki)) as central:
        node = Node(tmp_path, region(pki, central.port, acknowledge="broker"))
        async with node.running():
            fill(node)
            await until(node.has_all, "the region has all that it takes")
            sealed = node.spool.read(LANE, LARGE)
    parked = Parked(Disk(), tmp_path / "parked" / "centre")
    (name,) = parked.names()
    assert name == f"{LANE}.{sealed.id.epoch}.{LARGE}"
    assert parked.load(name) == (sealed.data, "the broker refuses it: packet too large")
    parked.remove(name)
    assert parked.names() == []
