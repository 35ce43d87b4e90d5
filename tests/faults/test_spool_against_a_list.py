"""A spool under everything that can happen to it, against a plain list of the batches that were made.

Power cuts, failing operations, a full file system, flipped bytes, two regions, eviction and thinning come in any order.
Whatever happened: every sequence that a region may still ask for is the batch that was made, or an exact gap; a batch
that a coarser one stands for is never there as well; what is thinned has a coarser batch, or a gap in its place; and
nothing is called damaged unless a byte was flipped.
"""

from __future__ import annotations

import os
import random
from itertools import pairwise
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.batch import envelope
from gateway.config import schema
from gateway.errors import StoreError
from gateway.model import BatchId, Gap, OpenBatch, SealedBatch
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.spooled import region

FOLDER = Path("/state/spool")
LANE, COARSE = "telemetry", "telemetry.thin1"
SEGMENT = 4096
READINGS = 40
MS = 10**6
LANES = (schema.Lane(name=LANE, bytes_max=16 * SEGMENT, policy="thin", thin_interval_ns=1000 * MS, thin_levels=1),)
OPTIONS = schema.Spool(segment_bytes=SEGMENT, lanes=LANES, memory_bytes_max=20_000)
REGIONS = [region("one"), region("spare", required=False)]
IS_LONG = bool(os.environ.get("GATEWAY_LONG"))

made: dict[int, SealedBatch] = {}


def batch(sequence: int) -> SealedBatch:
    """Return a batch of noise, ten readings each second."""
    if sequence not in made:
        chance = random.Random(sequence)
        times = [((sequence - 1) * READINGS + number) * 100 * MS for number in range(READINGS)]
        rows = {"plant/a": (times, [{"t": chance.random()} for _ in times])}
        identity = BatchId("node", LANE, 100, sequence)
        one = OpenBatch(identity, rows, READINGS, (sequence - 1) * READINGS, {}, sequence, 2)
        made[sequence] = envelope.seal(one, "boot")
    return made[sequence]


