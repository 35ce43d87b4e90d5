"""`gateway region run`: the session of a receiver with its source, and the thread that commits.

    region's broker ─▶ subscriber ─▶ waiting ─▶ intake (worker thread, one transaction per group) ─▶ sinks
           ▲                                           │ committed                └─▶ outboxes ─▶ forwards
           └── acknowledgements to the nodes, then PUBACK ◀┘

Nothing is acknowledged before its commit, neither to the node nor to the broker. What waits is bounded by the Receive
Maximum of the session and the group in hand; what comes at QoS 0, which no node of ours sends, is shed beyond that and
counted. An acknowledgement that finds no room in the broker's window waits for
the next turn; one that is lost is said again when the node sends its batch again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from typing import TYPE_CHECKING, Final

from gateway.errors import BatchError, ContentError, StoreError
from gateway.health import catalogue, opening, region_facts
from gateway.health.histogram import COMMIT_S, Histogram
from gateway.health.log import keep_telling
from gateway.health.notify import EXTENSION_S, Notifier
from gateway.health.pulse import Pulse
from gateway.health.sentence import receiver_sentence
from gateway.health.supervision import supervise
from gateway.region import chosen, dead_letters, receiver
from gateway.region.intake import Intake, Message
from gateway.region.watched import Watched
from gateway.trace.receiver import ReceiverTraces
from gateway.transport import wire
from gateway.workers import HANG_S, Workers

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    import mqtt5

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.region.chosen import Connection
    from gateway.region.intake import Outcome
    from gateway.region.store import Database
    from gateway.region.stream import Stream

log = logging.getLogger(__name__)

GROUP_BYTES_MAX: Final = 16 * 1024 * 1024
"""Payload bytes of one transaction; a single larger message still makes one."""

REDRIVE_S: Final = 2.0
"""Time between two looks for dead letters that are to be taken in again."""
REDRIVEN_AT_ONCE: Final = 20

_RETRY_S: Final = 1.0
_WORDS_RETRY_S: Final = 0.05


class Service:
    """One receiver. `counts` are since the start; what lasts is in the watermarks."""

    def __init__(
        self,
        options: schema.Receiver,
        disk: Disk,
        clock: Clock,
        chance: random.Random,
        traces: ReceiverTraces | None = None,
    ) -> None:
        self._options = options
        self._store = chosen.store(options)
        self._worker = Workers(1, "region")
        self._pulse = Pulse(self._worker)
        self._behind = chosen.behind(options, self._store, self._worker, disk, clock, chance)
        self._sinks = [*chosen.sinks(options, disk, clock), *(one.outbox for one in self._behind)]
        self._traces = traces
        self._intake = Intake(self._store, self._sinks, clock, options.topic_prefix, traces)
        self._waiting: list[tuple[Connection, Message, int]] = []
        self._words: dict[tuple[str, str, int], wire.Acknowledgement] = {}
        self._beats: list[tuple[Connection, str, bytes, int]] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._fault = ""
        self.counts = {"messages": 0, "readings": 0, "groups": 0, "shed": 0}
        self._decided: dict[str, int] = {}
        self._commit_s = Histogram(COMMIT_S)
        self._in_hand = 0
        self._ready: Callable[[], None] | None = None
        self._subscriber = chosen.source(options, self._on_publishes, chance, self._on_subscribed)

    async def run(self, ready: Callable[[], None]) -> None:
        """Receive until `stop`; `ready` is called when the broker has granted the subscription."""
        self._ready = ready
        async with asyncio.TaskGroup() as group:
            session = group.create_task(self._subscriber.run(), name="subscriber")
            handing_on = [
                group.create_task(one.run(), name=f"forward {number}") for number, one in enumerate(self._behind)
            ]
            handing_on.append(group.create_task(self._redrive(), name="redrive"))
            handing_on.append(group.create_task(self._pulse.run(), name="pulse"))
            handing_on.append(group.create_task(keep_telling(), name="log"))
            while not self._stopping:
                if self._beats:
                    await self._answer_beats()
                if self._waiting:
                    await self._take_group()
                else:
                    await self._rest()
            session.cancel()
            for task in handing_on:
                task.cancel()

    def stop(self) -> None:
        """Let `run` end after the group in hand."""
        self._stopping = True
        self._changed.set()

    def status(self) -> dict[str, object]:
        """Return what has been done since the start."""
        return {
            "fault": self._fault,
            "connected": self._subscriber.is_connected,
            "waiting": len(self._waiting),
            "counts": self.counts,
            "sinks": dict.fromkeys(self._options.sinks, self.counts["readings"]),
            "decided": self._decided,
            "latency": {"commit": self._commit_s.status(), **self._pulse.status()},
            "busy_s": {"writer": round(self._worker.busy_s, 3)},
            "outboxes": {one.outbox.name: {"bytes_max": one.outbox.bytes_max} for one in self._behind},
            "forwards": {one.outbox.name: one.status() for one in self._behind},
            **({} if self._traces is None else {"trace": self._traces.status()}),
        }

    def unwell(self) -> str:
        """Return why the receiver does not work any more; empty when it does."""
        return self._pulse.unwell()

    def unready(self) -> str:
        """Return why nothing is taken in now; empty when it is."""
        if self._stopping:
            return "stopping"
        if self._fault:
            return f"nothing can be committed: {self._fault}"
        return "" if self._subscriber.is_connected else "not connected to the region's broker"

    def marks(self) -> dict[str, Hashable | None]:
        """Return what changes while each part gets on; a database or a disk that hangs or refuses is waited for."""
        jobs = self._worker.in_hand().values()
        is_held = bool(self._fault) or self._worker.outside_s(time.monotonic()) >= HANG_S
        return {
            "thread region": next(iter(jobs), None),
            "intake": self.counts["groups"] if self._waiting and not is_held else None,
        }

    def close(self) -> None:
        """Let go of threads and files; after `run` has ended."""
        self._worker.shutdown(wait=True, cancel_futures=True)
        for one in self._behind:
            one.close()
        for sink in self._sinks:
            sink.close()
        self._store.close()

    def _on_subscribed(self, _: Connection) -> None:
        ready, self._ready = self._ready, None
        if ready is not None:
            ready()

    def _on_publishes(self, connection: Connection, packets: list[mqtt5.PublishPacket]) -> None:
        if self._waiting and self._waiting[-1][0] is not connection:
            # The broker sends again what a dead connection did not acknowledge: keeping it too would have no bound.
            del self._waiting[self._in_hand :]
        if self._beats and self._beats[-1][0] is not connection:
            self._beats.clear()
        for packet in packets:
            waiting = len(self._waiting) - self._in_hand + len(self._beats)
            if packet.packet_id is None and waiting >= self._options.receive_maximum:
                self.counts["shed"] += 1
            elif node := wire.node_of_heartbeat(self._options.topic_prefix, packet.topic):
                self._beats.append((connection, node, packet.payload, packet.packet_id or 0))
            else:
                message = Message(packet.topic, packet.payload)
                self._waiting.append((connection, message, packet.packet_id or 0))
        self._changed.set()

    async def _rest(self) -> None:
        """Wait for messages; meanwhile say what could not be said before."""
        self._say()
        self._changed.clear()
        try:
            async with asyncio.timeout(_WORDS_RETRY_S if self._words else None):
                await self._changed.wait()
        except TimeoutError:
            pass

    async def _take_group(self) -> None:
        group = self._waiting[: self._group_length()]
        self._in_hand = len(group)
        outcome = await self._committed([message for _, message, _ in group])
        self._in_hand = 0
        if outcome is None:
            return
        del group[outcome.messages :]
        del self._waiting[: len(group)]
        for node, word in outcome.words(self._options.name, self._options.share_group):
            self._add_word(node, word)
        self._say()
        self._acknowledge([(connection, packet_id) for connection, _, packet_id in group])
        for one in self._behind:
            one.notify()
        self.counts["groups"] += 1
        self.counts["messages"] += len(group)
        self.counts["readings"] += outcome.readings

    async def _answer_beats(self) -> None:
        """Say a word to each node that asked for one, after a durable write; no word where that fails."""
        beats, self._beats, options = self._beats, [], self._options
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._worker, self._store.within, self._count_beats, len(beats))
        except StoreError as error:
            log.warning("heartbeats are not answered: %s", error)
        else:
            for _, node, payload, _ in beats:
                with contextlib.suppress(BatchError):
                    answer = ("", wire.decode_heartbeat(payload), ())
                    self._words[node, "", 0] = wire.Acknowledgement(options.name, *answer, options.share_group)
            self._say()
        self._acknowledge([(connection, packet_id) for connection, _, _, packet_id in beats])

    def _count_beats(self, _: Database, number: int) -> None:
        self._store.count("heartbeats", number)

    def _group_length(self) -> int:
        size = 0
        for index, (_, message, _) in enumerate(self._waiting):
            size += len(message.payload)
            if size > GROUP_BYTES_MAX:
                return max(1, index)
        return len(self._waiting)

    async def _committed(self, messages: list[Message]) -> Outcome | None:
        """Commit in the worker thread, again and again while the disk refuses; None when stopped meanwhile."""
        loop = asyncio.get_running_loop()
        began_at = loop.time()
        while True:
            try:
                outcome = await loop.run_in_executor(self._worker, self._take, messages)
            except StoreError as error:
                if error.fault != self._fault:
                    log.error("nothing can be committed, nothing is acknowledged: %s", error)  # noqa: TRY400
                self._fault = error.fault
                if self._stopping:
                    return None
                await asyncio.sleep(_RETRY_S)
                continue
            if self._fault:
                log.warning("commits work again")
                self._fault = ""
            self._commit_s.observe(loop.time() - began_at)
            for name, number in outcome.decided.items():
                self._decided[name] = self._decided.get(name, 0) + number
                if name.startswith("rejected."):
                    log.warning("%d messages are not taken (%s): see `gateway region status`", number, name[9:])
            return outcome

    def _take(self, messages: list[Message]) -> Outcome:
        """Take in a group; where its content is why it cannot be stored, what can be of it, one by one."""
        try:
            return self._intake.take(messages)
        except ContentError as error:
            if len(messages) > 1:
                return self._take(messages[: len(messages) // 2])
            return self._intake.bury(messages[0], error.fault)

    async def _redrive(self) -> None:
        """Take in again, now and then, the dead letters that a person has marked; then forget them."""
        loop = asyncio.get_running_loop()
        fault = ""
        while True:
            try:
                taken = await loop.run_in_executor(self._worker, self._take_marked)
            except StoreError as error:
                if error.fault != fault:
                    log.warning("dead letters cannot be taken in again: %s", error)
                fault, taken = error.fault, 0
            if taken:
                log.info("%d dead letters were taken in again", taken)
                for one in self._behind:
                    one.notify()
            else:
                await asyncio.sleep(REDRIVE_S)

    def _take_marked(self) -> int:
        with self._store.transaction() as transaction:
            marked = dead_letters.claimed(transaction, REDRIVEN_AT_ONCE)
        for number, topic, payload in marked:
            self._take([Message(topic, payload)])
            with self._store.transaction() as transaction:
                dead_letters.remove(transaction, [number])
        return len(marked)

    def _add_word(self, node: str, word: wire.Acknowledgement) -> None:
        key = (node, word.lane, word.epoch)
        known = self._words.get(key)
        done = receiver.pairs([*(known.done if known is not None else ()), *word.done])
        # A node refuses a longer word. The lowest ones move its cursor; the others are said when it sends them again.
        self._words[key] = word._replace(done=done[: wire.PAIRS_MAX])

    def _say(self) -> None:
        """Publish acknowledgements as far as the broker's window allows."""
        connection = self._subscriber.connection
        for key, word in list(self._words.items()):
            topic = wire.acknowledgement_topic(self._options.topic_prefix, key[0])
            if connection is None or not connection.publish(topic, wire.encode_acknowledgement(word)):
                return
            del self._words[key]

    def _acknowledge(self, taken: list[tuple[Connection, int]]) -> None:
        by_connection: dict[Connection, list[int]] = {}
        for connection, packet_id in taken:
            if packet_id:
                by_connection.setdefault(connection, []).append(packet_id)
        for connection, packet_ids in by_connection.items():
            connection.acknowledge(packet_ids)


