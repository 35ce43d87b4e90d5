"""`gateway status`: what the running gateway is doing, asked over its Unix socket.

The text has one block per stage in flow order; lanes and regions stand side by side. What needs a person comes first,
on lines that begin with `!`. The text is made from whatever the daemon says, so a new count needs no change here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from gateway.cli import EX_OK, shown, source
from gateway.config import schema
from gateway.health import attention
from gateway.health.endpoint import ask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


TOPICS_SHOWN: Final = 3


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    source.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the status."""
    status = ask(_node(arguments).socket_path)
    print(json.dumps(status, ensure_ascii=False) if arguments.json else text(status))
    return EX_OK


def _node(arguments: argparse.Namespace) -> schema.Node:
    """Return the node that is meant: with `--state` its folder is all that counts, whatever stands in any file."""
    if arguments.state is not None:
        return schema.Node(id="node", state_folder=str(arguments.state))
    node = source.node_configuration(arguments).node
    assert node is not None
    return node


def text(status: Mapping[str, Any]) -> str:
    """Return the status for people."""
    lines = [f"node {status['node']}, epoch {status['epoch']}, up {status['uptime_s']:,.0f} s"]
    lines += [f"! {sentence}" for sentence in attention.sentences(status)]
    rates = {f"{name}/s": rate for name, rate in status["rates"].items()}
    books = {**status["ledger"], "reading.open": status["open_readings"]}
    residual = {f"unaccounted {name}": number for name, number in status["residual"].items()}
    blocks = (
        ("rates", {"": rates}),
        ("ledger", {"": {**books, **residual}}),
        ("ingest", {"": status["ingest"]}),
        ("journal", {"": status["journal"]}),
        ("disk", {"": status["disk"]}),
        ("flash", {"": status["flash"]}),
        ("channels", {str(one["name"]): one for one in status["channels"]}),
        ("lanes", attention.by_name(status["lanes"])),
        ("regions", attention.by_name(status["regions"])),
        ("topics, sealed bytes", {lane: _largest(found) for lane, found in status.get("topics", {}).items()}),
        ("quarantine", {"": status["quarantine"]}),
        ("last start", {"": status["recovery"]}),
    )
    for title, columns in blocks:
        lines += ["", *_table(title, columns)]
    return "\n".join(lines)


def _largest(topics: Mapping[str, int]) -> dict[str, int]:
    """Return the first few topics, all others under one name."""
    named = [(topic, size) for topic, size in topics.items() if topic][:TOPICS_SHOWN]
    shown_names = {shown.plain(topic): size for topic, size in named}
    return {**shown_names, "all others": sum(topics.values()) - sum(size for _, size in named)}


def _table(title: str, columns: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return lines: one for each fact, one column for each thing that has facts."""
    flat = {name: dict(_flat(facts)) for name, facts in columns.items()}
    keys = list(dict.fromkeys(key for facts in flat.values() for key in facts if key != "name"))
    head = [title, *flat] if any(flat) else [title]
    rows = [head, *([f"  {key}", *(_shown(facts.get(key, "")) for facts in flat.values())] for key in keys)]
    if len(rows) == 1:
        return [title, "  none"]
    widths = [max(len(row[n]) for row in rows if n < len(row)) for n in range(len(flat) + 1)]
    return [_line(row, widths) for row in rows]


def _line(row: list[str], widths: list[int]) -> str:
    first, *rest = (
        cell.ljust(width) if n == 0 else cell.rjust(width)
        for n, (cell, width) in enumerate(zip(row, widths, strict=False))
    )
    return "  ".join([first, *rest]).rstrip()


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in facts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(_shown(one) for one in value) or "-"
    if isinstance(value, int | float):
        return f"{value:,}"
    return "-" if value in {"", None} else str(value)