class SpoolAgainstAList(RuleBasedStateMachine):
    """`head` is the length of the list; `synced` what must survive any power cut."""

    @initialize()
    def begin(self) -> None:
        self.disk = FaultDisk()
        self.head = 0
        self.synced = 0
        self.was_flipped = False
        self.spool = self.opened()

    def opened(self) -> Spool:
        return Spool.open(self.disk, FOLDER, OPTIONS, "node", REGIONS, 100)

    @rule(count=st.integers(1, 40))
    def append(self, count: int) -> None:
        def work() -> None:
            for _ in range(count):
                assert self.spool.append(batch(self.head + 1)) in (Appended.STORED, Appended.KNOWN)
                self.head += 1

        self.guarded(work)

    @rule()
    def checkpoint(self) -> None:
        def work() -> None:
            self.spool.sync()
            self.spool.save_cursors()
            self.synced = self.head

        self.guarded(work)

    @rule(name=st.sampled_from(["one", "spare"]), lane=st.sampled_from([LANE, COARSE]), count=st.integers(1, 30))
    def deliver(self, name: str, lane: str, count: int) -> None:
        for _ in range(count):
            found = self.spool.read(lane, self.spool.cursor(name, lane) + 1)
            if found is None:
                return
            last = found.last if isinstance(found, Gap) else found.id.sequence
            self.spool.acknowledge(name, lane, last)

    @rule()
    def thin(self) -> None:
        def work() -> None:
            run = self.spool.thinning({})
            if run is not None:
                self.spool.thin(run, self.spool.coarser(run), 0)

        self.guarded(work)

    @rule(verb=st.sampled_from(["write", "sync", "create", "allocate", "rename", "remove"]), after=st.integers(0, 6))
    def order_a_fault(self, verb: str, after: int) -> None:
        self.disk.fail(verb, after=after)

    @rule(spare=st.integers(0, 3 * SEGMENT))
    def fill_the_file_system(self, spare: int) -> None:
        self.disk.space = sum(len(file.seen) for file in self.disk.entries.values()) + spare

    @rule()
    def give_space(self) -> None:
        self.disk.space = None

    @rule(operations=st.integers(0, 40))
    def order_a_power_cut(self, operations: int) -> None:
        self.disk.cut_power_in(operations)

    @rule(seed=st.integers(0, 2**32))
    def cut_power(self, seed: int) -> None:
        self.start_again(seed)

    @rule(which=st.integers(0, 1000), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def flip_a_bit_of_a_finished_segment(self, which: int, place: float, bit: int) -> None:
        # The newest file of a lane may hold what is not synced: there, damage and a torn tail look alike.
        paths = sorted(path for path in self.disk.entries if path.suffix == ".seg")
        paths = [one for one, other in pairwise(paths) if one.parent == other.parent]
        if paths:
            file = self.disk.entries[paths[which % len(paths)]]
            offset = int(place * len(file.seen))
            for content in (file.seen, file.safe):
                if offset < len(content):
                    content[offset] ^= 1 << bit
            self.was_flipped = True
            self.guarded(self.read_everything)  # what is damaged is copied aside: an operation like any other

    def read_everything(self) -> None:
        for lane in self.spool.lanes:
            for sequence in range(self.spool.oldest(lane), self.spool.head(lane) + 1):
                self.spool.read(lane, sequence)

    @rule()
    def restart_cleanly(self) -> None:
        self.disk.heal()
        self.disk.space = None
        self.spool.sync()
        self.spool.save_cursors()
        self.synced = self.head
        self.spool.close()
        assert self.disk.handles() == 0
        self.spool = self.opened()

    def guarded(self, work) -> None:
        try:
            work()
        except StoreError:
            self.disk.heal()
            self.disk.space = None
        except PowerCutError:
            self.start_again(self.head)

    def start_again(self, seed: int) -> None:
        self.disk.power_up(random.Random(seed))
        self.disk.space = None
        self.spool = self.opened()
        assert self.spool.epoch == 100
        head = self.spool.head(LANE)
        assert self.synced <= head <= self.head + 1
        for sequence in range(self.synced + 1, self.head + 1):
            assert self.spool.append(batch(sequence)) in (Appended.STORED, Appended.KNOWN)
        self.head = max(self.head, head)

    @invariant()
    def every_sequence_is_the_batch_that_was_made_or_an_exact_gap(self) -> None:
        marks = self.marks()
        sequence = min(self.spool.cursor(one.name, LANE) for one in REGIONS) + 1
        head = self.spool.head(LANE)
        assert self.stored_head() in (self.head, self.head + 1)
        assert head == self.stored_head() or self.spool.is_held, "hidden only while something waits for the disk"
        while sequence <= head:
            found = self.spool.read(LANE, sequence)
            if isinstance(found, Gap):
                assert found.first <= sequence
                assert found.readings == READINGS * (found.last - found.first + 1)
                assert found.readings_before == READINGS * (found.first - 1)
                assert found.reason != "damaged" or self.was_flipped, self.spool.report
                sequence = found.last + 1
            else:
                assert found == batch(sequence)
                assert not any(first <= sequence <= last for first, last in marks), "told twice"
                sequence += 1
        assert self.spool.read(LANE, head + 1) is None

    def stored_head(self) -> int:
        return next(one["head"] for one in self.spool.status() if one["name"] == LANE)

    def marks(self) -> list[tuple[int, int]]:
        """Return the runs that coarser batches stand for, checked to be disjoint."""
        marks = []
        for sequence in range(self.spool.oldest(COARSE), self.spool.head(COARSE) + 1):
            found = self.spool.read(COARSE, sequence)
            if isinstance(found, SealedBatch):
                mark = envelope.peek(found.data).thinned
                assert mark is not None
                assert mark.readings == READINGS * mark.batches
                marks.append((mark.first, mark.last))
        assert all(one[1] < other[0] for one, other in pairwise(sorted(marks))), marks
        return marks

    @invariant()
    def what_is_thinned_has_a_coarser_batch(self) -> None:
        lanes = {one["name"]: one for one in self.spool.status()}
        base, coarse = lanes[LANE], lanes[COARSE]
        assert bool(base["thinned_batches"]) <= bool(coarse["head"])

    @invariant()
    def the_rings_stay_within_their_bytes(self) -> None:
        lanes = self.spool.status()
        # One segment more may be there while unsynced batches of a failed file are written again.
        assert sum(one["bytes"] for one in lanes) <= sum(one["bytes_max"] for one in lanes) + 2 * SEGMENT + 20_000


SpoolAgainstAList.TestCase.settings = settings(
    max_examples=1500 if IS_LONG else 60, stateful_step_count=30, deadline=None
)
TestSpoolAgainstAList = SpoolAgainstAList.TestCase
