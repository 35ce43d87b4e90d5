"""The weights of lanes: by place unless they say so themselves."""

from __future__ import annotations

import pytest

from gateway.config import schema
from gateway.mirror.weights import WEIGHT_MAX, weigher


def test_a_lane_weighs_ten_times_the_next_one_unless_it_says_otherwise() -> None:
    lanes = tuple(schema.Lane(name=name, weight=weight) for name, weight in (("a", 0), ("b", 7), ("c", 0), ("d", 0)))
    weigh = weigher(lanes, 0.5)
    assert [2 * weigh((name, False)) for name in "abcd"] == [70, 7, 10, 1]


def test_no_lane_outweighs_the_others_without_bound() -> None:
    lanes = tuple(schema.Lane(name=str(number)) for number in range(8))
    assert 2 * weigher(lanes, 0.5)(("0", False)) == WEIGHT_MAX


def test_backlog_has_its_share_of_the_lanes_weight() -> None:
    weigh = weigher((schema.Lane(name="a", weight=100),), 0.25)
    assert (weigh(("a", False)), weigh(("a", True))) == pytest.approx((75, 25))


def test_coarser_batches_weigh_what_their_lane_does_and_a_lane_that_only_drains_the_least() -> None:
    weigh = weigher((schema.Lane(name="a"), schema.Lane(name="b")), 0.5)
    assert weigh(("a.thin1", False)) == weigh(("a", False))
    assert weigh(("gone", False)) == weigh(("b", False))
