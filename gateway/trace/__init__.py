"""Traces: spans that follow a batch from its sealing to the region's acknowledgement, for those that are sampled.

    context    identities of traces and spans, made of a batch's identity; W3C trace context
    spans      a span as plain data
    exporter   a bounded queue and a thread that hands spans to a collector (OTLP over HTTP; extra `trace`)
    node       the spans of a node: batch, encode, append, send, acknowledge
    receiver   the spans of a receiver: receive, commit, sink

Without `[trace]` nothing of it is at work, and OpenTelemetry is not imported.
"""
