"""`gateway region dead ls | cat | redrive | purge`: what the receiver could not take, and what a forward refused.

All work with and without a receiver on the store. `redrive` only says which are to be taken in again: the receiver
does it within seconds, or when it starts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.cli import EX_NO, EX_OK
from gateway.cli.shown import moment, plain, table
from gateway.region import chosen, dead_letters

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from gateway.config import schema
    from gateway.region.dead_letters import DeadLetter
    from gateway.region.store import Database

_COLUMNS: Final = ("id", "time", "reason", "bytes", "topic", "detail")
_WHAT: Final = {
    "ls": "list them, the newest last",
    "cat": "write what is kept of one to the standard output",
    "redrive": "let the receiver take them in again",
    "purge": "remove them for ever",
}


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; the file of the configuration is `-c`."""
    parser.add_argument("what", choices=tuple(_WHAT), help="; ".join(f"{name}: {text}" for name, text in _WHAT.items()))
    parser.add_argument("ids", type=int, nargs="*", metavar="ID", help="only these; cat needs one")
    parser.add_argument("--reason", default="", metavar="REASON", help="only those of one reason")
    parser.add_argument("--all", action="store_true", help="redrive or purge all")


def run(options: schema.Receiver, arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    with chosen.editing(options) as db:
        if arguments.what == "cat":
            return _cat(db, arguments.ids)
        found = dead_letters.listed(db, arguments.reason)
        if arguments.ids:
            found = [one for one in found if one.id in arguments.ids]
        missing = sorted(set(arguments.ids) - {one.id for one in found})
        if missing:
            print(f"no dead letter has the number {', '.join(map(str, missing))}", file=sys.stderr)
            return EX_NO
        if arguments.what == "ls":
            return _ls(found, as_json=arguments.json)
        if not (arguments.ids or arguments.reason or arguments.all):
            print("say which: numbers, --reason or --all", file=sys.stderr)
            return EX_NO
        return _redrive(db, found) if arguments.what == "redrive" else _purge(db, found)


def _cat(db: Database, ids: Sequence[int]) -> int:
    data = dead_letters.payload(db, ids[0]) if len(ids) == 1 else None
    if data is None:
        print("say the number of one dead letter, see `gateway region dead ls`", file=sys.stderr)
        return EX_NO
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
    return EX_OK


def _ls(found: Sequence[DeadLetter], *, as_json: bool) -> int:
    if as_json:
        print(msgspec.json.encode([one._asdict() for one in found]).decode())
    elif not found:
        print("there is no dead letter")
    else:
        rows = [
            (str(one.id), moment(one.wall_ns), one.reason, f"{one.bytes:,}", plain(one.topic), plain(one.detail))
            for one in found
        ]
        print("\n".join(table([_COLUMNS, *rows], numbers={0, 3})))
    return EX_OK


def _redrive(db: Database, found: Sequence[DeadLetter]) -> int:
    able = [one for one in found if not one.why_not]
    dead_letters.mark(db, [one.id for one in able])
    print(f"{len(able)} will be taken in again by the receiver")
    for one in found:
        if one.why_not:
            print(f"{one.id} stays: {one.why_not}")
    return EX_OK if len(able) == len(found) else EX_NO


def _purge(db: Database, found: Sequence[DeadLetter]) -> int:
    dead_letters.remove(db, [one.id for one in found])
    print(f"{len(found)} removed")
    return EX_OK
