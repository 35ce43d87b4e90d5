"""The page on trying a new region keeps its word: the copy is whole, costs the old region nothing, a share is one."""

from __future__ import annotations

import random
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from gateway.config import schema
from gateway.config.load import parse
from gateway.demo.pki import write_pki
from tests.support.mirroring import SEGMENT_BYTES, Node, receiving, until
from tests.support.mosquitto import Mosquitto
from tests.support.site import pems, region_tls

PAGE = Path(__file__).resolve().parents[2] / "docs" / "receivers" / "canary.md"
HEAD = '[node]\nid = "node-1"\n'
REST = '[[spool.lanes]]\nname = "telemetry"\n[[route]]\nname = "all"\ntopics = ["#"]\nlane = "telemetry"\n'


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


def node(folder: Path, pki: Path, text: str, **ports: int) -> Node:
    """Return the node that the page describes, with brokers of this machine."""
    config = parse(HEAD + text, "canary.md", folder).config
    files = pems(pki, "node")
    regions = [
        msgspec.structs.replace(
            one,
            host="localhost",
            port=ports[one.name],
            tls_ca=files["ca"],
            tls_certificate=files["certificate"],
            tls_key=files["key"],
            link=schema.Link(),
            backoff_min_ns=10**8,
            backoff_max_ns=10**9,
            lag_bytes_max=one.lag_bytes_max and SEGMENT_BYTES,
        )
        for one in config.region
    ]
    lanes = [msgspec.structs.replace(lane, bytes_max=4 * SEGMENT_BYTES) for lane in config.spool.lanes]
    return Node(folder, *regions, lanes=lanes)


async def test_the_new_region_gets_a_whole_copy(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "b", **region_tls(pki)) as blue,
        Mosquitto(tmp_path / "g", **region_tls(pki)) as green,
    ):
        box = node(tmp_path, pki, blocks("toml")[0] + REST, blue=blue.port, green=green.port)
        async with receiving(pki, blue.port) as at_blue, receiving(pki, green.port) as at_green, box.running():
            box.append(20)
            await until(lambda: box.has_all("blue") and box.has_all("green"), "both have all")
        assert set(at_blue.sequences) == set(at_green.sequences) == set(range(1, 21))


async def test_a_new_region_that_is_dead_holds_nothing_back_and_is_told_what_it_lost(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "b", **region_tls(pki)) as blue,
        Mosquitto(tmp_path / "g", **region_tls(pki)) as green,
    ):
        green.stop()
        box = node(tmp_path, pki, blocks("toml")[0] + REST, blue=blue.port, green=green.port)
        async with receiving(pki, blue.port) as at_blue, box.running():
            for number in range(40):
                box.append(2, random.Random(number).randbytes(SEGMENT_BYTES // 6).hex())
                await until(lambda: box.has_all("blue"), "the region at work has it")
            assert set(at_blue.sequences) == set(range(1, 81))
            assert not at_blue.gaps
            green.start()
            async with receiving(pki, green.port) as at_green:
                await until(lambda: box.has_all("green"), "the new region has what is left")
                assert {gap.reason for gap in at_green.gaps} == {"lagged"}
                lost = {one for gap in at_green.gaps for one in range(gap.first, gap.last + 1)}
                assert lost | set(at_green.sequences) == set(range(1, 81))


async def test_a_route_under_trial_goes_to_both_regions_and_the_rest_to_one(tmp_path: Path, pki: Path) -> None:
    with (
        Mosquitto(tmp_path / "b", **region_tls(pki)) as blue,
        Mosquitto(tmp_path / "g", **region_tls(pki)) as green,
    ):
        text = blocks("toml")[0] + blocks("toml")[1]
        box = node(tmp_path, pki, text, blue=blue.port, green=green.port)
        async with receiving(pki, blue.port) as at_blue, receiving(pki, green.port) as at_green, box.running():
            box.append(5, lane="telemetry")
            box.append(3, lane="trial")
            await until(lambda: box.has_all("blue") and box.has_all("blue", "trial"), "the region at work has all")
            await until(lambda: box.has_all("green", "trial"), "the new one has the trial")
        assert (len(at_blue.sequences), len(at_green.sequences)) == (8, 3)


def test_a_larger_share_of_nodes_holds_the_smaller_one(tmp_path: Path) -> None:
    (script,) = blocks("sh")
    names = [f"site-{number}" for number in range(400)]
    (tmp_path / "nodes.txt").write_text("\n".join(names) + "\n", "utf-8")

    def share(percent: int) -> set[str]:
        text = script.replace("share=5", f"share={percent}")
        done = subprocess.run(["sh", "-c", text], check=False, cwd=tmp_path, capture_output=True, text=True, timeout=30)
        return set(done.stdout.split())

    few, many = share(5), share(20)
    assert few < many < set(names)
    assert 8 <= len(few) <= 36
    assert 50 <= len(many) <= 115
