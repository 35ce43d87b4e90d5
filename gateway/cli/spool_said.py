"""What `gateway spool ls` and `check` print, for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.cli.shown import moment, placed, table
from gateway.spool.findings import MISSING, TORN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.spool.books import Range
    from gateway.spool.findings import Finding, Inspection, LaneState, SegmentState

_LANES: Final = ("lane", "segments", "batches", "readings", "from", "to", "used", "allocated")
_REGIONS: Final = (
    "region",
    "lane",
    "has up to",
    "batches waiting",
    "readings waiting",
    "batches lost",
    "readings lost",
)
_FILES: Final = ("segment", "from", "to", "batches", "readings", "used", "allocated", "state")
_GAPS: Final = ("gap", "from", "to", "readings", "epoch", "reason")
_DASH: Final = "-"


def list_json(found: Inspection, node: str) -> str:
    """Return `ls` for programs."""
    return json.dumps({"node": node, "epoch": found.epoch, "lanes": _lanes(found), "aside": found.aside})


def check_json(found: Inspection, node: str) -> str:
    """Return `check` for programs."""
    return json.dumps(
        {
            "node": node,
            "damaged": found.is_damaged,
            "findings": [asdict(one) for one in found.findings],
            "lanes": _lanes(found),
            "aside": found.aside,
        }
    )


def _lanes(found: Inspection) -> list[dict[str, object]]:
    return [{**asdict(lane), "gaps": [msgspec.structs.asdict(gap) for gap in lane.gaps]} for lane in found.lanes]


def listing(found: Inspection, node: str, *, files: bool) -> list[str]:
    """Return `ls` for people."""
    lines = [f"node {node or 'unknown'}, epoch {found.epoch or 'unknown'}", ""]
    if not found.lanes:
        return [*lines, "no lane"]
    lines += table([_LANES, *map(_lane_cells, found.lanes)], range(1, len(_LANES)))
    rows = [
        (region, lane.name, *_numbers(one.cursor, one.batches, one.readings, one.lost_batches, one.lost_readings))
        for lane in found.lanes
        for region, one in lane.regions.items()
    ]
    if rows:
        lines += ["", *table([_REGIONS, *sorted(rows)], range(2, len(_REGIONS)))]
    gaps = [_gap_cells(lane.name, gap) for lane in found.lanes for gap in lane.gaps]
    if gaps:
        lines += ["", *table([_GAPS, *gaps], {1, 2, 3, 4})]
    if files:
        segments = [_segment_cells(lane.name, one) for lane in found.lanes for one in lane.segments]
        lines += ["", *table([_FILES, *segments], range(1, 7))]
    return [*lines, *_kept_aside(found)]


def _lane_cells(lane: LaneState) -> tuple[str, ...]:
    ends = (str(lane.oldest), str(lane.head)) if lane.batches else (_DASH, _DASH)
    sizes = _numbers(lane.bytes_used, lane.bytes_allocated)
    return (lane.name, *_numbers(len(lane.segments), lane.batches, lane.readings), *ends, *sizes)


def _segment_cells(lane: str, one: SegmentState) -> tuple[str, ...]:
    state = one.state if one.is_finished else f"{one.state}, open"
    last = str(one.last) if one.batches else _DASH
    numbers = _numbers(one.batches, one.readings, one.bytes_used, one.bytes_allocated)
    return (f"{lane}/{one.name}", str(one.first), last, *numbers, state)


def _gap_cells(lane: str, gap: Range) -> tuple[str, ...]:
    return (lane, str(gap.first), str(gap.last), *_numbers(gap.readings), str(gap.epoch), gap.reason)


def _numbers(*numbers: int) -> tuple[str, ...]:
    return tuple(f"{number:,}" for number in numbers)


def _kept_aside(found: Inspection) -> Iterator[str]:
    yield from (f"put aside: {name}" for name in found.aside)


def verdict(found: Inspection) -> list[str]:
    """Return `check` for people: the findings, and the sum of it."""
    lines = [*map(sentence, found.findings), *_kept_aside(found)]
    batches, readings = (sum(getattr(lane, name) for lane in found.lanes) for name in ("batches", "readings"))
    lines.append(f"{batches:,} batches with {readings:,} readings can be read")
    return [*lines, "damage found" if found.is_damaged else "no damage found"]


def sentence(one: Finding) -> str:
    """Return one finding."""
    place = "/".join(part for part in (one.lane, one.file) if part)
    said = placed(place, one.offset, one.kind, one.size, one.why)
    if one.kind == TORN:
        return f"{said}; it was being written, no batch is missing for it"
    if one.first is None:
        return f"{said}; no batch is missing for it"
    run = f"batch {one.first}" if one.first == one.last else f"batches {one.first} to {one.last}"
    if one.known:
        return f"{said}; {run}, which the books have as lost"
    if one.passed:
        return f"{said}; {run}, which every region has"
    lost = f"{run} with {one.readings:,} readings"
    return f"{said}; no file holds {lost}" if one.kind == MISSING else f"{said}; {lost} cannot be read"


def exported(made_ns: int, lanes: dict[str, tuple[int, int, int]]) -> list[str]:
    """Return what an archive holds; `lanes` maps lane → (batches, gaps, readings)."""
    rows = [("lane", "batches", "gaps", "readings"), *((lane, *_numbers(*counts)) for lane, counts in lanes.items())]
    return [f"made {moment(made_ns)}", *table(rows, {1, 2, 3})]
