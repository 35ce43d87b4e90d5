"""`gateway reload`: let the running gateway take up its configuration file as it is now, without a restart.

The file is checked here first, so that its faults are shown to whoever asks. Then the daemon is told, and the answer is
what it made of it.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.cli import EX_OK
from gateway.config.load import load
from gateway.config.material import read_material
from gateway.errors import ConfigError, LinkError
from gateway.health.endpoint import ask

if TYPE_CHECKING:
    import argparse

WAIT_S: Final = 30.0
_POLL_S: Final = 0.1


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")


def run(arguments: argparse.Namespace) -> int:
    """Tell the daemon, and wait until it has taken the file up or refused it."""
    loaded = load(arguments.config)
    config = loaded.config
    if config.node is None:
        raise ConfigError(f"{arguments.config}: has no [node]", hint="a receiver is restarted")
    if not loaded.unknown:  # else only the daemon can read what the file names
        read_material(config.route)
    socket = config.node.socket_path
    before = ask(socket)
    os.kill(before["pid"], signal.SIGHUP)
    reloads = _answer(socket, before["reloads"])
    if reloads["refused"] != before["reloads"]["refused"]:
        raise ConfigError(f"the gateway goes on as it was: {reloads['last_refusal']}")
    print(f"{arguments.config}: taken up")
    return EX_OK


def _answer(socket: Path, before: dict[str, Any]) -> dict[str, Any]:
    """Return the daemon's count of reloads once it differs. The socket is away while the flow is built anew."""
    end = time.monotonic() + WAIT_S
    while time.monotonic() < end:
        time.sleep(_POLL_S)
        try:
            found: dict[str, Any] = ask(socket)["reloads"]
        except LinkError:
            continue
        if (found["taken"], found["refused"]) != (before["taken"], before["refused"]):
            return found
    raise LinkError(f"the gateway has not answered within {WAIT_S:.0f} s", hint="see its log")
