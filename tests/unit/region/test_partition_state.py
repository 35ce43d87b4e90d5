"""What a receiver keeps in a topic: read back, it is what it was, and the same as a receiver with a file knows."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import StoreError
from gateway.region.intake import Intake, Message
from gateway.region.partition_state import PartitionState
from tests.support.receiving import PREFIX, Region, StoppedClock, sent
from tests.support.sending import Sending, sendings, sent_one

Log = list[tuple[bytes, bytes | None]]


class Kept:
    """A receiver of one partition, and the topic that it writes."""

    def __init__(self) -> None:
        self.log: Log = []
        self.state = PartitionState()
        self.letters: list[str] = []

    def take(self, *messages: Message) -> None:
        todo = list(messages)
        while todo:
            outcome = Intake(self.state, [], StoppedClock(), PREFIX).take(todo)
            del todo[: outcome.messages]
        self.log += self.state.changes()
        self.letters += [letter.reason for letter in self.state.buried()]

    def restart(self, chance: random.Random | None = None) -> None:
        """Begin anew from the topic, of which compaction has removed some of what newer records replace."""
        newest = {key: number for number, (key, _) in enumerate(self.log)}
        kept = [
            record
            for number, record in enumerate(self.log)
            if newest[record[0]] == number or (chance and chance.random() < 0.5)
        ]
        self.state.close()
        self.state = PartitionState()
        self.state.restore(kept)
        self.log = kept


def received(sending: Sending, region: Region | Kept) -> None:
    group: list[Message] = []
    for number, what in enumerate(sending.order):
        group.append(sent_one(sending.ring, what))
        if number in sending.cuts:
            region.take(*group)
            group.clear()
            if number in sending.restarts:
                region.restart()
    if group:
        region.take(*group)


@settings(max_examples=60, deadline=None)
@given(sending=sendings(), seed=st.integers(0, 99))
def test_it_knows_what_a_receiver_with_a_file_knows(sending: Sending, seed: int) -> None:
    kept = Kept()
    received(sending, kept)
    kept.restart(random.Random(seed))
    with tempfile.TemporaryDirectory() as folder, Region(Path(folder)) as region:
        received(sending, region)
        assert msgspec.to_builtins(kept.state.report().lanes) == msgspec.to_builtins(region.report().lanes)


def test_nothing_is_written_that_has_not_changed() -> None:
    kept = Kept()
    kept.take(sent(1))
    before = len(kept.log)
    kept.take(sent(1))
    assert [msgspec.json.decode(key)[0] for key, _ in kept.log[before:]] == ["watermark"]
    assert kept.state.changes() == []


def test_what_is_not_taken_is_counted_for_ever_and_given_out_once() -> None:
    kept = Kept()
    kept.take(Message("edge/v1/node/batch/telemetry", b"garbage"))
    kept.restart()
    kept.take(Message("edge/v1/node/batch/telemetry", b"garbage"))
    assert kept.state.report().rejected == {"no_batch": 2}
    assert kept.letters == ["no_batch", "no_batch"]


@pytest.mark.parametrize(
    "record",
    [(b"\xff", b"[]"), (b"{}", b"[]"), (b'["run","n","l",1,1]', b"[1,2,3]"), (b'["secret","n"]', b"[1]")],
)
def test_records_of_somebody_else_are_named(record: tuple[bytes, bytes]) -> None:
    with pytest.raises(StoreError, match="holds what is no state of ours"):
        PartitionState().restore([record])
