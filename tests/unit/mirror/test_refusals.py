"""Refusals of which the peer does not say whether they are final."""

from __future__ import annotations

from gateway.mirror.refusals import ALONE_MAX, FIRST_WAIT_NS, FOR_GOOD, KEPT_MAX, TIMES_MAX, Refusals


def is_given_up(refusals: Refusals, identity: str) -> bool:
    return any(refusals.judge(identity) == FOR_GOOD for _ in range(3 * ALONE_MAX))


def test_one_message_that_is_refused_waits_and_the_link_goes_on() -> None:
    assert Refusals().judge("a") == (FIRST_WAIT_NS, False)


def test_two_in_a_row_are_about_all() -> None:
    refusals = Refusals()
    refusals.judge("a")
    assert refusals.judge("b") == (FIRST_WAIT_NS, True)


def test_a_refusal_after_one_that_was_taken_is_about_the_one_and_in_the_end_for_good() -> None:
    refusals, judged = Refusals(), []
    for number in range(TIMES_MAX):
        judged.append(refusals.judge("a"))
        refusals.accepted(str(number))
    assert [one.ends_link for one in judged] == [False] * TIMES_MAX
    assert [one.wait_ns for one in judged] == [FIRST_WAIT_NS << number for number in range(TIMES_MAX - 1)] + [0]


def test_while_nothing_is_taken_no_message_is_given_up_however_often_it_is_refused() -> None:
    refusals = Refusals()
    judged = [refusals.judge(identity) for _ in range(10 * TIMES_MAX) for identity in ("a", "b")]
    assert all(one.wait_ns for one in judged)
    assert sum(one.ends_link for one in judged) > 10


def test_one_message_alone_that_is_always_refused_ends_links_and_is_given_up_after_so_many_tries() -> None:
    refusals = Refusals()
    judged = [refusals.judge("a") for _ in range(ALONE_MAX)]
    assert all(one.wait_ns and one.ends_link == (number >= TIMES_MAX) for number, one in enumerate(judged[:-1], 1))
    assert judged[-1] == FOR_GOOD


def test_of_messages_that_come_alone_only_one_is_given_up_until_one_is_taken() -> None:
    refusals = Refusals()
    assert is_given_up(refusals, "a")
    assert not is_given_up(refusals, "b")
    refusals.accepted("b")
    assert is_given_up(refusals, "c")


def test_one_that_is_taken_after_all_counts_anew() -> None:
    refusals = Refusals()
    for number in range(TIMES_MAX - 1):
        refusals.judge("a")
        refusals.accepted(str(number))
    refusals.accepted("a")
    assert refusals.judge("a") == (FIRST_WAIT_NS, False)


def test_what_is_remembered_is_bounded() -> None:
    refusals = Refusals()
    for number in range(3 * KEPT_MAX):
        refusals.judge(str(number))
    assert len(refusals._seen) <= KEPT_MAX
