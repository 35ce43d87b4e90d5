"""How often lines of one kind are let through: a token bucket for each kind. Pure.

A kind is what makes two lines the same to a reader: logger and template. A kind may say `per_minute` lines at once and
as many in each minute; what is more is left out and counted, and told as one line when `TELL_S` have passed, or at the
end. So nothing is left out without a trace, and a fault that repeats a thousand times a second costs a line a minute.

Invariant: lines admitted + lines left out and told + lines left out and not told yet = lines asked about. At most
`KINDS_MAX` kinds are known; the one that was silent longest is forgotten, what was left out of it is told first.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

Kind = TypeVar("Kind", bound="Hashable")

KINDS_MAX: Final = 512
TELL_S: Final = 60.0
_MINUTE_S: Final = 60.0


class LeftOut(NamedTuple, Generic[Kind]):
    """Lines of a kind that were left out in so many seconds."""

    kind: Kind
    lines: int
    span_s: float


class _Bucket:
    __slots__ = ("left_out", "looked_s", "since_s", "tokens")

    def __init__(self, tokens: float, now_s: float) -> None:
        self.tokens = tokens
        self.looked_s = now_s
        self.left_out = 0
        self.since_s = now_s


class Repeats(Generic[Kind]):
    """The buckets; `per_minute` 0 lets everything through. Times are seconds on any clock that does not step."""

    def __init__(self, per_minute: int, kinds_max: int = KINDS_MAX) -> None:
        self._per_minute = per_minute
        self._kinds_max = kinds_max
        self._buckets: OrderedDict[Kind, _Bucket] = OrderedDict()
        self._forgotten: list[LeftOut[Kind]] = []

    def admits(self, kind: Kind, now_s: float) -> bool:
        """Say whether a line of this kind goes through now; one that does not is counted."""
        if not self._per_minute:
            return True
        bucket = self._buckets.get(kind)
        if bucket is None:
            self._make_room(now_s)
            bucket = self._buckets[kind] = _Bucket(float(self._per_minute), now_s)
        self._buckets.move_to_end(kind)
        grown = (now_s - bucket.looked_s) * self._per_minute / _MINUTE_S
        bucket.tokens = min(float(self._per_minute), bucket.tokens + grown)
        bucket.looked_s = now_s
        if bucket.tokens >= 1.0:
            bucket.tokens -= 1.0
            return True
        if not bucket.left_out:
            bucket.since_s = now_s
        bucket.left_out += 1
        return False

    def due(self, now_s: float) -> Iterator[LeftOut[Kind]]:
        """Yield what was left out and is to be told now; it counts as told."""
        yield from self._take(now_s, TELL_S)

    def rest(self, now_s: float) -> Iterator[LeftOut[Kind]]:
        """Yield all that was left out and not told; for the end."""
        yield from self._take(now_s, 0.0)

    def _take(self, now_s: float, least_s: float) -> Iterator[LeftOut[Kind]]:
        forgotten, self._forgotten = self._forgotten, []
        yield from forgotten
        for kind, bucket in self._buckets.items():
            if bucket.left_out and now_s - bucket.since_s >= least_s:
                lines, bucket.left_out = bucket.left_out, 0
                yield LeftOut(kind, lines, now_s - bucket.since_s)

    def _make_room(self, now_s: float) -> None:
        if len(self._buckets) >= self._kinds_max:
            kind, bucket = self._buckets.popitem(last=False)
            if bucket.left_out:
                self._forgotten.append(LeftOut(kind, bucket.left_out, now_s - bucket.since_s))
