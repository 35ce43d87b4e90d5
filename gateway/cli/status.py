"""`gateway status`: what the running gateway is doing, asked over its Unix socket.

The text has one block per stage in flow order; lanes and regions stand side by side. What needs a person comes first,
on lines that begin with `!`. The text is made from whatever the daemon says, so a new count needs no change here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.cli import EX_OK, source
from gateway.config import schema
from gateway.health.endpoint import ask

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping


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
    lines += [f"! {sentence}" for sentence in alerts(status)]
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
        ("lanes", _by_name(status["lanes"])),
        ("regions", _by_name(status["regions"])),
        ("quarantine", {"": status["quarantine"]}),
        ("last start", {"": status["recovery"]}),
    )
    for title, columns in blocks:
        lines += ["", *_table(title, columns)]
    return "\n".join(lines)


def alerts(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what needs a person."""
    if any(status["residual"].values()):
        yield f"unaccounted: {status['residual']}, a defect of the gateway"
    if not status["ingest"].get("connected"):
        yield f"not connected to the local broker: {status['ingest'].get('last_fault') or 'no word from it yet'}"
    disk = status["disk"]
    if disk["state"] == "low_space":
        yield f"the file system is low on space, {disk['free_bytes']:,} bytes are free: rings grow no further"
    for part, fault in disk["faults"].items():
        yield f"the disk is {disk['state']}, {part}: {fault}"
    if status["refusing"]:
        yield f"lane {status['refusing']} is full and refuses: the local broker keeps what comes"
    for name, lane in _by_name(status["lanes"]).items():
        yield from _of_lane(name, lane)
    for name, region in _by_name(status["regions"]).items():
        yield from _of_region(name, region)
    yield from _of_process(status)
    if status["recovery"].get("acknowledged_input_missing"):
        yield "the last start found acknowledged input damaged: see its notes"


def _of_process(status: Mapping[str, Any]) -> Iterator[str]:
    if refusal := status.get("reloads", {}).get("last_refusal"):
        yield f"the last reload was refused, the gateway goes on as it was: {refusal}"
    if fault := status.get("health", {}).get("fault"):
        yield f"nobody can ask over HTTP: {fault}"


def _of_lane(name: str, lane: Mapping[str, Any]) -> Iterator[str]:
    if lane.get("state") == "full" and lane.get("policy") == "refuse":
        yield f"lane {name} is full: new batches wait, and so does the local broker"
    elif lane.get("state") == "full":
        yield f"lane {name} is full: its oldest batches are given up for new ones"
    if lane.get("conflicts"):
        yield f"lane {name}: {lane['conflicts']} batches were made twice with different content, a defect"


def _of_region(name: str, region: Mapping[str, Any]) -> Iterator[str]:
    if not region.get("connected"):
        yield f"region {name} is not connected: {region.get('last_fault') or 'no word from it yet'}"
    elif region.get("receiver_is_silent"):
        yield f"region {name} is connected, and its receiver answers nothing: does `gateway region run` work there?"
    if region.get("foreign_acknowledgements"):
        yield f"region {name} acknowledged batches of another history: does another box have this node's id?"


def _by_name(items: Any) -> dict[str, Mapping[str, Any]]:  # noqa: ANN401  # what JSON holds
    """Return name → facts, for a map of facts as for a list of facts that have a name."""
    if isinstance(items, dict):
        return items
    return {str(item.get("name", number)): item for number, item in enumerate(items)}


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
