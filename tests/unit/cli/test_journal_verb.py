"""`gateway journal`: one line per file, one sentence per damage, and exit code 1 when there is any."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway import cli
from gateway.config import schema
from gateway.disk import Disk
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.writer import JournalWriter
from gateway.model import Tick
from tests.support.journals import flip_body

FIRST, SECOND = "0000000000000000.log", "0000000000000003.log"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Return a state folder with two journal files of three ticks each, and a checkpoint at 2."""
    position = 0
    for _ in range(2):
        writer = JournalWriter(Disk(), tmp_path / "journal", schema.Journal(segment_bytes=65536), position)
        for _ in range(3):
            writer.commit([Tick(position * 10**9, position, 2)])
            position += 1
        writer.close()
    store = CheckpointStore(Disk(), tmp_path / "checkpoint")
    store.finish(store.begin(layout.Checkpoint(2, 2, 2 * 10**9, 1, 7, b"{}")))
    return tmp_path


def said(state: Path, capsys, *words: str) -> tuple[int, str]:
    code = cli.main(["journal", *words, "--state", str(state)])
    captured = capsys.readouterr()
    assert captured.err == "", "a bar is for terminals"
    return code, captured.out


def test_files_are_listed_with_their_positions_times_and_states(state, capsys) -> None:
    (state / "journal" / "0000000000000009.log.damaged").write_bytes(b"old")
    code, text = said(state, capsys, "ls")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    assert lines[0] == ["file", "first", "entries", "messages", "used", "allocated", "from", "to", "state"]
    times = ["1970-01-01T00:00:03Z", "1970-01-01T00:00:05Z"]
    assert lines[2][:4] == [SECOND, "3", "3", "0"]
    assert lines[2][5:] == ["65,536", *times, "whole"]
    assert text.splitlines()[-1] == "put aside: journal/0000000000000009.log.damaged"
    code, text = said(state, capsys, "ls", "--json")
    assert [one["last_ns"] for one in json.loads(text)["files"]] == [2 * 10**9, 5 * 10**9]


def test_a_whole_journal_ends_with_0(state, capsys) -> None:
    code, text = said(state, capsys, "check")
    assert code == 0
    lines = text.splitlines()
    assert lines[-1] == "no damage found"
    assert "the journal goes on from the newest whole checkpoint, at 2, without a gap" in lines
    code, text = said(state, capsys, "check", "--json")
    facts = json.loads(text)
    assert (code, facts["damaged"], facts["goes_on_from"], facts["next_position"]) == (0, False, 2, 6)


def test_damage_ends_with_1_and_is_named_with_its_place_and_cost(state, capsys) -> None:
    offset = flip_body(state / "journal" / SECOND, 1)
    code, text = said(state, capsys, "check")
    assert code == 1
    lines = text.splitlines()
    assert lines[0].startswith(f"{SECOND} at {offset}: damaged, ")
    assert lines[0].endswith("bytes; position 4, 0 messages")
    assert "the journal does NOT go on from the newest whole checkpoint, at 2, without a gap" in lines
    assert lines[-1] == "damage found"
    code, text = said(state, capsys, "check", "--json")
    (finding,) = json.loads(text)["findings"]
    assert code == 1
    assert (finding["kind"], finding["first"], finding["last"], finding["needed"]) == ("damaged", 4, 4, True)


def test_damage_that_no_start_meets_any_more_says_so(state, capsys) -> None:
    flip_body(state / "journal" / FIRST, 1)
    code, text = said(state, capsys, "check")
    assert code == 1
    assert text.splitlines()[0].endswith("position 1, 0 messages, which no start needs any more")


def test_an_end_that_may_be_torn_is_no_damage_and_says_who_can_tell(state, capsys) -> None:
    flip_body(state / "journal" / SECOND, 2)
    code, text = said(state, capsys, "check")
    assert code == 0
    assert "torn, or being written, or damaged: the bytes cannot tell" in text.splitlines()[0]
    assert "is told by the next start" in text
    assert said(state, capsys, "ls")[1].splitlines()[2].endswith("tail unclear")


def test_a_node_that_never_ran_has_nothing_to_check(tmp_path, capsys) -> None:
    assert said(tmp_path, capsys, "ls")[1].startswith("no journal file")
    assert said(tmp_path, capsys, "check")[0] == 0
    assert cli.main(["journal", "check", "--state", str(tmp_path / "gone")]) == 66
    assert cli.main(["journal", "check"]) == 78
