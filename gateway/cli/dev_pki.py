"""`gateway dev-pki FOLDER`: certificates to try things with on one machine."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from gateway.cli import EX_OK
from gateway.config.values import NAME_PATTERN
from gateway.demo.pki import DAYS, write_pki

DAYS_MAX: Final = 36_500


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to; nothing in it is overwritten")
    parser.add_argument(
        "--node", type=_name, default="node-1", metavar="NAME", help="name in the node's certificate (node-1)"
    )
    parser.add_argument("--days", type=_days, default=DAYS, metavar="N", help=f"validity in days ({DAYS})")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and name them."""
    write_pki(arguments.folder, arguments.node, days=arguments.days)
    for path in sorted(arguments.folder.glob("*.pem")) + sorted(arguments.folder.glob("*.key")):
        print(path)
    print("For development only: the CA's key is not kept, so these cannot be renewed.")
    return EX_OK


def _name(text: str) -> str:
    """Return a name that `node.id` takes too: brokers build topics and rules with it."""
    if not re.fullmatch(NAME_PATTERN, text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a node: {NAME_PATTERN}")
    return text


def _days(text: str) -> int:
    if not text.isdecimal() or len(text) > len(str(DAYS_MAX)) or not 1 <= int(text) <= DAYS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of days from 1 to {DAYS_MAX}")
    return int(text)
