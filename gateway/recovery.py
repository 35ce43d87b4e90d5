"""From what the last run left behind to a pipeline that goes on exactly where it ended.

Load the newest checkpoint that can be read, replay the journal after it through the same pipeline and settings, and
hand every batch to the spool, which already knows most of them. If the settings changed, the old pipeline is brought to
its end first (windows closed, batches sealed) and its books go on in the new one. Where the journal has lost
acknowledged input, or the spool is ahead of it, a new epoch begins: what is replayed after that may reach a region a
second time, but no identity is ever used for two contents and nothing that is left is thrown away.

Being killed in a recovery and running it again gives the same result: where an epoch begins, a checkpoint is taken, so
that the next start finds the damage behind it. The loss is told by the start that meets it, in its report and the log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.batch import envelope
from gateway.config import schema
from gateway.errors import StoreError
from gateway.journal import replay
from gateway.journal.format import Checkpoint
from gateway.ledger import RECEIVED
from gateway.process.material import NO_MATERIAL, Material, documents_of, mark
from gateway.process.pipeline import Pipeline
from gateway.spool.format import Position
from gateway.spool.lanes import Appended

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from gateway.clock import Clock
    from gateway.disk import Disk
    from gateway.journal.checkpoint import CheckpointStore
    from gateway.model import OpenBatch, Output
    from gateway.quarantine import Quarantine
    from gateway.spool.lanes import Spool

GAPS_MAX: Final = 8
"""Gaps of a journal after which an epoch and a checkpoint are made; after more of them a crash may cost duplicates."""


class Settings(msgspec.Struct, frozen=True):
    """The part of the configuration that decides what the pipeline makes of an input, with the files that it names.

    `key_marks` tell the keys of `keys`, which is not part of it: a key is never written anywhere.
    """

    node: str
    route: tuple[schema.Route, ...]
    lanes: tuple[schema.Lane, ...]
    payload_bytes_max: int
    topic_bytes_max: int
    receive_maximum: int
    documents: dict[str, bytes] = msgspec.field(default_factory=dict)
    key_marks: dict[str, str] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, config: schema.Gateway, material: Material = NO_MATERIAL) -> Settings:
        """Return the settings in a configuration."""
        assert config.node is not None
        limits = config.broker
        return cls(
            config.node.id,
            (*config.route, *config.audit.routes),
            config.spool.lanes,
            limits.payload_bytes_max,
            limits.topic_bytes_max,
            limits.receive_maximum,
            dict(material.documents),
            {path: mark(key) for path, key in material.keys.items()},
        )

    def same_routes(self, other: Settings) -> set[str]:
        """Return the names of the routes that are the same in both, with their files and limits."""
        if (self.payload_bytes_max, self.topic_bytes_max) != (other.payload_bytes_max, other.topic_bytes_max):
            return set()
        others = {route.name: route for route in other.route}
        return {
            route.name
            for route in self.route
            if others.get(route.name) == route and self._files_of(route) == other._files_of(route)
        }

    def _files_of(self, route: schema.Route) -> tuple[object, ...]:
        return (self.key_marks.get(route.key_file), *(self.documents.get(path) for path in documents_of(route)))

    def pipeline(self, epoch: int, keys: Mapping[str, bytes] = NO_MATERIAL.keys) -> Pipeline:
        """Return a pipeline in its initial state, with those of the keys that it was made with."""
        limits = schema.Broker(
            payload_bytes_max=self.payload_bytes_max,
            topic_bytes_max=self.topic_bytes_max,
            receive_maximum=self.receive_maximum,
        )
        fitting = {path: key for path, key in keys.items() if self.key_marks.get(path) == mark(key)}
        return Pipeline(self.route, self.lanes, limits, self.node, epoch, Material(self.documents, fitting))


@dataclass(slots=True)
class Recovered:
    """Where the node goes on. `refused` are batches for which a full ring had no room yet, in order.

    `missing_messages` counts acknowledged messages that are known to be gone, at least. `former_filters` are topic
    filters that no route has any more.
    """

    pipeline: Pipeline
    position: int = 0
    at: int = 0
    wall_ns: int = 0
    connection: int = 0
    settings_changed: bool = False
    epoch_began: bool = False
    missing_messages: int = 0
    seconds: float = 0.0
    journal: replay.Report = field(default_factory=replay.Report)
    batches: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    refused: list[OpenBatch] = field(default_factory=list)
    former_filters: tuple[str, ...] = ()

    def report(self) -> dict[str, object]:
        """Return what a person wants to know of the last start."""
        return {
            "seconds": round(self.seconds, 3),
            "entries_replayed": self.journal.entries,
            "messages_replayed": self.journal.messages,
            "batches": self.batches,
            "acknowledged_input_missing": self.journal.damaged,
            "messages_missing": self.missing_messages,
            "positions_missing": self.journal.missing,
            "notes": self.notes + self.journal.notes,
        }


class Recovery:
    """The stores that a start reads. `progress` is called for each entry of the journal."""

    def __init__(
        self,
        disk: Disk,
        clock: Clock,
        journal_folder: Path,
        checkpoints: CheckpointStore,
        spool: Spool,
        quarantine: Quarantine,
        keys: Mapping[str, bytes] = NO_MATERIAL.keys,
    ) -> None:
        self._disk = disk
        self._clock = clock
        self._journal_folder = journal_folder
        self._checkpoints = checkpoints
        self._spool = spool
        self._quarantine = quarantine
        self._keys = keys
        self._boot = clock.boot_id()
        self._settings: Settings
        self.mark: Callable[[OpenBatch], None] = lambda _: None
        self.progress: Callable[[], None] = lambda: None

    def run(self, settings: Settings) -> Recovered:
        """Return a pipeline under `settings` that has seen all journaled input."""
        started = perf_counter()
        self._settings = settings
        recovered = self._from_checkpoint(settings)
        pipeline = recovered.pipeline
        start = recovered.position
        gaps = 0
        for position, entry in replay.entries(self._disk, self._journal_folder, start, recovered.journal):
            if gaps < min(len(recovered.journal.missing), GAPS_MAX):
                gaps += 1
                self._begin_epoch(recovered, position, "the journal has lost acknowledged input")
            for output in pipeline.apply(entry, position):
                self._absorb(output, recovered)
            self.progress()
            recovered.position = position + 1
            recovered.at = max(recovered.at, entry.at)
            recovered.wall_ns = entry.wall_ns
            recovered.connection = max(recovered.connection, getattr(entry, "connection", 0))
        if recovered.settings_changed:
            self._adopt(settings, recovered)
        ahead = {lane for lane, last in recovered.pipeline.sequences.items() if last < self._spool.head(lane)}
        imported = {lane for lane in ahead if self._spool.is_imported(lane)}
        self._note_missing_input(recovered, ahead - imported)
        moved = self._leave_lost_positions(recovered)
        if ahead:
            why = "batches were imported" if ahead == imported else "the spool is ahead of the journal"
            self._begin_epoch(recovered, recovered.position, why)
        elif recovered.journal.damaged and not recovered.epoch_began:
            self._begin_epoch(recovered, recovered.position, "the end of the journal is damaged")
        elif moved:
            self._keep(recovered, recovered.position)
        recovered.notes += self._spool.report
        recovered.seconds = perf_counter() - started
        return recovered

    def _from_checkpoint(self, settings: Settings) -> Recovered:
        notes: list[str] = []
        for checkpoint, state in self._checkpoints.readable(notes):
            try:
                return self._restored(checkpoint, state, settings, notes)
            except StoreError as error:
                notes.append(f"checkpoint {checkpoint.position} cannot be used: {error.fault}")
        return Recovered(settings.pipeline(self._spool.epoch, self._keys), notes=notes)

    def _restored(
        self, checkpoint: Checkpoint, state: Iterator[bytes], settings: Settings, notes: list[str]
    ) -> Recovered:
        then = settings
        try:
            then = msgspec.json.decode(checkpoint.settings, type=Settings)
        except msgspec.DecodeError as error:
            notes.append(f"the settings of the checkpoint cannot be read ({error}), today's are used")
        pipeline = then.pipeline(self._spool.epoch, self._keys)
        pipeline.restore(state)
        self._settings = then
        for lane, sequence in pipeline.sequences.items():
            head = self._spool.head(lane)
            if head < sequence:
                notes.append(
                    f"lane {lane}: the ring ends at batch {head}, the checkpoint knows of {sequence}:"
                    f" what no region has of batches {head + 1} to {sequence} is gone from this disk"
                )
                self._spool.lose_up_to(lane, Position(sequence, checkpoint.epoch, pipeline.readings_sealed[lane]))
        return Recovered(
            pipeline,
            checkpoint.position,
            checkpoint.at,
            checkpoint.wall_ns,
            checkpoint.connection,
            settings_changed=then != settings,
            notes=notes,
        )

    def _note_missing_input(self, recovered: Recovered, ahead: set[str]) -> None:
        """Hold what was replayed against what else knows of acknowledged input: books, batches, quarantine.

        Batches are made, and messages quarantined, only of input that is durable; so lanes that are `ahead` of the
        journal, and positions beyond its end, show that this end is damaged, and not just torn while it was written.
        """
        taken_in = self._spool.taken_in
        received = recovered.pipeline.ledger[RECEIVED]
        known = taken_in.messages if taken_in.position > recovered.position else received
        for lane in ahead:
            newest = self._spool.newest(lane)
            if newest is not None:
                known = max(known, envelope.peek(newest.data).ledger.get(RECEIVED, 0))
        if ahead or self._known_position > recovered.position:
            recovered.journal.damaged = True
            recovered.missing_messages = max(recovered.missing_messages, known - received)
            recovered.notes.append(
                f"the journal ends at {recovered.position}, at least {known - received} messages more were acknowledged"
            )

    @property
    def _known_position(self) -> int:
        """The journal's next position, as far as the books and the quarantine know."""
        return max(self._spool.taken_in.position, self._quarantine.next_position)

    def _leave_lost_positions(self, recovered: Recovered) -> bool:
        """Let no new input take a position that lost input had: messages in quarantine are named by theirs.

        Not while batches wait for a full ring: without a checkpoint behind it the jump would be taken for more damage.
        """
        known = self._known_position
        if recovered.refused or known <= recovered.position:
            return False
        recovered.position = recovered.journal.next_position = known
        return True

    def _absorb(self, output: Output, recovered: Recovered) -> None:
        for batch in output.batches:
            outcome = Appended.REFUSED if recovered.refused else self._append(batch, recovered)
            if outcome is Appended.REFUSED:
                recovered.refused.append(batch)
            name = outcome.name.lower()
            recovered.batches[name] = recovered.batches.get(name, 0) + 1
        if output.quarantined:
            self._quarantine.keep(output.quarantined)

    def _append(self, batch: OpenBatch, recovered: Recovered) -> Appended:
        """Hand a batch to the spool; a disk that fails must not keep the node from starting, so the batch waits."""
        self.mark(batch)
        try:
            return self._spool.append(envelope.seal(batch, self._boot))
        except StoreError as error:
            recovered.notes.append(f"the spool cannot be written, batches wait: {error.fault}")
            return Appended.REFUSED

    def _adopt(self, settings: Settings, recovered: Recovered) -> None:
        """Bring the old pipeline to its end; the new one carries on its books, and the routes that are the same."""
        old, kept = recovered.pipeline, settings.same_routes(self._settings)
        self._absorb(old.finish(recovered.wall_ns, recovered.at, kept), recovered)
        recovered.pipeline = settings.pipeline(self._spool.epoch, self._keys)
        recovered.pipeline.succeed(old, kept)
        anew = [route.name for route in settings.route if route.name not in kept]
        filters = {pattern for route in settings.route for pattern in route.topics}
        former = (pattern for route in self._settings.route for pattern in route.topics)
        recovered.former_filters = tuple(pattern for pattern in former if pattern not in filters)
        recovered.notes.append(f"the settings have changed, routes that begin anew: {', '.join(anew) or 'none'}")
        self._settings = settings

    def _begin_epoch(self, recovered: Recovered, position: int, reason: str) -> None:
        """Let what is applied from `position` on belong to a new epoch, also when a crash makes us replay it again."""
        pipeline = recovered.pipeline
        pipeline.epoch = self._spool.mint_epoch(self._clock.wall_ns() // 10**9)
        waiting = {batch.id.lane for batch in recovered.refused}
        for lane, last in pipeline.sequences.items():
            head = self._spool.head(lane)
            if last < head or lane not in waiting:
                pipeline.resume_after(lane, head, self._spool.readings(lane))
        recovered.epoch_began = True
        recovered.notes.append(f"{reason}: epoch {pipeline.epoch} begins")
        if not recovered.refused:  # else not all that was made before is in the spool
            self._keep(recovered, position)

    def _keep(self, recovered: Recovered, position: int) -> None:
        """Take a checkpoint behind the damage: what follows then gets the same identities at each further start."""
        pipeline = recovered.pipeline
        settings = msgspec.json.encode(self._settings)
        writer = self._checkpoints.begin(
            Checkpoint(position, recovered.at, recovered.wall_ns, recovered.connection, pipeline.epoch, settings)
        )
        try:
            for state in pipeline.state_slices():
                writer.pack(state)
                if writer.is_full:
                    writer.flush()
            self._spool.sync(recovered.at)
            self._checkpoints.finish(writer)
        except StoreError as error:
            writer.abandon()
            recovered.notes.append(f"no checkpoint behind the damage: {error.fault}")
