"""`gateway run`: the daemon. Prints `ready` on a line of its own once it takes input in; logs go to standard error."""

from __future__ import annotations

import asyncio
import faulthandler
from pathlib import Path
from typing import TYPE_CHECKING

from gateway import daemon
from gateway.cli import EX_OK
from gateway.config.load import load
from gateway.errors import ConfigError
from gateway.health import log

if TYPE_CHECKING:
    import argparse

    from gateway.config.load import Loaded


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")


def run(arguments: argparse.Namespace) -> int:
    """Run until a signal."""
    faulthandler.enable(2)  # on SIGABRT, which a watchdog sends, all threads say where they are
    log.setup()
    asyncio.run(daemon.run(lambda: _configuration(arguments.config), _say_ready))
    return EX_OK


def _configuration(path: Path) -> Loaded:
    loaded = load(path)
    if loaded.to_start().node is None:
        raise ConfigError(f"{path}: has no [node]", hint="`gateway region run` runs a [receiver]")
    return loaded


def _say_ready() -> None:
    print("ready", flush=True)
