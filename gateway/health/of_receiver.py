"""The metrics of a receiver: what comes, what is written, what is missing, what waits to be handed on. Pure."""

from __future__ import annotations

from typing import Final

from gateway.health.metric import counter, gauge, histogram

_NO_FORWARD: Final = "without a forward and without Parquet files"
_FROM_TOPIC_TO_TOPIC: Final = "from topic to topic of Kafka"
_NO_BOOKS: Final = "in the first seconds, and from topic to topic of Kafka"

RECEIVER: Final = (
    gauge("region_info", "info.*.*", "1; names the receiver and the version.", "receiver", "version"),
    gauge("region_connected", "connected", "1 while batches can come."),
    gauge("region_store_fault", "store_fault", "1 while nothing can be committed."),
    gauge("region_waiting_messages", "waiting", "Messages that wait for their commit.", absent=_FROM_TOPIC_TO_TOPIC),
    counter("region_messages", "counts.messages", "Batches and gaps taken in."),
    counter("region_commits", "counts.groups", "Commits."),
    counter(
        "region_readings", "sinks.*", "Readings written, by sink; all sinks are written in one transaction.", "sink"
    ),
    counter("region_shed_messages", "counts.shed", "Messages at QoS 0 given up for want of room."),
    counter("region_decided", "decided.*", "What batches and gaps were found to be.", "decision"),
    counter("region_rejected_messages", "rejected.*", "Messages not taken since the start.", "reason"),
    histogram(
        "region_commit",
        "latency.commit",
        "From the hand-over of a group to the worker thread until it is committed.",
        absent=_FROM_TOPIC_TO_TOPIC,
    ),
    gauge("region_nodes", "books.nodes", "Nodes that were heard of.", absent=_NO_BOOKS),
    gauge("region_lanes", "books.lanes", "Lanes and epochs of theirs.", absent=_NO_BOOKS),
    gauge("region_missing_readings", "books.missing", "Readings in holes that nothing explains yet.", absent=_NO_BOOKS),
    gauge("region_unaccounted_readings", "books.unaccounted", "Anything but 0 is a defect.", absent=_NO_BOOKS),
    counter("region_lost_readings", "books.lost.*", "Readings that nodes declared lost.", "reason", absent=_NO_BOOKS),
    counter(
        "region_dead_letters", "books.dead.*", "Messages not taken, over the store's life.", "reason", absent=_NO_BOOKS
    ),
    counter("region_repeated_batches", "books.duplicates", "Batches that came again.", absent=_NO_BOOKS),
    counter("region_forked_batches", "books.forks", "Identities that came with other content.", absent=_NO_BOOKS),
    gauge("region_books_age_seconds", "books_age_s", "How long ago these books were read.", absent=_NO_BOOKS),
    gauge(
        "region_node_missing_readings",
        "books.worst.*",
        "Missing readings of the nodes that miss most.",
        "node",
        absent="while nothing is missing",
    ),
    gauge(
        "region_node_silent_seconds",
        "books.silent.*",
        "How long the nodes that are silent longest have been so.",
        "node",
        absent=_NO_BOOKS,
    ),
    gauge("region_outbox_messages", "outboxes.*.messages", "What waits in an outbox.", "forward", absent=_NO_FORWARD),
    gauge("region_outbox_bytes", "outboxes.*.bytes", "Its bytes.", "forward", absent=_NO_FORWARD),
    gauge(
        "region_outbox_bytes_max",
        "outboxes.*.bytes_max",
        "From where on an outbox lets nothing be committed.",
        "forward",
        absent=_NO_FORWARD,
    ),
    gauge("region_forward_connected", "forwards.*.connected", "1 while linked.", "forward", absent="without a forward"),
    counter(
        "region_forward_messages",
        "forwards.*.messages",
        "Messages handed on and acknowledged.",
        "forward",
        absent="without a forward",
    ),
    counter(
        "region_forward_refused_messages",
        "forwards.*.refused",
        "Messages refused for good.",
        "forward",
        absent="without a forward",
    ),
)
"""Of `gateway region run`."""
