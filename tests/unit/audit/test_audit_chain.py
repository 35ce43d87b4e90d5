"""The audit log: whatever is done to an entry shows, and no crash makes a whole log look changed."""

from __future__ import annotations

import errno
import json
import random
import shutil
from pathlib import Path

import pytest

from gateway.audit.chain import FILES_MAX, Chain, Mark
from gateway.audit.entry import ANCHOR, BEGAN, ENTRY_BYTES_MAX, TORN, Entry, content_of, line_of, parsed, split
from gateway.audit.proof import File, Proof, against, proof_of
from gateway.disk import Disk
from gateway.errors import StoreError
from tests.support.faultdisk import FaultDisk, PowerCutError

VECTORS = Path(__file__).parents[2] / "vectors" / "audit"
NUMBERS = range(2, 9)


def filled(folder: Path, entries: int = 8, disk: Disk | None = None, bytes_max: int = 1 << 20) -> Chain:
    """Return a log in which the first entry is its beginning."""
    chain = Chain(disk or Disk(), folder, bytes_max)
    for number in range(2, entries + 1):
        chain.append("thing.done", "uid 0 (root)", {"number": number, "word": "café"}, number * 10**9)
    return chain


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rotated") / "log"
    filled(folder, entries=400, bytes_max=64 * 1024)
    return folder


def rotated_in(folder: Path, rotated: Path) -> Chain:
    """Return a copy of a log that has filled its files more than once."""
    shutil.copytree(rotated, folder)
    return Chain(Disk(), folder, 64 * 1024)


def lines_in(folder: Path) -> tuple[Path, list[bytes]]:
    (path,) = folder.glob("*.audit")
    return path, path.read_bytes().splitlines(keepends=True)


def rehashed(line: bytes, **changes: object) -> bytes:
    """Return a line whose entry was changed by somebody who knows how to hash."""
    entry = parsed(split(line.rstrip(b"\n"))[1])
    assert entry is not None
    fields = {name: getattr(entry, name) for name in entry.__struct_fields__}
    return line_of(content_of(Entry(**{**fields, **changes})))


def kinds(proof: Proof) -> list[str]:
    return [entry.kind for entry, _ in proof.entries]


def test_a_log_that_nobody_touched_is_whole_and_begins_with_its_beginning(tmp_path) -> None:
    proof = filled(tmp_path / "log").proof()
    assert (proof.faults, proof.torn_bytes, proof.first, proof.last) == ([], 0, 1, 8)
    assert kinds(proof) == [BEGAN, *7 * ["thing.done"]]


@pytest.mark.parametrize("number", NUMBERS)
def test_an_entry_that_is_removed_shows(tmp_path, number) -> None:
    chain = filled(tmp_path / "log")
    path, lines = lines_in(tmp_path / "log")
    path.write_bytes(b"".join(lines[: number - 1] + lines[number:]))
    proof = chain.proof()
    if number == 8:  # the end: only a copy elsewhere knows
        assert not proof.faults
        assert against(proof, {8: "f" * 64}, "the region")[0].sentence.endswith("the end was cut off")
    else:
        assert proof.faults[0].sentence == f"entry {number} is missing before it"


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("position", [0, 40, 63, 64, 65, 70, 100, -2])
def test_a_byte_of_an_entry_that_is_changed_shows(tmp_path, number, position) -> None:
    chain = filled(tmp_path / "log")
    path, lines = lines_in(tmp_path / "log")
    line = bytearray(lines[number - 1])
    line[position] ^= 1
    lines[number - 1] = bytes(line)
    path.write_bytes(b"".join(lines))
    assert number in {fault.number for fault in chain.proof().faults}


@pytest.mark.parametrize("number", range(1, 8))
def test_an_entry_that_is_written_anew_with_its_hash_shows_at_the_next_one(tmp_path, number) -> None:
    chain = filled(tmp_path / "log")
    path, lines = lines_in(tmp_path / "log")
    lines[number - 1] = rehashed(lines[number - 1], who="uid 1000 (somebody else)")
    path.write_bytes(b"".join(lines))
    assert [fault.number for fault in chain.proof().faults] == [number + 1]


