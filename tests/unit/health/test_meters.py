"""Histograms, ages, growth and topics: plain arithmetic on times and sizes that are given."""

import math
import random

import pytest

from gateway.health.ages import KNOWN_MAX, Ages
from gateway.health.growth import LOOK_S, WINDOW_S, Growth
from gateway.health.histogram import Histogram
from gateway.health.topics import KEPT, SHARED_EVERY_S, SHOWN, TopicBytes

S = 10**9


def test_a_histogram_counts_up_to_each_bound_and_all() -> None:
    histogram = Histogram((0.1, 1.0))
    for value in (0.05, 0.1, 0.5, 2.0, -1.0):
        histogram.observe(value)
    assert histogram.status() == {"buckets": {"0.1": 3, "1.0": 4, "+Inf": 5}, "sum": 2.65}


def test_a_batch_is_counted_once_when_the_regions_cursor_passes_it() -> None:
    ages = Ages()
    ages.begin("centre", "alarm", 0)
    for sequence in (1, 2, 3):
        ages.sealed("alarm", sequence, sequence * S)
    ages.acknowledged("centre", "alarm", 2, 10 * S)
    ages.acknowledged("centre", "alarm", 2, 20 * S)
    ages.acknowledged("centre", "alarm", 3, 20 * S)
    found = ages.delivery["centre"]["alarm"].status()
    assert found["sum"] == 9 + 8 + 17
    assert found["buckets"]["+Inf"] == 3


def test_each_region_has_ages_of_its_own() -> None:
    ages = Ages()
    for region in ("near", "far"):
        ages.begin(region, "alarm", 0)
    ages.sealed("alarm", 1, 0)
    ages.sealed("alarm", 2, 5 * S)
    ages.acknowledged("near", "alarm", 1, 6 * S)
    assert ages.oldest_s("near", "alarm", 2, 7 * S) == 2
    assert ages.oldest_s("far", "alarm", 2, 7 * S) == 7
    ages.acknowledged("near", "alarm", 2, 8 * S)
    assert ages.oldest_s("near", "alarm", 2, 99 * S) == 0


def test_what_was_sealed_before_the_start_is_as_old_as_it_is_dated() -> None:
    ages = Ages()
    ages.begin("centre", "bulk", 10)
    assert ages.undated("centre", "bulk", 10) is None
    assert ages.undated("centre", "bulk", 20) == 11
    ages.date("centre", "bulk", 11, -100 * S)
    assert ages.undated("centre", "bulk", 20) is None
    assert ages.oldest_s("centre", "bulk", 20, 0) == 100
    ages.sealed("bulk", 21, 3 * S)
    ages.acknowledged("centre", "bulk", 15, 5 * S)
    assert ages.undated("centre", "bulk", 21) == 16
    assert ages.delivery["centre"]["bulk"].status()["buckets"]["+Inf"] == 0
    ages.acknowledged("centre", "bulk", 20, 6 * S)
    assert ages.undated("centre", "bulk", 21) is None
    assert ages.oldest_s("centre", "bulk", 21, 7 * S) == 4


def test_however_much_waits_memory_is_bounded_and_the_oldest_keeps_its_age() -> None:
    ages = Ages()
    ages.begin("centre", "bulk", 0)
    for sequence in range(1, 20 * KNOWN_MAX):
        ages.sealed("bulk", sequence, sequence * S)
    known = ages._lanes["bulk"]
    assert len(known.sequences) <= KNOWN_MAX
    now = 20 * KNOWN_MAX * S
    assert ages.oldest_s("centre", "bulk", 20 * KNOWN_MAX - 1, now) == 20 * KNOWN_MAX - 1
    ages.acknowledged("centre", "bulk", 20 * KNOWN_MAX - 2, now)
    ages.sealed("bulk", 20 * KNOWN_MAX, now)
    assert ages.oldest_s("centre", "bulk", 20 * KNOWN_MAX, now + S) == 2


def test_what_grows_evenly_is_full_when_its_room_is_used_up() -> None:
    growth = Growth()
    for step in range(100):
        growth.look(step * LOOK_S, step * LOOK_S * 1000)
    assert growth.per_s() == pytest.approx(1000)
    assert growth.hours_until(3600 * 1000 * 6) == pytest.approx(6)


def test_what_only_swings_does_not_grow_however_far_it_swings() -> None:
    growth = Growth()
    chance = random.Random(7)
    for step in range(200):
        growth.look(step * LOOK_S, chance.choice((0, 0, 8 << 20)))
    assert growth.per_s() == 0
    assert growth.hours_until(1) is None


def test_nothing_is_said_of_too_little_and_old_looks_are_forgotten() -> None:
    growth = Growth()
    growth.look(0, 0)
    growth.look(10, 10**9)
    assert growth.hours_until(1) is None
    for step in range(1, 300):
        growth.look(10 + step * LOOK_S, 10**9)
    assert growth.per_s() == 0
    assert len(growth._looks) <= WINDOW_S / LOOK_S + 1


def test_estimates_of_topics_add_up_to_what_was_sealed() -> None:
    lane = TopicBytes()
    now = 0.0
    for number in range(50):
        wanted = lane.wants(now)
        lane.sealed(1000)
        assert wanted == (KEPT if number % 4 == 0 else 0)
        if wanted:
            lane.shared([("a", 600.0), ("b", 300.0), ("", 100.0)], now)
        now += SHARED_EVERY_S / 4
    found = lane.largest()
    assert sum(found.values()) == lane.total == 50_000
    assert found["a"] == pytest.approx(2 * found["b"], abs=2)


def test_a_large_topic_is_found_among_any_number_of_small_ones() -> None:
    lane = TopicBytes()
    chance = random.Random(3)
    for number in range(2000):
        lane.sealed(1000)
        small = [(f"noise/{number}/{index}", 10.0) for index in range(KEPT)]
        lane.shared([("pump/current", 1000 - 10.0 * KEPT), *chance.sample(small, KEPT)], number * 2.0)
    found = lane.largest()
    assert next(iter(found)) == "pump/current"
    assert found["pump/current"] == pytest.approx(0.36 * lane.total, rel=0.05)
    assert len(found) <= SHOWN + 1
    assert len(lane._bytes) <= KEPT
    assert math.isclose(sum(found.values()), lane.total)
