"""Epochs of one lane against a model that is plain sets: a lost tail, a new flash, a cloned disk, in any order.

The model hears the same messages one by one and keeps what it holds under each sequence. It knows no runs, no
groups and no store, so whatever of those is wrong shows as a difference.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.region.intake import Message
from gateway.region.reconcile import LaneReport
from tests.support.receiving import Region, gap, sent, sent_gap
from tests.support.spooled import readings_between, readings_of

LAST = 12
BATCH = "batch"


class Epoch(NamedTuple):
    """One epoch of the node: its batches begin at `begin`, before which it says that it counted `offset` readings."""

    number: int
    begin: int
    end: int
    offset: int

    def before(self, sequence: int) -> int:
        return self.offset + readings_between(self.begin, sequence - 1)


class Batch(NamedTuple):
    """A batch on its way; `salt` makes its content another one under the same identity."""

    epoch: Epoch
    sequence: int
    salt: float = 0.0

    def message(self) -> Message:
        own = self.epoch.number / 1024
        before = self.epoch.before(self.sequence)
        return sent(self.sequence, self.epoch.number, before=before, salt=own + self.salt)


class Lost(NamedTuple):
    """A gap on its way."""

    epoch: Epoch
    first: int
    last: int
    reason: str

    def message(self) -> Message:
        before = self.epoch.before(self.first)
        return sent_gap(gap(self.first, self.last, self.epoch.number, before=before, reason=self.reason))


class Model:
    """What a receiver must have come to; `held` is epoch → sequence → salt of the batch, or reason of the loss."""

    def __init__(self) -> None:
        self.held: dict[int, dict[int, float | str]] = {}
        self.epochs: dict[int, Epoch] = {}
        self.decided: list[str] = []
        self.durable: set[tuple[int, int]] = set()

    def barrier(self, number: int) -> int:
        return min((min(held) for epoch, held in self.held.items() if epoch > number), default=LAST + 1)

    def hear(self, what: Batch | Lost) -> None:
        own = self.held.get(what.epoch.number, {})
        decision = self.batch(own, what) if isinstance(what, Batch) else self.gap(own, what)
        self.decided.append(decision)
        if decision in {"fresh", "recovered"}:
            self.held[what.epoch.number] = own
            self.epochs[what.epoch.number] = what.epoch
        if decision in {"fresh", "recovered", "duplicate"}:
            first, last = (what.sequence, what.sequence) if isinstance(what, Batch) else (what.first, what.last)
            self.durable |= {(what.epoch.number, sequence) for sequence in range(first, last + 1)}

    def batch(self, own: dict[int, float | str], what: Batch) -> str:
        held = own.get(what.sequence)
        if isinstance(held, float):
            return "duplicate" if held == what.salt else "fork"
        if what.sequence >= self.barrier(what.epoch.number):
            return "stale_epoch"
        own[what.sequence] = what.salt
        return "fresh" if held is None else "recovered"

    def gap(self, own: dict[int, float | str], what: Lost) -> str:
        numbers = range(what.first, what.last + 1)
        if all(sequence in own for sequence in numbers):
            return "duplicate"
        if what.last >= self.barrier(what.epoch.number):
            return "stale_epoch"
        for sequence in numbers:
            own.setdefault(sequence, what.reason)
        return "fresh"

    def check(self, report: LaneReport) -> None:
        """Hold the report of one lane and epoch against what is held."""
        held, epoch = self.held[report.epoch], self.epochs[report.epoch]
        lost = dict.fromkeys(report.lost, 0)
        for sequence, what in held.items():
            if isinstance(what, str):
                lost[what] += readings_of(sequence)
        batches = [sequence for sequence, what in held.items() if isinstance(what, float)]
        first = 1 if report.epoch == min(self.held) else min(held)
        missing = [sequence for sequence in range(first, max(held)) if sequence not in held]
        unheard = epoch.before(min(held)) if first < min(held) else 0
        assert report.unaccounted == 0
        assert (report.batches, report.received) == (len(batches), sum(map(readings_of, batches)))
        assert report.lost == lost
        inner = sum(readings_of(sequence) for sequence in missing if sequence > min(held))
        assert report.missing == inner + unheard
        named = {sequence for hole in report.holes for sequence in range(hole.first, hole.last + 1)}
        assert named == set(missing)
        assert report.watermark == min(missing, default=max(held) + 1) - 1
        assert report.is_newest_epoch == (report.epoch == max(self.held))

    def rows(self) -> list[tuple[str, str, int, float]]:
        """Return what a sink must hold, sorted."""
        return sorted(
            ("plant/a", "value", time_ns, sequence + number / 1024 + what)
            for number, held in self.held.items()
            for sequence, what in held.items()
            if isinstance(what, float)
            for time_ns in range(readings_of(sequence))
        )


@st.composite
def histories(draw) -> list[Epoch]:
    """Draw the epochs of one node: each goes on after the last one, or before its end, or at 1 again."""
    epochs: list[Epoch] = []
    for number in range(100, 100 + draw(st.integers(2, 3))):
        head = epochs[-1].end if epochs else 0
        kind = draw(st.sampled_from(["on", "lost tail", "new ring"])) if epochs else "new ring"
        begin = {"on": head + 1, "lost tail": draw(st.integers(1, head + 1)), "new ring": 1}[kind]
        begin = min(begin, LAST)
        end = draw(st.integers(begin, LAST))
        offset = 0 if kind == "new ring" else draw(st.sampled_from([0, 7, 1000]))
        epochs.append(Epoch(number, begin, end, offset))
    return epochs


@st.composite
def arrivals(draw) -> list[list[Batch | Lost]]:
    """Draw groups of messages of such a node: in any order, again and again, with gaps, and batches of its clone."""
    found: list[Batch | Lost] = []
    for epoch in draw(histories()):
        numbers = st.integers(epoch.begin, epoch.end)
        found += [Batch(epoch, number) for number in draw(st.sets(numbers))]
        found += [Batch(epoch, number, 0.5) for number in draw(st.lists(numbers, max_size=1))]
        for first, last in draw(st.lists(st.tuples(numbers, numbers), max_size=2)):
            found.append(Lost(epoch, min(first, last), max(first, last), draw(st.sampled_from(["evicted", "damaged"]))))
    if not found:
        return []
    again = draw(st.lists(st.sampled_from(found), max_size=6))
    order = draw(st.permutations(found + again))
    cuts = sorted({0, len(order), *draw(st.sets(st.integers(0, len(order)), max_size=5))})
    return [list(order[begin:end]) for begin, end in pairwise(cuts)]


@settings(max_examples=100, deadline=None)
@given(groups=arrivals())
def test_epochs_in_any_order_come_to_what_plain_sets_come_to(groups) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder, Region(Path(folder)) as region:
        for group in groups:
            model.decided, model.durable = [], set()
            for what in group:
                model.hear(what)
            outcome = region.take(*(what.message() for what in group))
            decided = [name for name, number in outcome.decided.items() for _ in range(number) if "." not in name]
            assert sorted(decided) == sorted(model.decided)
            assert model.durable == {
                (lane.epoch, sequence)
                for lane, runs in outcome.durable.items()
                for first, last in runs
                for sequence in range(first, last + 1)
            }
            lanes = region.report().lanes
            assert [lane.epoch for lane in lanes] == sorted(model.held)
            for lane in lanes:
                model.check(lane)
        assert region.rows() == region.lines_as_rows() == model.rows()
