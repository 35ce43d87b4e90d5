"""Runs journaled input through a configuration that is not at work: what would come out, and what it would cost.

Ticks are not taken from the journal but made where this configuration has its deadlines, as the committer would; so the
same input can be held against any configuration. Nothing is written.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from gateway.batch import envelope
from gateway.model import MessageGroup, Tick
from gateway.spool import format as spool_format

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from gateway.model import Entry, Output
    from gateway.process.pipeline import Pipeline
    from gateway.recovery import Settings

MESSAGE_OVERHEAD_BYTES: Final = 64
"""What a batch costs on the link besides its envelope: topic, MQTT header and TLS record, about."""

_BOOT: Final = "trial"


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


def run(
    settings: Settings,
    keys: Mapping[str, bytes],
    entries: Iterable[tuple[int, Entry]],
    advance: Callable[[int], None] = lambda _: None,
) -> Trial:
    """Apply all messages of `entries` (position, entry) under `settings`; `advance` is told how many messages."""
    pipeline = settings.pipeline(1, keys)
    trial = Trial(lanes={lane.name: LaneTrial() for lane in settings.lanes})
    position = at = wall_ns = 0
    for position, entry in entries:
        if not isinstance(entry, MessageGroup):
            continue
        _tick(pipeline, entry, position, trial)
        at, wall_ns = entry.at, entry.wall_ns
        trial.wall_ns = (trial.wall_ns[0] if trial.messages else wall_ns, wall_ns)
        trial.messages += len(entry.topics)
        trial.payload_bytes += sum(map(len, entry.payloads))
        for output in pipeline.apply(entry, position):
            _take(output, trial)
        advance(len(entry.topics))
    _take(pipeline.finish(wall_ns, at), trial)
    trial.ledger, trial.routes = dict(pipeline.ledger), pipeline.routes_status()
    return trial


def _tick(pipeline: Pipeline, entry: MessageGroup, position: int, trial: Trial) -> None:
    """Let the deadlines pass that lie before an entry."""
    while (due := pipeline.deadline) is not None and due < entry.at:
        for output in pipeline.apply(Tick(entry.wall_ns - (entry.at - due), due, entry.clock), position):
            _take(output, trial)


def _take(output: Output, trial: Trial) -> None:
    for batch in output.batches:
        sealed = envelope.seal(batch, _BOOT)
        lane = trial.lanes.setdefault(batch.id.lane, LaneTrial())
        lane.batches += 1
        lane.readings += sealed.readings
        lane.link_bytes += len(sealed.data) + MESSAGE_OVERHEAD_BYTES
        lane.flash_bytes += spool_format.batch_frame_bytes(len(sealed.data))
    for one in output.quarantined:
        known = trial.quarantined.setdefault(one.reason, Refused(0, one.topic, one.detail))
        known.messages += 1
