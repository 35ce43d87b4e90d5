"""Whatever is appended, acknowledged, evicted, failed and cut off: every sequence is a batch or an exact gap."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from gateway.errors import StoreError
from gateway.model import Gap
from gateway.spool.lanes import Appended, Spool
from tests.support.faultdisk import FaultDisk, PowerCutError
from tests.support.spooled import batch, options, readings_between, region

LANE = "telemetry"
FOLDER = Path("/state/spool")
REGIONS = (region("one"), region("two"), region("spare", required=False))


class SpoolMachine(RuleBasedStateMachine):
    """A node with a journal (batches made since the last checkpoint are made again) and three regions."""

    @initialize(policy=st.sampled_from(["evict_oldest", "refuse"]))
    def begin(self, policy: str) -> None:
        self.disk = FaultDisk()
        self.options = options(policy=policy)
        self.made = 0
        self.checkpoint = 0
        self.has: dict[str, set[int]] = {each.name: set() for each in REGIONS}
        self.spool = self.opened()

    def opened(self) -> Spool:
        return Spool.open(self.disk, FOLDER, self.options, "node", REGIONS, 100)

    @rule(count=st.integers(1, 12))
    def append(self, count: int) -> None:
        self.guarded(lambda: self.append_next(count))

    def append_next(self, count: int) -> None:
        for _ in range(count):
            outcome = self.spool.append(batch(self.made + 1))
            if outcome is Appended.REFUSED:
                assert self.options.lanes[0].policy == "refuse"
                return
            # A power cut inside this append may have stored it already.
            assert outcome in (Appended.STORED, Appended.KNOWN)
            self.made += 1

    @rule()
    def take_checkpoint(self) -> None:
        def work() -> None:
            self.spool.sync()
            self.spool.save_cursors()
            self.checkpoint = self.made

        self.guarded(work)

    @rule(name=st.sampled_from([each.name for each in REGIONS]), count=st.integers(1, 20))
    def deliver(self, name: str, count: int) -> None:
        for _ in range(count):
            sequence = self.spool.cursor(name, LANE) + 1
            found = self.spool.read(LANE, sequence)
            if found is None:
                assert sequence == self.spool.head(LANE) + 1
                return
            last = found.last if isinstance(found, Gap) else sequence
            self.has[name].update(range(sequence, last + 1))
            self.spool.acknowledge(name, LANE, last)

    @rule(verb=st.sampled_from(["write", "sync", "create", "allocate", "rename", "remove"]), after=st.integers(0, 6))
    def order_a_fault(self, verb: str, after: int) -> None:
        self.disk.fail(verb, after=after)

    @rule(operations=st.integers(0, 30))
    def order_a_power_cut(self, operations: int) -> None:
        self.disk.cut_power_in(operations)

    @rule(seed=st.integers(0, 2**32))
    def cut_power(self, seed: int) -> None:
        self.start_again(seed)

    @rule()
    def restart_cleanly(self) -> None:
        self.disk.heal()
        self.spool.sync()
        self.spool.save_cursors()
        self.checkpoint = self.made
        self.spool.close()
        assert self.disk.handles() == 0
        self.spool = self.opened()
        assert not any(note.startswith("lane") for note in self.spool.report), self.spool.report

    def guarded(self, work) -> None:
        try:
            work()
        except StoreError:
            self.disk.heal()
        except PowerCutError:
            self.start_again(self.made)

    def start_again(self, seed: int) -> None:
        self.disk.power_up(random.Random(seed))
        self.spool = self.opened()
        assert self.spool.epoch == 100
        assert self.spool.status()[0]["damaged_batches"] == 0, self.spool.report
        head = self.spool.head(LANE)
        assert self.checkpoint <= head <= self.made + 1
        for sequence in range(self.checkpoint + 1, self.made + 1):
            outcome = self.spool.append(batch(sequence))
            expected = {Appended.KNOWN} if sequence <= head else {Appended.STORED, Appended.REFUSED}
            assert outcome in expected, (sequence, head, outcome)
            if outcome is Appended.REFUSED:
                self.made = sequence - 1
                break
        self.made = max(self.made, self.spool.head(LANE))

    @invariant()
    def every_sequence_is_a_batch_or_an_exact_gap(self) -> None:
        lowest = min(self.spool.cursor(each.name, LANE) for each in REGIONS)
        head = self.spool.head(LANE)
        assert head in (self.made, self.made + 1)
        sequence = lowest + 1
        while sequence <= head:
            found = self.spool.read(LANE, sequence)
            if isinstance(found, Gap):
                assert found.reason in {"evicted", "lagged"}
                assert found.first <= sequence
                assert found.readings == readings_between(found.first, found.last)
                assert found.readings_before == readings_between(1, found.first - 1)
                sequence = found.last + 1
            else:
                assert found == batch(sequence)
                sequence += 1
        assert self.spool.read(LANE, head + 1) is None

    @invariant()
    def head_is_what_is_delivered_plus_gaps_plus_backlog(self) -> None:
        (lane,) = self.spool.status()
        for name, seen in lane["regions"].items():
            assert lane["head"] == seen["cursor"] + seen["gap_batches"] + seen["backlog_batches"]
            assert set(range(1, seen["cursor"] + 1)) <= self.has[name]
            if name != "spare" and self.options.lanes[0].policy == "refuse":
                assert seen["gap_batches"] == 0

    @invariant()
    def the_ring_stays_within_its_bytes(self) -> None:
        (lane,) = self.spool.status()
        # One segment more may be there while unsynced batches of a failed file are written again.
        assert lane["bytes"] <= lane["bytes_max"] + self.options.segment_bytes


SpoolMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase
