"""The metrics of a node up to its rings, in flow order: process, broker, journal, pipeline, disk. Pure."""

from __future__ import annotations

from typing import Final

from gateway.health.metric import counter, gauge, histogram

_RARE: Final = "unless it happens"

STAGES: Final = (
    gauge("info", "info.*.*", "1; names the node and the version.", "node", "version"),
    gauge("uptime_seconds", "uptime_s", "Time since the flow was built: since the start, or the last reload."),
    gauge("epoch", "epoch", "Epoch of the spool; it changes when history could not be continued exactly."),
    counter("reloads", "reloads.*", "Changed configurations, by whether they were taken or refused.", "outcome"),
    counter("encode_busy_seconds", "busy_s.encode", "Time that the encode thread spent in jobs."),
    gauge(
        "pressure",
        "pressures.*",
        "1 while the node is short of it: `link`, `memory`, or `ring:` and a lane.",
        "of",
        absent="while there is none",
    ),
    gauge("memory_resident_bytes", "memory.rss_bytes", "Resident memory of the process."),
    gauge("memory_budget_bytes", "memory.budget_bytes", "Memory that the node may use; 0 where nothing limits it."),
    gauge("memory_state", "memory_states.*", "1 for the state of the memory, 0 for the others.", "state"),
    counter("memory_entered", "memory.entered.*", "Times that a state was entered.", "state"),
    gauge(
        "unaccounted", "residual.*", "Messages or readings whose fate is not known; anything but 0 is a defect.", "of"
    ),
    # ingest
    gauge("ingest_connected", "ingest.connected", "1 while the local broker has granted our subscriptions."),
    counter("ingest_messages", "ingest.messages", "Messages taken from the socket."),
    counter("ingest_payload_bytes", "ingest.payload_bytes", "Their payload: the raw bytes."),
    counter("ingest_reads", "ingest.reads", "Reads of the socket that brought messages."),
    counter("ingest_shed_messages", "ingest.shed", "QoS 0 messages given up for want of room."),
    counter("ingest_holds", "ingest.holds", "Times that the socket was not read for want of room."),
    counter("ingest_acknowledged_messages", "ingest.acknowledged", "PUBACKs sent."),
    counter(
        "ingest_unacknowledged_messages",
        "ingest.unacknowledged",
        "Messages made durable whose connection was gone; the broker sends them again.",
    ),
    counter("ingest_ticks", "ingest.ticks", "Journaled entries that only say that time has passed."),
    counter("ingest_connects", "ingest.connects", "Connections made to the local broker."),
    counter("ingest_connection_faults", "ingest.connection_faults", "Connections, or attempts, that failed."),
    counter("ingest_malformed", "ingest.malformed", "Connections closed because the peer sent no MQTT 5."),
    counter(
        "ingest_sessions_lost",
        "ingest.sessions_lost",
        "Times that the broker had lost our session, and what waited in it.",
    ),
    counter("ingest_overruns", "ingest.overruns", "Reads with more messages than the Receive Maximum allows."),
    histogram(
        "ingest_acknowledge", "latency.acknowledge", "From the arrival of the oldest message of a commit to its PUBACK."
    ),
    # journal
    histogram(
        "journal_commit",
        "latency.commit",
        "From the hand-over of a commit to the writer thread until it is durable (fdatasync).",
    ),
    counter("journal_commits", "journal.commits", "Commits."),
    counter("journal_entries", "journal.entries", "Entries committed."),
    counter("journal_bytes", "journal.bytes", "Bytes of commits."),
    counter("journal_files", "journal.files", "Files begun."),
    counter("journal_faults", "journal.faults", "Writes or syncs that failed."),
    gauge(
        "journal_commit_interval_seconds",
        "journal.commit_interval_s",
        "How long a message may wait for its commit now.",
    ),
    gauge("journal_since_checkpoint_bytes", "journal.bytes_since_checkpoint", "Journal that a start would replay."),
    counter("checkpoints", "journal.checkpoints.checkpoints", "Checkpoints taken."),
    counter("checkpoint_bytes", "journal.checkpoints.bytes", "Bytes of checkpoints."),
    # pipeline
    counter("pipeline_messages", "fates.message.*", "Fates of messages, over the life of the state folder.", "fate"),
    counter(
        "pipeline_quarantined_messages",
        "fates.quarantined.*",
        "Messages in quarantine, by reason.",
        "reason",
        absent=_RARE,
    ),
    counter("pipeline_shed_messages", "fates.shed.*", "Messages given up, by reason.", "reason", absent=_RARE),
    counter("pipeline_readings", "fates.reading.*", "Fates of readings, over the life of the state folder.", "fate"),
    gauge("pipeline_open_readings", "open_readings", "Readings that wait for their batch."),
    counter("route_messages", "routes.*.messages", "Messages that a route decoded.", "route"),
    counter(
        "route_quarantined_messages", "routes.*.quarantined", "Messages of a route that went to quarantine.", "route"
    ),
    counter("route_readings_in", "routes.*.readings_in", "Readings that a route decoded.", "route"),
    counter("route_readings_out", "routes.*.readings_out", "Readings that a route gave to its lane.", "route"),
    gauge(
        "channel_weight", "channels.*.weight", "What waits in a channel between two stages, in its own unit.", "channel"
    ),
    gauge("channel_weight_max", "channels.*.limit", "From where on a channel makes its sender wait.", "channel"),
    gauge(
        "channel_oldest_seconds", "channels.*.oldest_s", "How long the oldest item in a channel has waited.", "channel"
    ),
    counter("channel_put", "channels.*.put", "Items that passed a channel.", "channel"),
    counter("channel_waits", "channels.*.waits", "Times that a sender had to wait for room.", "channel"),
    counter("quarantine_kept_messages", "quarantine.kept", "Messages kept for a person."),
    counter(
        "quarantine_unkept_messages",
        "quarantine.unkept",
        "Messages that the quarantine could not take; they are counted all the same.",
    ),
    counter(
        "quarantine_evicted_messages", "quarantine.evicted", "Messages that made room for newer ones in the quarantine."
    ),
    # disk
    gauge("disk_state", "disk_states.*", "1 for the state of the disk, 0 for the others.", "state"),
    gauge("disk_free_bytes", "disk.free_bytes", "Free space of the file system; -1 before the first look."),
    counter("disk_entered", "disk.entered.*", "Times that a state was entered.", "state"),
    gauge("disk_fault", "disk_faults.*", "1 while the disk refuses this part: journal, spool, checkpoint.", "part"),
    counter("flash_bytes", "flash.bytes.*", "Bytes written to the flash, in whole pages, by purpose.", "purpose"),
    counter("flash_process_bytes", "flash.process_bytes", "Bytes that the kernel wrote for the process."),
    counter(
        "flash_device_bytes",
        "flash.device_bytes",
        "Bytes written to the device, by whomever.",
        absent="where the file system has no device",
    ),
    gauge(
        "flash_endurance_years",
        "flash.endurance_years",
        "How long the flash endures at that.",
        absent="in the first minute, and without `node.endurance_tbw`",
    ),
)
"""Of `gateway run`."""
