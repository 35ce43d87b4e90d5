"""What is posted together, under which key, and how what a server refuses is found among it."""

from __future__ import annotations

import asyncio
import json
import math
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import LinkError
from gateway.transport.contract import Message, Refusal
from gateway.transport.webhook_requests import (
    EVENT,
    EVENTS,
    Verdict,
    cut,
    idempotency_key,
    judged,
    line_of,
    plain,
    post,
    settled,
)

REFUSED = Verdict("the server answers 422")
TOO_LARGE = Verdict("the server answers 413", is_final=True, is_too_large=True)


def event(number: int, size: int = 10, kind: str = EVENT) -> Message:
    payload = json.dumps({"id": f"e{number}", "data": "x" * size}).encode()
    return Message(f"e{number}", "n1", "alarm", "n1", kind, payload, {})


def batch(number: int, **attributes: str) -> Message:
    found = {"specversion": "1.0", "id": f"b{number}", "datacontenttype": "application/x", **attributes}
    return Message(f"b{number}", "n1", "alarm", "n1", "application/x", b"\x00bytes", found)


class Server:
    """Refuses each request that holds one of `bad`, or more than `most` messages; counts what it took."""

    def __init__(self, bad: set[int], most: int = 10**9) -> None:
        self.bad, self.most = bad, most
        self.taken: list[int] = []
        self.asked = 0

    async def ask(self, part: range) -> Verdict:
        self.asked += 1
        if len(part) > self.most:
            return TOO_LARGE
        if self.bad & set(part):
            return REFUSED
        self.taken += part
        return Verdict()


SETS = st.integers(1, 300).flatmap(lambda count: st.tuples(st.just(count), st.sets(st.integers(0, count - 1))))


@given(SETS)
@example((256, {0}))
@example((256, {255}))
@example((255, set(range(255))))
def test_whatever_is_refused_is_named_and_the_rest_is_taken_once_in_order(found) -> None:
    count, bad = found
    server = Server(bad)
    refusals = asyncio.run(settled(range(count), server.ask))
    assert [refusal.position for refusal in refusals] == sorted(bad)
    assert server.taken == [number for number in range(count) if number not in bad]
    depth = math.ceil(math.log2(count)) if count > 1 else 0
    assert server.asked <= 1 + 2 * len(bad) * depth


@given(SETS, st.integers(1, 40))
def test_what_is_too_much_at_once_is_taken_in_parts_and_nothing_good_is_refused(found, most) -> None:
    count, bad = found
    server = Server(bad, most)
    refusals = asyncio.run(settled(range(count), server.ask))
    assert [refusal.position for refusal in refusals] == sorted(bad)
    assert server.taken == [number for number in range(count) if number not in bad]


def test_one_refused_event_among_512_takes_no_more_than_a_request_for_each_halving() -> None:
    server = Server({511})
    assert asyncio.run(settled(range(512), server.ask)) == [Refusal(511, REFUSED.reason, is_final=False)]
    assert server.asked == 11


def test_a_message_too_large_by_itself_is_refused_for_good() -> None:
    async def ask(_: range) -> Verdict:
        return TOO_LARGE

    assert asyncio.run(settled(range(7, 8), ask)) == [Refusal(7, TOO_LARGE.reason, is_final=True)]


def test_a_failure_on_the_way_ends_the_search() -> None:
    asked = 0

    async def ask(_: range) -> Verdict:
        nonlocal asked
        asked += 1
        if asked == 3:
            raise LinkError("gone")
        return REFUSED

    with pytest.raises(LinkError, match="gone"):
        asyncio.run(settled(range(8), ask))
    assert asked == 3


def sizes(messages: list[Message], events_max: int, bytes_max: int, urls: list[str] | None = None) -> list[int]:
    urls = urls or [""] * len(messages)
    found, first = [], 0
    while first < len(messages):
        end = cut(messages, urls, first, events_max, bytes_max)
        found.append(end - first)
        first = end
    return found