async def run(
    options: schema.Receiver,
    health: schema.Health,
    disk: Disk,
    clock: Clock,
    chance: random.Random,
    ready: Callable[[], None],
    trace: schema.Trace | None = None,
) -> None:
    """Run one receiver until SIGTERM or SIGINT. Raises `StoreError` when its folder cannot be used.

    A database that is away is waited for: whatever started the receiver need not know in which order.
    """
    opening.check(health)
    watched = Watched(options, clock)
    notifier = Notifier(os.environ, os.getpid())
    traces = None if trace is None else ReceiverTraces(trace, options.name)
    looking = asyncio.create_task(watched.look(), name="look") if health.listen else None
    try:
        async with opening.endpoint(health, watched, catalogue.REGION, region_facts.of_receiver):
            watched.service = service = await _opened(options, disk, clock, chance, watched, notifier, traces)
            await _run(service, ready, notifier)
    finally:
        if looking is not None:
            looking.cancel()
        if traces is not None:
            traces.close()


async def _run(service: Service | Stream, ready: Callable[[], None], notifier: Notifier) -> None:
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notifier.stopping()
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    # To a supervisor a receiver is ready when it is at work: a broker that is away is waited for without a restart.
    notifier.ready("at work")
    watching = asyncio.create_task(
        supervise(notifier, service.marks, lambda: receiver_sentence(service.counts, service.unready())),
        name="supervision",
    )
    try:
        await service.run(ready)
    finally:
        watching.cancel()
        service.close()
    log.info(
        "stopped after %(messages)d messages and %(readings)d readings in %(groups)d commits, %(shed)d shed",
        service.counts,
    )


async def _opened(
    options: schema.Receiver,
    disk: Disk,
    clock: Clock,
    chance: random.Random,
    watched: Watched,
    notifier: Notifier,
    traces: ReceiverTraces | None,
) -> Service | Stream:
    while True:
        try:
            if "kafka" in options.sinks:
                return chosen.stream(options, clock, chance)
            return Service(options, disk, clock, chance, traces)
        except StoreError as error:
            if "postgresql" not in options.sinks:
                raise
            if error.fault != watched.fault:
                log.error("the receiver cannot start yet, it tries again by itself: %s", error)  # noqa: TRY400
            watched.fault = error.fault
            notifier.busy(f"waits for its store: {error.fault}", EXTENSION_S)
        await asyncio.sleep(_RETRY_S)
