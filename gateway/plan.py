"""From what was measured of recorded input to what a day, a month and a year of it would come to. Pure arithmetic.

    link     messages of a region's lanes, pings of the silence between them, handshakes         ─▶ budgets, cost
    ring     bytes that each lane stores, by the rules that divide the disk among lanes          ─▶ hours
    flash    commits, checkpoints, rings, books and cursors, in pages                            ─▶ years

Everything is carried on at the pace of the input, evenly over the day. A lane of which the input holds too few batches,
windows or sampling intervals is not carried on (`too_short`): what stands open at the end of the input is closed, so of
an input of n such cycles up to one part in n is too much, and `CYCLES_MIN` bounds that. Months have 31 days.

The ring is filled on paper, segment by segment, by `gateway.spool.shares` itself.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from gateway.disk import PAGE_BYTES
from gateway.flash import years
from gateway.spool import format as spool_format
from gateway.spool.shares import Shape, Shares, shapes
from gateway.toll import HANDSHAKE_BYTES, PING_BYTES, hears_receiver, heartbeat_toll, ping_after_s
from gateway.transport.windows import Windows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gateway.config import schema
    from gateway.spool.ring import Ring as SpoolRing
    from gateway.survey import RegionLine, Written
    from gateway.trial import LaneTrial

DAY_S: Final = 86_400.0
MONTH_DAYS: Final = 31
SECONDS_MIN: Final = 60.0
"""Shorter input says nothing about a day."""
CYCLES_MIN: Final = 4
"""Batches, windows or sampling intervals of a lane that the input must hold."""
RING_STEPS_MAX: Final = 60_000

_RING_PARTS: Final = 8_000
_SEGMENT_PAGES: Final = 6
"""Pages of a segment besides its batches: both headers when it is begun, index and last header when it is full."""
_PIECE_BYTES: Final = 512 * 1024
_UNSYNCED_BYTES: Final = 8 << 20
_MEGA: Final = 10**6
_WEEK_MINUTES: Final = 7 * 24 * 60
_NS: Final = 10**9


class Budget(NamedTuple):
    """How a region's estimate stands to one option of its `[region.link]`.

    `estimate` is in the option's unit, `over` what is above it, 0 if nothing. `spent_after_s` is when in the day or the
    month it would be spent, None if never; a rate is never spent.
    """

    option: str
    limit: float
    estimate: float
    over: float
    spent_after_s: float | None


@dataclass(slots=True)
class Link:
    """What a region's line would carry in a day: payload, what the line adds, and both in a month; and what it costs.

    `fixed_bytes` of the overhead are pings, heartbeats and handshakes. `held_bytes` of a day wait in the ring because a
    budget of the day is spent. `cost_month` is None without a price.
    """

    payload_bytes: float
    overhead_bytes: float
    fixed_bytes: float
    day_bytes: float
    month_bytes: float
    held_bytes: float
    cost_month: float | None
    budgets: list[Budget]


class Ring(NamedTuple):
    """How long a lane's ring takes everything while no region does; `is_least`: at least so long, None: for ever.

    `then` is what happens afterwards: evict_oldest, thin, refuse or expire.
    """

    bytes_a_day: float
    hours: float | None
    is_least: bool
    then: str


@dataclass(slots=True)
class Flash:
    """Bytes that a day writes to flash, in whole pages, as `flash.bytes` of the status counts them; and the years.

    `per_payload_byte` is None without payload, `years` without a known endurance.
    """

    journal: float
    checkpoint: float
    ring: float
    books: float
    total: float
    checkpoints: float
    per_payload_byte: float | None
    years: float | None


def too_short(config: schema.Gateway, seconds: float, lanes: Mapping[str, LaneTrial]) -> dict[str, str]:
    """Return, for each lane that cannot be carried on to a day, why not, as a sentence; under "" why none can."""
    found = {}
    if seconds < SECONDS_MIN:
        found[""] = f"the input lasts {seconds:,.0f} s, a day needs at least {SECONDS_MIN:.0f} s"
    for lane in config.spool.lanes:
        needed_s, what = _cycle(config, lane)
        if lanes[lane.name].batches > CYCLES_MIN and what == "linger":
            continue  # they fill before they have lingered
        if lanes[lane.name].batches and seconds < CYCLES_MIN * needed_s:
            least = f"a day needs at least {CYCLES_MIN * needed_s:,.0f} s, {CYCLES_MIN} times its {what}"
            found[lane.name] = f"lane {lane.name}: the input lasts {seconds:,.0f} s, {least}"
    return found


def link(
    region: schema.Region, line: RegionLine, node: str, order: Sequence[str], seconds: float, price: float | None
) -> Link:
    """Return a day of a region's line, from `seconds` of input; `order` are all lanes, `price` is of a megabyte."""
    scale = DAY_S / seconds
    opened, open_share = openings(region.link)
    pings, heartbeats = line.pings * scale, line.heartbeats * scale
    if region.link.connect:
        pings, heartbeats = opened * region.link.connect_for_ns / _NS / ping_after_s(region), 0.0
    fixed = pings * PING_BYTES + max(1.0, opened) * HANDSHAKE_BYTES
    if hears_receiver(region) and region.heartbeat_ns:
        fixed += (heartbeats + max(1.0, opened)) * heartbeat_toll(region, node)
    payload = scale * sum(lane.payload_bytes for lane in line.lanes.values())
    overhead = scale * sum(lane.overhead_bytes for lane in line.lanes.values()) + fixed
    day = payload + overhead
    urgent = region.link.urgent_lanes or order[:1]
    urgent_day = scale * sum(lane.bytes for name, lane in line.lanes.items() if name in urgent)
    used_day = spent_in_a_day(region.link.bytes_per_day, day, urgent_day)
    month = MONTH_DAYS * day
    found = []
    for option, limit, estimate, period_s in (
        ("bytes_per_day", region.link.bytes_per_day, day, DAY_S),
        ("bytes_per_month", region.link.bytes_per_month, MONTH_DAYS * used_day, MONTH_DAYS * DAY_S),
        ("bytes_per_second", region.link.bytes_per_second, day / DAY_S / open_share, 0.0),
    ):
        if limit:
            over = max(0.0, estimate - limit)
            spent_after_s = period_s * limit / estimate if over and period_s else None
            found.append(Budget(option, float(limit), estimate, over, spent_after_s))
    cost = None if price is None else price * month / _MEGA
    return Link(payload, overhead, fixed, day, month, day - used_day, cost, found)


