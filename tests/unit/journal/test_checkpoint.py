"""Two checkpoints are kept, and the older one is there when the newer one cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.disk import Disk
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore

if TYPE_CHECKING:
    from pathlib import Path


def checkpoint(position: int, version: int = layout.VERSION) -> layout.Checkpoint:
    """Return a checkpoint whose state tells its position."""
    state = {"position": position, "rows": [1.5, "x"]}
    return layout.Checkpoint(version, position, 2 * position, 3, 4, 5, b"{}", state)


def write(store: CheckpointStore, position: int) -> int:
    """Write a checkpoint and return what the journal may be trimmed to."""
    return store.write(position, store.encode(checkpoint(position)))


def test_the_newest_checkpoint_is_the_one_that_counts(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    assert store.newest() == (None, [])
    assert [write(store, position) for position in (3, 7, 12)] == [3, 3, 7]
    assert CheckpointStore(Disk(), tmp_path).newest() == (checkpoint(12), [])
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_checkpoint_costs_a_longer_replay_whichever_byte_is_wrong(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    write(store, 7)
    path = max(tmp_path.iterdir())
    data = path.read_bytes()
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :])
        found, notes = store.newest()
        assert found == checkpoint(3), offset
        assert len(notes) == 1
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert store.newest()[0] == checkpoint(3), cut


def test_a_checkpoint_of_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    store.write(1, store.encode(checkpoint(1, version=99)))
    found, notes = store.newest()
    assert found is None
    assert "version 99" in notes[0]


def test_what_a_crash_left_of_a_checkpoint_in_the_making_is_ignored(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    (tmp_path / "0000000000000009.ckpt.new").write_bytes(b"half")
    assert store.newest()[0] == checkpoint(3)
    assert write(store, 9) == 3
