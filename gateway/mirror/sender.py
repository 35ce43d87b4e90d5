"""What happens on a link: the spool is read, batches are sent by turns, words are heard, the cursor moves.

What is sent next is decided when the line can take it. What is in flight outlives the link. A batch that the region
refuses for good (`refusals`) is parked, and a gap sent in its place. No fault of the disk ends a link.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.errors import BatchError, LinkError, StoreError
from gateway.mirror.refusals import FOR_GOOD, Refusals
from gateway.mirror.shipment import Shipper
from gateway.model import Gap, SealedBatch
from gateway.transport import wire
from gateway.transport.contract import Beating

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Executor

    from gateway.config import schema
    from gateway.mirror.allowance import Allowance
    from gateway.mirror.failover import Failover
    from gateway.mirror.parked import Parked
    from gateway.mirror.place import Place
    from gateway.mirror.session import Session, Wanted
    from gateway.mirror.trail import Trail
    from gateway.spool.lanes import Spool
    from gateway.transport.contract import Link, Message, Refusal

log = logging.getLogger(__name__)

READS_MAX: Final = 5
"""Failing reads of a batch, one each second, until it is taken for damaged, provided that the disk takes a write."""
LOOK_S: Final = 1.0
"""Longest wait while the line is held back by its budget or its windows."""
_DISK_RETRY_S: Final = 1.0
_NS: Final = 10**9


class _Loaded(NamedTuple):
    """What is sent for one sequence: a batch or a gap of sequences `first` to `last`, and the messages it makes."""

    found: SealedBatch | Gap
    epoch: int
    first: int
    last: int
    messages: list[Message]

    @property
    def size(self) -> int:
        """Bytes of all payloads."""
        return sum(len(message.payload) for message in self.messages)


class Sender:
    """The work for one region, on one link after the other. While `is_held` nothing new is sent.

    `turns` counts what was looked for to send; it stands still while `is_waiting`: for a link, the line, or work.
    """

    def __init__(
        self,
        region: schema.Region,
        session: Session,
        failover: Failover,
        allowance: Allowance,
        spool: Spool,
        parked: Parked,
        readers: Executor,
    ) -> None:
        self.is_held = False
        self.is_waiting = True
        self.turns = 0
        self.work = asyncio.Event()
        self.counts = {"sent_bytes": 0, "overhead_bytes": 0, "not_understood": 0, "other_group": 0}
        self.sent_bytes: dict[str, int] = {}
        """Payload bytes by lane, resends included."""
        self.moved: Callable[[str, str, int], None] = lambda *_: None
        self._name = region.name
        self.shipper = Shipper(region)
        self._session = session
        self._failover = failover
        self._allowance = allowance
        self._spool = spool
        self._parked = parked
        self._readers = readers
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._failed_reads = 0
        self._refusals = Refusals()
        self._acknowledged = 0
        self.trail: Trail | None = None

    async def serve(self, link: Link, place: Place) -> None:
        """Send and hear until the link fails, with `LinkError` in a group of exceptions, or this is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._hear(link, place), name=f"{self._name}: hear")
            if place.by_receiver and isinstance(link, Beating) and place.hearing.heartbeat_ns:
                group.create_task(self._beat(link, place), name=f"{self._name}: heartbeat")
            while True:
                await link.ready()
                self.work.clear()
                wanted = self._wanted()
                if wanted is None:
                    await self._wait_for_work()
                    continue
                self.turns, self.is_waiting = self.turns + 1, False
                try:
                    loaded = await self._load(wanted, place)
                finally:
                    self.is_waiting = True
                if loaded is not None and self._session.sending(wanted.lane, *loaded[1:4]):
                    self._session.charge(wanted, loaded.size)
                    self._allowance.budget.spend(wanted.lane, loaded.size, time.monotonic_ns())
                    group.create_task(self._publish(link, place, wanted.lane, loaded), name=f"{self._name}: publish")
                    await asyncio.sleep(0)  # it must have begun, or `ready` would know nothing of it

    async def drain(self, most_s: float) -> None:
        """Send nothing new, and wait until all that is in flight is acknowledged, at most `most_s` seconds."""
        self.is_held = True
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + most_s
        while self._session.in_flight and loop.time() < give_up_at:  # noqa: ASYNC110  # once in months, and bounded
            await asyncio.sleep(most_s / 50)

    def has_something(self) -> bool:
        """Say whether there is anything that may be sent now, or waits for an acknowledgement."""
        self._know_lanes()
        return self._session.has_something(self._spool.head, self._allowance.permits)

    def _wanted(self) -> Wanted | None:
        self._know_lanes()
        if self.is_held:
            return None
        return self._session.next_wanted(self._spool.head, time.monotonic_ns(), self._allowance.permits)

    def _know_lanes(self) -> None:
        for lane in self._spool.lanes_of(self._name):  # the journal may bring back one that is configured no more
            self._session.add_lane(lane, self._spool.cursor(self._name, lane))

    async def _wait_for_work(self) -> None:
        deadline_ns = self._session.deadline_ns
        wait_s = None if deadline_ns is None or self.is_held else max(0.0, (deadline_ns - time.monotonic_ns()) / _NS)
        if self._allowance.is_limited:
            owed_s = self._allowance.budget.wait_ns(time.monotonic_ns()) / _NS
            wait_s = min(LOOK_S, owed_s) if owed_s else LOOK_S
        try:
            async with asyncio.timeout(wait_s):
                await self.work.wait()
        except TimeoutError:
            pass

    async def _load(self, wanted: Wanted, place: Place) -> _Loaded | None:
        """Read what is wanted; None, after a while, when the disk does not give it."""
        is_stored = self.shipper.is_whole and (wanted.lane, wanted.sequence) not in self._gaps
        held = self._spool.held(wanted.lane, wanted.sequence) if is_stored else None
        if held is not None:  # just sealed: a change of threads would take longer than all the rest
            return self._loaded(held, is_backlog=wanted.is_backlog)
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._readers, self._read, wanted)
        except StoreError as error:
            place.note(error)
            await asyncio.sleep(_DISK_RETRY_S)
            return None

    def _read(self, wanted: Wanted) -> _Loaded:
        """Read, in a thread."""
        found = self._gaps.get((wanted.lane, wanted.sequence)) or self._stored(wanted.lane, wanted.sequence)
        try:
            return self._loaded(found, is_backlog=wanted.is_backlog)
        except BatchError:  # no events can be made of it, now or ever
            self._spool.give_up(wanted.lane, wanted.sequence)
            found = self._stored(wanted.lane, wanted.sequence)
            return self._loaded(found, is_backlog=wanted.is_backlog)

    def _loaded(self, found: SealedBatch | Gap, *, is_backlog: bool) -> _Loaded:
        """Make the messages of what was found. Raises `BatchError`."""
        messages = self.shipper.messages(found, is_backlog=is_backlog)
        if isinstance(found, SealedBatch):
            return _Loaded(found, found.id.epoch, found.id.sequence, found.id.sequence, messages)
        return _Loaded(found, found.epoch, found.first, found.last, messages)

    def _stored(self, lane: str, sequence: int) -> SealedBatch | Gap:
        """Read from the spool; a spot that stays unreadable on a disk that works becomes a gap."""
        try:
            found = self._spool.read(lane, sequence)
        except StoreError:
            self._failed_reads += 1
            if self._failed_reads < READS_MAX:
                raise
            self._spool.give_up(lane, sequence)
            found = self._spool.read(lane, sequence)
        self._failed_reads = 0
        assert found is not None, (lane, sequence)
        return found

    async def _publish(self, link: Link, place: Place, lane: str, loaded: _Loaded) -> None:
        self.counts["sent_bytes"] += loaded.size
        self.sent_bytes[lane] = self.sent_bytes.get(lane, 0) + loaded.size
        refusals = await self._sent(link, loaded)
        now_ns = time.monotonic_ns()
        if not refusals:
            self._refusals.accepted(loaded.messages[0].id)
            self._moved(lane, self._session.broker_took(lane, loaded.first, loaded.last, now_ns))
            return
        judged = FOR_GOOD if all(one.is_final for one in refusals) else self._refusals.judge(loaded.messages[0].id)
        if not judged.wait_ns:
            await self._park(loaded, refusals, place)
            if not self.shipper.is_whole:  # what could be delivered of it has been
                self._moved(lane, self._session.broker_took(lane, loaded.first, loaded.last, now_ns))
                return
        self._session.refused(lane, loaded.first, loaded.last, now_ns + judged.wait_ns)
        self.work.set()
        if judged.ends_link:
            raise LinkError(refusals[0].reason)

    async def _sent(self, link: Link, loaded: _Loaded) -> list[Refusal]:
        if self.trail is None:
            return await link.send(loaded.messages)
        start_ns = self.trail.sending(loaded.found)
        refusals: list[Refusal] | None = None
        try:
            refusals = await link.send(loaded.messages)
        finally:
            self.trail.sent(loaded.found, start_ns, refusals)
        return refusals

    async def _park(self, loaded: _Loaded, refusals: Sequence[Refusal], place: Place) -> None:
        """Keep what is refused; raise `LinkError` where that is a gap: nothing smaller can take its place."""
        found, reason = loaded.found, refusals[0].reason
        if not self.shipper.is_whole:
            first = loaded.messages[refusals[0].position].id
            reason = f"{len(refusals)} of {len(loaded.messages)} events, the first is {first}: {reason}"
        if isinstance(found, Gap):
            raise LinkError(f"the region refuses even a gap: {reason}", hint="see what the region's broker allows")
        log.warning("region %s refuses batch %s, it is parked: %s", self._name, found.id, reason)
        if self.trail is not None:
            self.trail.given_up(found, reason)
        loop = asyncio.get_running_loop()
        while True:
            try:
                gap = await loop.run_in_executor(self._readers, self._parked.park, found, reason)
            except StoreError as error:
                place.note(error)
                await asyncio.sleep(_DISK_RETRY_S)
                continue
            if self.shipper.is_whole:
                self._gaps[found.id.lane, found.id.sequence] = gap
            return

    async def _hear(self, link: Link, place: Place) -> None:
        async for payload in link.words():
            try:
                word = wire.decode_acknowledgement(payload)
            except BatchError as error:
                self.counts["not_understood"] += 1
                place.note(error)
                continue
            if not place.counts_word_of(word.group):
                self.counts["other_group"] += 1
                continue
            place.hearing.heard(time.monotonic_ns(), is_answer=word.is_answer)
            if word.is_answer:
                self._failover.works()
                continue
            self._moved(word.lane, self._session.receiver_has(word.lane, word.epoch, word.done))

    async def _beat(self, link: Beating, place: Place) -> None:
        """Ask the receiver for a word where nothing else does; what is in flight asks as well, and costs nothing."""
        for number in itertools.count(1):
            while self._session.in_flight or self._allowance.budget.is_spent:  # noqa: ASYNC110  # nobody tells
                await asyncio.sleep(LOOK_S)
            wait_ns = place.hearing.wait_ns(time.monotonic_ns())
            if not wait_ns:
                place.hearing.asked(time.monotonic_ns())
                await link.beat(number)
            else:
                await asyncio.sleep(wait_ns / _NS)

    def _moved(self, lane: str, cursor: int | None) -> None:
        self.work.set()
        if self.trail is not None:
            self.trail.moved()
        if self._session.counts["acknowledged"] != self._acknowledged:
            self._acknowledged = self._session.counts["acknowledged"]
            self._failover.works()
        if cursor is None:
            return
        self._spool.acknowledge(self._name, lane, cursor)
        self.moved(self._name, lane, cursor)
        for key in [key for key in self._gaps if key[0] == lane and key[1] <= cursor]:
            del self._gaps[key]
