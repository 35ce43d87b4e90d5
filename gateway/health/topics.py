"""Which topics the bytes of a lane come from: the largest ones, bounded however many topics there are. Pure.

Once a second at most, and at most in one batch, the bytes of a lane are shared out to its topics
(`gateway.batch.attribution`); that batch stands for all that the lane has sealed since the one before. So the estimates
add up to what was sealed, and what they cost does not rise with the load.

The largest are kept by the space-saving rule (Metwally, Agrawal, El Abbadi 2005): a topic that is not among the `KEPT`
takes the place of the smallest one and inherits its bytes, as its `error`. So a topic with more than its share of a
`KEPT`-th is among them for certain, and no estimate is too small. What was inherited is not shown: it is others'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

KEPT: Final = 64
SHOWN: Final = 20
SHARED_EVERY_S: Final = 1.0


class TopicBytes:
    """One lane. `total` are all bytes that were sealed."""

    def __init__(self) -> None:
        self.total = 0
        self._unshared = 0
        self._next_s = 0.0
        self._bytes: dict[str, float] = {}
        self._errors: dict[str, float] = {}

    def wants(self, now_s: float) -> int:
        """Return how many topics of the next batch it wants to know the bytes of; 0 when it was told just now."""
        return KEPT if now_s >= self._next_s else 0

    def sealed(self, size: int) -> None:
        """Note a batch of `size` bytes."""
        self.total += size
        self._unshared += size

    def shared(self, shares: Iterable[tuple[str, float]], now_s: float) -> None:
        """Take what each topic has in the batch that was noted last: topic → bytes, "" for what is not named."""
        self._next_s = now_s + SHARED_EVERY_S
        found = list(shares)
        size = sum(share for _, share in found)
        scale = self._unshared / size if size else 0.0
        self._unshared = 0
        for topic, share in found:
            if topic:
                self._add(topic, share * scale)

    def largest(self) -> dict[str, int]:
        """Return topic → bytes, largest first, without what was inherited; "" is all that is not named."""
        certain = sorted(((self._bytes[one] - self._errors[one], one) for one in self._bytes), reverse=True)
        named = {topic: int(size) for size, topic in certain[:SHOWN] if size >= 1}
        return {**named, "": max(0, self.total - sum(named.values()))}

    def _add(self, topic: str, size: float) -> None:
        if topic in self._bytes:
            self._bytes[topic] += size
            return
        inherited = 0.0
        if len(self._bytes) >= KEPT:
            smallest = min(self._bytes, key=self._bytes.__getitem__)
            inherited = self._bytes.pop(smallest)
            del self._errors[smallest]
        self._bytes[topic], self._errors[topic] = inherited + size, inherited
