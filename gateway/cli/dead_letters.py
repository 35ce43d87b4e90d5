"""`gateway region dead ls | cat | redrive | purge`: what the receiver could not take, and what a forward refused.

All work with and without a receiver on the store. `redrive` only says which are to be taken in again: the receiver
does it within seconds, or when it starts.
"""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from gateway.audit.audited import audited
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
    """Do what the action says. Nothing is printed in a transaction: a pager may hold a print up for hours."""
    if arguments.what == "cat":
        return _cat(options, arguments.ids)
    if arguments.what != "ls" and not (arguments.ids or arguments.reason or arguments.all):
        print("say which: numbers, --reason or --all", file=sys.stderr)
        return EX_NO
    with chosen.editing(options) as db:
        found = dead_letters.listed(db, arguments.reason)
        if arguments.ids:
            found = [one for one in found if one.id in arguments.ids]
        missing = sorted(set(arguments.ids) - {one.id for one in found})
        if not missing:
            _change(options, db, arguments.what, found)
    if missing:
        print(f"no dead letter has the number {', '.join(map(str, missing))}", file=sys.stderr)
        return EX_NO
    return _say(arguments.what, found, as_json=arguments.json)


def _change(options: schema.Receiver, db: Database, what: str, found: Sequence[DeadLetter]) -> None:
    if what not in {"redrive", "purge"}:
        return
    numbers = [one.id for one in found if what == "purge" or not one.why_not]
    told = {"receiver": options.name, "letters": numbers}
    folder = Path(options.state_folder)
    with audited(folder, f"dead.{what}", told) if options.keeps_state else nullcontext():
        if what == "redrive":
            dead_letters.mark(db, numbers)
        else:
            dead_letters.remove(db, numbers)


def _say(what: str, found: Sequence[DeadLetter], *, as_json: bool) -> int:
    if what == "ls":
        return _ls(found, as_json=as_json)
    if what == "purge":
        print(f"{len(found)} removed")
        return EX_OK
    unable = [one for one in found if one.why_not]
    print(f"{len(found) - len(unable)} will be taken in again by the receiver")
    for one in unable:
        print(f"{one.id} stays: {one.why_not}")
    return EX_NO if unable else EX_OK


def _cat(options: schema.Receiver, ids: Sequence[int]) -> int:
    data = None
    if len(ids) == 1:
        with chosen.editing(options) as db:
            data = dead_letters.payload(db, ids[0])
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
