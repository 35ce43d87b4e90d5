"""The window of one region: nothing is skipped or forgotten, the cursor moves over what is acknowledged only."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.mirror.session import DOUBLINGS_MAX, GRACE_NS, Session, Wanted

RESEND_NS = 10 * GRACE_NS
IN_FLIGHT_MAX = 4
LANES = ("alarm", "telemetry")


def session(*, by_receiver: bool = True, cursors: dict[str, int] | None = None) -> Session:
    return Session(
        cursors or dict.fromkeys(LANES, 0),
        by_receiver=by_receiver,
        in_flight_max=IN_FLIGHT_MAX,
        resend_after_ns=RESEND_NS,
    )


def send_all(window: Session, heads: dict[str, int], now_ns: int = 0) -> list[Wanted]:
    """Send one batch after the other until there is nothing to send, and return what was sent."""
    sent = []
    while (wanted := window.next_wanted(heads.__getitem__, now_ns)) is not None:
        window.sending(wanted.lane, 1, wanted.sequence, wanted.sequence, now_ns)
        sent.append(wanted)
    return sent


def test_lanes_are_sent_in_order_of_importance_and_the_window_is_bounded() -> None:
    window = session()
    assert send_all(window, {"alarm": 2, "telemetry": 9}) == [
        ("alarm", 1),
        ("alarm", 2),
        ("telemetry", 1),
        ("telemetry", 2),
    ]
    assert window.in_flight == IN_FLIGHT_MAX


def test_a_region_goes_on_after_its_cursor() -> None:
    window = session(cursors={"telemetry": 41})
    assert send_all(window, {"telemetry": 43}) == [("telemetry", 42), ("telemetry", 43)]


def test_the_cursor_moves_over_contiguous_acknowledged_batches_only() -> None:
    window = session()
    send_all(window, {"alarm": 0, "telemetry": 4})
    assert window.receiver_has("telemetry", 1, [(2, 3)]) is None
    assert window.receiver_has("telemetry", 1, [(1, 1)]) == 3
    assert window.cursor("telemetry") == 3
    assert window.in_flight == 1


def test_what_the_broker_took_counts_only_where_the_broker_is_believed() -> None:
    believed, asked = session(by_receiver=False), session()
    for window in (believed, asked):
        send_all(window, {"alarm": 0, "telemetry": 1})
    assert believed.broker_took("telemetry", 1) == 1
    assert asked.broker_took("telemetry", 1) is None
    assert asked.receiver_has("telemetry", 1, [(1, 1)]) == 1


def test_a_word_about_another_epoch_is_not_ours() -> None:
    window = session()
    send_all(window, {"alarm": 0, "telemetry": 1})
    assert window.receiver_has("telemetry", 2, [(1, 1)]) is None
    assert window.counts["foreign_acknowledgements"] == 1
    assert window.in_flight == 1


@pytest.mark.parametrize("done", [[], [(5, 9)], [(0, 0)], [(3, 2)]])
def test_a_word_about_what_was_never_sent_changes_nothing(done: list[tuple[int, int]]) -> None:
    window = session()
    send_all(window, {"alarm": 0, "telemetry": 2})
    assert window.receiver_has("telemetry", 1, done) is None
    assert window.receiver_has("unknown", 1, [(1, 2)]) is None
    assert window.in_flight == 2


def test_a_batch_is_sent_again_ever_more_seldom_while_nobody_acknowledges_it() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 1}
    now_ns, times = 0, []
    for _ in range(DOUBLINGS_MAX + 3):
        assert send_all(window, heads, now_ns) == [("telemetry", 1)]
        times.append(now_ns)
        assert window.deadline_ns is not None
        assert send_all(window, heads, window.deadline_ns - 1) == []
        now_ns = window.deadline_ns
    waits = [(after - before) // RESEND_NS for before, after in pairwise(times)]
    assert waits == [*(2**number for number in range(DOUBLINGS_MAX + 1)), 2**DOUBLINGS_MAX]


def test_after_a_link_ended_what_the_broker_did_not_take_is_sent_again_after_the_grace() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 2}
    send_all(window, heads)
    window.broker_took("telemetry", 1)
    window.link_ended(5)
    assert send_all(window, heads, 5 + GRACE_NS - 1) == []
    assert send_all(window, heads, 5 + GRACE_NS) == [("telemetry", 2)]


def test_batches_in_flight_that_became_a_gap_are_replaced_by_it() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 4}
    send_all(window, heads)
    window.receiver_has("telemetry", 1, [(3, 3)])
    window.link_ended(0)
    assert window.next_wanted(heads.__getitem__, GRACE_NS) == ("telemetry", 1)
    window.sending("telemetry", 1, 1, 2, GRACE_NS)
    assert send_all(window, heads, GRACE_NS) == [("telemetry", 4)]
    assert window.receiver_has("telemetry", 1, [(1, 2)]) == 3


class Mirroring(RuleBasedStateMachine):
    """A spool that grows and evicts, a broker, a receiver that has what it was sent, links that end, time."""

    def __init__(self) -> None:
        super().__init__()
        self.window = session()
        self.heads = dict.fromkeys(LANES, 0)
        self.evicted = dict.fromkeys(LANES, 0)
        self.now_ns = 0
        self.under_way: list[tuple[str, int, int]] = []
        self.had: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.cursors = dict.fromkeys(LANES, 0)

    def moved(self, lane: str, cursor: int | None) -> None:
        if cursor is not None:
            assert cursor > self.cursors[lane]
            assert set(range(1, cursor + 1)) <= self.had[lane]
            self.cursors[lane] = cursor

    @rule(lane=st.sampled_from(LANES), number=st.integers(1, 5))
    def append(self, lane: str, number: int) -> None:
        self.heads[lane] += number

    @rule(lane=st.sampled_from(LANES), share=st.floats(0, 1))
    def evict(self, lane: str, share: float) -> None:
        self.evicted[lane] = max(self.evicted[lane], int(share * self.heads[lane]))

    @rule(number=st.integers(1, 6))
    def send(self, number: int) -> None:
        for _ in range(number):
            wanted = self.window.next_wanted(self.heads.__getitem__, self.now_ns)
            if wanted is None:
                return
            lane, sequence = wanted
            assert self.cursors[lane] < sequence <= self.heads[lane]
            is_gap = sequence <= self.evicted[lane]
            first, last = (1, self.evicted[lane]) if is_gap else (sequence, sequence)
            self.window.sending(lane, 1, first, last, self.now_ns)
            self.under_way.append((lane, first, last))

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), is_lost=st.booleans())
    def the_broker_takes(self, *, data: st.DataObject, is_lost: bool) -> None:
        lane, first, last = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        if not is_lost:
            self.had[lane].update(range(first, last + 1))
            self.moved(lane, self.window.broker_took(lane, first))

    @rule(lane=st.sampled_from(LANES), first=st.integers(1, 20), length=st.integers(0, 20), epoch=st.integers(1, 2))
    def the_receiver_says(self, lane: str, first: int, length: int, epoch: int) -> None:
        if set(range(first, first + length + 1)) <= self.had[lane]:
            self.moved(lane, self.window.receiver_has(lane, epoch, [(first, first + length)]))

    @rule(step=st.sampled_from([1, GRACE_NS, RESEND_NS]))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    @rule()
    def the_link_ends(self) -> None:
        self.under_way.clear()
        self.window.link_ended(self.now_ns)

    @invariant()
    def the_window_is_bounded(self) -> None:
        assert self.window.in_flight <= IN_FLIGHT_MAX
        assert {lane: self.window.cursor(lane) for lane in LANES} == self.cursors

    def teardown(self) -> None:
        """A link that holds and a receiver that answers bring everything home, in bounded turns."""
        for _ in range(200):
            self.now_ns += RESEND_NS << DOUBLINGS_MAX
            self.send(1)
            for lane, first, last in self.under_way:
                self.had[lane].update(range(first, last + 1))
                self.moved(lane, self.window.receiver_has(lane, 1, [(first, last)]))
            self.under_way.clear()
        assert self.cursors == self.heads
        assert self.window.in_flight == 0
        assert self.window.deadline_ns is None


Mirroring.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMirroring = Mirroring.TestCase
