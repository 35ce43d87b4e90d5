"""Refusals of which the peer does not say whether they are final."""

from __future__ import annotations

from gateway.mirror.refusals import FIRST_WAIT_NS, KEPT_MAX, TIMES_MAX, Refusals


def test_while_nothing_is_taken_a_refusal_is_about_all() -> None:
    refusals = Refusals()
    assert [refusals.wait_ns("a") for _ in range(10 * TIMES_MAX)] == [None] * (10 * TIMES_MAX)


def test_while_others_are_taken_it_is_about_the_one_and_in_the_end_for_good() -> None:
    refusals = Refusals()
    assert refusals.wait_ns("a") is None
    waits = []
    for number in range(TIMES_MAX):
        refusals.accepted(str(number))
        waits.append(refusals.wait_ns("a"))
    assert waits == [FIRST_WAIT_NS << number for number in range(TIMES_MAX - 1)] + [0]


def test_one_that_is_taken_after_all_counts_anew() -> None:
    refusals = Refusals()
    for number in range(TIMES_MAX):
        refusals.accepted(str(number))
        refusals.wait_ns("a")
    refusals.accepted("a")
    assert refusals.wait_ns("a") is None


def test_what_is_remembered_is_bounded() -> None:
    refusals = Refusals()
    for number in range(3 * KEPT_MAX):
        refusals.wait_ns(str(number))
    assert len(refusals._seen) <= KEPT_MAX
