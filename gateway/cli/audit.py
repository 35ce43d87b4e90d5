"""`gateway audit ls | verify`: who changed what, and whether the log of it is whole.

Both change nothing and work beside a daemon, on the log of a node or of a receiver. `verify` holds each entry against
its hash and the one before it, the end against what was handed on to the journal, and with `--against FILE` all of it
against what somebody else has: lines of the log, or the readings that a receiver's sink wrote (NDJSON).
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.audit.chain import FOLDER, Chain
from gateway.audit.entry import hash_of, parsed, split
from gateway.audit.proof import Fault, against
from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import moment, plain, table
from gateway.cli.words import positive
from gateway.config import schema
from gateway.config.load import load
from gateway.disk import Disk
from gateway.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping

    from gateway.audit.entry import Entry
    from gateway.audit.proof import Proof

LIMIT: Final = 50
_COLUMNS: Final = ("number", "time", "kind", "who", "what")


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(source.add_action, actions)
    ls = add("ls", "list entries, the newest last")
    ls.add_argument("--kind", default="", metavar="KIND", help='only this kind, or what begins so: "quarantine"')
    ls.add_argument("--limit", type=positive, default=LIMIT, metavar="N", help=f"the newest N (default {LIMIT})")
    verify = add("verify", "say whether an entry was changed, moved, removed, or cut off; exit code 1 if so")
    told = "what somebody else has of it: lines of this log, or NDJSON readings of a receiver"
    verify.add_argument("--against", type=Path, action="append", default=[], metavar="FILE", help=told)
    verify.add_argument("--node", default="", metavar="ID", help="in these readings, the node whose log it is")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    chain = Chain(Disk(), _folder(arguments) / FOLDER)
    if arguments.action == "ls":
        return _ls(arguments, chain.proof())
    return _verify(arguments, chain)


def _folder(arguments: argparse.Namespace) -> Path:
    if arguments.config is not None and not arguments.state:
        receiver = load(arguments.config).config.receiver
        if receiver is not None:
            return Path(receiver.state_folder)
    return source.state_folder(arguments)


def _ls(arguments: argparse.Namespace, proof: Proof) -> int:
    kind = arguments.kind
    found = [
        (entry, computed)
        for entry, computed in proof.entries
        if not kind or entry.kind == kind or entry.kind.startswith(f"{kind}.")
    ]
    shown = found[-arguments.limit :]
    if arguments.json:
        names = ("number", "time_ns", "kind", "who", "what", "previous")
        said = [{**{name: getattr(entry, name) for name in names}, "hash": computed} for entry, computed in shown]
        print(json.dumps(said, ensure_ascii=False))
        return EX_OK
    if shown:
        print("\n".join(table([_COLUMNS, *(_cells(entry) for entry, _ in shown)], numbers={0})))
    if len(shown) < len(found):
        print(f"… the newest {len(shown):,} of {len(found):,}; --limit shows more")
    if proof.faults:
        print(f"{len(proof.faults)} faults: see `gateway audit verify`")
    elif not found:
        print("there is no entry")
    return EX_OK


def _cells(entry: Entry) -> tuple[str, ...]:
    what = " ".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in entry.what.items())
    return str(entry.number), moment(entry.time_ns), plain(entry.kind), plain(entry.who), plain(what)


def _verify(arguments: argparse.Namespace, chain: Chain) -> int:
    proof = chain.proof()
    faults = list(proof.faults)
    mark = chain.handed_on()
    if mark is not None:
        faults += against(proof, {mark.number: mark.hash}, "the journal")
    compared = 0
    for path in arguments.against:
        known = _known(path, arguments.node)
        compared += len(known)
        faults += against(proof, known, str(path))
    faults.sort()
    if arguments.json:
        said = {"first": proof.first, "last": proof.last, "torn_bytes": proof.torn_bytes, "compared": compared}
        print(json.dumps({**said, "faults": [one._asdict() for one in faults]}, ensure_ascii=False))
    else:
        print("\n".join(_said(proof, faults, compared)))
    return EX_NO if faults else EX_OK


def _said(proof: Proof, faults: list[Fault], compared: int) -> Iterator[str]:
    yield from (f"entry {one.number}: {plain(one.sentence)}" for one in faults)
    if proof.torn_bytes:
        yield f"{proof.torn_bytes} bytes after the last entry are torn: a crash, of which nobody was told it was done"
    there = f"entries {proof.first} to {proof.last}" if proof.entries else "no entry"
    than = f", {compared} of them known elsewhere" if compared else ""
    yield f"{there}{than}: {len(faults)} faults" if faults else f"{there}{than}: whole"


def _known(path: Path, node: str) -> dict[int, str]:
    """Return the hashes of entries in a file, by number. Raises `ConfigError` for a file that has none."""
    known: dict[int, str] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                content = _content(line.rstrip(b"\n"), node)
                entry = None if content is None else parsed(content)
                if entry is not None and content is not None:
                    known[entry.number] = hash_of(content)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}", hint="name a readable file") from error
    if not known:
        raise ConfigError(
            f"{path}: holds no entry of an audit log",
            hint=f"give lines of the log, or readings of the topic {schema.AUDIT_TOPIC} that a receiver's sink wrote",
        )
    return known


def _content(line: bytes, node: str) -> bytes | None:
    """Return the bytes of the entry in a line of a log, or in a reading; None where there is none."""
    stated, content = split(line)
    if stated and stated == hash_of(content):
        return content
    try:
        reading = json.loads(line)
    except ValueError:
        return None
    return _text(reading, node) if isinstance(reading, dict) else None


def _text(reading: Mapping[str, object], node: str) -> bytes | None:
    if reading.get("topic") != schema.AUDIT_TOPIC or (node and reading.get("node") != node):
        return None
    value = reading.get("value") if reading.get("field") == "entry" else None
    return value.encode() if isinstance(value, str) else None
