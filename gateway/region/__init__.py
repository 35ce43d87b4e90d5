"""The central side: take batches from a region's broker, write each reading once, say what is durable.

`receiver` decides what a batch or gap is for its lane (pure), `reconcile` holds what came against what the node says it
sent (pure), `watermarks` keeps both in SQLite, `intake` decodes and commits groups, `service` is the MQTT session, and
`sink` holds one file per target.
"""