def test_the_last_entry_written_anew_shows_against_a_copy(tmp_path) -> None:
    chain = filled(tmp_path / "log")
    known = {entry.number: computed for entry, computed in chain.proof().entries}
    path, lines = lines_in(tmp_path / "log")
    lines[-1] = rehashed(lines[-1], who="nobody")
    path.write_bytes(b"".join(lines))
    proof = chain.proof()
    assert not proof.faults
    (fault,) = against(proof, known, "the region")
    assert (fault.number, fault.sentence) == (8, "the region has another one: it was written anew here")


@pytest.mark.parametrize("number", range(2, 8))
def test_two_entries_that_change_places_show(tmp_path, number) -> None:
    chain = filled(tmp_path / "log")
    path, lines = lines_in(tmp_path / "log")
    lines[number - 1], lines[number] = lines[number], lines[number - 1]
    path.write_bytes(b"".join(lines))
    assert number in {fault.number for fault in chain.proof().faults} | {
        fault.number - 1 for fault in chain.proof().faults
    }
    assert chain.proof().faults


def test_a_log_written_anew_as_a_whole_shows_against_a_copy(tmp_path) -> None:
    known = {entry.number: computed for entry, computed in filled(tmp_path / "log").proof().entries}
    shutil.rmtree(tmp_path / "log")
    chain = Chain(Disk(), tmp_path / "log")
    assert against(chain.proof(), known, "the region")[0].sentence == "no entry is here, and the region has 8"
    chain.append("thing.done", "me", {}, 0)
    faults = against(chain.proof(), known, "the region")
    assert [fault.number for fault in faults] == list(range(1, 9))


def test_every_truncation_is_whole_torn_or_shows_and_the_next_append_says_what_was_torn(tmp_path) -> None:
    filled(tmp_path / "log", entries=4)
    path, lines = lines_in(tmp_path / "log")
    data = b"".join(lines)
    for size in range(len(lines[0]), len(data)):
        path.write_bytes(data[:size])
        chain = Chain(Disk(), tmp_path / "log")
        proof = chain.proof()
        whole = data[:size].count(b"\n")
        assert (proof.faults, proof.last) == ([], whole)
        assert proof.torn_bytes == size - sum(map(len, lines[:whole]))
        chain.append("thing.done", "me", {}, 0)
        after = chain.proof()
        assert (after.faults, after.torn_bytes) == ([], 0)
        assert kinds(after)[whole:] == ([TORN, "thing.done"] if proof.torn_bytes else ["thing.done"])


def test_rotation_keeps_the_newest_entries_and_proves_what_it_removed(tmp_path, rotated) -> None:
    chain = rotated_in(tmp_path / "log", rotated)
    files = sorted((tmp_path / "log").glob("*.audit"))
    proof = chain.proof()
    assert len(files) == FILES_MAX
    assert proof.faults == []
    assert proof.first > 1
    assert sum(path.stat().st_size for path in files) <= 64 * 1024 + FILES_MAX * 300
    assert kinds(proof).count(ANCHOR) == FILES_MAX - (proof.entries[0][0].kind != ANCHOR)
    assert [entry.number for entry, _ in proof.entries] == list(range(proof.first, proof.last + 1))


@pytest.mark.parametrize("which", range(FILES_MAX))
def test_a_file_that_somebody_else_removes_shows(tmp_path, rotated, which) -> None:
    chain = rotated_in(tmp_path / "log", rotated)
    last = chain.proof().last
    sorted((tmp_path / "log").glob("*.audit"))[which].unlink()
    proof = chain.proof()
    if which == FILES_MAX - 1:
        assert against(proof, {last: "f" * 64}, "the journal")
    else:
        assert "missing" in proof.faults[0].sentence


def test_the_first_entry_after_what_rotation_removed_cannot_be_written_anew(tmp_path, rotated) -> None:
    chain = rotated_in(tmp_path / "log", rotated)
    path = min((tmp_path / "log").glob("*.audit"))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[0] = rehashed(lines[0], previous="f" * 64)
    path.write_bytes(b"".join(lines))
    assert len(chain.proof().faults) == 2


