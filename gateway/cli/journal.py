"""`gateway journal ls | check`: the log of inputs and its checkpoints, with and without a daemon; nothing is changed.

`ls` has one line per file. `check` names everything that is not as it was written, and what it costs: see
`gateway.journal.inspect` for the kinds. Both read every byte.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import moment, placed, progress, table
from gateway.disk import Disk
from gateway.journal.inspect import DAMAGED, MISSING, TORN, UNCLEAR, inspect, journal_bytes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.journal.inspect import CheckpointState, FileState, Finding, Inspection

_COLUMNS: Final = ("file", "first", "entries", "messages", "used", "allocated", "from", "to", "state")
_NUMBERS: Final = {1, 2, 3, 4, 5}
_CHECKPOINT_COLUMNS: Final = ("checkpoint", "needs", "bytes", "taken", "epoch", "journal from there", "state")
_STATES: Final = {TORN: "torn tail", UNCLEAR: "tail unclear"}
_KINDS: Final = {
    TORN: "torn tail",
    UNCLEAR: "torn, or being written, or damaged: the bytes cannot tell",
    DAMAGED: "damaged",
    MISSING: "missing",
}


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, sentence in (
        ("ls", "list the files of the journal"),
        ("check", "read journal and checkpoints, and name what is damaged; the exit code is 1 then"),
    ):
        source.add_action(actions, name, sentence)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    folder = source.state_folder(arguments)
    disk = Disk()
    with progress("reading the journal", journal_bytes(disk, folder)) as advance:
        found = inspect(disk, folder, advance)
    if arguments.action == "ls":
        print(_list_json(found) if arguments.json else "\n".join(listing(found)))
        return EX_OK
    print(_check_json(found) if arguments.json else "\n".join(verdict(found)))
    return EX_NO if found.is_damaged else EX_OK


def _list_json(found: Inspection) -> str:
    return json.dumps({"files": [asdict(one) for one in found.files], "aside": found.aside})


def _check_json(found: Inspection) -> str:
    newest = found.newest_whole
    return json.dumps(
        {
            "damaged": found.is_damaged,
            "first": found.first,
            "next_position": found.next_position,
            "goes_on_from": newest.position if newest and newest.has_journal else None,
            "findings": [asdict(one) for one in found.findings],
            "checkpoints": [asdict(one) for one in found.checkpoints],
            "aside": found.aside,
        }
    )


def listing(found: Inspection) -> list[str]:
    """Return `ls` for people."""
    lines = table([_COLUMNS, *map(_cells, found.files)], _NUMBERS) if found.files else ["no journal file"]
    return [*lines, "", _content(found), *(f"put aside: {name}" for name in found.aside)]


def _content(found: Inspection) -> str:
    entries, messages = (sum(getattr(one, name) for one in found.files) for name in ("entries", "messages"))
    files = "1 file" if len(found.files) == 1 else f"{len(found.files)} files"
    return f"{files}, {entries:,} entries, {messages:,} messages, next position {found.next_position}"


def _cells(one: FileState) -> tuple[str, ...]:
    numbers = (one.entries, one.messages, one.bytes_used, one.bytes_allocated)
    times = ("-" if time is None else moment(time) for time in (one.first_ns, one.last_ns))
    return (one.name, str(one.first), *(f"{n:,}" for n in numbers), *times, _STATES.get(one.state, one.state))


def verdict(found: Inspection) -> list[str]:
    """Return `check` for people: findings, checkpoints, and the sum of it."""
    lines = [sentence(one) for one in found.findings]
    if found.checkpoints:
        rows = [_CHECKPOINT_COLUMNS, *map(_checkpoint_cells, found.checkpoints)]
        lines += ["", *table(rows, {1, 2, 4})]
    lines += [f"put aside: {name}" for name in found.aside]
    return [*lines, "", *_sum(found)] if lines else list(_sum(found))


def sentence(one: Finding) -> str:
    """Return one finding."""
    said = placed(one.file or "journal", one.offset, _KINDS[one.kind], one.size, one.why)
    if one.kind == TORN:
        return f"{said}; the next file goes on without a gap, nothing is missing"
    if one.first is None:
        return f"{said}; no position is missing"
    return f"{said}; {_loss(one)}{'' if one.needed else ', which no start needs any more'}"


def _loss(one: Finding) -> str:
    if one.last is None:
        run = f"position {one.first} and what came after it" if one.kind != UNCLEAR else f"position {one.first}"
    else:
        run = f"position {one.first}" if one.first == one.last else f"positions {one.first} to {one.last}"
    messages = "an unknown number of messages" if one.messages is None else f"{one.messages:,} messages"
    return f"{run}, {messages}"


def _checkpoint_cells(one: CheckpointState) -> tuple[str, ...]:
    taken = "-" if one.wall_ns is None else moment(one.wall_ns)
    numbers = (str(one.position), f"{one.size:,}", taken, str(one.epoch))
    return (one.name, *numbers, "yes" if one.has_journal else "NO", one.fault or "whole")


def _sum(found: Inspection) -> Iterator[str]:
    yield _content(found)
    newest = found.newest_whole
    if newest is None:
        yield "no whole checkpoint: a start replays the journal from its beginning"
    elif newest.has_journal:
        yield f"the journal goes on from the newest whole checkpoint, at {newest.position}, without a gap"
    else:
        yield f"the journal does NOT go on from the newest whole checkpoint, at {newest.position}, without a gap"
    if any(one.kind == UNCLEAR for one in found.findings):
        yield "whether its end is torn or damaged is told by the next start, which holds it against the spool"
    yield "damage found" if found.is_damaged else "no damage found"
