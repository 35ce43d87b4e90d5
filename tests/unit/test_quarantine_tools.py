"""What tools do with the quarantine beside a daemon or without one: reading changes nothing, removing is for good."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from gateway.errors import StoreError
from gateway.model import Quarantined
from gateway.process.pipeline import QUARANTINED_BYTES_MAX
from gateway.quarantine import Editor, Quarantine, Selection, look, payload, reasons, select

EVERYTHING = Selection()


def message(key: int, topic: str = "plant/a", reason: str = "not_json", wall_ns: int = 0) -> Quarantined:
    return Quarantined(key, wall_ns or 10 + key, topic, b"\xff%d" % key, "route", reason, "byte 0")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.sqlite"


def filled(path: Path, *messages: Quarantined) -> Quarantine:
    kept = Quarantine(path)
    kept.keep(messages)
    return kept


def keys(path: Path, selection: Selection = EVERYTHING, limit: int = -1) -> list[int]:
    return [one.key for one in look(path, lambda rows: select(rows, selection, limit))]


def contents(folder: Path) -> dict[str, bytes]:
    return {each.name: each.read_bytes() for each in folder.iterdir()}


def crashed(path: Path, folder: Path) -> Path:
    """Return a copy of what lies on the disk while the daemon has the file open, as a crash would leave it."""
    folder.mkdir()
    for each in path.parent.glob(path.name + "*"):
        shutil.copy(each, folder / each.name)
    assert (folder / (path.name + "-wal")).stat().st_size
    return folder / path.name


def test_looking_changes_no_byte_of_a_quarantine_at_rest(path) -> None:
    filled(path, message(1), message(2)).close()
    before = contents(path.parent)
    assert keys(path) == [1, 2]
    assert contents(path.parent) == before


def test_looking_changes_no_byte_of_a_quarantine_in_use_and_sees_the_newest(path) -> None:
    kept = filled(path, message(1))
    before = contents(path.parent)
    look_up = f"print(look(Path({str(path)!r}), lambda rows: payload(rows, 1)))"
    script = f"from pathlib import Path\nfrom gateway.quarantine import look, payload\n{look_up}"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout == "b'\\xff1'\n"
    assert contents(path.parent) == before
    kept.keep([message(2)])
    assert keys(path) == [1, 2]
    kept.close()


def test_looking_changes_no_byte_of_a_quarantine_that_a_crash_left(path, tmp_path) -> None:
    kept = filled(path, message(1), message(2))
    left = crashed(path, tmp_path / "crashed")
    kept.close()
    before = contents(left.parent)
    assert keys(left) == [1, 2]
    assert contents(left.parent) == before


def test_messages_are_selected_by_all_that_is_asked_for_the_newest_first_counted(path) -> None:
    rows = [message(1), message(2, "plant/b"), message(3, "hall/b", "empty"), message(4, "plant/b", "empty")]
    filled(path, *rows).close()
    assert keys(path, Selection(keys=(4, 2, 9))) == [2, 4]
    assert keys(path, Selection(topic="plant/+")) == [1, 2, 4]
    assert keys(path, Selection(reason="empty", topic="plant/#")) == [4]
    assert keys(path, Selection(before_ns=12)) == [1]
    assert keys(path, EVERYTHING, 2) == [3, 4]
    assert look(path, lambda found: reasons(found, Selection(topic="+/b"))) == {"empty": 2, "not_json": 1}
    assert look(path, lambda found: (payload(found, 2), payload(found, 9))) == (b"\xff2", None)


def test_what_was_removed_is_not_brought_back_by_a_replay(path) -> None:
    kept = filled(path, message(1), message(2))
    editor = Editor(path)
    assert editor.remove([1, 7]) == 1
    editor.close()
    kept.keep([message(1), message(2)])
    kept.close()
    assert keys(path) == [2]


def test_another_message_under_the_key_of_a_removed_one_is_kept(path) -> None:
    kept = filled(path, message(1))
    editor = Editor(path)
    editor.remove([1])
    editor.close()
    kept.keep([message(1, wall_ns=99)])
    kept.close()
    assert keys(path) == [1]


def test_a_daemon_keeps_all_it_wants_while_a_tool_removes(path) -> None:
    kept = filled(path)

    def keep() -> None:
        for start in range(0, 3000, 10):
            kept.keep([message(key) for key in range(start, start + 10)])

    daemon = threading.Thread(target=keep)
    daemon.start()
    editor, removed = Editor(path), 0
    while daemon.is_alive():
        removed += editor.remove([one.key for one in editor.select(EVERYTHING)])
    daemon.join()
    left = editor.select(EVERYTHING)
    editor.close()
    kept.close()
    assert kept.counts == {"kept": 3000, "unkept": 0, "evicted": 0}
    assert removed + len(left) == 3000


OLD = """
create table message (key integer primary key, wall_ns integer, topic text, route text, reason text, detail text,
    payload blob)
"""


def old_file(path: Path) -> None:
    """Make a file as version 0.1 did, with one message that it may have cut."""
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute(OLD)
    with connection:
        for key, size in ((1, 3), (2, QUARANTINED_BYTES_MAX)):
            row = (key, key, "t", "r", "empty", "", bytes(size))
            connection.execute("insert into message values (?,?,?,?,?,?,?)", row)
    connection.close()


@pytest.mark.parametrize("by", [Quarantine, Editor])
def test_a_file_of_an_earlier_version_learns_the_sizes_that_can_be_known(path, by) -> None:
    old_file(path)
    before = contents(path.parent)
    found = look(path, lambda rows: select(rows, EVERYTHING))
    assert [one.payload_bytes for one in found] == [None, None]
    assert contents(path.parent) == before
    for _ in range(2):
        by(path).close()
    found = look(path, lambda rows: select(rows, EVERYTHING))
    assert [one.payload_bytes for one in found] == [3, None]
    assert [one.is_whole for one in found] == [True, False]


def test_a_cut_payload_has_the_length_that_it_came_with(path) -> None:
    cut = Quarantined(1, 1, "t", b"abc", "r", "empty", "", cut_bytes=97)
    filled(path, cut).close()
    (found,) = look(path, lambda rows: select(rows, EVERYTHING))
    assert (found.kept_bytes, found.payload_bytes, found.is_whole) == (3, 100, False)


def test_a_file_that_is_no_database_is_told_and_left_as_it_is(path) -> None:
    path.write_bytes(b"this is no database" * 100)
    before = contents(path.parent)
    for attempt in (lambda: keys(path), lambda: Editor(path)):
        with pytest.raises(StoreError, match="cannot be used"):
            attempt()
    assert contents(path.parent) == before


def test_a_tool_makes_no_file_where_there_is_none(path) -> None:
    with pytest.raises(StoreError):
        Editor(path)
    assert contents(path.parent) == {}
