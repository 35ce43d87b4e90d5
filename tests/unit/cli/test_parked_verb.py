"""`gateway parked`: what it says and its exit codes. Sending again is in integration."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import cli
from gateway.disk import Disk
from gateway.mirror.parked import Parked
from tests.support.spooled import batch

BATCH = "telemetry.100.7"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    Parked(Disk(), tmp_path / "parked" / "east").park(batch(7), "too \x1b[31mlarge")
    return tmp_path


def test_what_is_parked_is_listed_with_its_reason_and_nothing_that_commands_a_terminal(state: Path, capsys) -> None:
    assert cli.main(["parked", "ls", "--state", str(state)]) == 0
    shown = capsys.readouterr().out
    assert f"east    {BATCH}" in shown
    assert r"too \x1b[31mlarge" in shown
    assert cli.main(["parked", "ls", "--json", "--state", str(state)]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["region"], one["name"], one["data"]) == ("east", BATCH, len(batch(7).data))


def test_a_purge_removes_what_it_names_and_nothing_else(state: Path, capsys) -> None:
    assert cli.main(["parked", "purge", "telemetry.100.8", "--region", "east", "--state", str(state)]) == 78
    assert "nothing is parked under telemetry.100.8" in capsys.readouterr().err
    assert cli.main(["parked", "purge", BATCH, "--region", "east", "--state", str(state)]) == 0
    assert cli.main(["parked", "ls", "--state", str(state)]) == 0
    assert "nothing is parked" in capsys.readouterr().out
    assert list((state / "parked" / "east").iterdir()) == []


def test_a_redrive_needs_to_know_the_node(state: Path, capsys) -> None:
    assert cli.main(["parked", "redrive", "--region", "east", "--state", str(state)]) == 78
    assert "-c FILE" in capsys.readouterr().err
