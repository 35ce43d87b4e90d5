"""Divides the disk among the lanes: who may grow, and who gives a segment when there is no room.

The lanes stand in order of importance. Each may grow to its own `bytes_max`, all together to the spool's. Past its own
maximum a lane gives its own oldest segment, or refuses. Past the sum, or while the file system is low on space:

1. a segment that no required region waits for goes first, of the least important lane that has one;
2. then the least important lane above its reserved share gives its oldest segment, up to the lane that asks;
3. a lane still inside its reserved share may also take from more important ones that are above theirs;
4. otherwise the lane that asks gives its own.

A lane that refuses gives nothing that a required region waits for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from gateway.config import schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gateway.spool.ring import Ring


LEVEL_PARTS: Final = 8
"""Each level of a lane that is thinned gets this part of the lane's bytes."""

_DRAINING_SEGMENTS: Final = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """Limits of a ring. `drains`: the lane is not configured any more and goes when every region has it.

    `levels` are (level, interval in ns) to which the oldest batches may be made coarser, `base` is the lane whose
    levels these are. `expire_after_ns`: age at which batches go; 0 never.
    """

    segment_bytes: int
    bytes_max: int
    bytes_reserved: int = 0
    refuses: bool = False
    drains: bool = False
    base: str = ""
    levels: tuple[tuple[int, int], ...] = ()
    expire_after_ns: int = 0

    @property
    def policy(self) -> str:
        """The policy's name."""
        return "refuse" if self.refuses else "thin" if self.levels else "evict_oldest"


def shapes(options: schema.Spool) -> dict[str, Shape]:
    """Return the shape of each ring of the configured lanes, levels right after their base, in order of importance."""
    found = {}
    for lane in options.lanes:
        count = lane.thin_levels if lane.policy == "thin" else 0
        levels = [(level, lane.thin_interval_ns * lane.thin_factor ** (level - 1)) for level in range(1, count + 1)]
        part = lane.bytes_max // LEVEL_PARTS
        for level in range(count + 1):
            bytes_max = part if level else lane.bytes_max - count * part
            found[schema.thin_lane(lane.name, level) if level else lane.name] = Shape(
                # A ring of one segment would lose all it has whenever it begins another.
                min(options.segment_bytes, bytes_max // 2),
                bytes_max,
                0 if level else lane.bytes_reserved,
                refuses=lane.policy == "refuse",
                base=lane.name,
                levels=tuple(levels[level:]),
                expire_after_ns=lane.expire_after_ns,
            )
    return found


def choice(options: schema.Spool) -> dict[str, frozenset[str]]:
    """Return the regions of each lane that only some take, and of its coarser batches."""
    return {
        name: frozenset(lane.regions)
        for lane in options.lanes
        if lane.regions
        for name in (lane.name, *(schema.thin_lane(lane.name, level) for level in range(1, lane.thin_levels + 1)))
    }


def draining(options: schema.Spool) -> Shape:
    """Return the shape of a ring whose lane is not configured any more."""
    return Shape(options.segment_bytes, _DRAINING_SEGMENTS * options.segment_bytes, drains=True)


class Shares:
    """The rings of a spool, the most important first.

    `may_grow` is False while the file system is low on space; `may_give` while nothing that a region waits for may go
    to a full file system.
    """

    def __init__(self, bytes_max: int, memory_bytes_max: int, save: Callable[[], None]) -> None:
        self._bytes_max = bytes_max
        self._memory_bytes_max = memory_bytes_max
        self._save = save
        self.rings: list[Ring] = []
        self.may_grow = True
        self.may_give = True

    def memory_left(self) -> int:
        """Return the bytes of batches that may still be held in memory alone."""
        return self._memory_bytes_max - sum(ring.unsynced_bytes for ring in self.rings if ring.is_held)

    def is_full(self, ring: Ring) -> bool:
        """Say whether a ring's next segment costs batches that a required region waits for, or is refused."""
        victim = self._victim(ring, ring.shape.segment_bytes, self._limit)
        return victim is not None and not victim.oldest_is_passed

    def make_room(self, asking: Ring, size: int) -> bool:
        """Make room for a new segment of `size` bytes; return False when no policy allows it. Raises `StoreError`."""
        fits, limit = True, self._limit
        while (victim := self._victim(asking, size, limit)) is not None:
            if not victim.can_give:
                fits = False
                break
            victim.doom_oldest()
        self.bury()
        return fits

    def shrink(self, asking: Ring | None = None) -> bool:
        """Give a segment's bytes back to the file system; return False when none may go. Raises `StoreError`."""
        victim = next(self._givers(asking), None)
        if victim is None or not (self.may_give or victim.oldest_is_passed):
            return False
        victim.doom_oldest()
        self.bury()
        return True

    def bury(self) -> None:
        """Remove what is doomed, once books and cursors are durable. Raises `StoreError`: it may be tried again."""
        if any(ring.has_doomed for ring in self.rings):
            self.settle()

    def settle(self) -> None:
        """Make books and cursors durable, and remove what is doomed. Raises `StoreError`: it may be tried again."""
        self._save()
        for ring in self.rings:
            ring.bury()

    @property
    def _used(self) -> int:
        return sum(ring.allocated for ring in self.rings)

    @property
    def _limit(self) -> int:
        return self._bytes_max if self.may_grow else min(self._bytes_max, self._used)

    def _victim(self, asking: Ring, size: int, limit: int) -> Ring | None:
        """Return the ring whose oldest segment must go, None when there is room."""
        if asking.allocated + size > asking.bytes_max:
            return asking if asking.contents.segments else None
        if self._used + size <= limit:
            return None
        # A lane without a segment gets its first one in any case.
        return next(self._givers(asking, size), asking if asking.contents.segments else None)

    def _givers(self, asking: Ring | None, size: int = 0) -> Iterator[Ring]:
        """Yield the rings that may give their oldest segment, in the order in which they are asked."""
        rising = [ring for ring in reversed(self.rings) if ring.can_give]
        yield from (ring for ring in rising if ring.oldest_is_passed and len(ring.contents.segments) > 1)
        rank = self.rings.index(asking) if asking in self.rings else 0
        for ring in rising:
            is_above = self.rings.index(ring) < rank
            is_owed = asking is not None and asking.allocated + size <= asking.shape.bytes_reserved
            if ring.allocated > ring.shape.bytes_reserved and (not is_above or is_owed):
                yield ring
