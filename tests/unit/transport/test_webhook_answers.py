"""What each answer of a server means for what was posted, and for how long to stay away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import CredentialError, LinkError
from gateway.transport.webhook_answers import RETRY_AFTER_S_MAX, WORDS_MAX, Answer, retry_after_s, verdict
from gateway.transport.webhook_requests import Verdict

NOW = 1_800_000_000.0
"""Fri, 15 Jan 2027 08:00:00 GMT."""


@pytest.mark.parametrize("status", [200, 201, 202, 204, 207, 299])
def test_every_success_means_taken(status) -> None:
    assert verdict(Answer(status), NOW) == Verdict()


@pytest.mark.parametrize(("status", "is_final"), [(400, False), (413, True), (415, False), (422, False)])
def test_what_is_about_the_content_is_a_refusal_for_good_only_where_it_cannot_be_about_all(status, is_final) -> None:
    found = verdict(Answer(status, content=b"temperature: not\na number"), NOW)
    assert (found.is_final, found.is_too_large) == (is_final, status == 413)
    assert found.reason.startswith(f"the server answers {status} ")
    assert found.reason.endswith(": temperature: not a number")


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_does_not_know_us_is_a_matter_of_credentials(status) -> None:
    with pytest.raises(CredentialError, match="token, key or certificate"):
        verdict(Answer(status), NOW)


@pytest.mark.parametrize("status", [404, 405, 410])
def test_a_wrong_address_is_said_to_be_one(status) -> None:
    with pytest.raises(LinkError, match=r"check region\.webhook\.url"):
        verdict(Answer(status), NOW)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_says_where_to(status) -> None:
    with pytest.raises(LinkError, match="not followed, to https://b/: put the final"):
        verdict(Answer(status, location="https://b/\n"), NOW)


@pytest.mark.parametrize("status", [100, 402, 408, 409, 425, 429, 451, 500, 502, 503, 504, 599, 999])
def test_everything_else_is_tried_again(status) -> None:
    with pytest.raises(LinkError, match=f"the server answers {status}") as caught:
        verdict(Answer(status), NOW)
    assert caught.value.facts == {"status": status}


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_the_wait_that_a_server_asks_for_goes_with_the_error(status) -> None:
    with pytest.raises(LinkError) as caught:
        verdict(Answer(status, retry_after="120"), NOW)
    assert caught.value.facts["retry_after_s"] == 120.0


@pytest.mark.parametrize(
    ("field", "wait_s"),
    [
        ("0", 0.0),
        (" 7 ", 7.0),
        ("9" * 400, RETRY_AFTER_S_MAX),
        ("Fri, 15 Jan 2027 08:01:30 GMT", 90.0),
        ("Fri, 15 Jan 2027 08:01:30 -0000", 90.0),
        ("Fri, 15 Jan 2027 07:00:00 GMT", 0.0),
        ("Fri, 15 Jan 2100 07:00:00 GMT", RETRY_AFTER_S_MAX),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("²", None),
    ],
)
def test_seconds_and_dates_are_understood_and_bounded(field, wait_s) -> None:
    assert retry_after_s(field, NOW) == wait_s


@given(st.text(max_size=60))
def test_no_text_for_a_wait_does_any_harm(field) -> None:
    found = retry_after_s(field, NOW)
    assert found is None or 0 <= found <= RETRY_AFTER_S_MAX


@given(st.binary(max_size=2000))
def test_what_a_server_says_is_one_short_line_whatever_it_holds(content) -> None:
    reason = verdict(Answer(400, content=content), NOW).reason
    assert reason.isprintable()
    assert len(reason) <= WORDS_MAX + 50
