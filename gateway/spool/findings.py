"""What an inspection of the spool says: `gateway.spool.inspect` fills it in, tools show it.

Kinds of findings:

    damaged   bytes that were durable are not what was written; the batches that were in them are named
    missing   no file holds these batches, and the books do not know why
    torn      the end of the newest segment, or of one that could not be finished: a crash, a failed write, or a daemon
              that writes just now. Nothing durable is missing: the journal makes such a batch again
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.spool.books import Range
    from gateway.spool.contents import Contents
    from gateway.spool.format import Position

WHOLE: Final = "whole"
TORN: Final = "torn"
DAMAGED: Final = "damaged"
MISSING: Final = "missing"


@dataclass(slots=True)
class SegmentState:
    """One segment: sequences `first` to `last` are in it, `last` is 0 when it holds none."""

    name: str
    first: int
    last: int = 0
    batches: int = 0
    readings: int = 0
    bytes_used: int = 0
    bytes_allocated: int = 0
    is_finished: bool = False
    state: str = WHOLE


@dataclass(slots=True)
class Finding:
    """One thing that is not as it was written.

    Batches `first` to `last` cannot be read for it; none when these are None. `readings` is None when it is not known.
    `known`: the books have the loss already, so the regions were or will be told. `passed`: every region has them.
    """

    kind: str
    lane: str
    file: str = ""
    offset: int | None = None
    size: int = 0
    first: int | None = None
    last: int | None = None
    readings: int | None = None
    why: str = ""
    known: bool = False
    passed: bool = False

    @property
    def is_damage(self) -> bool:
        """Whether the medium, or a person, has changed what was written."""
        return self.kind in (DAMAGED, MISSING)


@dataclass(slots=True)
class Backlog:
    """How far a region has a lane, and what it still waits for: batches that are stored, and batches that are lost."""

    cursor: int
    batches: int
    readings: int
    lost_batches: int
    lost_readings: int


@dataclass(slots=True)
class LaneState:
    """One lane. `oldest` to `head` are the sequences that it holds; `lost` maps reason → (batches, readings) so far."""

    name: str
    oldest: int = 0
    head: int = 0
    epoch: int = 0
    batches: int = 0
    readings: int = 0
    bytes_used: int = 0
    bytes_allocated: int = 0
    segments: list[SegmentState] = field(default_factory=list)
    gaps: list[Range] = field(default_factory=list)
    lost: dict[str, tuple[int, int]] = field(default_factory=dict)
    regions: dict[str, Backlog] = field(default_factory=dict)


@dataclass(slots=True)
class Inspection:
    """Everything. `contents` are the lanes as readers of batches need them; `aside` are files kept for a person.

    `cursors` maps region → lane → how far it is there, as it was saved.
    """

    epoch: int = 0
    lanes: list[LaneState] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    cursors: dict[str, dict[str, Position]] = field(default_factory=dict)
    aside: list[str] = field(default_factory=list)
    contents: dict[str, Contents] = field(default_factory=dict)

    @property
    def is_damaged(self) -> bool:
        """Whether anything is damaged."""
        return any(one.is_damage for one in self.findings)
