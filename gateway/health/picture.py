"""A node's status as people look at it, again and again: what flows, what fills up, who is behind. Pure.

`Watch` is given one status after the other, with the time of each, and returns for each a **picture**: plain data, in
the order in which `gateway top` and the console show it. What the status does not say follows from two of them: the
rate of each fate, of what is written to each ring and sent to each region, and for how long a ring has room at that
rate, whether regions take from it meanwhile or not. A daemon that was started anew counts from 0: the rates begin anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway import ledger
from gateway.health import attention
from gateway.health.rates import Rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    Facts = Mapping[str, Any]

PAUSE_S_MAX: Final = 60.0
"""Time without a look after which rates begin anew: a mean over an hour is none of now."""

LOST: Final = ("evicted", "thinned", "expired", "lagged", "damaged")
"""How batches end that some region will not get, see the glossary."""

_FLOW: Final = (
    ("received", ledger.RECEIVED, "messages"),
    ("decoded", ledger.READ, "readings"),
    ("sealed", ledger.SEALED, "readings"),
)


class Watch:
    """What is needed of the last statuses to tell rates."""

    def __init__(self) -> None:
        self._rates = Rates()
        self._life: object = None
        self._looked_s = 0.0

    def look(self, now_s: float, status: Facts) -> dict[str, Any]:
        """Return the picture of `status`, which was asked for at `now_s`, of a clock that does not step."""
        life = (status.get("pid"), status["recovery"].get("seconds"))
        if life != self._life or now_s - self._looked_s > PAUSE_S_MAX:
            self._life, self._rates = life, Rates()
        self._looked_s = now_s
        self._rates.look(now_s, dict(_counts(status)))
        return _picture(status, self._rates.per_second() if self._rates.looks > 1 else {})


def _counts(status: Facts) -> Iterator[tuple[str, int]]:
    yield from status["ledger"].items()
    for name, lane in attention.by_name(status["lanes"]).items():
        yield f"lane {name}", lane.get("bytes_written", 0)
    for name, region in attention.by_name(status["regions"]).items():
        yield f"region {name}", region.get("sent_bytes", 0)


def _picture(status: Facts, rates: Mapping[str, float]) -> dict[str, Any]:
    needs = list(attention.sentences(status))
    return {
        "node": status["node"],
        "epoch": status["epoch"],
        "uptime_s": status["uptime_s"],
        "state": "needs attention" if needs else "ok",
        "attention": needs,
        "pressure": list(status.get("pressure", ())),
        "flow": list(_flow(status)),
        "channels": [_channel(one) for one in status["channels"]],
        "routes": list(status.get("routes", ())),
        "lanes": [_lane(name, one, rates) for name, one in attention.by_name(status["lanes"]).items()],
        "regions": [_region(name, one, status, rates) for name, one in attention.by_name(status["regions"]).items()],
        "fates": list(_fates(status, rates)),
        "topics": list(_topics(status)),
        "certificates": status.get("certificates", {}),
        "clock": status.get("clock", ""),
        "unaccounted": sum(abs(number) for number in status["residual"].values()),
        "broker": {key: status["ingest"].get(key) for key in ("connected", "last_fault", "unacknowledged", "shed")},
        "journal": status["journal"],
        "flash": status["flash"],
        "disk": status["disk"],
        "quarantine": status["quarantine"],
        "recovery": status["recovery"],
        "reloads": status.get("reloads", {}),
    }


def _flow(status: Facts) -> Iterator[dict[str, Any]]:
    rates = status["rates"]
    for stage, fate, unit in _FLOW:
        yield {
            "stage": stage,
            "unit": unit,
            "total": status["ledger"].get(fate, 0),
            "per_second": rates.get(fate, 0.0),
        }
    payload = status["ingest"].get("payload_bytes", 0)
    yield {"stage": "payload", "unit": "bytes", "total": payload, "per_second": rates.get("payload_bytes", 0.0)}


def _channel(one: Facts) -> dict[str, Any]:
    name, _, unit = str(one["name"]).partition(", ")
    return {
        "name": name,
        "unit": unit,
        "weight": one["weight"],
        "limit": one["limit"],
        "share": _share(one["weight"], one["limit"]),
        "waits": one["waits"],
    }


def _lane(name: str, one: Facts, rates: Mapping[str, float]) -> dict[str, Any]:
    written = rates.get(f"lane {name}", 0.0)
    room = max(0, one["bytes_max"] - one["bytes"])
    waiting = [region.get("backlog_batches", 0) for region in one["regions"].values()]
    return {
        "name": name,
        "state": one["state"],
        "policy": one["policy"],
        "bytes": one["bytes"],
        "bytes_max": one["bytes_max"],
        "share": _share(one["bytes"], one["bytes_max"]),
        "bytes_per_second": written,
        "room_s": round(room / written) if written > 0 else None,
        "full_in_s": None if one.get("hours_left") is None else round(one["hours_left"] * 3600),
        "batches": one["batches"],
        "readings": one["readings"],
        "oldest": one["oldest"],
        "head": one["head"],
        "waiting_batches": max(waiting, default=0),
        "lost": {reason: number for reason in LOST if (number := one.get(f"{reason}_readings", 0))},
    }


def _region(name: str, one: Facts, status: Facts, rates: Mapping[str, float]) -> dict[str, Any]:
    places = [lane["regions"][name] for lane in status["lanes"] if name in lane["regions"]]
    line = one.get("line", {})
    return {
        "name": name,
        "connected": one["connected"],
        "place": one.get("place", name),
        "last_fault": one["last_fault"],
        "next_attempt_s": one.get("next_attempt_s", 0.0),
        "behind_batches": sum(place["backlog_batches"] for place in places),
        "behind_readings": sum(place["backlog_readings"] for place in places),
        "lost_readings": sum(place["gap_readings"] for place in places),
        "oldest_s": max(one.get("oldest_s", {}).values(), default=0.0) or None,
        "in_flight": one["in_flight"],
        "bytes_per_second": rates.get(f"region {name}", 0.0),
        "sent": one.get("sent", 0),
        "resent": one.get("resent", 0),
        "parked": one.get("parked", 0),
        "line": {
            **line,
            "day_share": _share(line.get("day_bytes", 0), line.get("bytes_per_day", 0)),
            "month_share": _share(line.get("month_bytes", 0), line.get("bytes_per_month", 0)),
        },
    }


def _fates(status: Facts, rates: Mapping[str, float]) -> Iterator[dict[str, Any]]:
    """Yield what became of messages and readings, beside those that went the whole way."""
    for fate, number in sorted(status["ledger"].items()):
        if number and fate not in {ledger.RECEIVED, ledger.DECODED, ledger.READ, ledger.SEALED}:
            yield {"fate": fate, "total": number, "per_second": max(0.0, rates.get(fate, 0.0))}


def _topics(status: Facts) -> Iterator[dict[str, Any]]:
    """Yield the topics that most bytes of each lane come from, and what the others have together."""
    for lane, topics in status.get("topics", {}).items():
        total = sum(topics.values())
        for topic, size in topics.items():
            if size:
                yield {"lane": lane, "topic": topic, "bytes": size, "share": _share(size, total)}


def _share(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole > 0 else None
