"""One thing that is wrong between options."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config.positions import Place


class Finding(NamedTuple):
    """One fault: a sentence, and the places that it rests on."""

    sentence: str
    places: tuple[Place, ...]


def twice(what: str, names: Sequence[str], place: Place) -> Iterator[Finding]:
    """Yield a finding for each name in the tables at `place` that another one has before it."""
    for number, name in enumerate(names):
        first = names.index(name)
        if first != number:
            places = ((*place, number, "name"), (*place, first, "name"))
            yield Finding(f'"{name}" is the name of another {what} as well: give each its own', places)
