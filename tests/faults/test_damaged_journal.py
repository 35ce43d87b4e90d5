"""Damage of journal and checkpoints costs exactly what it hit: the report names each position, and no more is lost.

What lies before the newest checkpoint costs nothing, a checkpoint that cannot be used costs a longer replay with the
same batches, and what another version of the program wrote is kept for it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from gateway import frame
from gateway.journal import format as layout
from tests.support.damage import (
    ACKNOWLEDGED,
    SEED,
    Files,
    by_kind,
    changed,
    flipped,
    go_on,
    of_later_version,
    positions,
)
from tests.support.wholenode import GROUP

COMMITS = ACKNOWLEDGED // GROUP


def commits(files: Files) -> Iterator[tuple[Path, int, range]]:
    """Yield (file, position, bytes of its frame) of each commit in the journal."""
    for path in by_kind(files)["journal.log"]:
        uuid, _ = layout.parse_file_header(files[path]) or (b"", 0)
        offset = layout.FILE_HEADER_BYTES
        while (whole := frame.whole_at(uuid, files[path], offset)) is not None:
            end = offset + whole[0].frame_bytes
            yield path, whole[0].first, range(offset, offset + frame.HEADER_BYTES + whole[0].length)
            offset = end


def kept(files: Files) -> list[int]:
    """Return the positions of the checkpoints."""
    return [int(path.stem) for path in by_kind(files)["checkpoint.ckpt"]]


def numbers_at(position: int) -> set[int]:
    return set(range(GROUP * position, GROUP * (position + 1)))


def test_the_journal_holds_what_the_older_checkpoint_needs(crashed) -> None:
    older, newer = kept(crashed.files)
    found = [position for _, position, _ in commits(crashed.files)]
    assert found == list(range(found[0], COMMITS))
    assert found[0] <= older < newer < COMMITS - 2


def test_damage_of_the_journal_before_the_newest_checkpoint_costs_nothing(crashed, quarantine) -> None:
    chance = random.Random(SEED)
    newest, tried = kept(crashed.files)[-1], 0
    undamaged = go_on(crashed, crashed.files, quarantine).receiver.hashes
    for path, position, place in commits(crashed.files):
        if position < newest:
            for index in positions(len(place), chance, 4):
                tried += 1
                files = changed(crashed.files, path, flipped(crashed.files[path], place[index], chance.randrange(8)))
                outcome = go_on(crashed, files, quarantine)
                assert not outcome.node.recovered.journal.damaged, (path, place[index])
                assert outcome.receiver.hashes == undamaged
    assert tried > 10
    print(f"{tried} flips before the newest checkpoint, GATEWAY_SEED={SEED}")  # noqa: T201  # for people


def test_a_damaged_commit_is_named_by_its_position_and_nothing_else_is_missing(crashed, quarantine) -> None:
    chance = random.Random(SEED + 1)
    newest, tried = kept(crashed.files)[-1], 0
    for path, position, place in commits(crashed.files):
        if position < newest:
            continue
        for index in positions(len(place), chance, 6):
            tried += 1
            files = changed(crashed.files, path, flipped(crashed.files[path], place[index], chance.randrange(8)))
            outcome = go_on(crashed, files, quarantine)
            recovered = outcome.node.recovered
            assert recovered.journal.damaged, (path, place[index])
            if position < COMMITS - 1:
                assert recovered.journal.missing == [(position, position)]
                assert recovered.report()["positions_missing"] == [(position, position)]
            else:
                assert recovered.position == position
                assert recovered.missing_messages <= GROUP  # at least: it may be told by a batch alone
            assert outcome.missing() <= numbers_at(position)
    assert tried > 10
    print(f"{tried} flips after the newest checkpoint, GATEWAY_SEED={SEED}")  # noqa: T201  # for people


def test_two_damaged_commits_are_both_named(crashed, quarantine) -> None:
    newest = kept(crashed.files)[-1]
    files = crashed.files
    for path, position, place in commits(crashed.files):
        if position in {newest, newest + 2}:
            files = changed(files, path, flipped(files[path], place[5]))
    outcome = go_on(crashed, files, quarantine)
    assert outcome.node.recovered.journal.missing == [(newest, newest), (newest + 2, newest + 2)]
    assert outcome.missing() <= numbers_at(newest) | numbers_at(newest + 2)


def test_an_unreadable_newest_checkpoint_costs_a_longer_replay_with_the_same_batches(crashed, quarantine) -> None:
    chance = random.Random(SEED + 2)
    newest = by_kind(crashed.files)["checkpoint.ckpt"][-1]
    data = crashed.files[newest]
    undamaged = go_on(crashed, crashed.files, quarantine)
    damages: list[bytes | None] = [None, b"", of_later_version(data, 44)]
    damages += [flipped(data, place, chance.randrange(8)) for place in positions(len(data), chance, 25)]
    damages += [data[:size] for size in positions(len(data), chance, 10)]
    for damaged in damages:
        outcome = go_on(crashed, changed(crashed.files, newest, damaged), quarantine)
        recovered = outcome.node.recovered
        assert outcome.receiver.hashes == undamaged.receiver.hashes
        assert sorted(outcome.receiver.readings) == sorted(undamaged.receiver.readings)
        assert not recovered.journal.damaged
        assert set(recovered.batches) <= {"known", "stored"}
        is_told = bool([note for note in recovered.notes if newest.name in note])
        is_used = damaged is not None and not is_told
        assert recovered.journal.entries == COMMITS - kept(crashed.files)[is_used]
        if is_told:
            assert damaged in outcome.files(), "the unreadable checkpoint is not kept aside"
        elif is_used:
            assert len(damaged) == len(data), "a flipped byte may be padding, a file that was cut is not whole"
    print(f"{len(damages)} damages of the newest checkpoint, GATEWAY_SEED={SEED}")  # noqa: T201  # for people


def test_without_any_checkpoint_the_report_names_what_no_journal_file_holds(crashed, quarantine) -> None:
    files = {path: data for path, data in crashed.files.items() if path.suffix != ".ckpt"}
    first = next(position for _, position, _ in commits(files))
    whole = go_on(crashed, files, quarantine)
    assert whole.node.recovered.journal.missing == [(0, first - 1)]
    for path, position, place in commits(files):
        damaged = changed(files, path, flipped(files[path], place[0]))
        journal = go_on(crashed, damaged, quarantine).node.recovered.journal
        expected = [(0, first - 1), (position, position)]
        if position == first:
            expected = [(0, first)]
        assert journal.missing == expected[: 1 if position == COMMITS - 1 else 2]
        assert journal.damaged


def test_a_journal_file_of_a_later_version_is_told_and_kept(crashed, quarantine) -> None:
    newest = kept(crashed.files)[-1]
    paths = by_kind(crashed.files)["journal.log"]
    for path in paths:
        later = of_later_version(crashed.files[path], 44)
        outcome = go_on(crashed, changed(crashed.files, path, later), quarantine)
        journal = outcome.node.recovered.journal
        if int(path.stem) >= newest:
            assert any("version 2" in note for note in journal.notes), (path, journal.notes)
            assert journal.damaged
        assert later in outcome.files(), "the file of a later version is gone"


def test_a_checkpoint_of_a_later_version_is_told(crashed, quarantine) -> None:
    newest = by_kind(crashed.files)["checkpoint.ckpt"][-1]
    later = of_later_version(crashed.files[newest], 44)
    outcome = go_on(crashed, changed(crashed.files, newest, later), quarantine)
    assert any("version 3" in note for note in outcome.notes), outcome.notes
