"""The medium damages one file: the node starts, tells what is missing, loses nothing else, and makes nothing up.

Every kind of file is flipped byte by byte, cut at every length, emptied, removed, swapped and copied under another
name; `tests/support/damage.py` says what is checked after each. The short form takes one position in many, by
GATEWAY_SEED; GATEWAY_LONG=1 takes every byte and every length.
"""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from tests.support.damage import (
    SEED,
    Damages,
    by_kind,
    changed,
    flipped,
    go_on,
    positions,
    representatives,
    run_all,
)
from tests.support.wholenode import STATE


def test_a_crash_without_damage_loses_nothing_and_delivers_nothing_twice(crashed, quarantine) -> None:
    outcome = go_on(crashed, crashed.files, quarantine)
    assert outcome.notes == []
    assert not outcome.missing()


def test_any_flipped_byte_costs_at_most_what_is_told(crashed, quarantine) -> None:
    chance = random.Random(SEED)

    def damages() -> Damages:
        for path in representatives(crashed.files):
            data = crashed.files[path]
            for place in positions(len(data.rstrip(b"\0")) or 1, chance, 12):
                bit = chance.randrange(8)
                yield f"{path} bit {bit} of {place}", changed(crashed.files, path, flipped(data, place, bit))

    assert run_all(crashed, quarantine, damages()) > 100


def test_any_truncated_file_costs_at_most_what_is_told(crashed, quarantine) -> None:
    chance = random.Random(SEED + 1)

    def damages() -> Damages:
        for path in representatives(crashed.files):
            for size in [0, *positions(len(crashed.files[path]), chance, 6)]:
                yield f"{path} cut to {size}", changed(crashed.files, path, crashed.files[path][:size])

    assert run_all(crashed, quarantine, damages()) > 60


def test_any_file_that_is_gone_costs_at_most_what_is_told(crashed, quarantine) -> None:
    def damages() -> Damages:
        for path in sorted(crashed.files):
            yield f"{path} removed", changed(crashed.files, path, None)
        for kind, paths in by_kind(crashed.files).items():
            yield f"all of {kind} removed", {one: data for one, data in crashed.files.items() if one not in paths}

    run_all(crashed, quarantine, damages())


@pytest.mark.parametrize("part", ["spool", "journal", "checkpoint", "spool/cursors", "spool/lanes/alarm"])
def test_a_folder_that_is_gone_costs_at_most_what_is_told(crashed, quarantine, part: str) -> None:
    files = {path: data for path, data in crashed.files.items() if STATE / part not in path.parents}
    notes = go_on(crashed, files, quarantine).notes
    if part != "journal":  # without a journal, what came after the checkpoint is gone: the checkpoint cannot know of it
        assert notes


def test_files_that_changed_places_cost_at_most_what_is_told(crashed, quarantine) -> None:
    def damages() -> Damages:
        for paths in by_kind(crashed.files).values():
            for one, other in pairwise(paths):
                swapped = changed(crashed.files, one, crashed.files[other])
                yield f"{one} and {other} swapped", changed(swapped, other, crashed.files[one])
                yield f"{one} copied over {other}", changed(crashed.files, other, crashed.files[one])
        kinds = by_kind(crashed.files)
        for one, other in zip(kinds["spool/lanes/alarm.seg"], kinds["spool/lanes/telemetry.seg"], strict=False):
            swapped = changed(crashed.files, one, crashed.files[other])
            yield f"{one} and {other} swapped", changed(swapped, other, crashed.files[one])

    run_all(crashed, quarantine, damages())


def test_a_copy_under_another_name_changes_nothing_or_is_told(crashed, quarantine) -> None:
    def damages() -> Damages:
        for kind, paths in by_kind(crashed.files).items():
            if not kind.endswith((".seg", ".log", ".ckpt")):
                continue
            for path in (paths[0], paths[-1]):
                for number in (0, 1, 3, int(path.stem) + 1, 10**6):
                    name = path.with_name(f"{number:016d}{path.suffix}")
                    if name not in crashed.files:
                        yield f"{path} copied to {name.name}", changed(crashed.files, name, crashed.files[path])

    assert run_all(crashed, quarantine, damages()) > 10


def test_a_segment_that_moved_to_the_other_lane_costs_at_most_what_is_told(crashed, quarantine) -> None:
    def damages() -> Damages:
        kinds = by_kind(crashed.files)
        lanes = [kinds["spool/lanes/alarm.seg"], kinds["spool/lanes/telemetry.seg"]]
        for source, target in (lanes, lanes[::-1]):
            for path in source:
                for name in {path.name, *(other.name for other in target)}:
                    moved = changed(crashed.files, target[0].with_name(name), crashed.files[path])
                    yield f"{path} copied to {target[0].with_name(name)}", moved
                    yield f"{path} moved to {target[0].with_name(name)}", changed(moved, path, None)

    assert run_all(crashed, quarantine, damages()) > 20
