"""Every piece of configuration in the documents is one that the gateway takes, once what surrounds it is there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from gateway.config.load import parse

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```toml\n(.*?)```", re.DOTALL)
HEADS = {
    "node": '[node]\nid = "node-1"\n',
    "spool": '[[spool.lanes]]\nname = "{}"\n',
    "route": '[[route]]\nname = "example"\ntopics = ["example/#"]\nlane = "telemetry"\n',
    "region": '[[region]]\nname = "example"\nhost = "localhost"\ntls_ca = "a"\ntls_certificate = "b"\ntls_key = "c"\n',
}
"""What stands before a piece that goes on in the table named, and what a file needs where a piece has none of it."""


def blocks() -> list[tuple[str, str]]:
    found = []
    for page in sorted((ROOT / "docs").rglob("*.md")):
        if "recipes" not in page.name:
            for number, block in enumerate(BLOCK.findall(page.read_text("utf-8")), 1):
                found.append((f"{page.relative_to(ROOT)}, {number}", block))
    return found


def whole(block: str) -> str:
    """Return a file that holds the piece and all that it needs."""
    first = block.lstrip().splitlines()[0]
    if not first.startswith("["):
        block = HEADS["route"] + block
    elif match := re.match(r"\[+(route|region)\.", first):
        block = HEADS[match[1]] + block
    tables = tomllib.loads(block)
    if "receiver" in tables:
        return block
    lanes = {route.get("lane", "") for route in tables.get("route", ())} - {""} or {"telemetry"}
    known = {lane["name"] for lane in tables.get("spool", {}).get("lanes", ())}
    regions = {name for lane in tables.get("spool", {}).get("lanes", ()) for name in lane.get("regions", ())}
    known_regions = {region["name"] for region in tables.get("region", ())}
    text = "" if "node" in tables else HEADS["node"]
    text += block + "\n"
    text += "".join(HEADS["spool"].format(lane) for lane in sorted((lanes | urgent(tables)) - known))
    usual = (known | lanes) - {tables.get("audit", {}).get("lane")}
    text += "" if usual else HEADS["spool"].format("telemetry")
    text += "" if "route" in tables else HEADS["route"].replace("telemetry", min(usual or {"telemetry"}))
    return text + "".join(HEADS["region"].replace("example", name) for name in sorted(regions - known_regions))


def urgent(tables: dict) -> set[str]:
    return {lane for region in tables.get("region", ()) for lane in region.get("link", {}).get("urgent_lanes", ())}


@pytest.mark.parametrize("block", [block for _, block in blocks()], ids=[name for name, _ in blocks()])
def test_a_piece_of_configuration_is_taken(block: str, tmp_path: Path) -> None:
    assert parse(whole(block), "example.toml", tmp_path).config