def spent_in_a_day(limit: int, day: float, urgent_day: float) -> float:
    """Return what goes in a day under a budget of so much, 0: any; once it is spent only what is urgent goes on."""
    if not 0 < limit < day:
        return day
    return limit + urgent_day * (1 - limit / day)


def openings(options: schema.Link) -> tuple[float, float]:
    """Return how often in a day the radio goes up, and for which share of the day it is; (0, 1) without windows."""
    if not options.connect:
        return 0.0, 1.0
    windows = Windows(options.connect, options.connect_for_ns)
    monday_ns = 1_767_571_200 * _NS
    is_open = [windows.is_open(monday_ns + minute * 60 * _NS, is_set=True) for minute in range(_WEEK_MINUTES)]
    begun = sum(now and not before for before, now in zip([False, *is_open], is_open, strict=False))
    return begun / 7, max(sum(is_open), 1) / len(is_open)


class _PaperRing:
    """The ring of a lane as far as `Shares` looks at it; the regions have nothing of it. `given_at` is its first loss.

    `now` tells the time of a loss. A lane that no required region waits for gives before all others; the segment that
    is written to stays, so the last one goes only when it is full, which is when its lane `is_asking` for another.
    """

    def __init__(self, shape: Shape, *, is_required: bool, now: Callable[[], float]) -> None:
        self.shape = shape
        self.bytes_max = shape.bytes_max
        self.segments: list[int] = []
        self.contents = self
        self.oldest_is_passed = not is_required
        self.has_doomed = False
        self.is_asking = False
        self.given_at: float | None = None
        self._now = now

    @property
    def allocated(self) -> int:
        """The bytes of its segments."""
        return len(self.segments) * self.shape.segment_bytes

    @property
    def can_give(self) -> bool:
        """Whether its policy allows that the oldest segment goes."""
        is_free = len(self.segments) > (not self.is_asking)
        return is_free and (not self.shape.refuses or self.oldest_is_passed)

    def doom_oldest(self) -> None:
        """Lose the oldest segment."""
        self.segments.pop()
        self.note_end()

    def note_end(self) -> None:
        """Note that from now on something is lost, or refused."""
        if self.given_at is None:
            self.given_at = self._now()


