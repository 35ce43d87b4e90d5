"""`gateway dev-pki FOLDER`: certificates to try things with on one machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.demo.pki import DAYS, write_pki

if TYPE_CHECKING:
    import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder to write to; nothing in it is overwritten")
    parser.add_argument("--node", default="node-1", metavar="NAME", help="name in the node's certificate (node-1)")
    parser.add_argument("--days", type=int, default=DAYS, metavar="N", help=f"validity in days ({DAYS})")


def run(arguments: argparse.Namespace) -> int:
    """Write the files and name them."""
    write_pki(arguments.folder, arguments.node, days=arguments.days)
    for path in sorted(arguments.folder.glob("*.pem")) + sorted(arguments.folder.glob("*.key")):
        print(path)
    print("For development only: the CA's key is not kept, so these cannot be renewed.")
    return 0
