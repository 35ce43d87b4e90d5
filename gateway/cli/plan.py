"""`gateway plan`: what a configuration would send, store, write and cost in a day, from recorded input."""

from __future__ import annotations

import argparse
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import plan, trial
from gateway.cli import EX_OK, source
from gateway.cli.shown import moment, plain, progress, table
from gateway.cli.words import positive
from gateway.config.material import read_material
from gateway.disk import Disk
from gateway.errors import ConfigError
from gateway.journal import replay
from gateway.recovery import Settings
from gateway.survey import Survey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gateway.config import schema
    from gateway.plan import Budget, Flash, Link, Ring
    from gateway.survey import TopicShare

TOPICS: Final = 20
_HOUR_S: Final = 3600
_YEAR_HOURS: Final = 24 * 365
_DAYS_FROM_HOURS: Final = 72
_UNKNOWN: Final = "-"


@dataclass(slots=True)
class Found:
    """Everything that is shown. `links`, `rings` and `flash` are of a day; None where the input is too short for it."""

    config: schema.Gateway
    trial: trial.Trial
    survey: Survey
    short: dict[str, str]
    links: dict[str, Link | None]
    rings: dict[str, Ring] | None
    flash: Flash | None


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration to plan for"
    )
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument("--capture", type=Path, metavar="FOLDER", help="what `gateway capture` recorded")
    inputs.add_argument("--journal", type=Path, metavar="FOLDER", help="a journal (default: the node's own)")
    sentence = "price of a megabyte (1,000,000 bytes) on every line, or as REGION=PRICE on one; may be repeated"
    parser.add_argument("--price", action="append", default=[], type=_price, metavar="PER_MEGABYTE", help=sentence)
    sentence = "terabytes that the flash may be written in its life (default: node.endurance_tbw)"
    parser.add_argument("--flash-tbw", type=_terabytes, metavar="TB", help=sentence)
    sentence = f"topics to show for each lane, those with the most bytes (default {TOPICS})"
    parser.add_argument("--most", type=positive, default=TOPICS, metavar="N", help=sentence)
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Try the input, carry it on to a day, and print what comes out."""
    config = source.node_configuration(arguments)
    assert config.node is not None
    prices = _prices(arguments.price, config)
    folder = arguments.journal or arguments.capture or Path(config.node.state_folder) / "journal"
    endurance_tbw = config.node.endurance_tbw if arguments.flash_tbw is None else arguments.flash_tbw
    found = _found(config, folder, prices, endurance_tbw)
    print(json.dumps(_facts(found, arguments.most)) if arguments.json else "\n".join(_text(found, arguments.most)))
    return EX_OK


def _found(config: schema.Gateway, folder: Path, prices: Mapping[str, float], endurance_tbw: float) -> Found:
    assert config.node is not None
    report = replay.Report()
    messages = sum(1 for _ in replay.entries(Disk(), folder, 0, report)) and report.messages
    if not messages:
        raise ConfigError(f"{folder}: holds no messages", hint="name a journal or a capture that does")
    material = read_material(config.route)
    settings, survey = Settings.of(config, material), Survey(config)
    with progress("trying the input", messages) as advance:
        entries = replay.entries(Disk(), folder, 0, replay.Report())
        tried = trial.run(settings, material.keys, entries, advance, survey)
    seconds, order = survey.seconds, [lane.name for lane in config.spool.lanes]
    short = plan.too_short(config, seconds, tried.lanes)
    links = {
        region.name: None
        if short.keys() & {"", *survey.regions[region.name].lanes}
        else plan.link(region, survey.regions[region.name], config.node.id, order, seconds, prices.get(region.name))
        for region in config.mirrored
    }
    rings = flash = None
    if not short:
        stored = {name: plan.stored_bytes(lane) * plan.DAY_S / seconds for name, lane in tried.lanes.items()}
        rings = plan.rings(config, stored)
        flash = plan.flash(config, survey.written, tried.lanes, seconds, tried.payload_bytes, endurance_tbw)
    return Found(config, tried, survey, short, links, rings, flash)


def _text(found: Found, most: int) -> Iterator[str]:
    tried, (first, last) = found.trial, found.trial.wall_ns
    size = f"{tried.messages:,} messages with {tried.payload_bytes:,} bytes of payload"
    yield f"{size}, from {moment(first)} to {moment(last)}: {found.survey.seconds:,.0f} s"
    yield from _amiss(found)
    yield from ("", "in the input:", "")
    yield from table([_LINES, *_lines(found)], range(2, len(_LINES)))
    yield from _short(found)
    if any(found.links.values()):
        yield from ("", "a day at this pace, and a month of 31 such days:", "")
        yield from table([_LINKS, *_links(found)], range(2, len(_LINKS)))
    for region in found.config.mirrored:
        if (link := found.links[region.name]) is not None:
            yield from _budgets(found, region, link)
    if found.rings is not None:
        yield from _rings(found.config, found.rings)
    if found.flash is not None:
        yield from ("", "flash, bytes a day:", "")
        yield from table([_FLASH, _flash(found.flash)], range(len(_FLASH)))
    for lane, form in found.survey.topics:
        yield from _topics(found, lane, form, most)


_LINES: Final = ("region", "lane", "messages", "payload", "line adds", "sum")
_LINKS: Final = ("region", "format", "payload", "line adds", "a day", "a month", "costs")
_RINGS: Final = ("lane", "stored a day", "ring lasts", "then")
_FLASH: Final = ("journal", "checkpoints", "rings", "books", "sum", "per byte of payload", "years")
_TOPICS: Final = ("topic", "readings", "bytes", "share")


def _amiss(found: Found) -> Iterator[str]:
    if unrouted := found.trial.ledger.get("message.unrouted", 0):
        yield f"{unrouted:,} messages have no route"
    for reason, refused in found.trial.quarantined.items():
        yield f"{refused.messages:,} messages to quarantine, {reason}: see them with `gateway replay`"


def _lines(found: Found) -> Iterator[tuple[str, ...]]:
    for name, region in found.survey.regions.items():
        for lane, one in region.lanes.items():
            numbers = (one.messages, one.payload_bytes, one.overhead_bytes, one.bytes)
            yield (name, lane, *(f"{number:,}" for number in numbers))


def _short(found: Found) -> Iterator[str]:
    if found.short:
        yield ""
        yield from found.short.values()
        yield "so nothing is carried on to a day for it, nor for rings and flash: take longer input"


def _links(found: Found) -> Iterator[tuple[str, ...]]:
    for region in found.config.mirrored:
        link = found.links[region.name]
        if link is None:
            yield (region.name, region.format, *[_UNKNOWN] * 5)
            continue
        numbers = (link.payload_bytes, link.overhead_bytes, link.day_bytes, link.month_bytes)
        cost = _UNKNOWN if link.cost_month is None else f"{link.cost_month:,.2f}"
        yield (region.name, region.format, *(f"{number:,.0f}" for number in numbers), cost)


def _budgets(found: Found, region: schema.Region, link: Link) -> Iterator[str]:
    urgent = ", ".join(region.link.urgent_lanes or [lane.name for lane in found.config.spool.lanes[:1]])
    for budget in link.budgets:
        begin = f"{region.name}: {budget.option} is {budget.limit:,.0f}, {budget.estimate:,.0f} are needed"
        if budget.option == "bytes_per_second":
            begin += f" on average and {found.survey.regions[region.name].minute_bytes_max / 60:,.0f} in a busy minute"
        if not budget.over:
            yield f"\n{begin}: {budget.estimate / budget.limit:.0%} of it"
            continue
        yield f"\n! {begin}: exceeded by {budget.over:,.0f}, {budget.over / budget.limit:.0%}"
        if budget.spent_after_s is None:
            yield "  what comes piles up in the ring, and goes when less comes"
            continue
        yield f"  spent {_spent(budget)}, then only urgent lanes go: {urgent}"
        if budget.option == "bytes_per_day":
            yield f"  {link.held_bytes:,.0f} bytes of each day stay in the ring"


def _spent(budget: Budget) -> str:
    assert budget.spent_after_s is not None
    minutes = math.floor(budget.spent_after_s / 60)
    clock = f"at {minutes // 60 % 24:02}:{minutes % 60:02} UTC"
    return clock if budget.option == "bytes_per_day" else f"on day {minutes // 1440 + 1} {clock}"


def _rings(config: schema.Gateway, rings: Mapping[str, Ring]) -> Iterator[str]:
    yield from ("", "how long the rings take everything while no region does:", "")
    rows = [(name, f"{ring.bytes_a_day:,.0f}", _lasts(ring), ring.then) for name, ring in rings.items()]
    yield from table([_RINGS, *rows], range(1, 3))
    ending = {name: ring for name, ring in rings.items() if ring.hours is not None and not ring.is_least}
    if ending:
        name = min(ending, key=lambda one: ending[one].hours or 0.0)
        yield f"\nall of {config.spool.bytes_max:,} bytes: {_lasts(ending[name])}, then lane {name} is the first"


def _lasts(ring: Ring) -> str:
    if ring.hours is None:
        return "for ever"
    if ring.hours > _YEAR_HOURS:
        said = f"{ring.hours / _YEAR_HOURS:,.1f} years"
    elif ring.hours > _DAYS_FROM_HOURS:
        said = f"{ring.hours / 24:,.1f} days"
    else:
        said = f"{ring.hours:,.1f} h"
    return f"more than {said}" if ring.is_least else said


def _flash(flash: Flash) -> tuple[str, ...]:
    numbers = (flash.journal, flash.checkpoint, flash.ring, flash.books, flash.total)
    each = _UNKNOWN if flash.per_payload_byte is None else f"{flash.per_payload_byte:,.2f}"
    years = _UNKNOWN if flash.years is None else f"{flash.years:,.1f}"
    return (*(f"{number:,.0f}" for number in numbers), each, years)


def _topics(found: Found, lane: str, form: str, most: int) -> Iterator[str]:
    shares = _most(found, lane, form, most)
    total = sum(share.bytes for share in found.survey.topics[lane, form].values())
    yield from ("", f"what the {form} of lane {lane} come from:", "")
    rows = [
        (plain(topic), f"{share.readings:,}", f"{share.bytes:,.0f}", f"{share.bytes / total:.1%}")
        for topic, share in shares
    ]
    left = len(found.survey.topics[lane, form]) - len(rows)
    if left:
        others = sum(share.bytes for _, share in shares)
        rows.append((f"{left:,} others", "", f"{total - others:,.0f}", f"{1 - others / total:.1%}"))
    yield from table([_TOPICS, *rows], range(1, len(_TOPICS)))


def _most(found: Found, lane: str, form: str, most: int) -> list[tuple[str, TopicShare]]:
    """Return the topics with the most bytes."""
    return sorted(found.survey.topics[lane, form].items(), key=lambda one: (-one[1].bytes, one[0]))[:most]


def _facts(found: Found, most: int) -> dict[str, object]:
    tried, survey = found.trial, found.survey
    return {
        "messages": tried.messages,
        "payload_bytes": tried.payload_bytes,
        "wall_ns": tried.wall_ns,
        "seconds": survey.seconds,
        "too_short": list(found.short.values()),
        "ledger": tried.ledger,
        "regions": {
            name: {**asdict(line), "day": _link_facts(found.links[name])} for name, line in survey.regions.items()
        },
        "lanes": {name: asdict(lane) for name, lane in tried.lanes.items()},
        "rings": found.rings and {name: ring._asdict() for name, ring in found.rings.items()},
        "written": asdict(survey.written),
        "flash": found.flash and asdict(found.flash),
        "topics": [_topic_facts(found, lane, form, most) for lane, form in survey.topics],
    }


def _link_facts(link: Link | None) -> dict[str, object] | None:
    return None if link is None else {**asdict(link), "budgets": [budget._asdict() for budget in link.budgets]}


def _topic_facts(found: Found, lane: str, form: str, most: int) -> dict[str, object]:
    shares = found.survey.topics[lane, form]
    total = sum(share.bytes for share in shares.values())
    named = [
        {"topic": topic, "readings": share.readings, "bytes": round(share.bytes, 1), "share": share.bytes / total}
        for topic, share in _most(found, lane, form, most)
    ]
    return {"lane": lane, "form": form, "bytes": round(total, 1), "topics": named, "others": len(shares) - len(named)}


def _price(text: str) -> tuple[str, float]:
    """Return (region, price of a megabyte); the region is empty for all. Raises `ArgumentTypeError`."""
    region, _, price = text.rpartition("=")
    return region, _number(price, "a price, as 0.02 or REGION=0.02")


def _terabytes(text: str) -> float:
    return _number(text, "terabytes, as 40")


def _number(text: str, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {what}")
    return number


def _prices(said: list[tuple[str, float]], config: schema.Gateway) -> dict[str, float]:
    """Return the price of each region that has one; what is said of one region goes before what is said of all."""
    names = [region.name for region in config.mirrored]
    if unknown := {name for name, _ in said if name}.difference(names):
        known = ", ".join(names) or "none"
        raise ConfigError(f"--price: the node mirrors to no region {min(unknown)}", hint=f"its regions are: {known}")
    own = {name: price for name, price in said if name}
    return {**{name: price for whose, price in said if not whose for name in names}, **own}
