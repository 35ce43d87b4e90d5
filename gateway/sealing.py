"""Open batches → encoded once → the ring → the mirrors hear of it.

Lanes that linger share one channel and one batch at a time. Those that do not have a channel of their own, go past what
others encode, and are stored by the thread that encoded them. While the disk refuses, or a full ring does, the batch in
hand waits and is tried again, its channel fills, and the pipeline waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.batch import attribution
from gateway.channel import Channel
from gateway.errors import StoreError
from gateway.spool.lanes import Appended
from gateway.trace.node import NodeTraces
from gateway.upkeep import RETRY_S, SPOOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Executor

    from gateway.config import schema
    from gateway.health.meters import Meters
    from gateway.model import OpenBatch, SealedBatch
    from gateway.spool.lanes import Spool
    from gateway.upkeep import Upkeep

log = logging.getLogger(__name__)

SEALED_MAX: Final = 4
"""Batches that wait to be encoded and spooled."""

_REFUSED_S: Final = 0.1

Shares = list[tuple[str, float]]


class Sealing:
    """The stage. `now` is the node's own time; `notify` is called when the ring has something new."""

    def __init__(
        self,
        lanes: Iterable[schema.Lane],
        boot: str,
        spool: Spool,
        upkeep: Upkeep,
        meters: Meters,
        now: Callable[[], int],
        notify: Callable[[], None],
    ) -> None:
        self.urgent_lanes = {lane.name for lane in lanes if not lane.linger_ns}
        self.sealed: Channel[OpenBatch] = Channel("sealed, batches", SEALED_MAX)
        self.urgent: Channel[OpenBatch] = Channel("urgent, batches", SEALED_MAX)
        self._refusing: set[str] = set()
        self.on_batch: Callable[[OpenBatch], None] = lambda _: None
        """Called for each batch, in the encode thread."""
        self.traces = NodeTraces(None, "")
        self._boot = boot
        self._spool = spool
        self._upkeep = upkeep
        self._meters = meters
        self._now = now
        self._notify = notify

    @property
    def refusing(self) -> str:
        """A lane whose full ring refuses; empty when none does."""
        return min(self._refusing, default="")

    async def take(self, batch: OpenBatch) -> None:
        """Take a batch, after waiting for room."""
        self.traces.mark(batch)
        await (self.urgent if batch.id.lane in self.urgent_lanes else self.sealed).put(batch, 1)

    async def drained(self) -> None:
        """Wait until the spool has all that was taken."""
        await self.sealed.drained()
        await self.urgent.drained()

    async def run(self, encoder: Executor, writer: Executor) -> None:
        """Work on the lanes that linger until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self.sealed.get()
            topics = self._meters.sealing(batch)
            made, shares = await loop.run_in_executor(encoder, self._encoded, batch, topics)
            self._meters.sealed(made, topics, shares)
            await self._stored(writer, made)
            await self.sealed.done()
            self._notify()

    async def run_urgent(self, encoder: Executor, writer: Executor) -> None:
        """Work on the lanes that do not, past what others encode, and without a change of threads between."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self.urgent.get()
            topics = self._meters.sealing(batch)
            made, shares, outcome = await loop.run_in_executor(encoder, self._encoded_and_stored, batch, topics)
            self._meters.sealed(made, topics, shares)
            await self._stored(writer, made, outcome)
            await self.urgent.done()
            self._notify()

    def _encoded_and_stored(self, batch: OpenBatch, topics: int) -> tuple[SealedBatch, Shares, Appended | None]:
        """Seal and append; the spool lets one thread at a time write. None: the disk refused, try again."""
        made, shares = self._encoded(batch, topics)
        try:
            return made, shares, self._spool.append(made, self._now())
        except StoreError:
            return made, shares, None

    def _encoded(self, batch: OpenBatch, topics: int) -> tuple[SealedBatch, Shares]:
        self.on_batch(batch)
        start_ns = self.traces.encoding(batch)
        made, shares = attribution.sealed(batch, self._boot, topics)
        self.traces.encoded(batch, made, start_ns)
        return made, shares

    async def _stored(self, writer: Executor, batch: SealedBatch, outcome: Appended | None = None) -> None:
        """Append until the spool has it; `outcome` is what an attempt before this came to."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                if outcome in (None, Appended.REFUSED):
                    outcome = await loop.run_in_executor(writer, self._spool.append, batch, self._now())
            except StoreError as error:
                self._upkeep.failed(SPOOL, error)
                await asyncio.sleep(RETRY_S)
                continue
            if outcome is Appended.CONFLICT:
                log.error("batch %s was made twice with different content, both are kept: a defect", batch.id)
            if outcome is not Appended.REFUSED:
                break
            self._note(batch.id.lane, refuses=True)
            await asyncio.sleep(_REFUSED_S)
        self._note(batch.id.lane, refuses=False)
        self.traces.spooled(batch.id)

    def _note(self, lane: str, *, refuses: bool) -> None:
        """Note of one lane only: another one, of the other channel, may go on or refuse meanwhile."""
        if refuses and lane not in self._refusing:
            self._refusing.add(lane)
            log.error(
                "lane %s is full and refuses: the local broker keeps what comes; see which region is behind", lane
            )
        elif not refuses and lane in self._refusing:
            self._refusing.discard(lane)
            log.warning("lane %s takes batches again", lane)
