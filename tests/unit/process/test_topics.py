"""Topic filters and names by the rules of MQTT, and the cache of what a topic's route is."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.process.route import TopicCache, first_match, matcher
from gateway.process.topics import expression, filter_fault, matches, topic_fault

MATCHES = [
    ("a/b", "a/b", True),
    ("a/b", "a/b/c", False),
    ("a/b", "a", False),
    ("a/+", "a/b", True),
    ("a/+", "a/", True),
    ("a/+", "a", False),
    ("a/+", "a/b/c", False),
    ("+", "a", True),
    ("+", "/a", False),
    ("+/+", "/a", True),
    ("/+", "/a", True),
    ("a/#", "a", True),
    ("a/#", "a/", True),
    ("a/#", "a/b/c", True),
    ("a/#", "b/c", False),
    ("#", "a/b", True),
    ("#", "/", True),
    ("+/b/#", "a/b", True),
    ("+/b/#", "a/c/b", False),
    ("a/+/c/#", "a/b/c/d", True),
    ("#", "$SYS/x", False),
    ("+/x", "$SYS/x", False),
    ("$SYS/#", "$SYS/x", True),
    ("$SYS/+", "$SYS/x", True),
    ("a/#", "a/$b", True),
    ("a", "A", False),
]


@pytest.mark.parametrize(("pattern", "topic", "taken"), MATCHES)
def test_a_filter_takes_the_topics_that_mqtt_says(pattern, topic, taken) -> None:
    assert matches(pattern, topic) is taken
    assert bool(re.fullmatch(expression(pattern), topic, re.DOTALL)) is taken


LEVELS = st.lists(st.sampled_from(["", "a", "b", "$", "+", ".", "a\n", "(", "[^/]*", "ä"]), min_size=1, max_size=4)
FILTERS = st.tuples(LEVELS, st.booleans()).map(lambda found: "/".join([*found[0], *["#"] * found[1]]))
TOPICS = LEVELS.map("/".join).map(lambda topic: topic.replace("+", "a"))


@given(st.lists(st.lists(FILTERS | st.just("#"), min_size=1, max_size=3).map(tuple), max_size=5), st.lists(TOPICS))
def test_the_one_expression_of_all_routes_finds_the_route_that_a_walk_over_them_finds(routes, topics) -> None:
    found = matcher(routes)
    assert [found(topic) for topic in topics] == [first_match(routes, topic) for topic in topics]


@pytest.mark.parametrize("pattern", ["a", "#", "+", "/", "a/+/b/#", "+/+", "$SYS/#", "ä/\U0001f600", "a//b", " "])
def test_a_valid_filter_has_no_fault(pattern) -> None:
    assert filter_fault(pattern) == ""


@pytest.mark.parametrize(
    "pattern", ["", "a#", "a/#/b", "#/", "a+", "a/+b", "++", "a\0", "a" * 65536, "$share/g/a", "\ud800"]
)
def test_an_invalid_filter_has_a_fault_that_says_why(pattern) -> None:
    assert filter_fault(pattern).startswith("it ")


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a+b", "a\0b", "\udfff"])
def test_a_name_that_no_message_may_have_has_a_fault(topic) -> None:
    assert topic_fault(topic)


def test_the_first_route_that_matches_takes_a_topic() -> None:
    routes = [("x/#", "a/b"), ("a/+",), ("#",)]
    assert [first_match(routes, topic) for topic in ("a/b", "a/c", "z", "$z")] == [0, 1, 2, None]


def test_the_cache_asks_once_a_topic_and_stays_within_its_bound() -> None:
    asked = []
    cache = TopicCache(lambda topic: asked.append(topic) or topic.upper(), topics_max=3, characters_max=4)
    assert [cache[topic] for topic in ("a", "b", "a", "a")] == ["A", "B", "A", "A"]
    assert asked == ["a", "b"]
    for number in range(100):
        assert cache[f"t{number}"] == f"T{number}"
        assert len(cache) <= 3
    asked.clear()
    assert cache["long topic"] == cache["long topic"]
    assert asked == ["long topic"] * 2
