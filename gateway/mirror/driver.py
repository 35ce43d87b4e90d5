"""Keeps one region mirrored: a link to the place that carries it, made anew whenever it ends, with waits between.

One task per region, for ever: no fault of a link, a credential or the disk ends it, and none reaches another region.

A region may have standbys (`failover`). While one of them carries the mirror, the better places are tried as well; the
link that has proved one of them is the one that the mirror then moves to, and only then is the old one let go.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.mirror.allowance import Allowance
from gateway.mirror.carrier import DRAIN_S, LOOK_S, Carrier
from gateway.mirror.elsewhere import Elsewhere
from gateway.mirror.failover import Failover
from gateway.mirror.parked import Parked
from gateway.mirror.place import Place
from gateway.mirror.sender import Sender
from gateway.mirror.session import Session
from gateway.mirror.trail import Trail
from gateway.mirror.weights import weigher

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Executor
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.spool.lanes import Spool
    from gateway.trace.node import NodeTraces
    from gateway.transport.contract import Link

log = logging.getLogger(__name__)

_NS: Final = 10**9


class Box(NamedTuple):
    """What all mirrors of a node work with: `folder` is its state folder, `lanes` are in order of importance.

    `moved` is told of each step of a cursor: region, lane, and where it stands.
    """

    node: str
    folder: Path
    lanes: Sequence[schema.Lane]
    spool: Spool
    disk: Disk
    clock: Clock
    readers: Executor
    chance: random.Random
    moved: Callable[[str, str, int], None] = lambda *_: None
    traces: NodeTraces | None = None


def unsent(lanes: Iterable[str], mirrors: Sequence[MirrorDriver]) -> dict[str, tuple[int, int]]:
    """Return for each lane the stretch, both ends excluded, that no region was sent or is being sent now."""
    found = {}
    for lane in lanes:
        stretches = [mirror.unsent(lane) for mirror in mirrors]
        ends = [last + 1 for _, last in stretches if last is not None]
        found[lane] = max((first for first, _ in stretches), default=0), min(ends, default=sys.maxsize)
    return found


class MirrorDriver:
    """The mirror of one region; `standbys` are in order of preference. `looks` counts its own upkeep."""

    def __init__(self, region: schema.Region, standbys: Sequence[schema.Region], box: Box) -> None:
        self.name = region.name
        self.is_required = region.required
        self._readers = box.readers
        self.looks = 0
        self._next_attempt_at = 0.0
        self._places = [Place(one, box.node, box.chance) for one in (region, *standbys)]
        self._failover = Failover(len(self._places), region.failover_after_ns, region.hold_down_ns, box.chance)
        self._parked = Parked(box.disk, box.folder / "parked" / region.name)
        names = [lane.name for lane in box.lanes]
        links = box.folder / "links"
        self._allowance = Allowance(region.name, region.link, names, box.clock, box.disk, links / region.name)
        self._session = Session(
            {lane: box.spool.cursor(region.name, lane) for lane in box.spool.lanes_of(region.name)},
            by_receiver=self._active.by_receiver,
            in_flight_max=region.in_flight_max,
            resend_after_ns=region.resend_after_ns,
            weight=weigher(box.lanes, region.backlog_share),
        )
        self._sender = Sender(
            region, self._session, self._failover, self._allowance, box.spool, self._parked, box.readers
        )
        self._sender.moved = box.moved
        if box.traces is not None and box.traces.is_on:
            self._sender.trail = Trail(region.name, box.traces, self._session)
        names = [place.name for place in self._places]
        is_new = box.spool.is_new(region.name)
        self._elsewhere = Elsewhere(box.disk, box.folder / "places" / region.name, names, is_new=is_new)
        self._spool = box.spool
        self._node = box.node

    def notify(self) -> None:
        """Look at the spool again: it has something new."""
        self._sender.work.set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        carrier: Carrier | None = None
        tending = asyncio.create_task(self._tend(), name=f"mirror {self.name}: tend")
        try:
            while True:
                # A clock tells nobody.
                while not (carrier or self._may_connect()):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_S)
                carrier = carrier or self._carrier(self._failover.active)
                better = await self._better_than(carrier)
                if better is None:
                    self._session.link_ended(time.monotonic_ns())
                    await self._wait(carrier)
                else:
                    await self._move(carrier, *better)
                carrier = better and better[1]
        finally:
            tending.cancel()
            if carrier is not None:
                await carrier.stop()
            self._allowance.save()

    @property
    def is_connected(self) -> bool:
        """Whether the place that carries the mirror has accepted us on a link that lives."""
        return self._active.connected_at > 0.0

    @property
    def is_away(self) -> bool:
        """Whether there is no link although there might be one."""
        return not self.is_connected and self._may_connect()

    @property
    def sending(self) -> int | None:
        """A count that rises with what is sent; None while there is no link, nothing to send, or the line is busy."""
        return None if self._sender.is_waiting else self._sender.turns

    @property
    def windows_opened(self) -> int:
        """How often the radio's window has opened since the start, where open batches are to go in it."""
        return self._allowance.opened

    def unsent(self, lane: str) -> tuple[int, int | None]:
        """Return the oldest stretch of a lane that was not sent yet, whose first may be being read; None: no end."""
        return self._session.unsent(lane)

    def status(self) -> dict[str, object]:
        """Return what people want to know of this region."""
        counts = {key: sum(place.counts[key] for place in self._places) for key in self._active.counts}
        return {
            "connected": self.is_connected,
            "place": self._active.name,
            "last_fault": self._active.last_fault or self._active.credentials.fault,
            "next_attempt_s": round(max(0.0, self._next_attempt_at - time.monotonic()), 1),
            **self._active.hearing.status(time.monotonic_ns()),
            "in_flight": self._session.in_flight,
            "backlog": self._session.backlog,
            "cursors": self._session.cursors,
            "line": self._allowance.status(),
            "sent_bytes_by_lane": dict(self._sender.sent_bytes),
            **self._session.counts,
            **counts,
            **self._sender.counts,
            **self._failover.counts,
            **self._parked.counts,
        }

    @property
    def _active(self) -> Place:
        return self._places[self._failover.active]

    def _carrier(self, number: int, hold_down_s: float | None = None) -> Carrier:
        place = self._places[number]
        return Carrier(
            place,
            self._sender,
            self._session,
            self._failover,
            self._allowance,
            self._readers,
            self._tell,
            hold_down_s,
        )

    async def _tell(self, link: Link, place: Place) -> None:
        """Tell a place that begins to carry what went elsewhere meanwhile. Raises `LinkError`."""
        loop = asyncio.get_running_loop()
        cursors = self._spool.places(self.name)
        await loop.run_in_executor(self._readers, self._elsewhere.moved, place.name, cursors)
        gaps = self._elsewhere.gaps(self._node, place.name, cursors)
        messages = [one for gap in gaps for one in self._sender.shipper.messages(gap, is_backlog=False)]
        if messages:
            await link.send(messages)
        await loop.run_in_executor(self._readers, self._elsewhere.told, place.name)

    async def _tend(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_S)
            self.looks += 1
            self._allowance.look()
            if self._allowance.is_due:
                await loop.run_in_executor(self._readers, self._allowance.save)

    def _may_connect(self) -> bool:
        return self._allowance.is_open or self._sender.has_something()

    async def _better_than(self, carrier: Carrier) -> tuple[int, Carrier] | None:
        """Wait until the carrier has ended, which gives None, or a better place is proved."""
        looking = asyncio.create_task(self._look_for_better(), name=f"mirror {self.name}: look for better")
        found: tuple[int, Carrier] | None = None
        try:
            await asyncio.wait({carrier.task, looking}, return_when=asyncio.FIRST_COMPLETED)
            found = looking.result() if looking.done() else None
        finally:
            looking.cancel()
            (left,) = await asyncio.gather(looking, return_exceptions=True)
            if found is None and isinstance(left, tuple):  # it was proved while we gave up
                await left[1].stop()
        return found

    async def _look_for_better(self) -> tuple[int, Carrier]:
        while True:
            for number in self._failover.better:
                carrier = self._carrier(number, self._failover.hold_down_ns / _NS)
                proving = asyncio.create_task(carrier.proved.wait())
                try:
                    await asyncio.wait({carrier.task, proving}, return_when=asyncio.FIRST_COMPLETED)
                    if proving.done():
                        return number, carrier
                    await asyncio.sleep(carrier.place.backoff.next_wait_s(carrier.up_s))
                finally:
                    proving.cancel()
                    if not carrier.proved.is_set():
                        await carrier.stop()
            if not self._failover.better:
                await asyncio.Event().wait()

    async def _move(self, old: Carrier, number: int, better: Carrier) -> None:
        """Let the better place carry on, on the link that is there, and the old one go."""
        await self._sender.drain(DRAIN_S)
        await old.stop()
        log.info("region %s: %s carries the mirror again, instead of %s", self.name, better.place.name, old.place.name)
        self._failover.go_back(number)
        self._changed_place()
        better.go.set()

    async def _wait(self, ended: Carrier) -> None:
        """Wait before the next attempt, or let the next place have its turn at once."""
        ended.task.result()  # a defect must not pass for a link that ended
        now_ns = time.monotonic_ns()
        self._sender.is_held = False
        if ended.is_on_purpose:
            return
        self._failover.does_not_work(now_ns)
        wait_s = ended.place.backoff.next_wait_s(ended.up_s)
        overdue_ns = self._failover.overdue_in_ns(now_ns)
        if overdue_ns is not None and overdue_ns <= wait_s * _NS:  # no wait before an attempt holds up a standby
            await asyncio.sleep(overdue_ns / _NS)
            self._failover.go_on(now_ns + overdue_ns)
            log.warning(
                "region %s: %s does not work, %s carries the mirror", self.name, ended.place.name, self._active.name
            )
            self._changed_place()
            return
        self._next_attempt_at = time.monotonic() + wait_s
        await asyncio.sleep(wait_s)

    def _changed_place(self) -> None:
        self._session.changed_place(time.monotonic_ns(), by_receiver=self._active.by_receiver)
        self._sender.is_held = False
