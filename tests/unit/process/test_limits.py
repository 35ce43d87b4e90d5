"""A limit lets its rate and burst through and no more, decides again the same, and remembers no more than it must."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.config import schema
from gateway.ledger import residuals
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.process.limits import Rate, Topics
from gateway.process.pipeline import Pipeline

S = 10**9
STEPS = st.lists(st.tuples(st.integers(0, 2 * S), st.sampled_from(["a", "b", "c"])), max_size=80)


def limit(rate: float, burst: int, scope: str = "topic") -> schema.Limit:
    return schema.Limit(messages_per_second=rate, burst=burst, scope=scope)  # type: ignore[arg-type]


class Bucket:
    """The textbook bucket, in exact fractions of a token times 1000 seconds."""

    def __init__(self, interval_ns: int, burst: int) -> None:
        self.interval_ns, self.size = interval_ns, burst * interval_ns
        self.level, self.at = self.size, 0

    def admits(self, at: int) -> bool:
        self.level = min(self.size, self.level + at - self.at)
        self.at = at
        if self.level < self.interval_ns:
            return False
        self.level -= self.interval_ns
        return True


@given(STEPS, st.sampled_from([(1, 1), (4, 3), (1000, 7)]), st.sampled_from(["topic", "route"]))
def test_it_decides_as_a_bucket_of_tokens_does(steps, sizes, scope: str) -> None:
    rate, burst = sizes
    one, buckets, at = Rate(limit(rate, burst, scope)), {}, 0
    for elapsed_ns, topic in steps:
        at += elapsed_ns
        key = topic if scope == "topic" else ""
        bucket = buckets.setdefault(key, Bucket(S // rate, burst))
        assert one.admits(topic, at) == bucket.admits(at)


@given(STEPS, st.integers(0, 80))
def test_a_restart_changes_no_decision(steps, cut: int) -> None:
    whole, parts, at = Rate(limit(3, 2)), Rate(limit(3, 2)), 0
    for index, (elapsed_ns, topic) in enumerate(steps):
        at += elapsed_ns
        if index == cut:
            kept, parts = list(parts.state()), Rate(limit(3, 2))
            parts.restore(kept)
        assert whole.admits(topic, at) == parts.admits(topic, at)


def test_drained_buckets_are_forgotten() -> None:
    one = Rate(limit(100, 1))
    for number in range(50_000):
        assert one.admits(f"t/{number}", number * S)
    assert len(list(one.state())) <= 1025


def test_topics_beyond_the_limit_are_not_let_in_and_known_ones_stay() -> None:
    topics = Topics(2)
    assert [topics.admits(topic) for topic in "abacb"] == [True, True, True, False, True]
    again = Topics(2)
    again.restore(list(topics.state()))
    assert [again.admits(topic) for topic in "abc"] == [True, True, False]


def test_what_is_over_a_limit_is_shed_or_quarantined_and_counted() -> None:
    route = schema.Route(name="raw", topics=("#",), lane="t", limit=limit(1, 3), topics_max=2)
    pipeline = Pipeline((route,), (schema.Lane(name="t"),), schema.Broker(), "n", 1)
    for second, topics in enumerate((["a"] * 5, ["a"] * 2, ["b", "c"])):
        number = len(topics)
        payloads, ids, flags = [b'{"v":1}'] * number, list(range(1, number + 1)), [QOS1] * number
        at = second * S
        group = MessageGroup(at, at, CLOCK_SYNCHRONISED, 1, False, topics, payloads, ids, flags, {})
        for _ in pipeline.apply(group, second):
            pass
        assert residuals(pipeline.ledger, pipeline.open_readings) == (0, 0)
    assert pipeline.ledger["message.shed.rate_limit"] == 3
    assert pipeline.ledger["message.quarantined.too_many_topics"] == 1
    assert pipeline.ledger["message.decoded"] == 5
