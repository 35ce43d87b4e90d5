"""A region that is added to a running site: it is told what was freed before it came, and calls nothing missing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from tests.support.mirroring import LANE, SEGMENT_BYTES, Node, receiving, region, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import region_tls


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


async def test_a_new_region_is_told_what_was_freed_before_it_came(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "old", **region_tls(pki)) as old,
        Mosquitto(tmp_path / "new", **region_tls(pki)) as new,
    ):
        node = Node(tmp_path, region(pki, old.port, "old"))
        async with receiving(pki, old.port), node.running():
            for number in range(30):
                node.append(1, f"{number}" * (SEGMENT_BYTES // 20))
                node.append(1, random.Random(number).randbytes(SEGMENT_BYTES // 6).hex())
                await until(lambda: node.has_all("old"), "it arrives")
            node.spool.sync()
            node.spool.save_cursors()
        freed = node.spool.oldest(LANE) - 1
        assert freed > 10
        again = Node(tmp_path, region(pki, old.port, "old"), region(pki, new.port, "new"))
        again.appended = dict(node.appended)
        async with receiving(pki, new.port) as at_new, again.running():
            await until(lambda: again.has_all("new"), "the new region has all that is stored")
            await until(lambda: at_new.gaps, "it was told of the rest")
            (gap,) = at_new.gaps
            assert (gap.first, gap.last, gap.readings, gap.reason) == (1, freed, freed, "elsewhere")
            assert set(at_new.sequences) == set(range(freed + 1, 61))
