"""`gateway spool`: what it prints is what is in the rings, and what changes them must own them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import cli
from gateway.disk import Disk
from gateway.lock import only_one
from gateway.model import SealedBatch
from gateway.spool import format as layout
from gateway.spool.lanes import Spool
from tests.support.spooled import batch, options, readings_between, region

LANE = "telemetry"
COUNT, CURSOR = 20, 6
SITE = """
[node]
id = "node"
state_folder = "{state}"
[spool]
segment_bytes = "64KiB"
[[spool.lanes]]
name = "telemetry"
bytes_max = "1MiB"
batch_bytes_max = "16KiB"
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
[[region]]
name = "one"
host = "localhost"
tls_ca = "ca.pem"
tls_certificate = "node.pem"
tls_key = "node.key"
"""


def spool_in(state: Path) -> Spool:
    return Spool.open(Disk(), state / "spool", options(30, segment_bytes=2048), "node", [region("one")], 100)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return the configuration of a node with twenty batches, of which region one has six and region old none."""
    state = tmp_path / "state"
    regions = [region("one"), region("old")]
    spool = Spool.open(Disk(), state / "spool", options(30, segment_bytes=2048), "node", regions, 100)
    for sequence in range(1, COUNT + 1):
        spool.append(batch(sequence))
    spool.sync()
    spool.acknowledge("one", LANE, CURSOR)
    spool.save_cursors()
    spool.close()
    path = tmp_path / "gateway.toml"
    path.write_text(SITE.format(state=state), "utf-8")
    return path


def said(site: Path, capsys, *words: str) -> tuple[int, str, str]:
    code = cli.main(["spool", *words, "-c", str(site)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_lanes_regions_and_segments_are_listed(site, capsys) -> None:
    code, text, err = said(site, capsys, "ls", "--files")
    assert (code, err) == (0, "")
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["node", "node,", "epoch", "100"]
    readings = str(readings_between(1, COUNT))
    assert lines[3][0] == LANE
    assert lines[3][2:6] == [str(COUNT), readings, "1", str(COUNT)]
    waiting = [str(COUNT - CURSOR), str(readings_between(CURSOR + 1, COUNT)), "0", "0"]
    assert ["one", LANE, str(CURSOR), *waiting] in lines
    assert ["old", LANE, "0", str(COUNT), readings, "0", "0"] in lines
    assert text.splitlines()[-1].endswith("whole, open")
    code, text, _ = said(site, capsys, "ls", "--json")
    found = json.loads(text)
    assert found["lanes"][0]["regions"]["one"]["cursor"] == CURSOR
    assert len(found["lanes"][0]["segments"]) == int(lines[3][1])


def test_a_check_ends_with_1_and_names_what_is_damaged(site, capsys) -> None:
    assert said(site, capsys, "check", "--deep")[:2] == (
        0,
        f"{COUNT} batches with {readings_between(1, COUNT)} readings can be read\nno damage found\n",
    )
    segment = sorted((site.parent / "state/spool/lanes" / LANE).glob("*.seg"))[2]
    data = bytearray(segment.read_bytes())
    data[layout.HEADER_BYTES + 100] ^= 1
    segment.write_bytes(data)
    first = int(segment.stem)
    code, text, _ = said(site, capsys, "check")
    assert code == 1
    readings = readings_between(first, first)
    assert f"{LANE}/{segment.name} at 64: damaged" in text
    assert f"batch {first} with {readings} readings cannot be read" in text
    assert text.splitlines()[-1] == "damage found"
    code, text, _ = said(site, capsys, "check", "--json")
    finding = json.loads(text)["findings"][0]
    assert (code, finding["first"], finding["readings"]) == (1, first, readings)
    assert bytes(data) == segment.read_bytes()


def test_batches_are_printed_as_their_readings(site, capsys) -> None:
    _, text, _ = said(site, capsys, "cat", "--json", "--from", "9", "--to", "10")
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["sequence"] for line in lines if line.get("kind") == "batch"] == [9, 10]
    assert [line["value"] for line in lines if "field" in line] == [9.0] * 2 + [10.0] * 3
    _, text, _ = said(site, capsys, "cat", "--header", "--for", "one", "--lane", LANE)
    assert len(text.splitlines()) == COUNT - CURSOR
    assert text.startswith(f"# node/{LANE}/100/{CURSOR + 1}: ")


@pytest.mark.parametrize(
    ("words", "hint"), [(["--lane", "alarm"], "telemetry"), (["--for", "nobody"], "there are: old, one")]
)
def test_a_name_that_is_not_there_is_an_error_that_says_which_are(site, capsys, words, hint) -> None:
    code, _, err = said(site, capsys, "cat", *words)
    assert code == 78
    assert hint in err


def test_an_export_is_imported_into_a_new_state_folder(site, capsys, tmp_path) -> None:
    file = tmp_path / "ring.tar"
    code, text, _ = said(site, capsys, "export", str(file), "--for", "one")
    assert code == 0
    assert text.splitlines()[-1].split() == [LANE, str(COUNT - CURSOR), "0", str(readings_between(CURSOR + 1, COUNT))]
    assert said(site, capsys, "export", str(file))[0] == 74
    other = tmp_path / "other"
    other.mkdir()
    new = tmp_path / "new.toml"
    new.write_text(SITE.format(state=other), "utf-8")
    code, text, _ = said(new, capsys, "import", str(file), "--json")
    assert code == 0
    assert json.loads(text)["lanes"][LANE]["batches"] == COUNT - CURSOR
    spool = spool_in(other)
    assert [spool.read(LANE, number) for number in range(CURSOR + 1, COUNT + 1)] == [
        batch(number) for number in range(CURSOR + 1, COUNT + 1)
    ]
    assert spool.cursor("one", LANE) == CURSOR
    code, _, err = said(site, capsys, "import", str(file))
    assert code == 74
    assert "has batches of its own, up to 20" in err


def test_a_torn_export_ends_with_65(site, capsys, tmp_path) -> None:
    file = tmp_path / "ring.tar"
    said(site, capsys, "export", str(file))
    file.write_bytes(file.read_bytes()[:4096])
    code, _, err = said(site, capsys, "import", str(file))
    assert code == 65
    assert "has no manifest at its end" in err


def test_a_region_is_forgotten_when_it_is_not_configured_or_this_is_meant(site, capsys) -> None:
    cursors = site.parent / "state/spool/cursors"
    assert said(site, capsys, "forget-region", "old")[:2] == (0, "region old is forgotten\n")
    assert {path.name for path in cursors.iterdir()} <= {"one.0", "one.1"}
    code, _, err = said(site, capsys, "forget-region", "one")
    assert code == 74
    assert "--resend" in err
    assert said(site, capsys, "forget-region", "one", "--resend")[0] == 0
    spool = spool_in(site.parent / "state")
    assert spool.cursor("one", LANE) == 0
    assert isinstance(spool.read(LANE, 1), SealedBatch)
    code, _, err = said(site, capsys, "forget-region", "nobody")
    assert code == 78


@pytest.mark.parametrize("words", [["import", "ring.tar"], ["forget-region", "old"]])
def test_what_changes_a_ring_keeps_off_one_that_a_daemon_owns(site, capsys, tmp_path, monkeypatch, words) -> None:
    monkeypatch.chdir(tmp_path)
    said(site, capsys, "export", "ring.tar")
    with only_one(site.parent / "state"):
        code, _, err = said(site, capsys, *words)
        assert said(site, capsys, "check")[0] == 0
    assert code == 74
    assert "another gateway runs on" in err
