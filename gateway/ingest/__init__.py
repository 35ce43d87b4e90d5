"""Ingest: from the local broker's socket to groups of messages that wait for the journal."""
