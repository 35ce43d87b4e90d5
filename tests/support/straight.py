"""Swinging doors computed once more and plainly: exact numbers and lists in place of cones.

`through_door` runs the gateway's own; nothing else here comes from it, on purpose.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import msgspec

from gateway.config.schema import Sample
from gateway.process.sample import Sampler, Steps


class Reading(NamedTuple):
    time_ns: int
    value: object


def through_door(points, bound: float, silence_ns: int = 0, *, restarts: bool = False) -> tuple[list, Reading | None]:
    """Return what went on, in order, and what is held back at the end."""
    steps = Steps(Sample(swinging_door={"v": bound}, silence_ns=silence_ns))
    sampler, found = Sampler(steps, "t"), []
    for time_ns, value in points:
        row = sampler.thinned({"v": value}, time_ns)
        released = sampler.released()
        assert all(one.topic == "t" for one in released)
        found += [Reading(one.time_ns, one.row["v"]) for one in released]
        found += [Reading(time_ns, row["v"])] if row else []
        if restarts:
            state = msgspec.msgpack.decode(msgspec.msgpack.encode(sampler.state()))
            sampler = Sampler(steps, "t")
            sampler.restore(state)
    line = sampler.line("v") if points else None
    return found, None if line is None or line.held is None else Reading(line.held_ns, line.held)


def computed(points, bound: float, silence_ns: int) -> tuple[list, Reading | None]:
    """Do the same without cones: a reading fits when the line to it passes everything in between, in exact numbers."""
    kept: list[Reading] = []
    between: list[Reading] = []
    for point in map(Reading._make, points):
        newest = between[-1] if between else kept[-1] if kept else None
        if newest is None or point.time_ns <= newest.time_ns:
            if point != newest:
                kept += [*between[-1:], point]
                between = []
            continue
        if not all(distance(kept[-1], point, one) <= Fraction(bound) for one in between):
            kept.append(between[-1])
            between = []
        between.append(point)
        if silence_ns and point.time_ns - kept[-1].time_ns >= silence_ns:
            kept.append(point)
            between = []
    return kept, between[-1] if between else None


def distance(before: Reading, after: Reading, one: Reading) -> Fraction:
    """Return exactly how far a reading lies from the straight line between two others."""
    share = Fraction(one.time_ns - before.time_ns, after.time_ns - before.time_ns)
    line = Fraction(before.value) + share * (Fraction(after.value) - Fraction(before.value))
    return abs(line - Fraction(one.value))


def lost_between(points, kept: list) -> list[tuple[Reading, Reading, list[Reading]]]:
    """Return for each pair of neighbours among what was kept the readings between them, in order of arrival."""
    rest = iter(map(Reading._make, points))
    found: list[list[Reading]] = []
    for one in kept:
        lost: list[Reading] = []
        for point in rest:
            if point == one and point.value.__class__ is one.value.__class__:
                break
            lost.append(point)
        else:
            raise AssertionError(f"{one} came from nowhere, or out of order")
        found.append(lost)
    assert not list(rest), "the end is lost"
    assert not kept or not found[0], "the first is lost"
    return [(before, after, lost) for (before, after), lost in zip(pairwise(kept), found[1:], strict=True)]
