"""`gateway quarantine ls | show | redrive | purge`: the messages that no decoder could take.

All of them work with and without a daemon on the folder. `ls` and `show` change nothing. `redrive` publishes a payload
again on its topic, to the node's own broker, and removes the message only when the broker has said that a subscriber
gets it; stopped in between, a message may be sent twice, never lost. What cannot go stays and is named, with the
reason.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from base64 import b64encode
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Final

from gateway.audit.audited import audited
from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import moment, plain, progress, table
from gateway.cli.words import duration, topic_filter
from gateway.clock import Clock
from gateway.quarantine import FILE_NAME, REMOVED_AT_ONCE, Editor, Kept, Selection, look, payload, reasons, select
from gateway.redrive import Left, Redrive

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path


LIMIT: Final = 50
_KEYS_NAMED_MAX: Final = 20
_DUMP_BYTES: Final = 16
_TOPIC_CHARACTERS_MAX: Final = 60
_COLUMNS: Final = ("key", "time", "topic", "route", "reason", "bytes", "detail")


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(source.add_action, actions)
    ls = add("ls", "list messages, the newest last, and how many there are of each reason")
    _add_filters(ls)
    ls.add_argument("--limit", type=_count, default=LIMIT, metavar="N", help=f"the newest N; 0: all (default {LIMIT})")
    show = add("show", "show everything about one message")
    show.add_argument("key", type=int, metavar="KEY", help="as `ls` shows it")
    show.add_argument("--raw", action="store_true", help="write the bytes of the payload and nothing else")
    redrive = add("redrive", "publish messages again on their topics to the local broker; needs -c FILE")
    purge = add("purge", "remove messages for ever")
    for action in (redrive, purge):
        action.add_argument("keys", nargs="*", type=int, metavar="KEY", help="as `ls` shows them")
        _add_filters(action)
        action.add_argument("--all", action="store_true", help="every message")
        action.set_defaults(refuse=action.error)
    purge.add_argument("--older-than", type=duration, metavar="AGE", help='messages that came longer ago, like "7d"')
    parser.set_defaults(older_than=None)


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reason", default="", metavar="REASON", help="only messages with this reason")
    parser.add_argument("--topic", type=topic_filter, metavar="FILTER", help="only topics that the filter takes")


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number of messages, or 0 for all")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    action = {"ls": _ls, "show": _show, "redrive": _redrive, "purge": _purge}[arguments.action]
    return action(arguments, source.state_folder(arguments) / FILE_NAME)


def _ls(arguments: argparse.Namespace, path: Path) -> int:
    chosen = Selection(reason=arguments.reason, topic=arguments.topic or "")
    found: list[Kept] = []
    counts: dict[str, int] = {}
    if path.exists():
        limit = arguments.limit or -1
        found, counts = look(path, lambda rows: (select(rows, chosen, limit), reasons(rows, chosen)))
    total = sum(counts.values())
    if arguments.json:
        plain_rows = [one._asdict() for one in found]
        print(json.dumps({"messages": plain_rows, "reasons": counts, "total": total}, ensure_ascii=False))
        return EX_OK
    if found:
        print("\n".join(table([_COLUMNS, *map(_listed, found)], numbers={5})))
    if len(found) < total:
        print(f"… the newest {len(found):,} of {total:,}; --limit shows more")
    print("\n".join(_sums(counts, total)))
    return EX_OK


def _listed(one: Kept) -> tuple[str, ...]:
    """Return the cells of a line of `ls`; a topic of any length is shortened, or no line would fit a screen."""
    key, time, topic, *rest = _cells(one)
    shown = topic if len(topic) <= _TOPIC_CHARACTERS_MAX else f"{topic[: _TOPIC_CHARACTERS_MAX - 1]}…"
    return key, time, shown, *rest


def _cells(one: Kept) -> tuple[str, ...]:
    size = "?" if one.payload_bytes is None else f"{one.payload_bytes:,}"
    texts = (one.topic, one.route or "-", one.reason)
    return (str(one.key), moment(one.wall_ns), *map(plain, texts), size, plain(one.detail))


def _sums(counts: dict[str, int], total: int) -> list[str]:
    rows = [(plain(reason), f"{number:,}") for reason, number in counts.items()]
    return ["", *table([*rows, ("messages", f"{total:,}")], numbers={1})]


def _show(arguments: argparse.Namespace, path: Path) -> int:
    key = arguments.key

    def question(rows: sqlite3.Connection) -> tuple[list[Kept], bytes | None]:
        return select(rows, Selection(keys=(key,))), payload(rows, key)

    found, data = look(path, question) if path.exists() else ([], None)
    if not found or data is None:
        print(f"gateway: no message {key} is in quarantine", file=sys.stderr)
        return EX_NO
    one = found[0]
    if arguments.raw:
        sys.stdout.buffer.write(data)
    elif arguments.json:
        said = {**one._asdict(), "text": _text(data), "payload": b64encode(data).decode()}
        print(json.dumps(said, ensure_ascii=False))
    else:
        print("\n".join(_described(one, data)))
    return EX_OK


def _described(one: Kept, data: bytes) -> list[str]:
    names = ("key", "time", "topic", "route", "reason", "detail", "payload")
    cells = _cells(one)
    size = f"{one.payload_bytes:,} bytes" if one.payload_bytes is not None else "of unknown length"
    whole = size if one.is_whole else f"{size}, of which the first {one.kept_bytes:,} are kept"
    lines = table(list(zip(names, (*cells[:5], cells[6], whole), strict=True)))
    text = _text(data)
    return [*lines, "", *(_dumped(data) if text is None else text.splitlines())]


def _text(data: bytes) -> str | None:
    """Return a payload as text, when it is text that a terminal can show."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return text if all(one.isprintable() or one in "\n\t" for one in text) else None


