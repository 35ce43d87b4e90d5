"""The window of one region: nothing is skipped or forgotten, the cursor moves over what is acknowledged only."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.mirror.session import DOUBLINGS_MAX, GRACE_NS, STRETCHES_MAX, Session

RESEND_NS = 10 * GRACE_NS
IN_FLIGHT_MAX = 4
LANES = ("alarm", "telemetry")


def session(
    *,
    by_receiver: bool = True,
    cursors: dict[str, int] | None = None,
    weight: Callable[[tuple[str, bool]], float] = lambda _: 1.0,
) -> Session:
    return Session(
        cursors or dict.fromkeys(LANES, 0),
        by_receiver=by_receiver,
        in_flight_max=IN_FLIGHT_MAX,
        resend_after_ns=RESEND_NS,
        weight=weight,
    )


def wanted_next(window: Session, heads: dict[str, int], now_ns: int = 0) -> tuple[str, int] | None:
    wanted = window.next_wanted(heads.__getitem__, now_ns)
    return None if wanted is None else wanted[:2]


def send_all(window: Session, heads: dict[str, int], now_ns: int = 0) -> list[tuple[str, int]]:
    """Send one batch after the other until there is nothing to send, and return what was sent."""
    sent = []
    while (wanted := window.next_wanted(heads.__getitem__, now_ns)) is not None:
        window.sending(wanted.lane, 1, wanted.sequence, wanted.sequence)
        sent.append(wanted[:2])
    return sent


def test_what_is_new_is_sent_in_order_and_the_window_is_bounded() -> None:
    window = session()
    assert send_all(window, {"alarm": 2, "telemetry": 4}) == [
        ("alarm", 1),
        ("alarm", 2),
        ("telemetry", 1),
        ("telemetry", 2),
    ]
    assert window.in_flight == IN_FLIGHT_MAX


def test_lanes_share_the_line_by_their_weights() -> None:
    weights = {"alarm": 3.0, "telemetry": 1.0}
    window, heads, sent = session(weight=lambda turn: weights[turn[0]]), dict.fromkeys(LANES, 0), []
    for _ in range(40):
        for lane in LANES:
            heads[lane] = max(heads[lane], window.unsent(lane)[0])
        wanted = window.next_wanted(heads.__getitem__, 0)
        assert wanted is not None
        window.charge(wanted, 100)
        window.sending(wanted.lane, 1, wanted.sequence, wanted.sequence)
        window.receiver_has(wanted.lane, 1, [(wanted.sequence, wanted.sequence)])
        sent.append(wanted.lane)
    assert sent.count("alarm") == 30


def test_what_has_piled_up_lets_newer_batches_pass_and_comes_oldest_first() -> None:
    window = session(cursors={"telemetry": 0})
    assert send_all(window, {"telemetry": 20}) == [("telemetry", 1), ("telemetry", 2), ("telemetry", 3)]
    assert window.backlog == {"telemetry": 17}
    assert window.unsent("telemetry") == (4, 20)
    assert send_all(window, {"telemetry": 21}) == [("telemetry", 21)], (
        "the last quarter of the window is for what is new"
    )
    window.receiver_has("telemetry", 1, [(1, 2), (21, 21)])
    assert send_all(window, {"telemetry": 21}) == [("telemetry", 4), ("telemetry", 5)]
    assert window.cursors == {"telemetry": 2}


def test_what_piles_up_again_and_again_is_sent_whole() -> None:
    window, head, had = session(cursors={"telemetry": 0}), 0, set()
    for _ in range(300):
        head += 7
        for _, sequence in send_all(window, {"telemetry": head}):
            had.add(sequence)
            window.receiver_has("telemetry", 1, [(sequence, sequence)])
        assert window.runs <= IN_FLIGHT_MAX + STRETCHES_MAX
    while sent := send_all(window, {"telemetry": head}):
        for _, sequence in sent:
            assert sequence not in had
            had.add(sequence)
            window.receiver_has("telemetry", 1, [(sequence, sequence)])
    assert had == set(range(1, head + 1))
    assert window.cursors == {"telemetry": head}
    assert window.runs == 0


def test_a_gap_over_backlog_and_what_was_sent_takes_the_place_of_both() -> None:
    window = session(cursors={"telemetry": 0})
    send_all(window, {"telemetry": 20})
    window.receiver_has("telemetry", 1, [(1, 3)])
    window.sending("telemetry", 1, 2, 15)
    assert window.unsent("telemetry") == (16, 20)
    assert window.receiver_has("telemetry", 1, [(2, 15)]) == 15


def test_a_region_goes_on_after_its_cursor() -> None:
    window = session(cursors={"telemetry": 41})
    assert send_all(window, {"telemetry": 43}) == [("telemetry", 42), ("telemetry", 43)]


def test_the_cursor_moves_over_contiguous_acknowledged_batches_only() -> None:
    window = session()
    send_all(window, {"alarm": 0, "telemetry": 4})
    assert window.receiver_has("telemetry", 1, [(2, 3)]) is None
    assert window.receiver_has("telemetry", 1, [(1, 1)]) == 3
    assert window.cursors["telemetry"] == 3
    assert window.in_flight == 1


def test_what_the_broker_took_counts_only_where_the_broker_is_believed() -> None:
    believed, asked = session(by_receiver=False), session()
    for window in (believed, asked):
        send_all(window, {"alarm": 0, "telemetry": 1})
    assert believed.broker_took("telemetry", 1, 1, 0) == 1
    assert asked.broker_took("telemetry", 1, 1, 0) is None
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


def test_what_is_on_its_way_to_the_broker_is_not_sent_again_however_long_it_takes() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 1}
    send_all(window, heads)
    assert window.deadline_ns is None
    assert send_all(window, heads, 1000 * RESEND_NS) == []


def test_a_batch_is_sent_again_ever_more_seldom_while_nobody_acknowledges_it() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 1}
    now_ns, times = 0, []
    for _ in range(DOUBLINGS_MAX + 3):
        assert send_all(window, heads, now_ns) == [("telemetry", 1)]
        window.broker_took("telemetry", 1, 1, now_ns)
        times.append(now_ns)
        assert window.deadline_ns is not None
        assert send_all(window, heads, window.deadline_ns - 1) == []
        now_ns = window.deadline_ns
    waits = [(after - before) // RESEND_NS for before, after in pairwise(times)]
    assert waits == [*(2**number for number in range(DOUBLINGS_MAX + 1)), 2**DOUBLINGS_MAX]


def test_what_links_lost_before_the_broker_took_it_waits_no_longer_for_the_receiver() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 1}
    for number in range(5):
        send_all(window, heads, number * GRACE_NS)
        window.link_ended(number * GRACE_NS)
    assert send_all(window, heads, 5 * GRACE_NS) == [("telemetry", 1)]
    window.broker_took("telemetry", 1, 1, 0)
    assert window.deadline_ns == RESEND_NS


def test_after_a_link_ended_what_the_broker_did_not_take_is_sent_again_after_the_grace() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 2}
    send_all(window, heads)
    window.broker_took("telemetry", 1, 1, 0)
    window.link_ended(5)
    assert send_all(window, heads, 5 + GRACE_NS - 1) == []
    assert send_all(window, heads, 5 + GRACE_NS) == [("telemetry", 2)]


def test_batches_in_flight_that_became_a_gap_are_replaced_by_it() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 4}
    send_all(window, heads)
    window.receiver_has("telemetry", 1, [(3, 3)])
    window.link_ended(0)
    assert wanted_next(window, heads, GRACE_NS) == ("telemetry", 1)
    window.sending("telemetry", 1, 1, 2)
    assert send_all(window, heads, GRACE_NS) == [("telemetry", 4)]
    assert window.receiver_has("telemetry", 1, [(1, 2)]) == 3


def test_a_late_word_of_the_broker_about_a_batch_does_not_count_for_the_gap_in_its_place() -> None:
    window = session(by_receiver=False)
    send_all(window, {"alarm": 0, "telemetry": 2})
    window.link_ended(0)
    window.sending("telemetry", 1, 1, 2)
    assert window.broker_took("telemetry", 1, 1, 0) is None
    assert window.broker_took("telemetry", 1, 2, 0) == 2


def test_a_gap_that_began_before_the_cursor_is_asked_for_where_the_cursor_stands() -> None:
    window = session(cursors={"telemetry": 5})
    window.sending("telemetry", 1, 3, 8)
    window.link_ended(0)
    assert wanted_next(window, {"telemetry": 8}, GRACE_NS) == ("telemetry", 6)


def test_what_is_acknowledged_while_it_is_read_again_is_not_sent_again() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 3}
    send_all(window, heads)
    window.link_ended(0)
    assert wanted_next(window, heads, GRACE_NS) == ("telemetry", 1)
    window.receiver_has("telemetry", 1, [(1, 1), (3, 3)])
    assert not window.sending("telemetry", 1, 1, 1)
    assert not window.sending("telemetry", 1, 3, 3)
    assert send_all(window, heads, GRACE_NS) == [("telemetry", 2)]


def test_a_lane_that_appears_later_is_mirrored_from_its_cursor() -> None:
    window = session(cursors={"telemetry": 1})
    window.add_lane("old", 4)
    window.add_lane("telemetry", 99)
    assert send_all(window, {"telemetry": 2, "old": 5}) == [("telemetry", 2), ("old", 5)]


def test_what_is_acknowledged_behind_a_batch_that_never_is_takes_no_memory() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 2000}
    while send_all(window, heads):
        window.receiver_has("telemetry", 1, [(2, 2000)])
    assert (window.in_flight, window.runs) == (1, 1)
    assert window.receiver_has("telemetry", 1, [(1, 1)]) == 2000
    assert window.runs == 0


def test_runs_inside_a_gap_that_grows_do_not_add_up() -> None:
    window = session()
    heads = {"alarm": 0, "telemetry": 400}
    for number in range(0, 400, 4):
        window.sending("telemetry", 1, 1, number + 1)
        for sequence in (number + 2, number + 3, number + 4):
            window.sending("telemetry", 1, sequence, sequence)
        window.receiver_has("telemetry", 1, [(number + 3, number + 3)])
        assert window.runs <= window.in_flight <= IN_FLIGHT_MAX
    window.sending("telemetry", 1, 1, 400)
    assert window.receiver_has("telemetry", 1, [(1, 400)]) == heads["telemetry"]


def test_a_word_that_says_the_same_twice_counts_once() -> None:
    window = session()
    send_all(window, {"alarm": 0, "telemetry": 2})
    assert window.receiver_has("telemetry", 1, [(1, 1), (1, 2), (2, 2)]) == 2
    assert window.counts["acknowledged"] == 2
    assert window.counts["foreign_acknowledgements"] == 0


class Mirroring(RuleBasedStateMachine):
    """A spool that grows and evicts, a broker, a receiver that has what it was sent, links that end, time."""

    @initialize(by_receiver=st.booleans())
    def begin(self, *, by_receiver: bool) -> None:
        self.by_receiver = by_receiver
        self.window = session(by_receiver=by_receiver)
        self.heads = dict.fromkeys(LANES, 0)
        self.lost: dict[str, list[tuple[int, int]]] = {lane: [] for lane in LANES}
        self.forgotten = dict.fromkeys(LANES, 0)
        self.now_ns = 0
        self.under_way: list[tuple[str, int, int]] = []
        self.had: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.sent: dict[str, set[int]] = {lane: set() for lane in LANES}
        self.cursors = dict.fromkeys(LANES, 0)

    def moved(self, lane: str, cursor: int | None) -> None:
        if cursor is not None:
            assert cursor > self.cursors[lane]
            assert set(range(1, cursor + 1)) <= self.had[lane]
            self.cursors[lane] = cursor

    @rule(lane=st.sampled_from(LANES), number=st.integers(1, 5))
    def append(self, lane: str, number: int) -> None:
        self.heads[lane] += number

    @rule(lane=st.sampled_from(LANES), first=st.integers(1, 12), length=st.integers(0, 6), is_oldest=st.booleans())
    def lose(self, lane: str, first: int, length: int, *, is_oldest: bool) -> None:
        """Evict the oldest, or damage anything: a gap that touches another becomes one with it."""
        first, last = (1 if is_oldest else first), min(first + length, self.heads[lane])
        if first > last:
            return
        touching = [gap for gap in self.lost[lane] if gap[0] <= last + 1 and first <= gap[1] + 1]
        self.lost[lane] = [gap for gap in self.lost[lane] if gap not in touching]
        bounds = [(first, last), *touching]
        self.lost[lane].append((min(low for low, _ in bounds), max(high for _, high in bounds)))

    @rule(lane=st.sampled_from(LANES))
    def forget_what_the_region_has(self, lane: str) -> None:
        """A gap that began before the cursor begins at the cursor from now on."""
        self.forgotten[lane] = self.cursors[lane]

    @rule(number=st.integers(1, 6), data=st.data())
    def send(self, number: int, data: st.DataObject) -> None:
        def while_the_spool_is_read() -> None:
            while self.under_way and data.draw(st.booleans()):
                self.the_broker_takes(data)
                for lane in LANES:
                    self.the_receiver_says_all(lane)

        self.send_some(number, while_the_spool_is_read)

    def send_some(self, number: int, meanwhile: Callable[[], None] = lambda: None) -> None:
        for _ in range(number):
            wanted = self.window.next_wanted(self.heads.__getitem__, self.now_ns)
            if wanted is None:
                return
            lane, sequence, _ = wanted
            assert self.cursors[lane] < sequence <= self.heads[lane]
            gaps = [gap for gap in self.lost[lane] if gap[0] <= sequence <= gap[1]]
            first, last = gaps[0] if gaps else (sequence, sequence)
            first = max(first, self.forgotten[lane] + 1)
            meanwhile()
            if not self.window.sending(lane, 1, first, last):
                continue
            self.under_way.append((lane, first, last))
            self.sent[lane].update(range(first, last + 1))
            again = self.window.next_wanted(self.heads.__getitem__, self.now_ns)
            assert again is None or again.lane != lane or not first <= again.sequence <= last, "it sends for ever"

    @precondition(lambda self: self.under_way)
    @rule(data=st.data())
    def the_broker_takes(self, data: st.DataObject) -> None:
        lane, first, last = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        self.had[lane].update(range(first, last + 1))
        self.moved(lane, self.window.broker_took(lane, first, last, self.now_ns))

    @rule(lane=st.sampled_from(LANES), first=st.integers(1, 20), length=st.integers(0, 20))
    def the_receiver_says(self, lane: str, first: int, length: int) -> None:
        """It says so once, twice, late, about a part; but only of what it has."""
        if set(range(first, first + length + 1)) <= self.had[lane]:
            self.moved(lane, self.window.receiver_has(lane, 1, [(first, first + length)]))

    @rule(lane=st.sampled_from(LANES))
    def the_receiver_says_all(self, lane: str) -> None:
        last = next(number for number in count(1) if number not in self.had[lane]) - 1
        self.moved(lane, self.window.receiver_has(lane, 1, [(1, last)]))

    @rule(lane=st.sampled_from([*LANES, "unknown"]), first=st.integers(-1, 20), length=st.integers(-1, 20))
    def someone_speaks_of_another_epoch(self, lane: str, first: int, length: int) -> None:
        assert self.window.receiver_has(lane, 2, [(first, first + length)]) is None

    @rule(lane=st.sampled_from(LANES), ahead=st.integers(1, 20))
    def the_receiver_speaks_of_what_was_never_sent(self, lane: str, ahead: int) -> None:
        first = max(self.sent[lane], default=0) + ahead
        assert self.window.receiver_has(lane, 1, [(first, first + ahead)]) is None

    @rule(step=st.sampled_from([1, GRACE_NS, RESEND_NS]))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    @rule(is_forgotten=st.booleans())
    def the_link_ends(self, *, is_forgotten: bool) -> None:
        """What was on its way is lost, or arrives late all the same."""
        if is_forgotten:
            self.under_way.clear()
        self.window.link_ended(self.now_ns)

    def stretches(self) -> int:
        """Return how many stretches of backlog there may be: each time what waits is put off makes one at most."""
        return sum(self.window.backlog.values())

    @invariant()
    def the_window_is_bounded(self) -> None:
        assert self.window.in_flight <= IN_FLIGHT_MAX
        assert self.window.runs <= self.window.in_flight + self.stretches()
        assert self.window.cursors == self.cursors

    @invariant()
    def what_is_in_flight_is_under_way_or_due_some_day(self) -> None:
        deadline_ns = self.window.deadline_ns
        assert deadline_ns is not None or self.under_way or not self.window.in_flight
        assert deadline_ns is None or deadline_ns <= self.now_ns + (RESEND_NS << DOUBLINGS_MAX)

    def teardown(self) -> None:
        """A link that holds and a region that answers bring everything home, in bounded turns."""
        if not hasattr(self, "window"):
            return
        for _ in range(200):
            self.now_ns += RESEND_NS << DOUBLINGS_MAX
            self.send_some(1)
            for lane, first, last in self.under_way:
                self.had[lane].update(range(first, last + 1))
                self.moved(lane, self.window.broker_took(lane, first, last, self.now_ns))
                if self.by_receiver:
                    self.moved(lane, self.window.receiver_has(lane, 1, [(first, last)]))
            self.under_way.clear()
        assert self.cursors == self.heads
        assert self.window.in_flight == 0
        assert self.window.deadline_ns is None


Mirroring.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestMirroring = Mirroring.TestCase
