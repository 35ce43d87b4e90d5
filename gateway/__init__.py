"""Edge gateway: from a site's sensors to one or more regions, losing nothing without saying so.

The code in the order in which a message passes it:

    cli            one file per verb; the only code that prints and exits
    config         gateway.toml: schema, load, render
    daemon         `gateway run`: builds the flow, signals, readiness, drain
    flow           THE MAP: every stage wired in order, every limit on one screen
    transport      MQTT 5 at the socket: packets, connections, subscriber, publisher, TLS, the words on the wire
    ingest         what the local broker sent → groups of messages, acknowledged after the journal has them
    journal        the log of inputs, group commit, checkpoints, replay
    sealing        open batches → encoded once → the ring → the mirrors hear of it
    checkpointing  when the pipeline's state is kept, and how
    recovery       a start: checkpoint and replay through the same pipeline
    relief         gives way when memory gets scarce
    vitals         signs of life of every task and thread, for the supervisor's watchdog
    obstacles      what a start on this box would stumble over
    trial          recorded input through a configuration that is not at work
    process        the deterministic pipeline: route, filter, sample, aggregate
    decode         payload → rows, one file per format
    schemas        contracts that payloads keep, and whether a change of one is compatible
    quarantine     what no decoder could take, kept for a person
    redrive        messages of the quarantine, published again
    batch          readings → columns → one sealed envelope, and back
    events         batches as CloudEvents, for consumers without our receiver
    spool          the durable ring: lanes of segments, a cursor per region
    mirror         a session per region: send, acknowledge, resend
    region         the central side: verify, de-duplicate, sink, acknowledge
    trace          spans that follow a batch from its sealing to the region's acknowledgement
    audit          who changed what, each entry proved by the next
    console        a web page about the node, served by the daemon
    health         status, rates, logs; what a supervisor is told, and the HTTP endpoint for one that asks
    demo           a whole site and region on one machine, cut and killed, with the books at the end

    model, ledger  what flows, and where it may end
    errors, clock, collector, disk, flash, medium, memory, pressure, redaction, repeats, frame, lock, hangup,
                   channel, workers: what everything stands on

Imports run from `cli` downwards, never back; `tests/unit/test_style.py` checks it.
"""

__version__ = "0.1.0"
