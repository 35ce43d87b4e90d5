"""What of a node's status needs a person, in sentences: the first thing that every view of it shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def sentences(status: Mapping[str, Any]) -> Iterator[str]:
    """Yield what needs a person, most urgent first."""
    if any(status["residual"].values()):
        yield f"unaccounted: {status['residual']}, a defect of the gateway"
    if not status["ingest"].get("connected"):
        yield f"not connected to the local broker: {status['ingest'].get('last_fault') or 'no word from it yet'}"
    disk = status["disk"]
    if disk["state"] == "low_space":
        yield f"the file system is low on space, {disk['free_bytes']:,} bytes are free: rings grow no further"
    for part, fault in disk["faults"].items():
        yield f"the disk is {disk['state']}, {part}: {fault}"
    memory = status.get("memory", {})
    if memory.get("state") == "short":
        used, budget = memory["rss_bytes"] / 2**20, memory["budget_bytes"] / 2**20
        yield f"memory is short, {used:.0f} of {budget:.0f} MiB are used: QoS 0 is shed, the local broker waits"
    if status["refusing"]:
        yield f"lane {status['refusing']} is full and refuses: the local broker keeps what comes"
    for name, lane in by_name(status["lanes"]).items():
        yield from _of_lane(name, lane)
    for name, region in by_name(status["regions"]).items():
        yield from _of_region(name, region)
    yield from _of_process(status)
    if status["recovery"].get("acknowledged_input_missing"):
        yield "the last start found acknowledged input damaged: see its notes"


def by_name(items: Any) -> dict[str, Mapping[str, Any]]:  # noqa: ANN401  # what JSON holds
    """Return name → facts, for a map of facts as for a list of facts that have a name."""
    if isinstance(items, dict):
        return items
    return {str(item.get("name", number)): item for number, item in enumerate(items)}


def _of_process(status: Mapping[str, Any]) -> Iterator[str]:
    if refusal := status.get("reloads", {}).get("last_refusal"):
        yield f"the last reload was refused, the gateway goes on as it was: {refusal}"
    if fault := status.get("health", {}).get("fault"):
        yield f"nobody can ask over HTTP: {fault}"
    if fault := status.get("console", {}).get("fault"):
        yield f"nobody can open the console: {fault}"


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
