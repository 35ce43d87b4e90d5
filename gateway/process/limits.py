"""How much a route takes in: messages a second by a token bucket, and how many topics it gets to know.

The bucket is the generic cell rate algorithm (ITU-T I.371, annex A) in whole nanoseconds: each message moves a point in
time ahead by one interval, and a message is over the limit when that point lies more than the burst ahead of now. Now
is the node's own timeline, so a replay decides the same. Per topic, a bucket that has drained is forgotten.

Topics are remembered for ever, because a new one that is let in costs memory everywhere behind: that is what the limit
is for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.config import schema

_NS: Final = 10**9
_SWEEP: Final = 1024
"""Buckets of topics after which drained ones are looked for; then whenever they have doubled."""

_WHOLE_ROUTE: Final = ""


class Rate:
    """The token bucket of a route, or of each of its topics."""

    __slots__ = ("_burst_ns", "_drained_at", "_interval_ns", "_is_per_topic", "_sweep_at")

    def __init__(self, options: schema.Limit) -> None:
        self._interval_ns = max(1, round(_NS / options.messages_per_second))
        self._burst_ns = self._interval_ns * (options.burst - 1)
        self._is_per_topic = options.scope == "topic"
        self._drained_at: dict[str, int] = {}
        self._sweep_at = _SWEEP

    def admits(self, topic: str, at: int) -> bool:
        """Say whether a message at `at` on the node's timeline is within the limit, and count it if it is."""
        key = topic if self._is_per_topic else _WHOLE_ROUTE
        drained_at = max(self._drained_at.get(key, at), at)
        if drained_at - at > self._burst_ns:
            return False
        self._drained_at[key] = drained_at + self._interval_ns
        if len(self._drained_at) > self._sweep_at:
            self._sweep(at)
        return True

    def _sweep(self, at: int) -> None:
        self._drained_at = {key: drained_at for key, drained_at in self._drained_at.items() if drained_at > at}
        self._sweep_at = max(_SWEEP, 2 * len(self._drained_at))

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield (topic, when its bucket is drained)."""
        yield from self._drained_at.items()

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of the same limit."""
        self._drained_at.update(records)


class Topics:
    """The topics that a route has taken, at most `topics_max` of them."""

    __slots__ = ("_known", "_topics_max")

    def __init__(self, topics_max: int) -> None:
        self._topics_max = topics_max
        self._known: dict[str, None] = {}

    def admits(self, topic: str) -> bool:
        """Say whether a topic is known or there is room for it."""
        if topic in self._known:
            return True
        if len(self._known) >= self._topics_max:
            return False
        self._known[topic] = None
        return True

    def state(self) -> Iterator[tuple[object, ...]]:
        """Yield each topic."""
        yield from ((topic,) for topic in self._known)

    def restore(self, records: Sequence[Any]) -> None:
        """Go on from the state of the same limit."""
        self._known.update((topic, None) for (topic,) in records)
