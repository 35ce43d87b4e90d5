"""A receiver that answers no more is noticed while nothing is sent; one that never answered is left in peace."""

from __future__ import annotations

from gateway.mirror.hearing import ANSWER_NS, Hearing

S = 10**9


def test_a_receiver_is_asked_at_once_and_then_when_it_has_said_nothing_for_the_time() -> None:
    hearing = Hearing(300 * S)
    assert hearing.wait_ns(5 * S) == 0
    hearing.asked(5 * S)
    assert hearing.wait_ns(5 * S) == 300 * S
    hearing.heard(6 * S, is_answer=True)
    assert hearing.wait_ns(6 * S) == 300 * S
    hearing.heard(200 * S, is_answer=False)
    assert hearing.wait_ns(499 * S) == S, "what it says of batches spares a heartbeat"


def test_one_that_answered_before_and_owes_an_answer_is_silent_until_it_says_anything() -> None:
    hearing = Hearing(300 * S)
    hearing.asked(0)
    hearing.heard(S, is_answer=True)
    hearing.asked(301 * S)
    assert not hearing.is_silent(301 * S + ANSWER_NS - 1)
    assert hearing.is_silent(301 * S + ANSWER_NS)
    hearing.asked(601 * S)
    assert hearing.is_silent(601 * S), "asking again does not forgive"
    hearing.heard(602 * S, is_answer=False)
    assert not hearing.is_silent(700 * S)


def test_nothing_is_concluded_of_one_that_never_answered() -> None:
    hearing = Hearing(300 * S)
    hearing.heard(0, is_answer=False)
    hearing.asked(300 * S)
    assert not hearing.is_silent(10_000 * S)


def test_nothing_is_owed_on_a_link_that_has_ended_and_the_next_one_asks_at_once() -> None:
    hearing = Hearing(300 * S)
    hearing.asked(0)
    hearing.heard(S, is_answer=True)
    hearing.asked(301 * S)
    hearing.link_ended()
    assert not hearing.is_silent(10_000 * S)
    assert hearing.wait_ns(302 * S) == 0
    hearing.heard(302 * S, is_answer=False)
    hearing.link_ended()
    assert hearing.wait_ns(302 * S) == 0, "what was heard on the old link says nothing of the new one"


def test_frequent_heartbeats_are_answered_before_the_next() -> None:
    hearing = Hearing(S)
    hearing.asked(0)
    hearing.heard(1, is_answer=True)
    hearing.asked(S)
    assert hearing.is_silent(2 * S)


def test_people_see_since_when_it_was_not_heard() -> None:
    hearing = Hearing(S)
    assert hearing.status(5 * S) == {"receiver_heard_s": None, "receiver_is_silent": False}
    hearing.heard(5 * S, is_answer=True)
    assert hearing.status(7 * S) == {"receiver_heard_s": 2.0, "receiver_is_silent": False}
