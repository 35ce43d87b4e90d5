"""What a batch or a gap is for its lane, and that nothing of it depends on the order in which they come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.region import receiver
from gateway.region.receiver import Decision, Lane, Loss, Run
from gateway.region.reconcile import LaneReport, reconcile
from tests.support.receiving import gap
from tests.support.spooled import readings_between, readings_of

HASH = b"h" * 16


def give(lane: Lane, sequence: int, held: bytes | Loss | None = HASH, content: bytes = HASH) -> Decision:
    """Decide a batch and account for it where it is fresh."""
    decision = receiver.decide(lane, sequence, content, held)
    if decision is Decision.FRESH:
        receiver.take(lane, sequence, readings_between(1, sequence - 1), readings_of(sequence))
    return decision


def lane_of(*sequences: int) -> Lane:
    lane = Lane("node", "telemetry", 100)
    for sequence in sequences:
        assert give(lane, sequence) is Decision.FRESH
    return lane


def report(lane: Lane) -> LaneReport:
    return reconcile(lane, is_newest_epoch=True, ledger={}, ledger_sequence=0, seen_ns=0)


def balance(lane: Lane) -> tuple[int, int, int, int]:
    """Return what was received, lost, is missing and is unaccounted for."""
    found = report(lane)
    return found.received, sum(found.lost.values()), found.missing, found.unaccounted


def test_a_batch_is_fresh_once_and_a_duplicate_after_that() -> None:
    lane = lane_of(1, 2)
    assert give(lane, 2) is Decision.DUPLICATE
    assert (lane.watermark, lane.batches, lane.received) == (2, 2, readings_between(1, 2))


def test_a_known_identity_with_another_content_is_a_fork() -> None:
    assert give(lane_of(1), 1, content=b"x" * 16) is Decision.FORK


def test_a_known_batch_whose_hash_is_not_kept_any_more_is_a_duplicate() -> None:
    assert give(lane_of(1), 1, held=None) is Decision.DUPLICATE


def test_a_hole_has_an_exact_size_before_anything_of_it_has_come() -> None:
    lane = lane_of(1, 5)
    found = report(lane)
    assert [(hole.first, hole.last, hole.readings) for hole in found.holes] == [(2, 4, readings_between(2, 4))]
    assert (lane.watermark, found.highest, found.unaccounted) == (1, 5, 0)


def test_what_lies_before_the_first_batch_heard_of_the_oldest_epoch_is_missing() -> None:
    assert balance(lane_of(4)) == (readings_of(4), 0, readings_between(1, 3), 0)


def test_a_count_that_does_not_begin_at_0_at_sequence_1_is_the_node_s_own_affair() -> None:
    lane = Lane("node", "telemetry", 100)
    receiver.take(lane, 1, 7, 3)
    assert balance(lane) == (3, 0, 0, 0)


def test_a_batch_that_closes_a_hole_joins_the_runs() -> None:
    lane = lane_of(1, 3)
    assert give(lane, 2) is Decision.FRESH
    assert lane.runs == [Run(1, 3, 0, readings_between(1, 3))]


def test_a_gap_fills_only_the_holes_of_its_range() -> None:
    lane = lane_of(1, 3, 7)
    assert receiver.decide_gap(lane, gap(2, 5)) is Decision.FRESH
    losses = receiver.take_gap(lane, gap(2, 5))
    assert [(loss.run.first, loss.run.last, loss.run.readings) for loss in losses] == [
        (2, 2, readings_of(2)),
        (4, 5, readings_between(4, 5)),
    ]
    assert balance(lane)[1:] == (readings_of(2) + readings_between(4, 5), readings_of(6), 0)
    assert receiver.decide_gap(lane, gap(2, 5)) is Decision.DUPLICATE


@pytest.mark.parametrize("sequence", [2, 3, 4])
def test_a_batch_that_comes_after_its_gap_is_taken_back_out_of_the_loss(sequence) -> None:
    lane = lane_of(1, 5)
    (loss,) = receiver.take_gap(lane, gap(2, 4))
    assert give(lane, sequence, held=loss) is Decision.RECOVERED
    remains = receiver.take_back(lane, sequence, readings_between(1, sequence - 1), readings_of(sequence), loss)
    assert sum(piece.run.readings for piece in remains) == readings_between(2, 4) - readings_of(sequence)
    assert lane.lost == {"evicted": readings_between(2, 4) - readings_of(sequence)}
    assert balance(lane)[2:] == (0, 0)


def test_an_older_epoch_is_backlog_below_the_point_where_a_newer_one_begins_and_stale_from_there_on() -> None:
    lane = lane_of(1, 2)
    lane.barrier = 5
    assert give(lane, 4) is Decision.FRESH
    assert give(lane, 5) is Decision.STALE
    assert give(lane, 9) is Decision.STALE
    assert receiver.decide_gap(lane, gap(3, 3)) is Decision.FRESH
    assert receiver.decide_gap(lane, gap(3, 6)) is Decision.STALE
    assert give(lane, 2) is Decision.DUPLICATE


def test_what_an_older_epoch_had_brought_beyond_that_point_stays_known() -> None:
    lane = lane_of(1, 2, 3)
    lane.barrier = 3
    assert give(lane, 3) is Decision.DUPLICATE


def test_a_later_epoch_begins_at_the_lowest_sequence_heard_of_it() -> None:
    lane = Lane("node", "telemetry", 200, is_oldest=False)
    assert (give(lane, 12), give(lane, 11)) == (Decision.FRESH, Decision.FRESH)
    assert (lane.begin.first, lane.watermark) == (11, 12)
    assert balance(lane) == (readings_between(11, 12), 0, 0, 0)


def test_a_batch_that_would_make_one_run_too_many_is_refused_and_one_that_closes_a_hole_is_not(monkeypatch) -> None:
    monkeypatch.setattr(receiver, "RUNS_MAX", 3)
    lane = lane_of(1, 3, 5)
    assert give(lane, 7) is Decision.REFUSED
    assert receiver.decide_gap(lane, gap(7, 9)) is Decision.REFUSED
    assert give(lane, 4) is Decision.FRESH
    assert give(lane, 7) is Decision.FRESH


def test_counts_that_contradict_each_other_are_unaccounted_for() -> None:
    lane = lane_of(1, 2)
    receiver.take(lane, 3, readings_between(1, 2) + 10, readings_of(3))
    assert report(lane).unaccounted == 10


def test_pairs_are_sorted_and_merged() -> None:
    assert receiver.pairs([(7, 7), (1, 2), (3, 3), (2, 2), (9, 12), (10, 11)]) == ((1, 3), (7, 7), (9, 12))
    assert receiver.pairs([]) == ()


@settings(max_examples=200, deadline=None)
@given(order=st.lists(st.integers(1, 30), max_size=60))
def test_batches_in_any_order_and_number_make_the_same_runs(order) -> None:
    lane = Lane("node", "telemetry", 100)
    for sequence in order:
        is_new = not lane.knows(sequence)
        assert give(lane, sequence) is (Decision.FRESH if is_new else Decision.DUPLICATE)
    heard = sorted(set(order))
    runs = receiver.pairs([(sequence, sequence) for sequence in heard])
    assert [(run.first, run.last) for run in lane.runs] == list(runs)
    assert [run.readings for run in lane.runs] == [readings_between(first, last) for first, last in runs]
    assert lane.received == sum(map(readings_of, heard))
    assert report(lane).unaccounted == 0
    if heard:
        assert report(lane).missing == readings_between(1, heard[-1]) - lane.received
