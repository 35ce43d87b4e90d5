"""The state of a node in one line, for `systemctl status` and the like. Pure: what `status()` says, in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def node_sentence(status: Mapping[str, Any]) -> str:
    """Return what a person wants to know first: rates, backlog, disk, and what is not as it should be."""
    rates = status["rates"]
    parts = [f"{_rate(rates, 'message.received')} messages/s in, {_rate(rates, 'reading.sealed')} readings/s sealed"]
    regions = status["regions"]
    backlogs = dict.fromkeys(regions, 0)
    for lane in status["lanes"]:
        for name, waiting in lane["regions"].items():
            backlogs[name] = backlogs.get(name, 0) + waiting["backlog_batches"]
    if backlogs:
        parts.append("backlog in batches: " + ", ".join(f"{name} {number:,}" for name, number in backlogs.items()))
    away = [name for name, region in regions.items() if not region["connected"]]
    if away:
        parts.append(f"away: {', '.join(away)}")
    parts.append(f"disk {status['disk']['state']}")
    if not status["ingest"]["connected"]:
        parts.append("no local broker")
    if status["refusing"]:
        parts.append(f"lane {status['refusing']} refuses")
    if status["pressure"]:
        parts.append(f"under pressure: {', '.join(status['pressure'])}")
    return "; ".join(parts)


def receiver_sentence(counts: Mapping[str, int], unready: str) -> str:
    """Return the same of a receiver: `counts` are since its start, `unready` is why it takes nothing in."""
    taken = f"{counts['messages']:,} messages and {counts['readings']:,} readings in {counts['groups']:,} commits"
    return f"{taken}; {unready}" if unready else taken


def _rate(rates: Mapping[str, float], name: str) -> str:
    return f"{rates.get(name, 0.0):,.0f}"