def rings(config: schema.Gateway, bytes_a_day: Mapping[str, float]) -> dict[str, Ring]:
    """Return how long each lane's ring lasts while no region takes anything, at so many bytes a day of each lane."""
    time_s = 0.0
    required = {region.name for region in config.mirrored if region.required}
    options = config.spool
    shares = Shares(options.bytes_max, 0, lambda: None)
    papers: dict[str, _PaperRing] = {}
    for lane in options.lanes:
        shape = shapes(options)[lane.name]
        grain = min(max(shape.segment_bytes, options.bytes_max // _RING_PARTS), shape.bytes_max // 2)
        is_required = bool(required & set(lane.regions or required))
        paper = _PaperRing(replace(shape, segment_bytes=grain), is_required=is_required, now=lambda: time_s)
        papers[lane.name] = paper
        shares.rings.append(cast("SpoolRing", paper))
    full = [(0.0, name) for name, rate in bytes_a_day.items() if rate > 0]
    growing = {name for _, name in full}
    for _ in range(RING_STEPS_MAX):
        if all(papers[name].given_at is not None for name in growing):
            break
        time_s, name = heapq.heappop(full)
        paper, size = papers[name], papers[name].shape.segment_bytes
        paper.is_asking = True
        has_room = shares.make_room(cast("SpoolRing", paper), size)
        paper.is_asking = False
        if has_room:
            paper.segments.append(size)
            usable = size - spool_format.OVERHEAD_BYTES
            heapq.heappush(full, (time_s + usable / bytes_a_day[name] * DAY_S, name))
        else:
            paper.note_end()
            if not full:
                break
    return {lane.name: _lasting(lane, papers[lane.name], bytes_a_day[lane.name], time_s) for lane in options.lanes}


def flash(
    config: schema.Gateway,
    written: Written,
    lanes: Mapping[str, LaneTrial],
    seconds: float,
    payload_bytes: int,
    endurance_tbw: float,
) -> Flash:
    """Return what a day writes to flash, from `seconds` of input; `endurance_tbw` is in terabytes, 0 is unknown."""
    scale, options = DAY_S / seconds, config.journal
    checkpoint = written.checkpoint_bytes
    grown_day = written.journal_bytes * scale
    due = max(options.checkpoint_bytes_min, options.checkpoint_growth * checkpoint)
    checkpoints = max(grown_day / due, DAY_S * _NS / options.checkpoint_interval_ns) if grown_day else 0.0
    pages = math.ceil(checkpoint / PAGE_BYTES) + checkpoint // _PIECE_BYTES
    ring = 0.0
    for lane in lanes.values():
        size = stored_bytes(lane) * scale
        syncs = min(max(checkpoints, size / _UNSYNCED_BYTES), lane.batches * scale)
        ring += size + (syncs + _SEGMENT_PAGES * size / config.spool.segment_bytes) * PAGE_BYTES
    saves = (written.book_saves + written.cursor_saves) * scale + checkpoints * (1 + len(config.mirrored))
    journal, books = written.journal_flash_bytes * scale, saves * PAGE_BYTES
    total = journal + checkpoints * pages * PAGE_BYTES + ring + books
    return Flash(
        journal,
        checkpoints * pages * PAGE_BYTES,
        ring,
        books,
        total,
        checkpoints,
        total / (payload_bytes * scale) if payload_bytes else None,
        years(endurance_tbw * 10**12, int(total), DAY_S),
    )


def stored_bytes(lane: LaneTrial) -> int:
    """Return what a lane's batches take in its ring, with their entries in the index."""
    return lane.flash_bytes + lane.batches * spool_format.INDEX_ENTRY_BYTES


def _cycle(config: schema.Gateway, lane: schema.Lane) -> tuple[float, str]:
    """Return the longest of what a lane and its routes wait for, in seconds, and what it is."""
    found = [(lane.linger_ns, "linger")]
    for route in config.route:
        if route.lane == lane.name:
            sample, window = route.sample, route.window
            found += [(sample.interval_ns, "sample.interval"), (sample.silence_ns, "sample.silence")]
            if window is not None:
                found += [(window.size_ns, "window.size"), (window.gap_ns, "window.gap")]
    longest_ns, what = max(found, key=lambda one: one[0])
    return longest_ns / _NS, what


def _lasting(lane: schema.Lane, paper: _PaperRing, rate: float, reached_s: float) -> Ring:
    given_s, then = paper.given_at, paper.shape.policy
    is_least = given_s is None and rate > 0
    if is_least:
        given_s = reached_s
    expire_s = lane.expire_after_ns / _NS
    if expire_s and (given_s is None or is_least or expire_s < given_s):
        given_s, then, is_least = expire_s, "expire", False
    return Ring(rate, None if given_s is None else given_s / 3600, is_least, then)
