"""Runs journaled input through a configuration that is not at work: what would come out, and what it would cost.

Ticks are not taken from the journal but made where this configuration has its deadlines, as the committer would; so the
same input can be held against any configuration. Nothing is written. A `Surveyor` looks on, and may divide the input
into commits as this configuration would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from gateway.batch import envelope
from gateway.model import MessageGroup, Tick
from gateway.spool import format as spool_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from gateway.model import Entry, OpenBatch, Output, SealedBatch
    from gateway.process.pipeline import Pipeline
    from gateway.recovery import Settings

MESSAGE_OVERHEAD_BYTES: Final = 64
"""What a batch costs on the link besides its envelope: topic, MQTT header and TLS record, about."""

_BOOT: Final = "00000000-0000-0000-0000-000000000000"
_EPOCH: Final = 1_764_000_000
"""As long, in the header of each batch, as those of a real node."""


@dataclass(slots=True)
class LaneTrial:
    """What a lane would get. `link_bytes` to one region; `flash_bytes` in its ring."""

    batches: int = 0
    readings: int = 0
    link_bytes: int = 0
    flash_bytes: int = 0


@dataclass(slots=True)
class Refused:
    """Messages that would go to quarantine for one reason, and the first of them."""

    messages: int
    topic: str
    detail: str


@dataclass(slots=True)
class Trial:
    """What came of the input; `wall_ns` are the times of its first and last message, 0 without one."""

    messages: int = 0
    payload_bytes: int = 0
    wall_ns: tuple[int, int] = (0, 0)
    ledger: dict[str, int] = field(default_factory=dict)
    routes: list[dict[str, object]] = field(default_factory=list)
    lanes: dict[str, LaneTrial] = field(default_factory=dict)
    quarantined: dict[str, Refused] = field(default_factory=dict)

    @property
    def days(self) -> float:
        """How long the input took, in days."""
        first, last = self.wall_ns
        return (last - first) / 86_400e9


class Surveyor(Protocol):
    """Who looks on at a trial."""

    def entries(self, pipeline: Pipeline, found: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
        """Yield what is to be applied, ticks included; each is applied before the next is asked for."""

    def sealed(self, batch: OpenBatch, sealed: SealedBatch, at: int) -> None:
        """Hear of a batch, made at the node's own time `at` (ns)."""

    def ending(self, pipeline: Pipeline) -> None:
        """Look at the pipeline after the last entry, before everything open is closed."""


def run(
    settings: Settings,
    keys: Mapping[str, bytes],
    entries: Iterable[tuple[int, Entry]],
    advance: Callable[[int], None] = lambda _: None,
    surveyor: Surveyor | None = None,
) -> Trial:
    """Apply all messages of `entries` (position, entry) under `settings`; `advance` is told how many messages."""
    pipeline = settings.pipeline(_EPOCH, keys)
    trial = Trial(lanes={lane.name: LaneTrial() for lane in settings.lanes})
    at = wall_ns = 0
    stream = _timed(pipeline, entries) if surveyor is None else surveyor.entries(pipeline, entries)
    for position, entry in stream:
        at, wall_ns = entry.at, entry.wall_ns
        if isinstance(entry, MessageGroup):
            trial.wall_ns = (trial.wall_ns[0] if trial.messages else wall_ns, wall_ns)
            trial.messages += len(entry.topics)
            trial.payload_bytes += sum(map(len, entry.payloads))
            advance(len(entry.topics))
        for output in pipeline.apply(entry, position):
            _take(output, trial, at, surveyor)
    if surveyor is not None:
        surveyor.ending(pipeline)
    _take(pipeline.finish(wall_ns, at), trial, at, surveyor)
    trial.ledger, trial.routes = dict(pipeline.ledger), pipeline.routes_status()
    return trial


def _timed(pipeline: Pipeline, entries: Iterable[tuple[int, Entry]]) -> Iterator[tuple[int, Entry]]:
    """Yield the groups of messages, and before each a tick for every deadline that lies before it."""
    for position, entry in entries:
        if isinstance(entry, MessageGroup):
            while (due := pipeline.deadline) is not None and due < entry.at:
                yield position, Tick(entry.wall_ns - (entry.at - due), due, entry.clock)
            yield position, entry


def _take(output: Output, trial: Trial, at: int, surveyor: Surveyor | None) -> None:
    for batch in output.batches:
        sealed = envelope.seal(batch, _BOOT)
        lane = trial.lanes.setdefault(batch.id.lane, LaneTrial())
        lane.batches += 1
        lane.readings += sealed.readings
        lane.link_bytes += len(sealed.data) + MESSAGE_OVERHEAD_BYTES
        lane.flash_bytes += spool_format.batch_frame_bytes(len(sealed.data))
        if surveyor is not None:
            surveyor.sealed(batch, sealed, at)
    for one in output.quarantined:
        known = trial.quarantined.setdefault(one.reason, Refused(0, one.topic, one.detail))
        known.messages += 1
