"""`gateway batch cat` shows what a file holds, and says what is wrong with one that holds nothing."""

import json

import pytest

from gateway import cli
from gateway.batch import envelope
from gateway.model import BatchId, OpenBatch
from gateway.process.protect import Protection
from tests.support.batch_vectors import FOLDER

ONE = str(FOLDER / "one_reading.egb")
GAP = str(FOLDER / "gap.egb")


def test_a_batch_is_printed_as_a_header_line_and_a_line_per_reading(capsys):
    assert cli.main(["batch", "cat", ONE]) == 0
    header, reading = capsys.readouterr().out.splitlines()
    assert header.startswith("# node-1/telemetry/3/1: 1 readings after 0, 2025-11-24T16:00:00Z to ")
    assert json.loads(reading) == {
        "node": "node-1",
        "topic": "plant/door",
        "field": "open",
        "time_ns": 1_764_000_000_000_000_000,
        "value": True,
    }


def test_with_json_every_line_is_json(capsys):
    assert cli.main(["batch", "cat", "--json", ONE, GAP, str(FOLDER / "all_types.egb")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines if "kind" in line] == ["batch", "gap", "batch"]
    assert (lines[0]["id"], lines[0]["lane"], lines[0]["sequence"]) == ("node-1/telemetry/3/1", "telemetry", 1)
    assert lines[2] == {
        "kind": "gap",
        "node": "node-1",
        "lane": "telemetry",
        "epoch": 3,
        "first": 17,
        "last": 21,
        "readings": 90_001,
        "readings_before": 340_000,
        "reason": "evicted",
    }


def test_what_json_cannot_hold_is_still_printed_as_json(capsys):
    assert cli.main(["batch", "cat", "--json", str(FOLDER / "edges.egb")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()[1:]]
    values = [line["value"] for line in lines]
    assert {"base64": "R3LDvMOfZQ=="} in values
    assert None in values
    assert -(1 << 63) in values


def test_a_coarser_batch_says_what_it_stands_for(capsys):
    path = str(FOLDER / "thinned.egb")
    assert cli.main(["batch", "cat", "--header", path]) == 0
    assert capsys.readouterr().out.endswith(", thinned to 1m: stands for 603 readings of telemetry.thin1 4..6\n")
    assert cli.main(["batch", "cat", "--header", "--json", path, ONE]) == 0
    coarse, ordinary = (json.loads(line)["thinned"] for line in capsys.readouterr().out.splitlines())
    assert coarse == {
        "interval_ns": 60_000_000_000,
        "lane": "telemetry.thin1",
        "first": 4,
        "last": 6,
        "readings": 603,
        "batches": 3,
    }
    assert ordinary is None


def test_header_prints_no_readings(capsys):
    assert cli.main(["batch", "cat", "--header", ONE, str(FOLDER / "edges.egb"), GAP]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines] == ["#"] * 3
    assert lines[2] == "# node-1/telemetry/3/17..21: gap, 90001 readings evicted, after 340000 in the lane"


def test_a_bad_file_is_named_and_the_others_are_printed(tmp_path, capsys):
    bad = tmp_path / "bad.egb"
    bad.write_bytes(b"not a batch, by far")
    assert cli.main(["batch", "cat", str(bad), ONE]) == cli.EX_DATAERR
    said = capsys.readouterr()
    assert said.out.count("\n") == 2
    assert f"{bad}: this is not a batch" in said.err


@pytest.mark.parametrize("count", [1, 2])
def test_missing_files_are_named(tmp_path, capsys, count):
    missing = [str(tmp_path / f"missing-{number}") for number in range(count)]
    assert cli.main(["batch", "cat", *missing]) == cli.EX_NOINPUT
    assert all(name in capsys.readouterr().err for name in missing[:1])


def test_with_the_key_encrypted_fields_are_shown_as_they_were(tmp_path, capsys):
    data = Protection(bytes(32)).encrypted("plant/a", "badge", 7, "Ann")
    rows = {"plant/a": ([7], [{"badge": data, "photo": b"png"}])}
    path, key = tmp_path / "one.batch", tmp_path / "key"
    path.write_bytes(envelope.seal(OpenBatch(BatchId("n", "t", 1, 1), rows, 2, 0, {}, 7, 2), "boot").data)
    key.write_text("00" * 32 + "\n")
    assert cli.main(["batch", "cat", str(path), "--key-file", str(key)]) == 0
    values = [json.loads(line)["value"] for line in capsys.readouterr().out.splitlines()[1:]]
    assert values == ["Ann", {"base64": "cG5n"}]
    key.write_text("secret")
    assert cli.main(["batch", "cat", str(path), "--key-file", str(key)]) == 78
    assert "must hold 64 hex digits" in capsys.readouterr().err
