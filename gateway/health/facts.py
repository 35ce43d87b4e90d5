"""The status as the paths of the catalogue want it: maps of maps, states as one of several, reasons from fixed lists.

Pure. Nothing is measured here; what the status does not say is not in the facts either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway import ledger
from gateway.health.metric import OTHER, QUALITIES
from gateway.medium import State
from gateway.memory import State as Memory
from gateway.spool.books import REASONS as GONE

if TYPE_CHECKING:
    from collections.abc import Mapping

TOPIC_CHARACTERS_MAX: Final = 120

MESSAGE_FATES: Final = ("received", "decoded", "duplicate", "unrouted", "quarantined", "shed")
READING_FATES: Final = tuple(
    name.removeprefix("reading.")
    for name in (
        ledger.READ,
        ledger.EMITTED,
        ledger.TAGGED,
        ledger.FILTERED,
        ledger.DUPLICATE_READING,
        ledger.UNDER_PRESSURE,
        ledger.SAMPLED_OUT,
        ledger.AGGREGATED,
        ledger.LATE,
        ledger.SEALED,
    )
)
"""They are there from the start, so that the first of each kind is seen as an increase."""

REASONS: Final = frozenset(
    {
        "array_invalid",
        "birth_missing",
        "compressed",
        "dataset_invalid",
        "duplicate_alias",
        "duplicate_key",
        "empty",
        "expression_division_by_zero",
        "expression_missing_field",
        "expression_missing_level",
        "expression_out_of_range",
        "expression_text_too_long",
        "expression_wrong_type",
        "field_invalid",
        "field_name_too_long",
        "integer_too_large",
        "key_not_text",
        "malformed_avro",
        "malformed_cbor",
        "malformed_csv",
        "malformed_json",
        "malformed_line",
        "malformed_msgpack",
        "malformed_protobuf",
        "must_understand",
        "name_invalid",
        "name_missing",
        "no_fields",
        "not_an_array",
        "not_an_object",
        "not_decrypted",
        "not_finite",
        "not_utf8",
        "number_too_large",
        "path_missing",
        "payload_too_large",
        "qos0_overflow",
        "rate_limit",
        "schema_unknown",
        "schema_violated",
        "seq_invalid",
        "series_invalid",
        "stale_death",
        "time_ahead",
        "time_invalid",
        "time_missing",
        "too_deep",
        "too_many_fields",
        "too_many_metrics",
        "too_many_records",
        "too_many_topics",
        "too_many_windows",
        "topic_invalid",
        "topic_too_long",
        "unsupported_type",
        "value_ambiguous",
        "value_mismatch",
        "value_missing",
        "version_mixed",
        "version_unsupported",
    }
)
"""Why a message goes to quarantine, or is shed."""


def of_node(status: Mapping[str, Any], version: str) -> dict[str, Any]:
    """Return the facts about a node."""
    lanes = {lane["name"]: lane for lane in status["lanes"]}
    regions = status["regions"]
    reloads = status.get("reloads", {})
    return {
        **status,
        "info": {status["node"]: {version: 1}},
        "clock_quality": QUALITIES[status["clock"]],
        "reloads": {name: reloads[name] for name in ("taken", "refused") if name in reloads},
        "pressures": dict.fromkeys(status["pressure"], 1),
        "fates": _fates(status["ledger"]),
        "routes": {route["name"]: route for route in status["routes"]},
        "channels": {channel["name"].partition(",")[0]: channel for channel in status["channels"]},
        "memory_states": {state.value: int(status["memory"]["state"] == state.value) for state in Memory},
        "disk_states": {state.value: int(status["disk"]["state"] == state.value) for state in State},
        "disk_faults": {part: int(part in status["disk"]["faults"]) for part in ("journal", "spool", "checkpoint")},
        "lanes": lanes,
        "lane_states": {
            name: {
                "full": lane["state"] == "full",
                "held": lane["state"] == "held",
                "refusing": name == status["refusing"],
            }
            for name, lane in lanes.items()
        },
        "lost_batches": {name: _gone(lane, "batches") for name, lane in lanes.items()},
        "lost_readings": {name: _gone(lane, "readings") for name, lane in lanes.items()},
        "topics": {lane: _topics(found) for lane, found in status["topics"].items()},
        "standbys": {name: region["place"] != name for name, region in regions.items()},
        "silent": {name: bool(region["receiver_is_silent"]) for name, region in regions.items()},
        "link_bytes": {name: region["sent_bytes"] + region["overhead_bytes"] for name, region in regions.items()},
        "waits": {
            region: {name: lane["regions"][region] for name, lane in lanes.items() if region in lane["regions"]}
            for region in regions
        },
        "recovery_notes": len(status["recovery"]["notes"]),
    }


def _fates(books: Mapping[str, int]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {
        "message": dict.fromkeys(MESSAGE_FATES, 0),
        "reading": dict.fromkeys(READING_FATES, 0),
        "quarantined": {},
        "shed": {},
    }
    for name, number in books.items():
        for kind, prefix in (("quarantined", ledger.QUARANTINED), ("shed", ledger.SHED)):
            if name.startswith(prefix):
                reason = name.removeprefix(prefix)
                key = reason if reason in REASONS else OTHER
                found[kind][key] = found[kind].get(key, 0) + number
                found["message"][kind] = found["message"].get(kind, 0) + number
                break
        else:
            kind, _, fate = name.partition(".")
            found[kind][fate] = number
    return found


def _gone(lane: Mapping[str, Any], what: str) -> dict[str, int]:
    return {reason: lane[f"{reason}_{what}"] for reason in GONE}


def _topics(found: Mapping[str, int]) -> dict[str, int]:
    """Return the topics with names of a bounded length; two that are then the same are added up."""
    made: dict[str, int] = {}
    for topic, size in found.items():
        name = topic if len(topic) <= TOPIC_CHARACTERS_MAX else topic[: TOPIC_CHARACTERS_MAX - 1] + "…"
        made[name] = made.get(name, 0) + size
    return made
