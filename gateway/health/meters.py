"""What is measured beside the counts that every stage keeps: ages, growth, bytes by topic, certificates.

The flow tells of each batch that is sealed, the mirrors of each step of a cursor; all else is looked at once a second,
or less often. Everything here is for people and supervisors: nothing that flows depends on it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from gateway.batch import envelope
from gateway.errors import BatchError, StoreError
from gateway.health import certificates
from gateway.health.ages import Ages
from gateway.health.growth import LOOK_S as GROWTH_S
from gateway.health.growth import Growth
from gateway.health.topics import TopicBytes
from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED, SealedBatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from concurrent.futures import Executor

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.model import OpenBatch
    from gateway.spool.lanes import Spool

LOOK_S: Final = 1.0
DATES_S: Final = 5.0
"""Time between two reads of the ring for the age of what was sealed before the start."""

_QUALITIES: Final = {
    CLOCK_UNSYNCHRONISED: "unsynchronised",
    CLOCK_HOLDOVER: "holdover",
    CLOCK_SYNCHRONISED: "synchronised",
}
_NS: Final = 10**9


class Meters:
    """`now` is the node's own time in ns."""

    def __init__(self, config: schema.Gateway, spool: Spool, clock: Clock, now: Callable[[], int]) -> None:
        self._config = config
        self._spool = spool
        self._clock = clock
        self._now = now
        self._ages = Ages()
        self._growth: dict[str, Growth] = {}
        self._topics: dict[str, TopicBytes] = {}
        self._certificates = certificates.of_node(config)
        self._begin_lanes()

    async def run(self, readers: Executor) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        dates_at = growth_at = certificates_at = 0.0
        while True:
            now_s = loop.time()
            self._begin_lanes()
            if now_s >= growth_at:
                growth_at = now_s + GROWTH_S
                self._look_at_growth(now_s)
            if now_s >= dates_at:
                dates_at = now_s + DATES_S
                await self._date(readers)
            if now_s >= certificates_at:
                certificates_at = now_s + certificates.LOOK_S
                await loop.run_in_executor(readers, self._certificates.look)
            await asyncio.sleep(LOOK_S)

    def sealing(self, batch: OpenBatch) -> int:
        """Note a batch that is being sealed; return how many of its topics' bytes are to be told, 0 for none."""
        self._ages.sealed(batch.id.lane, batch.id.sequence, batch.came_at)
        return self._topics.setdefault(batch.id.lane, TopicBytes()).wants(asyncio.get_running_loop().time())

    def sealed(self, batch: SealedBatch, topics: int, shares: Iterable[tuple[str, float]]) -> None:
        """Note what it came to: `shares` are the bytes of its largest `topics`."""
        found = self._topics[batch.id.lane]
        found.sealed(len(batch.data))
        if topics:
            found.shared(shares, asyncio.get_running_loop().time())

    def moved(self, region: str, lane: str, cursor: int) -> None:
        """Note that a region has a lane up to `cursor`."""
        self._ages.acknowledged(region, lane, cursor, self._now())

    def lanes(self) -> list[dict[str, Any]]:
        """Return the status of each lane, with how long its ring lasts."""
        found = self._spool.status()
        waiting = {str(lane["name"]): _waiting(lane) for lane in found}
        free = self._config.spool.bytes_max - sum(waiting.values())
        ranks = {lane.name: rank for rank, lane in enumerate(self._config.spool.lanes, 1)}
        made = []
        for lane in found:
            name, size = str(lane["name"]), waiting[str(lane["name"])]
            size_max = int(str(lane["bytes_max"]))
            growth = self._growth.get(name)
            hours = growth.hours_until(min(size_max - size, free)) if growth else None
            made.append(
                {**lane, "rank": ranks.get(name, 0), "waiting_bytes": size, "hours_left": hours}
                | {"fill": round(size / size_max, 4), "sealed_bytes": self._sealed_bytes(name)}
            )
        return made

    def oldest_s(self, region: str) -> dict[str, float]:
        """Return by lane the age of the oldest batch that a region has not, in seconds."""
        now = self._now()
        return {
            lane: round(self._ages.oldest_s(region, lane, self._spool.head(lane), now), 3)
            for lane in self._spool.lanes_of(region)
        }

    def status(self) -> dict[str, object]:
        """Return what belongs to no lane or region alone."""
        delivery = {
            region: {lane: histogram.status() for lane, histogram in lanes.items()}
            for region, lanes in self._ages.delivery.items()
        }
        return {
            "delivery": delivery,
            "topics": {lane: topics.largest() for lane, topics in self._topics.items()},
            "certificates": self._certificates.left_s(self._clock.wall_ns() / _NS),
            "clock": _QUALITIES[self._clock.quality()],
        }

    def _sealed_bytes(self, lane: str) -> int:
        return self._topics[lane].total if lane in self._topics else 0

    def _begin_lanes(self) -> None:
        for region in self._config.mirrored:
            for lane in self._spool.lanes_of(region.name):
                self._ages.begin(region.name, lane, self._spool.cursor(region.name, lane))

    def _look_at_growth(self, now_s: float) -> None:
        for lane in self._spool.status():
            self._growth.setdefault(str(lane["name"]), Growth()).look(now_s, _waiting(lane))

    async def _date(self, readers: Executor) -> None:
        """Read the age of what was sealed before the start."""
        loop = asyncio.get_running_loop()
        for region in self._config.mirrored:
            for lane in self._spool.lanes_of(region.name):
                sequence = self._ages.undated(region.name, lane, self._spool.head(lane))
                if sequence is not None:
                    came_at = await loop.run_in_executor(readers, self._came_at, lane, sequence)
                    self._ages.date(region.name, lane, sequence, came_at)

    def _came_at(self, lane: str, sequence: int) -> int:
        """Return when a stored batch was sealed, on the node's own time; now, where that cannot be told."""
        now = self._now()
        try:
            found = self._spool.read(lane, sequence)
            if isinstance(found, SealedBatch):
                return now - max(0, self._clock.wall_ns() - envelope.peek(found.data).sealed_ns)
        except (BatchError, StoreError):
            pass
        return now


def _waiting(lane: Mapping[str, Any]) -> int:
    """Return the bytes that the slowest region of a lane waits for."""
    return max((int(one["backlog_bytes"]) for one in lane["regions"].values()), default=0)
