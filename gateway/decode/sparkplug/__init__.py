"""Sparkplug B → records: what a payload says depends on the birth before it, so this is a decoder with a memory.

    topic ─▶ place: group, edge node, device, and which of the six kinds of message
    payload ─▶ metrics ─▶ names and types (the payload's own, else those learnt from the birth) ─▶ values ─▶ rows

Files: `topic` (the namespace), `payload` (fields of the Protobuf messages), `values` (data types), `datasets`, `memory`
(what births taught, sequence numbers, bounds, state), `rebirth` (the command that asks for a birth), `leaves` (metrics
under whole names), `rows`, `decoder`.

Sources: Eclipse Sparkplug Specification 3.0.0, chapters 4 (topics), 5 (sessions) and 6 (payloads); field numbers from
Eclipse Tahu, `sparkplug_b/sparkplug_b.proto`.
"""
