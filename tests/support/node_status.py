"""The status of a node as `flow.status` gives it, for tests of those who look at it."""

from __future__ import annotations

from typing import Any


def lane(name: str, **facts: Any) -> dict[str, Any]:
    """Return the facts of one lane that one region, `centre`, has all of."""
    place = {"cursor": 9, "backlog_batches": 0, "backlog_readings": 0, "gap_batches": 0, "gap_readings": 0}
    lost = {f"{reason}_readings": 0 for reason in ("evicted", "thinned", "expired", "lagged", "damaged")}
    ring = {"state": "ok", "policy": "evict_oldest", "bytes": 1 << 20, "bytes_max": 64 << 20, "bytes_written": 0}
    held = {"batches": 9, "readings": 90, "oldest": 1, "head": 9, "regions": {"centre": place}, "conflicts": 0}
    return {"name": name, **ring, **held, **lost, **facts}


def region(**facts: Any) -> dict[str, Any]:
    """Return the facts of one region."""
    line = {"open": True, "budget_spent": False, "day_bytes": 500, "bytes_per_day": 0, "month_bytes": 900}
    link = {"connected": True, "place": "centre", "last_fault": "", "next_attempt_s": 0.0, "in_flight": 0}
    return {**link, "sent": 9, "resent": 0, "sent_bytes": 0, "parked": 0, "line": line, **facts}


def status(**facts: Any) -> dict[str, Any]:
    """Return a status in which all is well, but for `facts`."""
    rates = {"message.received": 12.5, "reading.decoded": 25.0, "reading.sealed": 24.0, "payload_bytes": 640.0}
    channel = {"name": "inputs, messages", "weight": 4, "limit": 8000, "put": 9, "waits": 0}
    books = {"message.received": 100, "message.decoded": 98, "reading.decoded": 200, "reading.sealed": 196}
    start = {"seconds": 0.25, "messages_replayed": 7, "notes": [], "acknowledged_input_missing": False}
    return {
        "node": "node-1",
        "epoch": 17,
        "uptime_s": 3725.0,
        "pid": 1,
        "ledger": books,
        "residual": {"messages": 0, "readings": 0},
        "open_readings": 0,
        "rates": rates,
        "routes": [],
        "ingest": {"connected": True, "last_fault": "", "unacknowledged": 0, "shed": 0, "payload_bytes": 4096},
        "journal": {"commits": 50, "bytes": 4096, "files": 1, "commit_interval_s": 0.02},
        "channels": [channel],
        "disk": {"state": "ok", "faults": {}, "free_bytes": 10**9},
        "refusing": "",
        "pressure": [],
        "flash": {"bytes": {"journal": 4096}, "per_payload_byte": 0.5, "endurance_years": None},
        "lanes": [lane("telemetry")],
        "regions": {"centre": region()},
        "quarantine": {"kept": 0, "unkept": 0, "evicted": 0},
        "recovery": start,
        "reloads": {"taken": 0, "refused": 0, "last_refusal": ""},
        **facts,
    }
