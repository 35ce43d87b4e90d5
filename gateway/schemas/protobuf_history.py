"""Does a new Protobuf schema still say which numbers were in use?

A number whose field is gone must be reserved, and stay so: else a later version gives it to something else, and what
old senders still write is read as that. The same for the values of enums. Unlike everything else in a comparison this
is about what comes after, so it is asked from old to new only.

Source: https://protobuf.dev/programming-guides/proto3/#deleting.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from gateway.schemas.document import pointer
from gateway.schemas.finding import FINDINGS_MAX, Finding, TooLargeError
from gateway.schemas.protobuf_resolution import enum_pairs, message_pairs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.schemas.protobuf_types import Span, Types


def forgotten(old: Types, new: Types) -> tuple[Finding, ...]:
    """Return the numbers that `new` neither uses as before nor reserves, with paths into it."""
    try:
        return tuple(islice(dict.fromkeys(_findings(old, new)), FINDINGS_MAX))
    except TooLargeError:
        return ()  # which the comparison says


def _findings(old: Types, new: Types) -> Iterator[Finding]:
    for before, after in message_pairs(old, new):
        was = {number: field.name for number, field in before.fields.items() if not field.name.startswith("[")}
        now = {number: field.name for number, field in after.fields.items()}
        yield from _of_numbers(after.name, (was, before.reserved), (now, after.reserved))
        for one, other in enum_pairs(before, after):
            yield from _of_numbers(other.name, (one.names, one.reserved), (other.names, other.reserved))


def _of_numbers(
    name: str, old: tuple[Mapping[int, str], Sequence[Span]], new: tuple[Mapping[int, str], Sequence[Span]]
) -> Iterator[Finding]:
    """Yield what became of the numbers of one message or enum: (name of each that is in use, what is reserved)."""
    path = pointer("", name)
    for number, gone in old[0].items():
        if number not in new[0] and not any(first <= number <= last for first, last in new[1]):
            reason = f"{gone} = {number} is gone and its number not reserved: it may be used for something else"
            yield Finding(path, reason)
    for first, last in _without(old[1], new[1]):
        used = [number for number in new[0] if first <= number <= last]
        for number in used:
            yield Finding(pointer("", name, new[0][number]), f"the number {number} was reserved, and is used again")
        if len(used) <= last - first:
            shown = f"number {first} was" if first == last else f"numbers {first} to {last} were"
            yield Finding(path, f"the {shown} reserved, and not all of that still is")


def _without(spans: Sequence[Span], others: Sequence[Span]) -> Iterator[Span]:
    """Yield the ranges of `spans` that are in none of `others`, which are in order."""
    for first, last in spans:
        at = first
        for low, high in others:
            if high < at or low > last:
                continue
            if low > at:
                yield (at, low - 1)
            at = high + 1
        if at <= last:
            yield (at, last)
