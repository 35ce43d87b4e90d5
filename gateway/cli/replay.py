"""`gateway replay`: run recorded input through a configuration, beside the one at work, before a box gets it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway import trial
from gateway.cli import EX_OK, source
from gateway.cli.shown import moment, plain, progress, table
from gateway.config.load import load
from gateway.config.material import read_material
from gateway.disk import Disk
from gateway.errors import ConfigError
from gateway.journal import replay
from gateway.journal.checkpoint import CheckpointStore
from gateway.recovery import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from gateway.config import schema
    from gateway.trial import Trial

_ROUTES: Final = ("route", "messages", "quarantined", "readings in", "readings out")
_LANES: Final = ("lane", "batches", "readings", "link bytes", "flash bytes", "link a day", "flash a day")
_DAYS_MIN: Final = 1e-4
"""Shorter input says nothing about a day."""


class Side(NamedTuple):
    """One configuration and what came out of it."""

    name: str
    found: Trial


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration to try")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="another one beside it (default: what the node's checkpoint has)"
    )
    inputs = parser.add_mutually_exclusive_group()
    inputs.add_argument("--journal", type=Path, metavar="FOLDER", help="a journal (default: the node's own)")
    inputs.add_argument("--capture", type=Path, metavar="FOLDER", help="what `gateway capture` recorded")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Run the input through both, and print what comes out."""
    config = source.node_configuration(arguments)
    assert config.node is not None
    state = Path(config.node.state_folder)
    folder = arguments.journal or arguments.capture or state / "journal"
    report = replay.Report()
    messages = sum(1 for _ in replay.entries(Disk(), folder, 0, report)) and report.messages
    if not messages:
        raise ConfigError(f"{folder}: holds no messages", hint="name a journal or a capture that does")
    sides = []
    for name, settings, keys in _configurations(arguments, config, state):
        with progress(f"replaying under {name}", messages) as advance:
            entries = replay.entries(Disk(), folder, 0, replay.Report())
            sides.append(Side(name, trial.run(settings, keys, entries, advance)))
    print(_json(sides) if arguments.json else "\n".join(_text(sides)))
    return EX_OK


def _configurations(
    arguments: argparse.Namespace, config: schema.Gateway, state: Path
) -> Iterator[tuple[str, Settings, Mapping[str, bytes]]]:
    material = read_material(config.route)
    settings = Settings.of(config, material)
    yield str(arguments.config), settings, material.keys
    if arguments.against is not None:
        other = load(arguments.against).config
        if other.node is None:
            raise ConfigError(f"{arguments.against}: has no [node]")
        others = read_material(other.route)
        yield str(arguments.against), Settings.of(other, others), others.keys
        return
    running = _at_work(state)
    if running is not None and running != settings:
        yield "the configuration at work", running, material.keys


def _at_work(state: Path) -> Settings | None:
    """Return the settings in the newest checkpoint, None when there is none that this program reads."""
    for checkpoint, _ in CheckpointStore(Disk(), state / "checkpoint").readable([]):
        try:
            return msgspec.json.decode(checkpoint.settings, type=Settings)
        except msgspec.DecodeError:
            continue
    return None


def _json(sides: list[Side]) -> str:
    return json.dumps([{"configuration": name, **asdict(found), "days": found.days} for name, found in sides])


def _text(sides: list[Side]) -> Iterator[str]:
    first, last = sides[0].found.wall_ns
    messages, size = sides[0].found.messages, sides[0].found.payload_bytes
    yield f"{messages:,} messages with {size:,} bytes of payload, from {moment(first)} to {moment(last)}"
    for name, found in sides:
        yield from ("", f"{name}:", "")
        rows = [(str(one["name"]), *(f"{one[key]:,}" for key in _COUNTS)) for one in found.routes]
        yield from table([_ROUTES, *rows], range(1, len(_ROUTES)))
        yield ""
        yield from table([_LANES, *(_lane(lane, one, found.days) for lane, one in found.lanes.items())], range(1, 7))
        if unrouted := found.ledger.get("message.unrouted", 0):
            yield f"\n{unrouted:,} messages have no route"
        for reason, refused in found.quarantined.items():
            first_of_them = f"{plain(refused.topic)}: {plain(refused.detail)}"
            yield f"\n{refused.messages:,} messages to quarantine, {reason}, the first {first_of_them}"


_COUNTS: Final = ("messages", "quarantined", "readings_in", "readings_out")


def _lane(name: str, one: trial.LaneTrial, days: float) -> tuple[str, ...]:
    numbers = (one.batches, one.readings, one.link_bytes, one.flash_bytes)
    a_day = [f"{size / days:,.0f}" if days > _DAYS_MIN else "-" for size in (one.link_bytes, one.flash_bytes)]
    return (name, *(f"{number:,}" for number in numbers), *a_day)
