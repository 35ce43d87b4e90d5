"""A share of all topics, or of all series, chosen by the hash of their name.

Which ones are in it depends on nothing but the name and the share: it is the same on every node, in every run and for
ever, so two regions or two boxes that take a tenth take the same tenth. A larger share holds all of a smaller one.

    chosen  =  first 64 bits of BLAKE2b(name) < share · 2^64, as an unsigned big-endian integer
    name    =  topic, or topic NUL field (no topic holds a NUL, so no two series have the same name)

Source of the hash: RFC 7693, with a digest of 8 bytes and no key.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

_BITS: Final = 64
_RANGE: Final = 1 << _BITS
_NAMES_MAX: Final = 256
"""Fields of one topic for which the answer is kept; for more of them it is computed each time."""


def is_chosen(share: float, topic: str, field: str | None = None) -> bool:
    """Return whether a topic, or a field of it, is in a share from 0 (nothing) to 1 (everything)."""
    name = topic if field is None else f"{topic}\0{field}"
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=_BITS // 8).digest()
    return int.from_bytes(digest, "big") < share * _RANGE


class ChosenFields(dict[str, bool]):
    """Field → whether its series is in the share, for one topic. Holds nothing that cannot be made again."""

    __slots__ = ("_share", "_topic")

    def __init__(self, share: float, topic: str) -> None:
        super().__init__()
        self._share = share
        self._topic = topic

    def __missing__(self, field: str) -> bool:
        chosen = is_chosen(self._share, self._topic, field)
        if len(self) < _NAMES_MAX:
            self[field] = chosen
        return chosen
