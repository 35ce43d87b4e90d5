"""Turns: in proportion to the weights, whatever the sizes; nobody saves up, nobody starves."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.mirror.turns import Turns

WEIGHTS = {"alarm": 100.0, "telemetry": 10.0, "bulk": 1.0}
NAMES = list(WEIGHTS)
SIZE_MAX = 1000


def test_who_is_alone_has_every_turn() -> None:
    turns = Turns(WEIGHTS.__getitem__)
    for _ in range(10):
        assert turns.choose(["bulk"]) == "bulk"
        turns.charge("bulk", SIZE_MAX)


def test_of_equals_the_first_is_next() -> None:
    assert Turns(WEIGHTS.__getitem__).choose(["telemetry", "alarm"]) == "telemetry"


def test_who_was_away_joins_where_the_others_are() -> None:
    turns = Turns(lambda _: 1.0)
    for _ in range(100):
        turns.charge(turns.choose(["telemetry"]), SIZE_MAX)
    served = []
    for _ in range(10):
        served.append(turns.choose(["telemetry", "bulk"]))
        turns.charge(served[-1], SIZE_MAX)
    assert served.count("bulk") == 5


@given(st.lists(st.integers(1, SIZE_MAX), min_size=300, max_size=300))
def test_bytes_are_shared_in_proportion_to_the_weights(sizes: list[int]) -> None:
    turns, sent = Turns(WEIGHTS.__getitem__), dict.fromkeys(WEIGHTS, 0)
    for size in sizes:
        chosen = turns.choose(NAMES)
        turns.charge(chosen, size)
        sent[chosen] += size
    shares = [sent[name] / WEIGHTS[name] for name in NAMES]
    # Each is at most one message ahead of the one furthest behind.
    for name, share in zip(NAMES, shares, strict=True):
        assert share - SIZE_MAX / WEIGHTS[name] <= min(shares)


@given(st.lists(st.tuples(st.sets(st.sampled_from(NAMES), min_size=1), st.integers(1, SIZE_MAX)), max_size=200))
def test_nobody_who_waits_is_passed_over_for_longer_than_its_share(steps: list[tuple[set[str], int]]) -> None:
    turns, waited = Turns(WEIGHTS.__getitem__), dict.fromkeys(WEIGHTS, 0)
    for names, size in steps:
        waiting = [name for name in NAMES if name in names]
        chosen = turns.choose(waiting)
        turns.charge(chosen, size)
        for name in NAMES:
            waited[name] = waited[name] + size if name in waiting and name != chosen else 0
            # What others sent meanwhile, and one message of its own and of each of them beyond it.
            others = sum(weight for other, weight in WEIGHTS.items() if other != name)
            assert waited[name] <= SIZE_MAX * (others / WEIGHTS[name] + len(NAMES))
