"""A topic filter covers another one exactly when it takes all that the other one takes."""

from __future__ import annotations

from itertools import product

import pytest

from gateway.process.topics import covers, filter_fault, matches

LEVELS = ("a", "b", "+", "#", "$s")
FILTERS = [
    "/".join(levels)
    for size in (1, 2, 3)
    for levels in product(LEVELS, repeat=size)
    if not filter_fault("/".join(levels))
]
TOPICS = ["/".join(levels) for size in (1, 2, 3, 4) for levels in product(("a", "b", "c", "$s"), repeat=size)]
TAKEN = {pattern: {topic for topic in TOPICS if matches(pattern, topic)} for pattern in FILTERS}


@pytest.mark.parametrize("pattern", FILTERS)
def test_what_covers_takes_all_that_is_covered_and_nothing_else_does(pattern) -> None:
    wrong = [other for other in FILTERS if covers(pattern, other) != (TAKEN[other] <= TAKEN[pattern])]
    assert wrong == (["#"] if pattern == "+/#" else []), "the two take the same; one of them must stay"
