"""The bytes of a batch are shared out to its topics, all of them."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.batch import columns, envelope
from gateway.batch.attribution import largest, shared_out
from tests.support.batches import open_batch


def test_the_bytes_of_a_batch_are_shared_out_to_its_topics_and_none_is_left() -> None:
    rows = {
        "a": (list(range(0, 500_000, 1000)), [{"t": number * 0.37 % 1} for number in range(500)]),
        "b": (list(range(0, 500_000, 1000)), [{"t": number * 0.61 % 1} for number in range(500)]),
        "long/topic" * 20: ([7], [{"s": os.urandom(2000).hex(), "on": True}]),
        "mixed": ([1, 2, 3], [{"t": 1}, {"s": "y", "t": 2.5}, {"raw": b"123"}]),
    }
    one = open_batch(rows)
    content, sealed = columns.content(one.rows), envelope.seal(one, "boot")
    shares = dict(zip(content.topics, shared_out(content, sealed.data).tolist(), strict=True))
    assert sum(shares.values()) == pytest.approx(len(sealed.data))
    assert shares["a"] == pytest.approx(shares["b"], rel=0.2), "as many rows of one column"
    assert shares["long/topic" * 20] > 2000, "its text does not compress to less, and is nobody else's"
    assert 0 < shares["mixed"] < 150


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        st.text("abc/", min_size=1, max_size=9),
        st.lists(
            st.dictionaries(
                st.sampled_from("xyz"), st.integers(-9, 9) | st.floats(0, 1) | st.text(max_size=9), min_size=1
            ),
            min_size=1,
            max_size=9,
        ),
        min_size=1,
        max_size=5,
    )
)
def test_whatever_a_batch_holds_its_shares_sum_to_its_bytes(entries) -> None:
    one = open_batch({topic: (list(range(len(rows))), rows) for topic, rows in entries.items()})
    content = columns.content(one.rows)
    shares = shared_out(content, data := envelope.seal(one, "boot").data)
    assert shares.sum() == pytest.approx(len(data))
    assert (shares > 0).all()
    assert [topic for topic, _ in largest(content, data, 5)] == content.topics
    assert [size for _, size in largest(content, data, 5)] == pytest.approx(shares.tolist())