def test_a_power_cut_at_any_operation_leaves_a_whole_log_with_all_that_was_acknowledged(tmp_path) -> None:
    for operations in range(60):
        disk, chance = FaultDisk(), random.Random(operations)
        chain = Chain(disk, tmp_path, 128 * 1024)
        acknowledged = 0
        disk.cut_power_in(operations)
        try:
            for number in range(30):
                acknowledged = chain.append("thing.done", "me", {"number": number, "pad": 300 * "x"}, 0).number
        except PowerCutError:
            pass
        disk.power_up(chance)
        after = Chain(disk, tmp_path, 128 * 1024)
        proof = after.proof()
        assert not proof.faults, operations
        assert proof.last >= acknowledged, operations
        after.append("thing.done", "me", {}, 0)
        assert not after.proof().faults


@pytest.mark.parametrize("verb", ["write", "sync", "create", "rename", "open", "sync_folder"])
def test_an_append_that_a_disk_refuses_is_told_and_the_log_goes_on_whole(tmp_path, verb) -> None:
    for after in range(6):
        disk = FaultDisk()
        chain = Chain(disk, tmp_path, 64 * 1024)
        acknowledged: list[int] = []
        disk.fail(verb, errno.EIO, after=after)
        for number in range(40):
            try:
                acknowledged.append(chain.append("thing.done", "me", {"number": number, "pad": 400 * "x"}, 0).number)
            except StoreError:
                continue
        proof = chain.proof()
        assert not proof.faults, (verb, after)
        said = {entry.number: entry.what.get("number") for entry, _ in proof.entries}
        assert all(said.get(number) is not None for number in acknowledged if number >= proof.first)
        disk.power_up(random.Random(after))
        assert not [fault for fault in Chain(disk, tmp_path, 64 * 1024).proof().faults if "changed" in fault.sentence]


def test_what_is_too_long_is_cut_and_the_entry_keeps_its_bound(tmp_path) -> None:
    chain = filled(tmp_path / "log", entries=1)
    chain.append("thing.done", "me", {"keys": list(range(1000)), "text": 10_000 * "x"}, 0)
    chain.append("thing.done", "me", {str(number): 400 * "x" for number in range(100)}, 0)
    proof = chain.proof()
    assert proof.faults == []
    assert proof.entries[1][0].what["keys"][-1] == "… and 950 more"
    assert proof.entries[2][0].what["cut"] is True
    assert all(len(content_of(entry)) <= ENTRY_BYTES_MAX for entry, _ in proof.entries)


def test_what_was_handed_on_is_remembered(tmp_path) -> None:
    chain = filled(tmp_path / "log")
    assert chain.handed_on() is None
    chain.note_handed_on(Mark(5, "a" * 64))
    assert Chain(Disk(), tmp_path / "log").handed_on() == Mark(5, "a" * 64)
    assert [number for number, _ in chain.entries(5)] == [6, 7, 8]


def test_entries_go_on_across_files(tmp_path) -> None:
    chain = filled(tmp_path / "log", entries=300, bytes_max=64 * 1024)
    last = chain.last()
    assert [number for number, _ in chain.entries(100)] == list(range(101, last + 1))


@pytest.mark.parametrize("name", ["whole", "rotated"])
def test_golden_files_are_verified_for_ever(name) -> None:
    files = [File(int(path.stem), path.read_bytes()) for path in sorted((VECTORS / name).glob("*.audit"))]
    expected = json.loads((VECTORS / f"{name}.json").read_text("utf-8"))
    proof = proof_of(files)
    found = [
        {"number": one.number, "kind": one.kind, "what": one.what, "hash": hashed} for one, hashed in proof.entries
    ]
    assert (found, proof.faults) == (expected, [])


def test_the_same_entries_give_the_golden_bytes(tmp_path) -> None:
    chain = Chain(Disk(), tmp_path / "log")
    chain.append(
        "configuration.started", "uid 997 (gateway), pid 812", {"sha256": 64 * "0", "version": "1.0.0"}, 10**18
    )
    chain.append(
        "quarantine.purge", "uid 0 (root), login 1000 (anna), pid 7", {"reason": "no_json", "messages": 3}, 10**18 + 1
    )
    chain.append(
        "certificate.refused", "uid 997 (gateway), pid 812", {"peer": 'région "b"\n', "final": True}, 10**18 + 2
    )
    made = (tmp_path / "log" / "0000000000000001.audit").read_bytes()
    golden = (VECTORS / "whole" / "0000000000000001.audit").read_bytes()
    # The beginning is made by the first append, at its time and by its maker.
    assert made == golden
