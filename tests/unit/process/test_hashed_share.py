"""A share by hash: the same names for ever, about as many as asked for, a smaller share inside a larger."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.config.schema import Sample
from gateway.process.hashed import ChosenFields, is_chosen
from gateway.process.sample import Sampler, Steps

SHARES = st.floats(0, 1)


# The lists are what `printf site/2 | b2sum -l 64` says is less than a tenth of 2^64, not what the code said once.
def test_these_topics_are_in_a_tenth_for_ever() -> None:
    chosen = [number for number in range(100) if is_chosen(0.1, f"site/{number}")]
    assert chosen == [2, 23, 48, 64, 65, 71, 88, 89, 90]


def test_these_series_are_in_a_tenth_for_ever() -> None:
    chosen = [(topic, field) for topic in range(10) for field in "abcdefgh" if is_chosen(0.1, f"site/{topic}", field)]
    assert chosen == [(0, "d"), (2, "b"), (3, "e"), (4, "d"), (5, "b"), (7, "c")]


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("field", [None, "v"])
def test_a_share_holds_about_as_many_as_it_says(share, field) -> None:
    number = sum(is_chosen(share, f"plant/{index}/temperature", field) for index in range(20_000))
    spread = (20_000 * share * (1 - share)) ** 0.5
    assert abs(number - 20_000 * share) < 4 * spread


@settings(max_examples=100, deadline=None)
@given(st.text(), st.none() | st.text(), SHARES, SHARES)
def test_a_larger_share_holds_all_of_a_smaller_one(topic, field, one, other) -> None:
    low, high = sorted((one, other))
    assert is_chosen(low, topic, field) <= is_chosen(high, topic, field)
    assert is_chosen(1.0, topic, field)
    assert not is_chosen(0.0, topic, field)


@settings(max_examples=50, deadline=None)
@given(SHARES, st.lists(st.text(), max_size=10), st.lists(st.text(), max_size=10))
def test_all_rows_of_a_topic_go_on_or_none(share, topics, fields) -> None:
    for topic in topics:
        sampler = Sampler(Steps(Sample(share=share)), topic)
        for field in fields:
            assert bool(sampler.thinned({field: 1}, 0)) == is_chosen(share, topic)


@settings(max_examples=50, deadline=None)
@given(SHARES, st.text(), st.lists(st.lists(st.text(), min_size=1, max_size=5, unique=True), max_size=5))
def test_of_a_row_the_fields_go_on_whose_series_are_in_the_share(share, topic, rows) -> None:
    sampler = Sampler(Steps(Sample(share=share, share_of="series")), topic)
    for fields in rows:
        found = sampler.thinned(dict.fromkeys(fields, 1), 0)
        assert list(found) == [field for field in fields if is_chosen(share, topic, field)]


def test_a_topic_with_ever_new_fields_does_not_fill_the_memory() -> None:
    chosen = ChosenFields(0.5, "t")
    answers = [chosen[f"f{number}"] for number in range(2000)]
    assert answers == [is_chosen(0.5, "t", f"f{number}") for number in range(2000)]
    assert len(chosen) <= 256
