"""Groups of messages: what is written, what is buried, what is durable, and that no message can wedge the receiver."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gateway.batch import envelope
from gateway.errors import StoreError
from gateway.model import BatchId, OpenBatch
from gateway.region import intake, receiver, store
from gateway.region.intake import Lane, Message
from gateway.transport import wire
from tests.support.faultdisk import FaultDisk
from tests.support.receiving import Region, gap, message, sent, sent_gap
from tests.support.spooled import batch, readings_between, readings_of

INT64_MAX = (1 << 63) - 1
OURS = Lane("node", "telemetry", 100)


@pytest.fixture
def region(tmp_path):
    with Region(tmp_path / "state") as made:
        yield made


def sealed_of(value: object, *, before: int = 0) -> Message:
    """Return a batch of one reading of another node."""
    rows = {"t": ([1], [{"f": value}])}
    return message(envelope.seal(OpenBatch(BatchId("other", "lane", 1, 1), rows, 1, before, {}, 1, 0), "boot"))


def test_a_group_is_written_once_and_its_sequences_are_durable_as_pairs(region) -> None:
    outcome = region.take(sent(2), sent(1), sent(2), sent_gap(gap(5, 7)))
    assert outcome.decided == {"fresh": 3, "duplicate": 1}
    assert (outcome.messages, outcome.readings) == (4, readings_between(1, 2))
    assert outcome.words("centre") == [
        ("node", wire.Acknowledgement("centre", "telemetry", 100, ((1, 2), (5, 7)))),
    ]
    assert len(region.rows()) == len(region.lines()) == readings_between(1, 2)


def test_a_batch_that_comes_again_is_acknowledged_again(region) -> None:
    region.take(sent(1))
    outcome = region.take(sent(1))
    assert outcome.durable == {OURS: [(1, 1)]}
    assert (region.lane().duplicates, len(region.rows())) == (1, readings_of(1))


def test_a_fork_is_neither_written_nor_acknowledged_but_kept_for_a_person(region) -> None:
    region.take(sent(1))
    outcome = region.take(sent(1, salt=0.5))
    assert outcome.durable == {}
    assert outcome.decided == {"fork": 1, "rejected.fork": 1}
    assert len(region.rows()) == readings_of(1)
    assert region.lane().forks == 1
    assert region.report().rejected == {"fork": 1}
    assert region.rows("SELECT payload FROM dead_letter") == [(sent(1, salt=0.5).payload,)]


def test_a_fork_within_one_group_is_found(region) -> None:
    assert region.take(sent(1), sent(1, salt=0.5)).decided["fork"] == 1


@pytest.mark.parametrize("grouped", [True, False])
def test_an_older_epoch_that_goes_on_beside_a_newer_one_is_stale(region, grouped) -> None:
    messages = [sent(1, 100), sent(2, 200), sent(2, 100), sent(3, 100)]
    outcomes = [region.take(*messages)] if grouped else [region.take(one) for one in messages]
    assert sum(outcome.decided.get("stale_epoch", 0) for outcome in outcomes) == 2
    assert (region.lane(100).highest, region.lane(200).highest) == (1, 2)
    assert [lane.is_newest_epoch for lane in region.report().lanes] == [False, True]


def test_the_backlog_of_an_older_epoch_is_taken_after_the_newer_one_began(region) -> None:
    region.take(sent(4, 200, before=0))
    outcome = region.take(sent(3, 100), sent(2, 100), sent(1, 100))
    assert outcome.decided == {"fresh": 3}
    assert region.report().unaccounted == 0
    assert (region.lane(200).missing, region.lane(200).watermark) == (0, 4)


def test_a_new_ring_that_begins_at_1_again_is_taken(region) -> None:
    region.take(sent(1, 100), sent(2, 100))
    assert region.take(sent(1, 200, salt=0.5), sent(2, 200)).decided == {"fresh": 2}
    assert region.report().unaccounted == 0


@pytest.mark.parametrize("data", [b"", b"EGB1", b"x" * 100, batch(1).data[:-1], batch(1).data + b"\0"])
def test_what_is_no_batch_is_buried_and_the_rest_of_the_group_is_taken(region, data) -> None:
    topic = wire.batch_topic("edge/v1", "node", "telemetry")
    outcome = region.take(Message(topic, data), sent(1))
    assert outcome.decided == {"rejected.no_batch": 1, "fresh": 1}
    assert outcome.messages == 2
    (letter,) = region.report().dead_letters
    assert (letter["topic"], letter["reason"], letter["bytes"]) == (topic, "no_batch", len(data))


@pytest.mark.parametrize(
    "topic", ["edge/v1/other/batch/telemetry", "edge/v1/node/batch/alarm", "edge/v2/node/batch/telemetry"]
)
@pytest.mark.parametrize("what", [sent(1), sent_gap(gap(1, 2))])
def test_a_node_cannot_write_in_the_name_of_another(region, topic, what) -> None:
    outcome = region.take(Message(topic, what.payload))
    assert (outcome.durable, outcome.decided) == ({}, {"rejected.other_node": 1})
    assert region.report().lanes == []


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), INT64_MAX, -INT64_MAX - 1, "\0", "", b"", b"\xff\0", "𝄞"]
)
def test_no_value_that_a_batch_can_hold_makes_a_commit_fail(region, value) -> None:
    assert region.take(sealed_of(value)).decided == {"fresh": 1}
    assert len(region.rows()) == len(region.lines()) == 1


def test_counts_past_64_bits_are_buried(region) -> None:
    assert region.take(sealed_of(1, before=INT64_MAX)).decided == {"rejected.count_too_large": 1}
    assert region.take(sealed_of(1, before=INT64_MAX - 1)).decided == {"fresh": 1}
    huge = [sent_gap(gap(3 * number, 3 * number)) for number in range(1, 4)]
    assert region.take(*huge).decided == {"fresh": 3}
    assert region.report().unaccounted == 0


def test_contradictory_losses_of_any_size_are_shown_and_stop_nothing(region) -> None:
    lost = gap(1, 1)
    for number in range(1, 8, 2):
        size = {"first": number, "last": number, "readings": INT64_MAX, "readings_before": 0}
        fields = {"node": lost.node, "lane": lost.lane, "epoch": 100, "reason": "evicted", **size}
        region.take(Message(sent_gap(lost).topic, envelope.enclose(envelope.GAP, fields, b"")))
    assert region.lane().lost == {"evicted": 4 * INT64_MAX}
    assert region.take(sent(20)).decided == {"fresh": 1}


def test_a_gap_that_is_followed_by_its_batch_is_no_loss_any_more(region) -> None:
    region.take(sent(1), sent(5), sent_gap(gap(2, 4)))
    assert region.take(sent(3)).decided == {"recovered": 1}
    assert region.lane().lost == {"evicted": readings_of(2) + readings_of(4)}
    assert region.take(sent(3)).decided == {"duplicate": 1}
    assert region.take(sent(2), sent(4)).decided == {"recovered": 2}
    assert (sum(region.lane().lost.values()), region.report().unaccounted) == (0, 0)


def test_the_ledger_of_the_newest_batch_is_kept(region) -> None:
    def with_ledger(sequence: int) -> Message:
        identity = BatchId("node", "telemetry", 100, sequence)
        rows = {"t": ([1], [{"f": 1}])}
        return message(
            envelope.seal(OpenBatch(identity, rows, 1, sequence - 1, {"reading.sealed": sequence}, 1, 0), "b")
        )

    region.take(with_ledger(3))
    region.take(with_ledger(1))
    assert (region.lane().ledger, region.lane().ledger_sequence) == ({"reading.sealed": 3}, 3)


def test_a_group_ends_where_its_readings_would_take_too_much_memory(region, monkeypatch) -> None:
    monkeypatch.setattr(intake, "GROUP_READINGS_MAX", readings_between(1, 2))
    outcome = region.take(sent(1), sent(2), sent(3))
    assert (outcome.messages, outcome.durable) == (2, {OURS: [(1, 1), (2, 2)]})


def test_a_node_with_too_many_lanes_and_epochs_is_refused(region, monkeypatch) -> None:
    monkeypatch.setattr(store, "LANES_MAX", 3)
    for epoch in range(1, 4):
        region.take(sent(1, epoch))
    assert region.take(sent(1, 4)).decided == {"rejected.too_many_lanes": 1}
    assert region.take(sent(2, 3)).decided == {"fresh": 1}


def test_a_lane_with_too_many_holes_is_refused_until_one_is_closed(region, monkeypatch) -> None:
    monkeypatch.setattr(receiver, "RUNS_MAX", 2)
    region.take(sent(1), sent(3))
    assert region.take(sent(5)).decided == {"scattered": 1, "rejected.scattered": 1}
    assert region.take(sent(2)).decided == {"fresh": 1}
    assert region.take(sent(5)).decided == {"fresh": 1}


@pytest.mark.parametrize("verb", ["create", "write", "sync", "sync_folder"])
def test_a_group_that_could_not_be_committed_leaves_nothing_and_is_taken_again(tmp_path, verb) -> None:
    disk = FaultDisk()
    with Region(tmp_path, disk) as region:
        disk.fail(verb, errno.EIO)
        with pytest.raises(StoreError):
            region.take(sent(1), sent_gap(gap(3, 4)))
        assert (region.report().lanes, region.rows()) == ([], [])
        assert region.take(sent(1)).decided == {"fresh": 1}
        assert len(region.rows()) == readings_of(1)


def test_a_failed_statement_leaves_nothing_of_the_group(region) -> None:
    region.watermarks._db.execute("CREATE TRIGGER no BEFORE INSERT ON reading BEGIN SELECT RAISE(FAIL, 'no'); END")
    with pytest.raises(StoreError, match="cannot commit"):
        region.take(sent(1))
    assert region.report().lanes == []
    region.watermarks._db.execute("DROP TRIGGER no")
    assert region.take(sent(1)).decided == {"fresh": 1}
    assert len(region.lines()) == len(region.rows()) == readings_of(1)


def test_a_second_receiver_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Region(tmp_path) as region:
        with pytest.raises(StoreError, match="another receiver"):
            Region(tmp_path)
        region.take(sent(1))
    with Region(tmp_path) as region:
        assert region.take(sent(1)).decided == {"duplicate": 1}
