"""Two checkpoints are kept, and the older one is there when the newer one cannot be read."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.disk import Disk
from gateway.errors import StoreError
from gateway.journal import checkpoint as module
from gateway.journal import format as layout
from gateway.journal.checkpoint import CheckpointStore
from tests.support.faultdisk import FaultDisk, PowerCutError

FOLDER = Path("/checkpoint")


def checkpoint(position: int) -> layout.Checkpoint:
    return layout.Checkpoint(position, 2 * position, 3, 4, 5, b"{}")


def state(position: int) -> list[bytes]:
    """Return the slices of a state that tells its position."""
    return [b"state of %d" % position, b"", b"x" * 1000]


def write(store: CheckpointStore, position: int) -> int:
    """Write a checkpoint as the flow does, and return what the journal may be trimmed to."""
    writer = store.begin(checkpoint(position))
    for each in state(position):
        writer.pack(each)
        if writer.is_full:
            writer.flush()
    return store.finish(writer)


def newest(store: CheckpointStore) -> tuple[layout.Checkpoint | None, list[bytes], list[str]]:
    """Return the newest checkpoint that can be read, its slices, and what was said of those that cannot."""
    notes: list[str] = []
    for found, slices in store.readable(notes):
        return found, list(slices), notes
    return None, [], notes


def test_the_newest_checkpoint_is_the_one_that_counts(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    assert newest(store) == (None, [], [])
    assert [write(store, position) for position in (3, 7, 12)] == [3, 3, 7]
    again = CheckpointStore(Disk(), tmp_path)
    assert newest(again) == (checkpoint(12), state(12), [])
    assert again.size == store.size == max(tmp_path.iterdir()).stat().st_size
    assert len(list(tmp_path.iterdir())) == 2


def test_one_that_does_not_suit_the_reader_leads_to_the_older_one_and_then_to_none(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    write(store, 7)
    assert [found.position for found, _ in store.readable([])] == [7, 3]
    assert store.size == 0


def test_a_damaged_checkpoint_costs_a_longer_replay_whichever_byte_is_wrong(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    write(store, 7)
    path = max(tmp_path.iterdir())
    data = path.read_bytes()
    unnoticed = 0
    for offset in range(len(data)):
        path.write_bytes(data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :])
        found, slices, notes = newest(store)
        if found == checkpoint(7):
            assert (slices, notes, data[offset]) == (state(7), [], 0), "only what pads a frame may be anything"
            unnoticed += 1
            continue
        assert (found, slices) == (checkpoint(3), state(3)), offset
        assert len(notes) == 1
    assert unnoticed < 16 * (2 + len(state(7)))
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        assert newest(store)[0] == checkpoint(3), cut


def test_one_that_cannot_be_used_is_kept_aside_and_does_not_count_as_one_of_the_two(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    write(store, 7)
    spoiled = tmp_path / "0000000000000007.ckpt"
    spoiled.write_bytes(data := spoiled.read_bytes()[:-1])
    again = CheckpointStore(Disk(), tmp_path)
    assert newest(again)[0] == checkpoint(3)
    assert write(again, 7) == 3
    assert (tmp_path / "0000000000000007.ckpt.damaged").read_bytes() == data
    for position in (8, 9, 10, 11, 12):
        unfit = CheckpointStore(Disk(), tmp_path)
        for _ in unfit.readable([]):
            pass  # none of them is of any use
        write(unfit, position)
    assert len(list(tmp_path.glob("*.damaged"))) <= 4


def test_a_frame_that_is_missing_twice_there_or_out_of_order_is_noticed(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    path = min(tmp_path.iterdir())
    data = path.read_bytes()
    bodies = layout.checkpoint_bodies(data)
    starts = [body.start - 32 for body in bodies]
    head, frames = data[: starts[0]], [data[a:b] for a, b in zip(starts, [*starts[1:], len(data) - 32], strict=True)]
    end = data[-32:]
    assert head + b"".join(frames) + end == data
    first, *rest = frames
    for wrong in (
        [*frames],
        [*rest, end],
        [*frames, frames[-1], end],
        [first, *reversed(rest), end],
        [*frames, end, end],
        [end],
        [first, end],
    ):
        path.write_bytes(head + b"".join(wrong))
        assert newest(store)[0] is None
    path.write_bytes(data)
    assert newest(store)[0] == checkpoint(3)


def test_a_checkpoint_of_another_version_is_not_guessed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "CHECKPOINT_VERSION", 99)
    write(CheckpointStore(Disk(), tmp_path), 1)
    monkeypatch.undo()
    found, _, notes = newest(CheckpointStore(Disk(), tmp_path))
    assert found is None
    assert "version 99" in notes[0]


def test_a_checkpoint_under_the_name_of_another_is_not_believed(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    (tmp_path / "0000000000000009.ckpt").write_bytes(min(tmp_path.iterdir()).read_bytes())
    found, _, notes = newest(store)
    assert found == checkpoint(3)
    assert notes == [
        "checkpoint 0000000000000009.ckpt cannot be used: checkpoint of position 3, its name says 9",
    ]


def test_what_a_crash_left_of_a_checkpoint_in_the_making_is_ignored_and_then_removed(tmp_path: Path) -> None:
    store = CheckpointStore(Disk(), tmp_path)
    write(store, 3)
    (tmp_path / "0000000000000008.ckpt.new").write_bytes(b"half")
    (tmp_path / "0000000000000009.ckpt.new").write_bytes(b"half")
    assert newest(store)[0] == checkpoint(3)
    assert write(store, 9) == 3
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["0000000000000003.ckpt", "0000000000000009.ckpt"]


def test_a_large_state_is_written_and_synced_piece_by_piece() -> None:
    disk, chance = FaultDisk(), random.Random(1)
    store = CheckpointStore(disk, FOLDER)
    writer = store.begin(checkpoint(5))
    slices = [chance.randbytes(100_000) for _ in range(40)]
    for each in slices:
        writer.pack(each)
        assert len(writer._packed) < module.PIECE_BYTES + 101_000
        if writer.is_full:
            writer.flush()
    store.finish(writer)
    assert disk.counts()["sync"] == disk.counts()["write"] == 7
    assert newest(store)[:2] == (checkpoint(5), slices)


@pytest.mark.parametrize("verb", ["create", "write", "sync", "rename", "sync_folder", "remove"])
def test_a_disk_that_refuses_leaves_the_older_one_and_the_next_attempt_works(verb: str) -> None:
    disk = FaultDisk()
    store = CheckpointStore(disk, FOLDER)
    write(store, 3)
    disk.fail(verb)
    writer = store.begin(checkpoint(7))
    with pytest.raises(StoreError):
        store.finish(writer)
    writer.abandon()
    assert disk.handles() == 0
    disk.heal()
    assert newest(store)[0] in (checkpoint(3), checkpoint(7) if verb == "sync_folder" else None)
    assert write(store, 7) == 3
    assert newest(store)[:2] == (checkpoint(7), state(7))
    assert len(disk.entries) == 2


def test_a_checkpoint_that_is_given_up_leaves_nothing() -> None:
    disk = FaultDisk()
    writer = CheckpointStore(disk, FOLDER).begin(checkpoint(3))
    writer.abandon()
    writer.flush()
    assert disk.entries
    writer.abandon()
    writer.abandon()
    assert not disk.entries
    assert disk.handles() == 0


def test_a_power_cut_at_any_operation_leaves_a_checkpoint_whole_or_the_one_before_it() -> None:
    chance = random.Random(7)
    for cut in range(40):
        disk = FaultDisk()
        store = CheckpointStore(disk, FOLDER)
        write(store, 3)
        disk.cut_power_in(cut)
        try:
            write(store, 7)
        except PowerCutError:
            disk.power_up(chance)
            assert newest(store)[:2] in ((checkpoint(3), state(3)), (checkpoint(7), state(7)))
        else:
            break
    else:
        raise AssertionError("the power was cut at each attempt")
    assert newest(store)[0] == checkpoint(7)