def test_a_request_ends_at_the_count_or_at_the_bytes_of_what_is_posted() -> None:
    messages = [event(number) for number in range(10)]
    assert sizes(messages, 4, 10**6) == [4, 4, 2]
    three = len(post(messages[:3], as_list=True).content)
    assert sizes(messages, 100, three) == [3, 3, 3, 1]
    assert sizes(messages, 100, three - 1) == [2, 2, 2, 2, 2]
    assert sizes(messages, 100, 1) == [1] * 10


def test_what_cannot_be_joined_or_goes_elsewhere_ends_a_request() -> None:
    messages = [event(0), event(1), batch(2), event(3), event(4, kind="application/cloudevents+avro"), event(5)]
    assert sizes(messages, 100, 10**6) == [2, 1, 1, 1, 1]
    messages = [event(number) for number in range(4)]
    assert sizes(messages, 100, 10**6, ["/a", "/a", "/b", "/a"]) == [2, 1, 1]


def test_events_are_joined_as_they_are() -> None:
    messages = [event(0), event(1, kind=f"{EVENT}; charset=utf-8")]
    made = post(messages, as_list=True)
    assert made.fields["Content-Type"] == EVENTS
    assert made.content == b"[" + messages[0].payload + b"," + messages[1].payload + b"]"
    assert [one["id"] for one in json.loads(made.content)] == ["e0", "e1"]


def test_one_event_is_a_list_of_one_only_where_lists_are_posted() -> None:
    assert post([event(0)], as_list=True).content == b"[" + event(0).payload + b"]"
    made = post([event(0)], as_list=False)
    assert made.content == event(0).payload
    assert made.fields == {"Content-Type": EVENT, "Idempotency-Key": '"e0"'}


def test_a_batch_goes_in_binary_mode_with_its_attributes_as_fields() -> None:
    made = post([batch(1, source="/edge/ä b", subject='50 % "x"')], as_list=True)
    assert made.content == b"\x00bytes"
    assert made.fields == {
        "Content-Type": "application/x",
        "Idempotency-Key": '"b1"',
        "ce-specversion": "1.0",
        "ce-id": "b1",
        "ce-source": "/edge/%C3%A4%20b",
        "ce-subject": "50%20%25%20%22x%22",
    }


IDS = st.lists(st.text(max_size=40), min_size=1, max_size=5)


@given(IDS, IDS)
def test_an_idempotency_key_stands_for_exactly_these_messages(one, other) -> None:
    assert (idempotency_key(one) == idempotency_key(other)) == ([*map(plain, one)] == [*map(plain, other)])
    assert re.fullmatch(r"[!#-\[\]-~]*", idempotency_key(one))


def test_a_part_of_a_request_with_the_same_ends_has_another_key() -> None:
    assert idempotency_key(["a", "b", "c"]) != idempotency_key(["a", "c"])
    assert idempotency_key(["a", "b", "c"]).startswith("a..c#")
    assert len(idempotency_key(["a" * 1000, "b"])) == 32


def test_a_key_stays_on_its_line_and_keys_are_spread() -> None:
    lines = [line_of(f"series-{number}", 4) for number in range(400)]
    assert lines == [line_of(f"series-{number}", 4) for number in range(400)]
    assert min(lines.count(line) for line in range(4)) > 50


@pytest.mark.parametrize(
    ("count", "refused", "final"),
    [
        (1, {0}, set()),
        (4, {0, 1, 2, 3}, set()),
        (4, {0, 2}, {0, 2}),
        (4, {1, 3}, {1, 3}),
        (4, {1, 2, 3}, set()),
        (4, {0, 2, 3}, {0}),
        (2, {1}, {1}),
        (2, {0}, {0}),
        (2, {0, 1}, set()),
    ],
)
def test_a_refusal_is_final_where_what_was_taken_shows_that_it_is_not_about_all(count, refused, final) -> None:
    positions = [10 * number for number in range(count)]
    refusals = [Refusal(10 * number, "bad", is_final=False) for number in sorted(refused)]
    assert [one.position // 10 for one in judged(refusals, positions) if one.is_final] == sorted(final)


def test_what_is_refused_for_good_stays_so() -> None:
    assert judged([Refusal(0, "too large", is_final=True)], [0]) == [Refusal(0, "too large", is_final=True)]
