"""A bounded queue between two stages: full, it makes the sender wait, and so on back to the sensors' broker.

The bound is on weight (messages, readings, bytes: the unit is in the name given), not on items. One item is let in
whenever the channel is below its limit, so an item heavier than the limit still passes. For one event loop.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """First in, first out. `name` and `limit` are shown to people; `done` tells apart taken from finished."""

    def __init__(self, name: str, limit: int) -> None:
        self.name = name
        self.limit = limit
        self.weight = 0
        self.counts = {"put": 0, "waits": 0}
        self._items: deque[tuple[Item, int, float]] = deque()
        self._unfinished = 0
        self._changed = asyncio.Condition()

    async def put(self, item: Item, weight: int) -> None:
        """Append `item`, after waiting for room."""
        async with self._changed:
            if self.weight >= self.limit:
                self.counts["waits"] += 1
                await self._changed.wait_for(lambda: self.weight < self.limit)
            self._items.append((item, weight, asyncio.get_running_loop().time()))
            self.weight += weight
            self._unfinished += 1
            self.counts["put"] += 1
            self._changed.notify_all()

    async def get(self) -> Item:
        """Take the oldest item, after waiting for one; call `done` when its work is finished."""
        async with self._changed:
            await self._changed.wait_for(lambda: bool(self._items))
            item, weight, _ = self._items.popleft()
            self.weight -= weight
            self._changed.notify_all()
            return item

    async def done(self) -> None:
        """Say that the work on one item taken is finished."""
        async with self._changed:
            self._unfinished -= 1
            self._changed.notify_all()

    async def drained(self) -> None:
        """Wait until everything that was put is finished."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._unfinished == 0)

    @property
    def is_idle(self) -> bool:
        """Whether everything that was put is finished."""
        return self._unfinished == 0

    @property
    def is_full(self) -> bool:
        """Whether a sender has to wait."""
        return self.weight >= self.limit

    @property
    def finished(self) -> int:
        """How many items are finished."""
        return self.counts["put"] - self._unfinished

    def oldest_s(self) -> float:
        """Return how long the oldest item has waited; 0 when none waits."""
        return asyncio.get_running_loop().time() - self._items[0][2] if self._items else 0.0

    def status(self) -> dict[str, object]:
        """Return name, weight, limit, age and counters. On the loop."""
        age_s = round(self.oldest_s(), 3)
        return {"name": self.name, "weight": self.weight, "limit": self.limit, "oldest_s": age_s, **self.counts}
