"""Does what a mirror session says: connects to the region, reads the spool, sends, hears, moves the cursor.

One task per region, for ever: no fault of a link, a credential or the disk ends it, and none reaches another region.
What is in flight outlives a link. What is sent next is decided when the line can take it. When the files of mTLS
change, nothing new is sent until what is in flight is acknowledged (`DRAIN_S` at most), then the link is made anew with
them. A batch that the region refuses for good is parked, and a gap sent in its place.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.errors import BatchError, GatewayError, LinkError, StoreError
from gateway.mirror import shipment
from gateway.mirror.session import Session
from gateway.mirror.weights import weigher
from gateway.model import Gap, SealedBatch
from gateway.transport import wire
from gateway.transport.backoff import Backoff
from gateway.transport.choice import transport
from gateway.transport.credentials import Credentials

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence
    from concurrent.futures import Executor

    from gateway.config import schema
    from gateway.mirror.parked import Parked
    from gateway.spool.lanes import Spool
    from gateway.transport.contract import Link, Message

log = logging.getLogger(__name__)

CREDENTIALS_S: Final = 2.0
"""Time between two looks at the files of mTLS."""
DRAIN_S: Final = 5.0
STABLE_S: Final = 30.0

READS_MAX: Final = 5
"""Failing reads of a batch, one each second, until it is taken for damaged, provided that the disk takes a write."""

_DISK_RETRY_S: Final = 1.0
_NS: Final = 10**9


class _CredentialsChanged(Exception):  # noqa: N818  # not an error: it ends a link on purpose
    """The files of mTLS are others now."""


class MirrorDriver:
    """The mirror of one region. `notify` says that the spool has something new; `lanes` have the weights of turns."""

    def __init__(
        self,
        region: schema.Region,
        node: str,
        spool: Spool,
        parked: Parked,
        readers: Executor,
        chance: random.Random,
        lanes: Sequence[schema.Lane] = (),
    ) -> None:
        self.name = region.name
        self.last_fault = ""
        self._connected_at = 0.0
        self._next_attempt_at = 0.0
        self._region = region
        self._spool = spool
        self._parked = parked
        self._gaps: dict[tuple[str, int], Gap] = {}
        self._readers = readers
        self._work = asyncio.Event()
        self._renewing = False
        self._failed_reads = 0
        self._credentials = Credentials(
            region.tls_ca,
            region.tls_certificate,
            region.tls_key,
            region.password_file,
            region.webhook.key_file,
            region.webhook.token_file,
        )
        self._transport = transport(region, node, self._credentials, self._count_unheard)
        self._backoff = Backoff(chance, region.backoff_min_ns / _NS, region.backoff_max_ns / _NS, STABLE_S)
        self._session = Session(
            {lane: spool.cursor(region.name, lane) for lane in spool.lanes},
            by_receiver=region.acknowledge == "receiver",
            in_flight_max=region.in_flight_max,
            resend_after_ns=region.resend_after_ns,
            weight=weigher(lanes, region.backlog_share),
        )
        self._counts = {"connects": 0, "faults": 0, "sent_bytes": 0, "not_understood": 0, "unheard": 0}

    def notify(self) -> None:
        """Look at the spool again."""
        self._work.set()

    async def run(self) -> None:
        """Mirror until cancelled."""
        while True:
            self._connected_at = 0.0
            renewed = False
            try:
                await self._connect()
            except* _CredentialsChanged:
                renewed = True
                log.info("region %s: new credentials, connecting anew", self.name)
            except* GatewayError as errors:
                self._note(_first(errors))
            finally:
                self._renewing = False
                self._session.link_ended(time.monotonic_ns())
                up_s = time.monotonic() - self._connected_at if self.is_connected else 0.0
                self._connected_at = 0.0
            if not renewed:
                wait_s = self._backoff.next_wait_s(up_s)
                self._next_attempt_at = time.monotonic() + wait_s
                await asyncio.sleep(wait_s)

    @property
    def is_required(self) -> bool:
        """Whether nothing is freed before this region has it."""
        return self._region.required

    @property
    def is_connected(self) -> bool:
        """Whether the region's broker has accepted us on a link that lives."""
        return self._connected_at > 0.0

    def unsent(self, lane: str) -> tuple[int, int | None]:
        """Return the oldest stretch of a lane that was not sent yet, whose first may be being read; None: no end."""
        return self._session.unsent(lane)

    def status(self) -> dict[str, object]:
        """Return what people want to know of this region."""
        return {
            "connected": self.is_connected,
            "last_fault": self.last_fault or self._credentials.fault,
            "next_attempt_s": round(max(0.0, self._next_attempt_at - time.monotonic()), 1),
            "in_flight": self._session.in_flight,
            "backlog": self._session.backlog,
            "cursors": self._session.cursors,
            **self._session.counts,
            **self._counts,
            **self._parked.counts,
        }

    async def _connect(self) -> None:
        async with self._transport.connected() as link:
            self._connected_at, self.last_fault = time.monotonic(), ""
            self._counts["connects"] += 1
            log.info("region %s: connected", self.name)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hear(link), name=f"{self.name}: hear")
                group.create_task(self._watch_credentials(), name=f"{self.name}: credentials")
                await self._send(link, group)

    async def _send(self, link: Link, group: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await link.ready()
            self._work.clear()
            for lane in self._spool.lanes:  # the journal may bring back one that is configured no more
                self._session.add_lane(lane, self._spool.cursor(self.name, lane))
            wanted = None if self._renewing else self._session.next_wanted(self._spool.head, time.monotonic_ns())
            if wanted is None:
                await self._wait_for_work()
                continue
            try:
                found = await loop.run_in_executor(self._readers, self._read, wanted.lane, wanted.sequence)
            except StoreError as error:
                self._note(error)
                await asyncio.sleep(_DISK_RETRY_S)
                continue
            assert found is not None, wanted
            if isinstance(found, SealedBatch):
                epoch, first, last = found.id.epoch, found.id.sequence, found.id.sequence
            else:
                epoch, first, last = found.epoch, found.first, found.last
            if not self._session.sending(wanted.lane, epoch, first, last):
                continue
            message = shipment.message(found, is_backlog=wanted.is_backlog)
            self._session.charge(wanted, len(message.payload))
            work = self._publish(link, message, wanted.lane, first, last, found)
            group.create_task(work, name=f"{self.name}: publish")

    def _read(self, lane: str, sequence: int) -> SealedBatch | Gap | None:
        """Read from the spool, in a thread; a spot that stays unreadable on a disk that works becomes a gap."""
        gap = self._gaps.get((lane, sequence))
        if gap is not None:
            return gap
        try:
            found = self._spool.read(lane, sequence)
        except StoreError:
            self._failed_reads += 1
            if self._failed_reads < READS_MAX:
                raise
            self._spool.give_up(lane, sequence)
            found = self._spool.read(lane, sequence)
        self._failed_reads = 0
        return found

    async def _publish(
        self, link: Link, message: Message, lane: str, first: int, last: int, found: SealedBatch | Gap
    ) -> None:
        self._counts["sent_bytes"] += len(message.payload)
        refusals = await link.send([message])
        if refusals:
            await self._park(found, refusals[0].reason)
            self._session.refused(lane, first, last, time.monotonic_ns())
            self._work.set()
        else:
            self._moved(lane, self._session.broker_took(lane, first, last, time.monotonic_ns()))

    async def _park(self, found: SealedBatch | Gap, reason: str) -> None:
        """Keep what is refused; raise `LinkError` where that is a gap: nothing smaller can take its place."""
        if isinstance(found, Gap):
            raise LinkError(f"the region refuses even a gap: {reason}", hint="see what the region's broker allows")
        log.warning("region %s refuses batch %s, it is parked: %s", self.name, found.id, reason)
        loop = asyncio.get_running_loop()
        while True:
            try:
                gap = await loop.run_in_executor(self._readers, self._parked.park, found, reason)
            except StoreError as error:
                self._note(error)
                await asyncio.sleep(_DISK_RETRY_S)
                continue
            self._gaps[found.id.lane, found.id.sequence] = gap
            return

    async def _hear(self, link: Link) -> None:
        async for payload in link.words():
            try:
                word = wire.decode_acknowledgement(payload)
            except BatchError as error:
                self._counts["not_understood"] += 1
                self._note(error)
                continue
            self._moved(word.lane, self._session.receiver_has(word.lane, word.epoch, word.done))

    def _moved(self, lane: str, cursor: int | None) -> None:
        if cursor is not None:
            self._spool.acknowledge(self.name, lane, cursor)
            for key in [key for key in self._gaps if key[0] == lane and key[1] <= cursor]:
                del self._gaps[key]
        self._work.set()

    async def _wait_for_work(self) -> None:
        deadline_ns = self._session.deadline_ns
        wait_s = None if deadline_ns is None or self._renewing else max(0.0, (deadline_ns - time.monotonic_ns()) / _NS)
        try:
            async with asyncio.timeout(wait_s):
                await self._work.wait()
        except TimeoutError:
            pass

    async def _watch_credentials(self) -> None:
        loop = asyncio.get_running_loop()
        # Files tell nobody that they changed.
        while not await loop.run_in_executor(self._readers, self._credentials.have_changed):  # noqa: ASYNC110
            await asyncio.sleep(CREDENTIALS_S)  # files tell nobody that they changed
        self._renewing = True
        give_up_at = loop.time() + DRAIN_S
        while self._session.in_flight and loop.time() < give_up_at:  # noqa: ASYNC110  # once in months, and bounded
            await asyncio.sleep(CREDENTIALS_S / 10)  # once in months, and bounded
        raise _CredentialsChanged

    def _count_unheard(self) -> None:
        self._counts["unheard"] += 1

    def _note(self, error: GatewayError) -> None:
        self._counts["faults"] += 1
        if error.fault != self.last_fault:
            log.warning("region %s: %s", self.name, error)
        self.last_fault = error.fault


def _first(errors: BaseExceptionGroup[GatewayError]) -> GatewayError:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, GatewayError)
    return error
