"""What the medium takes from the spool as a whole, and what another version left there, is told to people and regions.

A ring that is gone is a gap with the readings that the checkpoint knows of; books and cursors that are gone cost counts
and duplicates; files of a later version are kept for it.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from gateway import ledger
from gateway.spool import format as layout
from tests.support.damage import Files, by_kind, changed, go_on, of_later_version
from tests.support.wholenode import STATE


def without(files: Files, part: str) -> Files:
    return {path: data for path, data in files.items() if STATE / part not in path.parents}


def slots(files: Files, change: Callable[[object], object]) -> Files:
    """Return the files with the value in each slot changed."""
    found = dict(files)
    for kind in ("spool", "spool/cursors"):
        for path in by_kind(files)[kind]:
            parsed = layout.parse_slot(files[path])
            if parsed is not None:
                generation, body = parsed
                data = layout.slot(generation, msgspec.json.encode(change(msgspec.json.decode(body))))
                found[path] = data + bytes(max(0, len(files[path]) - len(data)))
    assert found != files
    return found


@pytest.mark.parametrize("part", ["spool", "spool/lanes", "spool/lanes/alarm", "spool/lanes/telemetry"])
def test_a_ring_that_is_gone_is_a_gap_with_the_readings_that_the_region_misses(crashed, quarantine, part) -> None:
    outcome = go_on(crashed, without(crashed.files, part), quarantine)
    recovered, receiver = outcome.node.recovered, outcome.receiver
    assert not recovered.journal.damaged, outcome.notes
    assert not recovered.epoch_began, outcome.notes
    lost = receiver.lost
    assert set(lost) <= {"damaged", "evicted"}
    assert sum(lost.values()) > 0
    assert [note for note in outcome.notes if "gone" in note or "damaged" in note]


@pytest.mark.parametrize("part", ["checkpoint", "journal"])
def test_a_journal_or_all_checkpoints_that_are_gone_are_told(crashed, quarantine, part) -> None:
    outcome = go_on(crashed, without(crashed.files, part), quarantine)
    assert outcome.node.recovered.report()["acknowledged_input_missing"]
    assert outcome.notes


def test_both_of_journal_and_checkpoints_gone_still_deliver_what_the_ring_holds(crashed, quarantine) -> None:
    files = without(without(crashed.files, "journal"), "checkpoint")
    outcome = go_on(crashed, files, quarantine)
    assert outcome.node.recovered.journal.damaged
    assert outcome.node.pipeline.ledger[ledger.RECEIVED] == 0
    assert not outcome.receiver.lost, "a ring that is whole has lost nothing"


@pytest.mark.parametrize("kind", ["spool", "spool/cursors"])
def test_books_or_cursors_that_are_gone_cost_no_batch(crashed, quarantine, kind) -> None:
    files = {path: data for path, data in crashed.files.items() if path not in by_kind(crashed.files)[kind]}
    outcome = go_on(crashed, files, quarantine)
    assert not outcome.missing()
    assert outcome.notes


def test_what_a_later_version_added_to_books_and_cursors_is_no_damage(crashed, quarantine) -> None:
    def add(value: object) -> object:
        assert isinstance(value, dict)
        return {**value, "of a later version": [1, 2]} if "lanes" in value else value

    outcome = go_on(crashed, slots(crashed.files, add), quarantine)
    assert outcome.notes == []
    assert not outcome.missing()


def test_books_and_cursors_of_another_shape_are_told_and_cost_no_batch(crashed, quarantine) -> None:
    outcome = go_on(crashed, slots(crashed.files, lambda value: [value]), quarantine)
    assert not outcome.missing()
    assert len(outcome.notes) >= 2, outcome.notes


@pytest.mark.parametrize("lane", ["alarm", "telemetry"])
def test_a_segment_of_a_later_version_is_told_and_kept(crashed, quarantine, lane) -> None:
    for path in by_kind(crashed.files)[f"spool/lanes/{lane}.seg"]:
        data = of_later_version(crashed.files[path], 60)
        data = data[:-64] + of_later_version(data[-64:], 60)
        outcome = go_on(crashed, changed(crashed.files, path, data), quarantine)
        assert any("version 2" in note for note in outcome.notes), (path, outcome.notes)
        assert data in outcome.files(), "the segment of a later version is gone"
