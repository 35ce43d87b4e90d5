"""Hands on what waits in an outbox to one broker or server, in order, over any transport.

    outbox ─▶ a group of envelopes ─▶ messages (events, or the batches themselves) ─▶ link ─▶ acknowledged ─▶ removed

At least once, and each message under its own identity for ever: a crash between the acknowledgement and the removal
repeats a group. One forward that is away holds nothing up but its own outbox, until that is full.

What is refused for good becomes a dead letter. A refusal without a clear reason is judged as at a node
(`gateway.mirror.refusals`): it may be about the message, or about all of them.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from gateway.batch import envelope
from gateway.batch.decode import DecodedBatch, decode
from gateway.errors import GatewayError, LinkError, first_of
from gateway.mirror.place import Place
from gateway.mirror.refusals import Refusals
from gateway.mirror.shipment import Shipper
from gateway.model import SealedBatch
from gateway.region.dead_letters import OF_FORWARDS
from gateway.region.outbox import Outbox
from gateway.transport.contract import until_it_fails

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.region.outbox import Waiting
    from gateway.region.store import Database, Store
    from gateway.transport.contract import Link, Message

log = logging.getLogger(__name__)

GROUP_BYTES_MAX: Final = 4 * 1024 * 1024
"""Bytes of the envelopes that are under way together; a larger one goes alone."""
PROBE_S: Final = 10.0
CREDENTIALS_S: Final = 5.0
"""Time between two looks at the files."""

_NS: Final = 10**9


class Forward:
    """One of them. `store` is used in `worker` only, which is the thread of all transactions."""

    def __init__(
        self,
        options: schema.Forward,
        receiver: str,
        store: Store,
        worker: ThreadPoolExecutor,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self.outbox = Outbox(receiver, options.name, options.outbox_bytes_max)
        self.counts = {"envelopes": 0, "messages": 0, "refused": 0}
        self._options = options
        self._store = store
        self._worker = worker
        self._clock = clock
        self._place = Place(options, f"region-{receiver}", chance, "forward")
        self._shipper = Shipper(options)
        self._maker = ThreadPoolExecutor(1, f"forward-{options.name}")
        self._refusals = Refusals()
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Hear that something may wait."""
        self._changed.set()

    def status(self) -> dict[str, object]:
        """Return whether there is a link, why not, and counts."""
        place = self._place
        return {"connected": place.connected_at > 0.0, "last_fault": place.last_fault, **self.counts}

    def close(self) -> None:
        """Let go of the thread; after `run` has ended."""
        self._maker.shutdown(wait=True, cancel_futures=True)

    async def run(self) -> None:
        """Hand on until cancelled."""
        while True:
            try:
                async with self._place.transport.connected() as link:
                    self._place.connected()
                    async with asyncio.TaskGroup() as group:
                        group.create_task(until_it_fails(link), name=f"forward {self._options.name}: link")
                        group.create_task(self._watch_credentials(), name=f"forward {self._options.name}: files")
                        await self._serve(link)
            except* GatewayError as errors:
                self._place.note(first_of(errors))
            await asyncio.sleep(self._place.backoff.next_wait_s(self._place.ended()))

    async def _watch_credentials(self) -> None:
        """End the link when new files are there; what is under way is sent again over the next one."""
        loop = asyncio.get_running_loop()
        # Files tell nobody that they changed.
        while not await loop.run_in_executor(self._maker, self._place.credentials.have_changed):  # noqa: ASYNC110
            await asyncio.sleep(CREDENTIALS_S)
        raise LinkError("new credentials, connecting anew")

    async def _serve(self, link: Link) -> None:
        while True:
            self._changed.clear()
            group = await self._in_worker(self._oldest)
            if group:
                await self._hand_on(link, group)
            else:
                await self._wait(link)

    async def _wait(self, link: Link) -> None:
        """Wait for something to hand on; meanwhile find out whether the other side is still there."""
        try:
            async with asyncio.timeout(self._options.keep_alive_ns / _NS):
                await self._changed.wait()
        except TimeoutError:
            try:
                async with asyncio.timeout(PROBE_S):
                    await link.probe()
            except TimeoutError as error:
                raise LinkError(f"no answer within {PROBE_S:.0f} s") from error

    async def _hand_on(self, link: Link, group: Sequence[Waiting]) -> None:
        loop = asyncio.get_running_loop()
        made = [await loop.run_in_executor(self._maker, self._messages, one.envelope) for one in group]
        sent = []
        async with asyncio.TaskGroup() as sending:
            for messages in made:
                await link.ready()
                sent.append(sending.create_task(self._send(link, messages)))
                await asyncio.sleep(0)  # it calls the link, which keeps the order of the calls
        refused = [one for task in sent for one in task.result()]
        await self._in_worker(self._done, group, refused)
        self.counts["envelopes"] += len(group)
        self.counts["messages"] += sum(map(len, made)) - len(refused)
        self.counts["refused"] += len(refused)
        for message, reason in refused[:1]:
            log.warning(
                "forward %s refuses %s, %d in this group: %s", self._options.name, message.id, len(refused), reason
            )

    async def _send(self, link: Link, messages: list[Message]) -> list[tuple[Message, str]]:
        """Send until each is acknowledged or refused for good; return the latter, with the reason."""
        refused: list[tuple[Message, str]] = []
        while messages:
            refusals = await link.send(messages)
            again: list[Message] = []
            wait_ns = 0
            unclear = {one.position: one.reason for one in refusals if not one.is_final}
            refused += [(messages[one.position], one.reason) for one in refusals if one.is_final]
            said = {one.position for one in refusals}
            for position, message in enumerate(messages):
                if position not in said:
                    self._refusals.accepted(message.id)
            for position, reason in unclear.items():
                judgement = self._refusals.judge(messages[position].id)
                if judgement.ends_link:
                    raise LinkError(reason)
                if judgement.wait_ns:
                    again.append(messages[position])
                    wait_ns = max(wait_ns, judgement.wait_ns)
                else:
                    refused.append((messages[position], reason))
            messages = again
            await asyncio.sleep(wait_ns / _NS)
        return refused

    def _messages(self, data: bytes) -> list[Message]:
        """Return the messages for an envelope. It was verified when it was taken in."""
        found = decode(data)
        if isinstance(found, DecodedBatch):
            header = envelope.peek(data)
            return self._shipper.messages(SealedBatch(header.id, header.readings, header.hash, data), is_backlog=False)
        return self._shipper.messages(found, is_backlog=False)

    def _oldest(self, transaction: Database) -> list[Waiting]:
        return self.outbox.oldest(transaction, self._options.in_flight_max, GROUP_BYTES_MAX)

    def _done(self, transaction: Database, group: Sequence[Waiting], refused: list[tuple[Message, str]]) -> None:
        self.outbox.remove_to(transaction, group[-1].id)
        for message, reason in refused:
            topic = f"{self._options.name}/{message.id}"
            self._store.bury(self._clock.wall_ns(), topic, OF_FORWARDS, reason, message.payload)

    async def _in_worker(self, work: Callable[..., Any], *arguments: object) -> Any:  # noqa: ANN401  # what `work` returns
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._store.within, work, *arguments)
