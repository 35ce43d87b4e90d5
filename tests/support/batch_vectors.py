"""The golden vectors of the batch format: what each holds, and how its bytes and its expected readings were made.

`python -m tests.support.batch_vectors` writes the vectors that are missing. One that exists is never written again:
what was once sealed must be decoded for ever.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from gateway.batch import envelope, gap
from gateway.batch.decode import decode
from gateway.model import Gap, OpenBatch, Reading, Thinned
from tests.support.batches import expected_readings, open_batch

FOLDER = Path(__file__).resolve().parents[1] / "vectors" / "batch"
BOOT = "6f3a1c52-0d1e-4b7a-9c55-2f6f5f0f9b11"
START_NS = 1_764_000_000_000_000_000
SECOND_NS = 10**9


def vectors() -> dict[str, OpenBatch | Gap]:
    """Return name → what the vector holds."""
    return {
        "one_reading": open_batch({"plant/door": ([START_NS], [{"open": True}])}, sequence=1, readings_before=0),
        "all_types": all_types(),
        "edges": edges(),
        "telemetry": telemetry(),
        "thinned": thinned(),
        "traced": traced(),
        "gap": Gap("node-1", "telemetry", 3, 17, 21, 90_001, 340_000, "evicted"),
    }


def all_types() -> OpenBatch:
    rows = {}
    for index, topic in enumerate(("plant/line1/press", "plant/line2/press")):
        times = [START_NS + number * SECOND_NS for number in range(16)]
        entries = [
            {
                "count": number * 3 + index,
                "force": number * 0.25 - index,
                "running": number % 5 != 0,
                "state": ("idle", "closing", "holding", "opening")[number // 3 % 4],
                "tag": bytes([index, number, 255 - number]),
                "constant": 7,
            }
            for number in range(16)
        ]
        rows[topic] = (times, entries)
    return open_batch(rows)


def edges() -> OpenBatch:
    """Extremes of every type, unicode, empty names and values, equal and unordered times, uneven rows."""
    ints = [-(1 << 63), (1 << 63) - 1, -1, 0, 1]
    floats = [float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 5e-324, 1.7976931348623157e308, 0.1]
    texts = ["", "\N{SNOWMAN}", "a\nb\0c", "Grüße", "\N{GRINNING FACE}" * 3]
    rows = {
        "": ([5], [{"": ""}]),
        "a/\N{GREEK SMALL LETTER MU}": ([3, 1, 3, 2, 1], [{"n": value, "mixed": value} for value in ints]),
        "a/b": ([9] * 8, [{"n": value} if index % 2 else {"mixed": value} for index, value in enumerate(floats)]),
        "z": ([-1, 0, 1 << 62, -(1 << 62), 7], [{"mixed": value, "raw": value.encode()} for value in texts]),
        "zz": ([1, 2], [{"mixed": False}, {"mixed": True}]),
    }
    return open_batch(rows, readings_before=(1 << 62))


def telemetry() -> OpenBatch:
    """Noise as sensors make it, from a small generator of numbers that will never change."""
    state = 1
    rows = {}
    for sensor in range(3):
        times, entries, value = [], [], 20.0
        for number in range(40):
            state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
            value = round(value + (state >> 33) % 101 * 0.01 - 0.5, 2)
            times.append(START_NS + number * SECOND_NS + (state >> 40) % 5 * 1_000_000)
            entries.append({"temperature": value, "level": (state >> 50) % 9})
        rows[f"tank/{sensor}"] = (times, entries)
    return open_batch(rows, sequence=1 << 40)


def thinned() -> OpenBatch:
    """What took the place of three batches of a lane."""
    row = {"t.count": 600, "t.min": -3, "t.max": 41.5, "t.mean": 20.25, "t.last": 21.0, "s.count": 2, "s.last": "on"}
    rows = {"tank/0": ([START_NS, START_NS + 60 * SECOND_NS], [row, {"t.count": 1, "t.last": 5}])}
    batch = open_batch(rows, sequence=2, readings_before=0)
    batch.id = batch.id._replace(lane="telemetry.thin2")
    batch.thinned = Thinned(60 * SECOND_NS, "telemetry.thin1", 4, 6, 603, 3)
    return batch


def traced() -> OpenBatch:
    """A batch that is followed from the node to the region."""
    batch = open_batch({"plant/door": ([START_NS], [{"open": True}])}, sequence=48, readings_before=7)
    batch.traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    return batch


def as_json(what: OpenBatch | Gap, data: bytes) -> dict:
    """Return what a decoder must find in `data`, as plain JSON. Readings come from the plain computation."""
    if isinstance(what, Gap):
        return {"gap": asdict(what)}
    header = decode(data).header._asdict()
    header |= {"id": list(header["id"]), "hash": header["hash"].hex()}
    if not header["traceparent"]:
        del header["traceparent"]  # a batch that is not traced does not say so
    thinned = header.pop("thinned")
    if thinned is not None:
        header["thinned"] = asdict(thinned)
    return {"header": header, "readings": [reading_as_json(one) for one in expected_readings(what)]}


def reading_as_json(one: Reading) -> list:
    """Return [topic, field, time, type, value]; integers, floats and bytes as text that loses nothing."""
    kind = type(one.value).__name__
    value = one.value
    if isinstance(value, float | bytes):
        value = value.hex()
    elif kind == "int":
        value = str(value)
    return [one.topic, one.field, one.time_ns, kind, value]


def main() -> None:
    """Write the vectors that are missing."""
    for name, what in vectors().items():
        path = FOLDER / f"{name}.egb"
        if path.exists():
            continue
        data = gap.encode(what) if isinstance(what, Gap) else envelope.seal(what, BOOT).data
        path.write_bytes(data)
        found = as_json(what, data)
        readings = ",\n  ".join(json.dumps(one) for one in found.pop("readings", []))
        text = json.dumps(found, indent=1, sort_keys=True).removesuffix("\n}")
        text += f',\n "readings": [\n  {readings}\n ]\n}}\n' if readings else "\n}\n"
        path.with_suffix(".json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
