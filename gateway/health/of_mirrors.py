"""The metrics of a node from its rings on: lanes, regions, the last start. Pure."""

from __future__ import annotations

from typing import Final

from gateway.health.metric import Metric, counter, gauge, histogram

_NO_REGION: Final = "without a region"


def _labels(path: str) -> tuple[str, ...]:
    return ("region", "lane")[: path.count("*")]


def _counter(name: str, path: str, sentence: str) -> Metric:
    return counter(name, path, sentence, *_labels(path), absent=_NO_REGION)


def _gauge(name: str, path: str, sentence: str) -> Metric:
    return gauge(name, path, sentence, *_labels(path), absent=_NO_REGION)


def _histogram(name: str, path: str, sentence: str) -> Metric:
    return histogram(name, path, sentence, *_labels(path), absent=_NO_REGION)


LANES: Final = (
    gauge(
        "spool_rank",
        "lanes.*.rank",
        "Place of a lane in the configuration: 1 is the most important; 0 is not there any more, or coarser.",
        "lane",
    ),
    gauge("spool_bytes", "lanes.*.bytes", "Space that a lane's segments take on the disk.", "lane"),
    gauge("spool_bytes_max", "lanes.*.bytes_max", "Size of a lane's ring.", "lane"),
    gauge("spool_waiting_bytes", "lanes.*.waiting_bytes", "What the slowest region of a lane waits for.", "lane"),
    gauge("spool_fill_ratio", "lanes.*.fill", "The same as a share of the ring.", "lane"),
    gauge(
        "spool_left_hours",
        "lanes.*.hours_left",
        "When the ring is full if what waits grows as in the last 10 minutes.",
        "lane",
        absent="while it does not grow",
    ),
    gauge("spool_segments", "lanes.*.segments", "Segments of a lane.", "lane"),
    gauge("spool_batches", "lanes.*.batches", "Batches stored.", "lane"),
    gauge("spool_readings", "lanes.*.readings", "Readings in them.", "lane"),
    gauge("spool_head_sequence", "lanes.*.head", "Sequence of the newest batch.", "lane"),
    gauge("spool_durable_sequence", "lanes.*.durable", "Sequence of the newest batch that was synced.", "lane"),
    gauge(
        "spool_memory_bytes",
        "lanes.*.bytes_in_memory",
        "Batches held in memory alone, because the disk refuses.",
        "lane",
    ),
    gauge("spool_full", "lane_states.*.full", "1 while a lane's ring is full.", "lane"),
    gauge("spool_held", "lane_states.*.held", "1 while a lane is held in memory.", "lane"),
    gauge(
        "spool_refusing",
        "lane_states.*.refusing",
        "1 while a lane refuses batches, and so the local broker has to keep what comes.",
        "lane",
    ),
    counter("spool_appended_batches", "lanes.*.appended", "Batches stored.", "lane"),
    counter("spool_refused_batches", "lanes.*.refused", "Times that a full ring refused a batch.", "lane"),
    counter(
        "spool_conflicting_batches", "lanes.*.conflicts", "Batches made twice with different content; a defect.", "lane"
    ),
    counter("spool_faults", "lanes.*.faults", "Writes or syncs that failed.", "lane"),
    counter("spool_sealed_bytes", "lanes.*.sealed_bytes", "Bytes of sealed batches.", "lane"),
    counter("spool_written_bytes", "lanes.*.bytes_written", "Bytes of their frames, written to segments.", "lane"),
    counter(
        "spool_lost_batches",
        "lost_batches.*.*",
        "Batches that no region will get, by reason, over the life of the spool.",
        "lane",
        "reason",
    ),
    counter("spool_lost_readings", "lost_readings.*.*", "Readings in them.", "lane", "reason"),
    gauge(
        "spool_topic_bytes",
        "topics.*.*",
        "Estimate of the sealed bytes of a lane's largest topics since the start; an empty topic is all others.",
        "lane",
        "topic",
        absent="before the first batch",
    ),
)

REGIONS: Final = (
    _gauge("mirror_connected", "regions.*.connected", "1 while a region, or its standby, has accepted us."),
    _gauge("mirror_on_standby", "standbys.*", "1 while a standby carries a region's mirror."),
    _gauge(
        "mirror_receiver_silent",
        "silent.*",
        "1 while a region's receiver owes us a word: connected, and nobody is there.",
    ),
    _gauge("mirror_in_flight", "regions.*.in_flight", "Batches and gaps sent and not acknowledged."),
    _counter("mirror_connects", "regions.*.connects", "Links made."),
    _counter("mirror_faults", "regions.*.faults", "Links, or attempts, that failed."),
    _counter("mirror_sent", "regions.*.sent", "Batches and gaps sent for the first time."),
    _counter("mirror_resent", "regions.*.resent", "Batches and gaps sent again."),
    _counter("mirror_acknowledged", "regions.*.acknowledged", "Batches and gaps acknowledged."),
    _counter(
        "mirror_foreign_acknowledgements",
        "regions.*.foreign_acknowledgements",
        "Acknowledgements of another history, such as that of a box with the same id.",
    ),
    _counter("mirror_parked_batches", "regions.*.parked", "Batches that a region refused for good."),
    _counter("mirror_failovers", "regions.*.failovers", "Moves of the mirror to the next standby."),
    _counter("mirror_failbacks", "regions.*.failbacks", "Moves back to a better place."),
    _counter("mirror_payload_bytes", "regions.*.sent_bytes_by_lane.*", "Payload sent to a region, resends included."),
    _counter(
        "mirror_overhead_bytes",
        "regions.*.overhead_bytes",
        "What the line carried besides: headers, TLS, answers, pings, both ways.",
    ),
    _counter(
        "mirror_link_bytes",
        "link_bytes.*",
        "All bytes of the line: payload and overhead; without overhead where a transport cannot count.",
    ),
    _gauge("mirror_line_open", "regions.*.line.open", "1 while a window for the line is open."),
    _gauge("mirror_budget_spent", "regions.*.line.budget_spent", "1 while the day or the month has had its bytes."),
    _gauge("mirror_day_bytes", "regions.*.line.day_bytes", "Bytes of the line today, UTC."),
    _gauge("mirror_month_bytes", "regions.*.line.month_bytes", "Bytes of the line this month, UTC."),
    _gauge("mirror_waiting_batches", "waits.*.*.backlog_batches", "Batches stored that a region has not."),
    _gauge("mirror_waiting_readings", "waits.*.*.backlog_readings", "Readings in them."),
    _gauge("mirror_waiting_bytes", "waits.*.*.backlog_bytes", "Their bytes on disk."),
    _gauge(
        "mirror_oldest_seconds",
        "regions.*.oldest_s.*",
        "Age of the oldest batch that a region has not; 0 when it has all.",
    ),
    _histogram(
        "mirror_delivery",
        "delivery.*.*",
        "From the commit of a batch's oldest message until the region has acknowledged all up to it.",
    ),
)

LAST_START: Final = (
    gauge("recovery_seconds", "recovery.seconds", "How long the last start took to recover."),
    gauge("recovery_replayed_messages", "recovery.messages_replayed", "Messages that it replayed."),
    gauge(
        "recovery_missing_messages",
        "recovery.messages_missing",
        "Acknowledged messages that are known to be gone, at least.",
    ),
    gauge(
        "recovery_input_missing", "recovery.acknowledged_input_missing", "1 when it found acknowledged input damaged."
    ),
    gauge("recovery_notes", "recovery_notes", "Notes of the last start, see `gateway status`."),
)
