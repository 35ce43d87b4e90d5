"""Does what a mirror session says: connects to the region, reads the spool, sends, hears, moves the cursor.

One task per region, for ever: no fault of a link, a credential or the disk ends it, and none reaches another region.
What is in flight outlives a link. When the files of mTLS change, nothing new is sent until what is in flight is
acknowledged (`DRAIN_S` at most), then the link is made anew with them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.batch import gap as gap_format
from gateway.errors import BatchError, GatewayError, StoreError
from gateway.mirror.credentials import Credentials
from gateway.mirror.session import Session
from gateway.model import SealedBatch
from gateway.transport import mqtt, wire
from gateway.transport.backoff import Backoff

if TYPE_CHECKING:
    import random
    from concurrent.futures import Executor

    from gateway.config import schema
    from gateway.model import Gap
    from gateway.spool.lanes import Spool
    from gateway.transport.contract import Link

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
    """The mirror of one region. `notify` says that the spool has something new."""

    def __init__(
        self, region: schema.Region, node: str, spool: Spool, readers: Executor, chance: random.Random
    ) -> None:
        self.name = region.name
        self.last_fault = ""
        self._connected_at = 0.0
        self._next_attempt_at = 0.0
        self._region = region
        self._node = node
        self._spool = spool
        self._readers = readers
        self._work = asyncio.Event()
        self._renewing = False
        self._failed_reads = 0
        self._credentials = Credentials(region.tls_ca, region.tls_certificate, region.tls_key)
        self._backoff = Backoff(chance, region.backoff_min_ns / _NS, region.backoff_max_ns / _NS, STABLE_S)
        self._session = Session(
            {lane: spool.cursor(region.name, lane) for lane in spool.lanes},
            by_receiver=region.acknowledge == "receiver",
            in_flight_max=region.in_flight_max,
            resend_after_ns=region.resend_after_ns,
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

    @property
    def wanted_next(self) -> dict[str, int]:
        """Per lane the first sequence that was not sent yet; it may be being read now."""
        return self._session.wanted_next

    def status(self) -> dict[str, object]:
        """Return what people want to know of this region."""
        return {
            "connected": self.is_connected,
            "last_fault": self.last_fault or self._credentials.fault,
            "next_attempt_s": round(max(0.0, self._next_attempt_at - time.monotonic()), 1),
            "in_flight": self._session.in_flight,
            "cursors": self._session.cursors,
            **self._session.counts,
            **self._counts,
        }

    async def _connect(self) -> None:
        region = self._region
        context = await asyncio.get_running_loop().run_in_executor(self._readers, self._credentials.context)
        async with mqtt.connected(
            region.host,
            region.usual_port,
            f"edge-gateway-{self._node}-{region.name}",
            wire.acknowledgement_topic(region.topic_prefix, self._node),
            context,
            keep_alive_s=region.keep_alive_ns / _NS,
            acknowledged_within_s=region.resend_after_ns / _NS,
            on_unheard=self._count_unheard,
        ) as link:
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
            self._work.clear()
            for lane in self._spool.lanes:  # the journal may bring back one that is configured no more
                self._session.add_lane(lane, self._spool.cursor(self.name, lane))
            wanted = None if self._renewing else self._session.next_wanted(self._spool.head, time.monotonic_ns())
            if wanted is None:
                await self._wait_for_work()
                continue
            try:
                found = await loop.run_in_executor(self._readers, self._read, *wanted)
            except StoreError as error:
                self._note(error)
                await asyncio.sleep(_DISK_RETRY_S)
                continue
            assert found is not None, wanted
            if isinstance(found, SealedBatch):
                epoch, first, last, data = found.id.epoch, found.id.sequence, found.id.sequence, found.data
            else:
                epoch, first, last, data = found.epoch, found.first, found.last, gap_format.encode(found)
            if not self._session.sending(wanted.lane, epoch, first, last):
                continue
            self._counts["sent_bytes"] += len(data)
            group.create_task(self._publish(link, wanted.lane, first, last, data), name=f"{self.name}: publish")

    def _read(self, lane: str, sequence: int) -> SealedBatch | Gap | None:
        """Read from the spool, in a thread; a spot that stays unreadable on a disk that works becomes a gap."""
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

    async def _publish(self, link: Link, lane: str, first: int, last: int, data: bytes) -> None:
        await link.publish(wire.batch_topic(self._region.topic_prefix, self._node, lane), data)
        self._moved(lane, self._session.broker_took(lane, first, last, time.monotonic_ns()))

    async def _hear(self, link: Link) -> None:
        async for payload in link.messages():
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
