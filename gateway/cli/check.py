"""`gateway check`: whether a configuration can be used."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import EX_OK
from gateway.config.load import load
from gateway.config.material import read_material
from gateway.config.units import size_text
from gateway.recovery import Settings

if TYPE_CHECKING:
    import argparse

    from gateway.config import schema


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")


def run(arguments: argparse.Namespace) -> int:
    """Print what the file sets up; its faults end it as `ConfigError`."""
    config = load(arguments.config).config
    material = read_material(config.route)
    if config.node is not None:
        Settings.of(config, material).pipeline(1, material.keys)
    print(f"{arguments.config}: ok, {summary(config)}")
    return EX_OK


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
