"""`gateway check`: whether a configuration can be used; with `--start` also whether this box lets it.

What would keep the daemon from starting ends it with the code of a faulty configuration; what it would start with all
the same is told as a warning, so that a unit may run this before each start.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import EX_OK
from gateway.clock import Clock
from gateway.config.load import load
from gateway.config.material import read_material
from gateway.config.units import size_text
from gateway.errors import ConfigError
from gateway.obstacles import obstacles
from gateway.recovery import Settings

if TYPE_CHECKING:
    import argparse

    from gateway.config import schema


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")
    told = "look also at what a start on this box needs: folders, files of TLS and passwords, packages"
    parser.add_argument("--start", action="store_true", help=told)


def run(arguments: argparse.Namespace) -> int:
    """Print what the file sets up; its faults end it as `ConfigError`."""
    config = load(arguments.config).to_start()
    material = read_material(config.route)
    if config.node is not None:
        Settings.of(config, material).pipeline(1, material.keys)
    if arguments.start:
        _look_around(config)
    print(f"{arguments.config}: ok, {summary(config)}")
    return EX_OK


def _look_around(config: schema.Gateway) -> None:
    """Print what a start would suffer from; raise `ConfigError` with what would end it."""
    found = obstacles(config, Clock())
    for one in found:
        if not one.stops:
            print(f"warning: {one.sentence}", file=sys.stderr)
    ending = tuple(one.sentence for one in found if one.stops)
    if ending:
        raise ConfigError("the gateway cannot start here", ending, hint="correct this, then start it again")


def summary(config: schema.Gateway) -> str:
    """Return in a few words what a configuration sets up."""
    parts = []
    if config.node is not None:
        lanes = ", ".join(f"{lane.name} {size_text(lane.bytes_max)}" for lane in config.spool.lanes)
        parts.append(f"node {config.node.id}, broker {config.broker.host}:{config.broker.port}")
        parts.append(f"{_counted(len(config.route), 'route')}, {_counted(len(config.spool.lanes), 'lane')} ({lanes})")
        names = ", ".join(region.name for region in config.region)
        parts.append(_counted(len(config.region), "region") + (f" ({names})" if names else ""))
    if config.receiver is not None:
        parts.append(f"receiver {config.receiver.name} at {config.receiver.host}:{config.receiver.port}")
    return ", ".join(parts)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