def _dumped(data: bytes) -> list[str]:
    """Return a hexdump: offset, bytes, and what of them is ASCII."""
    lines = []
    for offset in range(0, len(data), _DUMP_BYTES):
        some = data[offset : offset + _DUMP_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in some)  # noqa: PLR2004  # printable ASCII
        lines.append(f"{offset:06x}  {some[:8].hex(' '):23}  {some[8:].hex(' '):23}  {text}")
    return lines


def _selection(arguments: argparse.Namespace) -> Selection:
    """Return what is meant, when it is said in a way that cannot be a slip; else end as wrong use."""
    filters = bool(arguments.reason or arguments.topic or arguments.older_than is not None)
    if sum((bool(arguments.keys), filters, arguments.all)) != 1:
        arguments.refuse("say which messages: keys, or filters, or --all")
    before_ns = None if arguments.older_than is None else Clock().wall_ns() - arguments.older_than
    return Selection(tuple(arguments.keys), arguments.reason, arguments.topic or "", before_ns)


def _purge(arguments: argparse.Namespace, path: Path) -> int:
    chosen = _selection(arguments)
    removed, unknown = 0, chosen.keys
    if path.exists():
        with (
            audited(path.parent, "quarantine.purge", _asked(chosen)) as outcome,
            contextlib.closing(Editor(path)) as editor,
        ):
            keys = [one.key for one in editor.select(chosen)]
            with progress("removing", len(keys)) as advance:
                for start in range(0, len(keys), REMOVED_AT_ONCE):
                    some = keys[start : start + REMOVED_AT_ONCE]
                    removed += editor.remove(some)
                    outcome["removed"] = removed
                    advance(len(some))
        unknown = tuple(key for key in chosen.keys if key not in keys)
    if arguments.json:
        print(json.dumps({"removed": removed, "unknown": unknown}))
    else:
        print("\n".join([f"{_messages(removed)} removed", *_unknown(unknown)]))
    return EX_NO if unknown else EX_OK


def _asked(chosen: Selection) -> dict[str, object]:
    """Return what was asked for, for the audit log."""
    return {name: value for name, value in asdict(chosen).items() if value}


def _messages(number: int) -> str:
    return "1 message" if number == 1 else f"{number:,} messages"


def _unknown(keys: Sequence[int]) -> list[str]:
    return [f"no message {key} is in quarantine" for key in keys]


def _redrive(arguments: argparse.Namespace, path: Path) -> int:
    chosen = _selection(arguments)
    config = source.node_configuration(arguments)
    went, left, unknown = 0, list[Left](), chosen.keys
    if path.exists():
        with (
            audited(path.parent, "quarantine.redrive", _asked(chosen)) as outcome,
            contextlib.closing(Editor(path)) as editor,
        ):
            found = editor.select(chosen)
            with progress("publishing", len(found)) as advance:
                redrive = Redrive(editor, advance)
                asyncio.run(redrive.run(found, config))
                went, left = redrive.went, redrive.left
                outcome.update(published=went, left=len(left))
        keys = {one.key for one in found}
        unknown = tuple(key for key in chosen.keys if key not in keys)
    if arguments.json:
        print(json.dumps({"published": went, "left": [one._asdict() for one in left], "unknown": unknown}))
    else:
        sentence = f"{_messages(went)} published again and removed, {len(left):,} left"
        print("\n".join([sentence, *_whys(left), *_unknown(unknown)]))
    return EX_NO if left or unknown else EX_OK


def _whys(left: Sequence[Left]) -> Iterator[str]:
    """Yield for each reason how many messages are left for it, and which."""
    by_why: dict[str, list[int]] = {}
    for one in left:
        by_why.setdefault(one.why, []).append(one.key)
    for why, keys in by_why.items():
        more = f" and {len(keys) - _KEYS_NAMED_MAX:,} more" if len(keys) > _KEYS_NAMED_MAX else ""
        yield f"  {_messages(len(keys))}: {plain(why)}: {' '.join(map(str, keys[:_KEYS_NAMED_MAX]))}{more}"
