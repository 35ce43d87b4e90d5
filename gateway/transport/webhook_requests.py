"""What is posted: messages as requests in the HTTP binding of CloudEvents 1.0, and how a refused one is found. Pure.

A message with attributes goes alone, in binary mode: its payload is the content, its attributes are `ce-` fields. One
without, whose payload is an event in JSON already, is joined with others to a list (batched mode); the bytes are put
side by side, nothing is encoded again. Any other structured event goes alone.

Which messages share a request follows from the messages and the limits alone, and so does `Idempotency-Key`: the id of
the one message, or first id, last id and a digest of all. So what is sent again as it was has the same key, and a part
of it has another: a receiver that remembers its answers by key never gives the answer of one set to another.

**Halving.** A server that refuses a joined request does not say because of which event. It is posted again in halves,
the first half first, until what is refused is alone. When the first half was taken, the fault is known to be in the
second, which is halved without being posted, unless it was size that was wrong: then the half may be small enough.
With n messages of which r are refused that makes at most 1 + 2·r·⌈log2 n⌉ requests, and the others are taken once each,
in order.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.transport.contract import Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from gateway.transport.contract import Message

EVENT: Final = "application/cloudevents+json"
EVENTS: Final = "application/cloudevents-batch+json"
KEY_IDS_BYTES_MAX: Final = 200
"""Longest part of an idempotency key that names ids; past it the digest stands alone."""

_DIGEST_CHARACTERS: Final = 32
_NOT_PLAIN: Final = re.compile(r"[^!#$&-~]")
"""What is percent-encoded in a `ce-` field (CloudEvents 1.0, HTTP binding, section 3.1.3.2): all but plain ASCII
without space, quote and percent."""


class Post(NamedTuple):
    """A request to make."""

    fields: dict[str, str]
    content: bytes


class Verdict(NamedTuple):
    """What a server says to a request: why it refuses it, empty when it took it; whether for good; whether for size."""

    reason: str = ""
    is_final: bool = False
    is_too_large: bool = False


def is_joined(message: Message) -> bool:
    """Say whether a message can share a request."""
    return not message.attributes and message.content_type.split(";")[0].strip().lower() == EVENT


def line_of(key: str, lines: int) -> int:
    """Return which of so many connections the messages of a key go by, the same in every run."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % lines


def cut(messages: Sequence[Message], urls: Sequence[str], first: int, events_max: int, bytes_max: int) -> int:
    """Return where the request ends that begins with the message at `first`; at least one message is in it."""
    end, size = first + 1, 2 + len(messages[first].payload)
    if not is_joined(messages[first]):
        return end
    while end < len(messages) and end - first < events_max and is_joined(messages[end]) and urls[end] == urls[first]:
        size += 1 + len(messages[end].payload)
        if size > bytes_max:
            break
        end += 1
    return end


def post(messages: Sequence[Message], *, as_list: bool) -> Post:
    """Return the request for messages that share one; events are a list when `as_list`, even one of one."""
    first = messages[0]
    key = {"Idempotency-Key": f'"{idempotency_key([message.id for message in messages])}"'}
    if as_list and is_joined(first):
        content = b"[" + b",".join([message.payload for message in messages]) + b"]"
        return Post({"Content-Type": EVENTS, **key}, content)
    assert len(messages) == 1, len(messages)
    attributes = {f"ce-{name}": plain(value) for name, value in first.attributes.items() if name != "datacontenttype"}
    return Post({"Content-Type": first.content_type, **key, **attributes}, first.payload)


def idempotency_key(ids: Sequence[str]) -> str:
    """Return what names these messages, in this order: the one id, or first, last and a digest; needs no escapes."""
    ids = [plain(one).replace("\\", "%5C") for one in ids]
    named = ids[0] if len(ids) == 1 else f"{ids[0]}..{ids[-1]}"
    if len(ids) == 1 and len(named) <= KEY_IDS_BYTES_MAX:
        return named
    digest = hashlib.sha256("\n".join(ids).encode("ascii")).hexdigest()[:_DIGEST_CHARACTERS]
    return f"{named}#{digest}" if len(named) <= KEY_IDS_BYTES_MAX else digest


def plain(text: str) -> str:
    """Return a text as a field of HTTP can carry it, the rest percent-encoded."""
    return _NOT_PLAIN.sub(_percent_encoded, text)


def _percent_encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "replace"))


async def settled(positions: range, ask: Callable[[range], Awaitable[Verdict]]) -> list[Refusal]:
    """Have each message taken, or found refused alone; `ask` posts the messages of a range and gives the verdict.

    What `ask` raises ends it: then nothing is known of what was not asked yet.
    """
    return await _found(positions, await ask(positions), ask)


async def _found(positions: range, verdict: Verdict, ask: Callable[[range], Awaitable[Verdict]]) -> list[Refusal]:
    if not verdict.reason:
        return []
    if len(positions) == 1:
        return [Refusal(positions[0], verdict.reason, verdict.is_final)]
    middle = len(positions) // 2
    first, second = positions[:middle], positions[middle:]
    of_first = await ask(first)
    refusals = await _found(first, of_first, ask)
    if of_first.reason or verdict.is_too_large or len(second) == 1:
        return refusals + await settled(second, ask)
    return refusals + await _found(second, verdict, ask)


def judged(refusals: Sequence[Refusal], positions: Sequence[int]) -> list[Refusal]:
    """Return the refusals, those made final of which is shown that they are about the message and not about all.

    `positions` are those of all messages, in the order in which they were posted, refusals too. What was taken after a
    refusal shows it. The last one of all is believed as well, where the message before it was taken: that a server
    begins to refuse everything with just the last message is less likely than that it is a bad one.
    """
    refused = {refusal.position for refusal in refusals}
    taken = [place for place, position in enumerate(positions) if position not in refused]
    shown = taken[-1] if taken else -1
    if 0 <= shown == len(positions) - 2:
        shown += 2
    about_one = set(positions[: max(shown, 0)])
    return [refusal._replace(is_final=refusal.is_final or refusal.position in about_one) for refusal in refusals]
