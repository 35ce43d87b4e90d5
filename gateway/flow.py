"""THE MAP: every stage of the gateway, wired in the order in which a message passes it.

    local broker ─▶ subscriber ─▶ intake ─▶ committer ─▶ inputs ─▶ pipeline ─▶ sealed ─▶ encode ─▶ spool ─▶ mirrors
          ▲                                    │ fdatasync                                                   │
          └───────────────PUBACK ◀─────────────┘                              region acknowledges ◀──────────┘

    stage       runs in           bound                                          when full
    intake      the loop          Receive Maximum (QoS 1), qos0_waiting_max      the broker waits; QoS 0 is shed
    committer   writer thread     one commit at a time                           the intake fills
    inputs      channel           inputs_max messages                            the committer waits: no PUBACK
    pipeline    the loop, slices  topics, windows, fields: see process           quarantine, with the reason
    sealed      two channels      SEALED_MAX batches that linger; as many        the pipeline waits
                                  that do not, which go first
    encode      encode threads    one batch of each channel at a time            the channel fills
    spool       writer thread     bytes_max per lane; in memory if the disk      evict_oldest, thin (both ledgered)
                                  refuses, up to memory_bytes_max                or refuse
    mirror      task per region   in_flight_max batches per region               stays in the spool; nobody waits

Nothing else queues. A batch exists only after its input is durable, so a restart makes it again from the journal:
that is why the spool is synced at checkpoints only, and why killing any stage at any moment loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway import ledger
from gateway.audit.feed import FOLDER as AUDIT
from gateway.audit.feed import feed_of
from gateway.channel import Channel
from gateway.checkpointing import Checkpointing, Stores
from gateway.config.material import read_material
from gateway.console.recent import Recent
from gateway.flash import Flash
from gateway.health.meters import Meters
from gateway.health.pulse import Pulse
from gateway.health.rates import Rates
from gateway.ingest.broker import subscriber_options
from gateway.ingest.committer import JOURNAL, Committer, Timeline
from gateway.ingest.intake import Intake
from gateway.ingest.pace import Pace
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.format import Checkpoint
from gateway.journal.writer import JournalWriter
from gateway.mirror.driver import Box, MirrorDriver, unsent
from gateway.pressure import Pressure
from gateway.quarantine import Quarantine
from gateway.recovery import Recovery, Settings
from gateway.relief import Relief, limits
from gateway.sealing import Sealing
from gateway.spool.books import TakenIn
from gateway.spool.lanes import Spool
from gateway.trace.node import NodeTraces
from gateway.transport.subscriber import Subscriber
from gateway.upkeep import RETRY_S, Upkeep
from gateway.vitals import Vitals
from gateway.workers import Threads, Workers

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Coroutine, Iterator

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.model import Entry, Output

log = logging.getLogger(__name__)

INPUTS_PER_WINDOW: Final = 4
"""Journaled messages that wait for the pipeline, in Receive Maximums."""

_NS: Final = 10**9


class Flow:
    """One node at work. Building it recovers what the last run left; `run` works until `stop` is called.

    `progress` is called at each step of the recovery.
    """

    def __init__(
        self,
        config: schema.Gateway,
        clock: Clock,
        disk: Disk,
        chance: random.Random,
        progress: Callable[[], None] = lambda: None,
    ) -> None:
        assert config.node is not None
        self._config = config
        self._clock = clock
        self._started_ns = clock.monotonic_ns()
        encoders = 2 if any(not lane.linger_ns for lane in config.spool.lanes) else 1
        self._threads = Threads(Workers(1, "writer"), Workers(encoders, "encode"), Workers(2, "spool-read"))
        self._boot = clock.boot_id()
        self._rates = Rates()
        self.recent = Recent() if config.console.listen else None
        self.pulse = Pulse(self._threads.writer)
        self._windows_opened = 0

        folder = Path(config.node.state_folder)
        disk.make_folder(folder)
        for purpose in ("journal", "spool", "checkpoint", AUDIT):
            disk.name_folder(folder / purpose, purpose)
        self.flash = Flash(disk, folder, config.node.endurance_tbw)
        node, now_s = config.node.id, clock.wall_ns() // _NS
        self.spool = Spool.open(disk, folder / "spool", config.spool, node, config.mirrored, now_s)
        self.quarantine = Quarantine(folder / "quarantine.sqlite")
        self.checkpoints = CheckpointStore(disk, folder / "checkpoint")
        material = read_material(config.route)
        recovery = Recovery(
            disk, clock, folder / "journal", self.checkpoints, self.spool, self.quarantine, material.keys
        )
        self.traces = NodeTraces(config.trace, node)
        recovery.progress, recovery.mark = progress, self.traces.mark
        self._settings = Settings.of(config, material)
        self.recovered = recovery.run(self._settings)
        self.pipeline = self.recovered.pipeline
        self._applied = self.recovered.position

        self.pressure = Pressure(config.pressure)
        self.timeline = Timeline(clock, self.recovered.at)
        self.upkeep = Upkeep(disk, folder, self.spool, config, self._threads.writer, self.timeline.now, self._trim)
        self.journal = JournalWriter(disk, folder / "journal", config.journal, self.recovered.journal.next_position)
        self.inputs: Channel[tuple[int, Entry]] = Channel(
            "inputs, messages", INPUTS_PER_WINDOW * config.broker.receive_maximum
        )
        self.meters = Meters(config, self.spool, clock, self.timeline.now)
        self.sealing = self._sealing()
        self.checkpointing = self._checkpointing()
        self.pace = Pace(config.journal.commit_interval_ns / _NS, config.journal.commit_interval_max_ns / _NS)
        self.intake = self._intake()
        self.committer = self._committer()
        self.relief = Relief(
            config.node, self.intake, self.spool, self._threads.writer, self.timeline, self.committer.flush
        )
        self.feed = feed_of(config.audit, disk, folder, self.committer.insert)
        self._chance = chance
        self.subscriber = Subscriber(
            subscriber_options(config, self.recovered.former_filters),
            self.intake.on_publishes,
            chance,
            last_connection=self.recovered.connection,
        )
        seen = self.meters.moved, self.traces
        box = Box(node, folder, config.spool.lanes, self.spool, disk, clock, self._threads.readers, chance, *seen)
        self.mirrors = [MirrorDriver(region, config.standbys(region.name), box) for region in config.mirrored]
        self.vitals = self._vitals()

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until `stop`; `ready` is called when input is taken in, whatever the regions do."""
        async with asyncio.TaskGroup() as group:
            start = group.create_task
            helpers = [start(work, name=name) for name, work in self._helpers()]
            recovered = start(self._hand_on_recovered(), name="recovered")
            pipeline = start(self._apply(recovered), name="pipeline")
            subscriber = start(self.subscriber.run(), name="subscriber")
            ready()
            await self.committer.run()
            # Stopping: everything taken in is committed and acknowledged; bring it to the spool, then let go.
            subscriber.cancel()
            await recovered
            await self.inputs.drained()
            pipeline.cancel()
            await self._checkpoint()
            for task in helpers:
                task.cancel()

    def _helpers(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        """Yield all work that is neither intake nor pipeline, with its name."""
        for mirror in self.mirrors:
            yield f"mirror {mirror.name}", mirror.run()
        yield "spool", self.sealing.run(self._threads.encoder, self._threads.writer)
        yield "urgent", self.sealing.run_urgent(self._threads.encoder, self._threads.writer)
        yield "upkeep", self.upkeep.run()
        yield (
            "thin",
            self.upkeep.thin(self._threads.readers, lambda: unsent(self.spool.lanes, self.mirrors), self._notify),
        )
        yield "audit", self.feed.run()
        yield "relief", self.relief.run()
        yield "rates", self._look()
        yield "pulse", self.pulse.run()
        yield "meters", self.meters.run(self._threads.readers)

    def stop(self) -> None:
        """Take nothing in any more, and let `run` end when all that was taken in is safe."""
        self.intake.is_open = False
        self.committer.stop()

    def unready(self) -> str:
        """Return why no input is taken in now, whatever the regions do; empty when it is."""
        if not self.intake.is_open:
            return "stopping"
        if not self.subscriber.is_connected:
            return f"not connected to the local broker: {self.subscriber.last_fault or 'no word from it yet'}"
        fault = self.upkeep.medium.fault_of(JOURNAL)
        return f"nothing is acknowledged, the journal takes nothing: {fault}" if fault else ""

    def close(self) -> None:
        """Let go of threads and files; after `run` has ended."""
        for threads in (self._threads.encoder, self._threads.readers, self._threads.writer):
            threads.shutdown(wait=True, cancel_futures=True)
        self.journal.close()
        self.spool.close()
        self.quarantine.close()
        self.traces.close()

    def _checkpointing(self) -> Checkpointing:
        stores, last_at = Stores(self.checkpoints, self.journal, self.spool), self.recovered.at
        now = self.timeline.now
        return Checkpointing(self._config.journal, stores, self.sealing, self.upkeep, self._threads, now, last_at)

    def _intake(self) -> Intake:
        chosen = {"has_urgent": self.pipeline.has_urgent, "is_traced": self.traces.is_on}
        return Intake(limits(self._config), lambda: self.inputs.weight, self.pace, self._patience_s, **chosen)

    def _sealing(self) -> Sealing:
        lanes = self._config.spool.lanes
        sealing = Sealing(lanes, self._boot, self.spool, self.upkeep, self.meters, self.timeline.now, self._notify)
        if self.recent is not None:
            sealing.on_batch = self.recent.note
        sealing.traces = self.traces
        return sealing

    def _committer(self) -> Committer:
        committer = Committer(
            self.journal,
            self.intake,
            self.inputs,
            self.timeline,
            self._threads.writer,
            self.upkeep,
            lambda: self.pipeline.deadline,
            self.pace,
        )
        committer.pressure = lambda: self.pressure.words
        return committer

    def _vitals(self) -> Vitals:
        channels = self.inputs, self.sealing.sealed, self.sealing.urgent
        vitals = Vitals(
            self._threads, self.committer, self.journal, channels, self.subscriber, self.upkeep, self.mirrors
        )
        vitals.applied, vitals.refusing = lambda: self._applied, lambda: self.sealing.refusing
        return vitals

    def _trim(self) -> bool | None:
        return self.checkpointing.trim()

    def _patience_s(self, topic: str) -> float:
        linger_ns = self.pipeline.linger_ns(topic)
        if linger_ns is None:
            return self.pace.interval_s
        return max(linger_ns, self._config.journal.commit_interval_ns) / _NS if linger_ns else 0.0

    async def _hand_on_recovered(self) -> None:
        """Hand on what the ring had no room for at the start; until then no checkpoint may forget its input."""
        for batch in self.recovered.refused:
            await self.sealing.take(batch)
        if self._checkpoint_is_missing():
            await self._checkpoint()

    async def _apply(self, recovered: asyncio.Task[None]) -> None:
        """Journaled input → pipeline → batches to seal, after those of the last run."""
        await recovered
        while True:
            position, entry = await self._next_input()
            for output in self.pipeline.apply(entry, position, self.committer.contexts.pop(position, None)):
                await self._hand_on(output)
                await asyncio.sleep(0)
            self._applied = position + 1
            self.spool.taken_in = TakenIn(self._applied, self.pipeline.ledger[ledger.RECEIVED])
            await self.inputs.done()
            if self.checkpointing.is_due():
                await self._checkpoint()
            if self.inputs.is_idle:
                self.intake.changed.set()

    async def _next_input(self) -> tuple[int, Entry]:
        """Wait for input; a checkpoint that failed, or that would make room, is tried also where none comes."""
        while True:
            try:
                async with asyncio.timeout(RETRY_S):
                    return await self.inputs.get()
            except TimeoutError:
                if self.checkpointing.is_due():
                    await self._checkpoint()

    async def _hand_on(self, output: Output) -> None:
        for batch in output.batches:
            await self.sealing.take(batch)
        connection = self.subscriber.connection
        if connection is not None:
            for topic, payload in output.requests:
                connection.tell(topic, payload)
        if output.quarantined:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads.writer, self.quarantine.keep, output.quarantined)

    def _notify(self) -> None:
        for mirror in self.mirrors:
            mirror.notify()

    def _checkpoint_is_missing(self) -> bool:
        recovered = self.recovered
        return not self.checkpoints.size or recovered.settings_changed or recovered.journal.entries > 0

    async def _checkpoint(self) -> None:
        """Keep the state that the pipeline has now; called between two entries only."""
        await self.checkpointing.make(self._checkpoint_header, self.pipeline.state_slices)

    def _checkpoint_header(self, at: int) -> Checkpoint:
        connection, epoch = self.subscriber.last_connection, self.pipeline.epoch
        settings = msgspec.json.encode(self._settings)
        return Checkpoint(self._applied, at, self._clock.wall_ns(), connection, epoch, settings)

    async def _look(self) -> None:
        while True:
            counts = self.pipeline.ledger
            names = (ledger.RECEIVED, ledger.READ, ledger.SEALED)
            looked = {name: counts.get(name, 0) for name in names}
            looked["payload_bytes"] = self.intake.counts["payload_bytes"]
            self._rates.look(self._clock.monotonic_ns() / _NS, looked)
            self._look_at_pressure()
            self._look_at_windows()
            await asyncio.sleep(1.0)

    def _look_at_pressure(self) -> None:
        before = self.pressure.words
        is_linked = not any(mirror.is_away for mirror in self.mirrors if mirror.is_required)
        self.pressure.look(self.timeline.now(), self.spool.fill(), is_linked=is_linked, is_tight=self.relief.is_tight)
        if self.pressure.words != before:
            log.warning("under pressure: %s", ", ".join(self.pressure.words) or "nothing any more")

    def _look_at_windows(self) -> None:
        """Let open batches be sealed when a radio has gone up."""
        opened = sum(mirror.windows_opened for mirror in self.mirrors)
        if opened != self._windows_opened:
            self._windows_opened = opened
            self.committer.flush()

    def status(self) -> dict[str, object]:
        """Return everything that people and supervisors may want to see, as plain data."""
        books = dict(self.pipeline.ledger)
        messages, readings = ledger.residuals(books, self.pipeline.open_readings)
        assert self._config.node is not None
        uptime_s = (self._clock.monotonic_ns() - self._started_ns) / _NS
        return {
            "node": self._config.node.id,
            "epoch": self.pipeline.epoch,
            "uptime_s": round(uptime_s, 1),
            "ledger": books,
            "residual": {"messages": messages, "readings": readings},
            "open_readings": self.pipeline.open_readings,
            "rates": self._rates.per_second(),
            "routes": self.pipeline.routes_status(),
            "ingest": {
                **self.intake.counts,
                **self.committer.counts,
                **self.subscriber.counts,
                "connected": self.subscriber.is_connected,
                "last_fault": self.subscriber.last_fault,
            },
            "journal": {
                **self.journal.counts,
                "commit_interval_s": round(self.pace.interval_s, 3),
                "bytes_since_checkpoint": self.journal.bytes_since_checkpoint,
                "applied": self._applied,
                "checkpoints": self.checkpoints.counts,
            },
            "channels": [one.status() for one in (self.inputs, self.sealing.sealed, self.sealing.urgent)],
            "disk": self.upkeep.medium.status(),
            "refusing": self.sealing.refusing,
            "pressure": self.pressure.words,
            "memory": self.relief.memory.status(),
            "flash": self.flash.status(self.intake.counts["payload_bytes"], uptime_s),
            "lanes": self.meters.lanes(),
            "regions": {one.name: {**one.status(), "oldest_s": self.meters.oldest_s(one.name)} for one in self.mirrors},
            "quarantine": self.quarantine.counts,
            "recovery": self.recovered.report(),
            "latency": {**self.committer.latency(), **self.pulse.status()},
            "busy_s": {
                "writer": round(self._threads.writer.busy_s, 3),
                "encode": round(self._threads.encoder.busy_s, 3),
            },
            **self.meters.status(),
            **self.traces.status(),
        }
