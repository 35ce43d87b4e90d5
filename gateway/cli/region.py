"""`gateway region run`, `status`, `audit` and `dead`: the central side."""

from __future__ import annotations

import asyncio
import datetime as dt
import faulthandler
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.audit import trail
from gateway.cli import EX_NO, EX_OK, dead_letters, shown
from gateway.clock import Clock
from gateway.config.load import load
from gateway.disk import Disk
from gateway.errors import ConfigError
from gateway.health import log
from gateway.region import audit, chosen, service

if TYPE_CHECKING:
    import argparse
    from collections.abc import Coroutine

    from gateway.audit.trail import Trail
    from gateway.config import schema
    from gateway.region.reconcile import LaneReport, Report

_COLUMNS = ("node", "lane", "epoch", "batches", "expected", "received", "lost", "missing", "unaccounted", "repeated")


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, sentence in (
        ("run", "receive until a signal"),
        ("status", "show what was received, and what was not"),
        ("dead", "look at what could not be taken, let it be taken in again, or remove it"),
        ("audit", "say what became of everything that is not there; exit code 1 when a person is needed"),
    ):
        action = actions.add_parser(name, help=sentence)
        action.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")
        if name != "run":
            action.add_argument("--json", action="store_true", help="print JSON")
        if name == "dead":
            dead_letters.register(action)
        if name == "audit":
            told = "what `gateway status --json` of a node printed; may be given again"
            action.add_argument("--node", type=Path, action="append", default=[], metavar="FILE", help=told)
            action.add_argument("--region", default="", metavar="NAME", help="what those nodes call this region")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    options, health = _receiver(arguments.config, is_to_start=arguments.action == "run")
    if arguments.action == "status":
        report = chosen.report(options)
        print(msgspec.json.encode(report).decode() if arguments.json else table(report))
        return EX_OK
    if arguments.action == "dead":
        return dead_letters.run(options, arguments)
    if arguments.action == "audit":
        return _audit(options, arguments)
    faulthandler.enable(2)  # on SIGABRT, which a watchdog sends, all threads say where they are
    loaded = load(arguments.config)
    log.setup(loaded.config.log)
    chance = random.Random(os.urandom(16))  # noqa: S311  # jitter is no secret
    receiving = service.run(options, health, Disk(), Clock(), chance, _say_ready, loaded.config.trace)
    if not options.keeps_state:
        asyncio.run(receiving)
    else:
        made = trail.opened(Path(options.state_folder), loaded.config.audit.bytes_max, loaded.sha256)
        asyncio.run(_audited(receiving, made))
    return EX_OK


async def _audited(receiving: Coroutine[Any, Any, None], made: Trail) -> None:
    async with trail.written(made):
        await receiving


def _audit(options: schema.Receiver, arguments: argparse.Namespace) -> int:
    states = [_state(path, arguments.region) for path in arguments.node]
    found = audit.audit(chosen.report(options), states)
    if arguments.json:
        print(msgspec.json.encode(found).decode())
    elif found:
        rows = [("node", "lane", "verdict", "readings", "")]
        rows += [(one.node, one.lane, one.verdict.value, f"{one.readings:,}", one.sentence) for one in found]
        print("\n".join(shown.table(rows, numbers={3})))
    else:
        print("everything that was heard of is there")
    return EX_NO if any(one.verdict.is_bad for one in found) else EX_OK


def _state(path: Path, region: str) -> audit.NodeState:
    try:
        return audit.state_of(msgspec.json.decode(path.read_bytes(), type=dict[str, Any]), region)
    except (ValueError, msgspec.DecodeError) as error:
        raise ConfigError(f"{path}: {error}", hint="write it with `gateway status --json -c FILE > FILE`") from error


def table(report: Report) -> str:
    """Return the report for people: one line per lane and epoch, what was not taken, and the sum that must be 0."""
    rows = [_COLUMNS, *(tuple(_cells(lane)) for lane in report.lanes)]
    widths = [max(len(row[index]) for row in rows) for index in range(len(_COLUMNS))]
    lines = [
        "  ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)  # noqa: PLR2004  # names left, numbers right
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for lane in report.lanes:
        lines += [
            f"{lane.node}/{lane.lane}: batches {hole.first} to {hole.last} are missing, {hole.readings:,} readings"
            for hole in lane.holes
        ]
        lines += [f"{lane.node}/{lane.lane}: {number:,} readings {reason}" for reason, number in lane.lost.items()]
    lines += [
        f"{name}: {one['messages']:,} batches and gaps wait to be handed on, {one['bytes']:,} bytes"
        for name, one in report.outboxes.items()
    ]
    lines += [f"not taken, {reason}: {number:,} messages" for reason, number in sorted(report.rejected.items())]
    for letter in report.dead_letters:
        moment = dt.datetime.fromtimestamp(int(letter["wall_ns"]) // 10**9, dt.UTC).isoformat()
        said = ": ".join(shown.plain(str(letter[key])) for key in ("topic", "reason", "detail"))
        lines.append(f"  {moment} {said}")
    return "\n".join([*lines, f"unaccounted: {report.unaccounted}"])


def _cells(lane: LaneReport) -> list[str]:
    numbers = (lane.batches, lane.expected, lane.received, sum(lane.lost.values()), lane.missing)
    return [
        lane.node,
        lane.lane,
        str(lane.epoch),
        *(f"{number:,}" for number in (*numbers, lane.unaccounted, lane.duplicates)),
    ]


def _receiver(path: Path, *, is_to_start: bool) -> tuple[schema.Receiver, schema.Health]:
    loaded = load(path)
    config = loaded.to_start() if is_to_start else loaded.config
    options = config.receiver
    if options is None:
        raise ConfigError(f"{path}: has no [receiver]", hint="`gateway run` runs a [node]")
    return options, config.health


def _say_ready() -> None:
    print("ready", flush=True)
