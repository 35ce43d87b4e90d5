"""Options of a region behind NATS JetStream."""

from __future__ import annotations

from typing import Annotated

from gateway.config.section import Section, option


class Nats(Section, frozen=True, kw_only=True):
    """How batches or events are published to a stream of NATS JetStream."""

    stream: Annotated[str, option("Stream that must take them; empty means whichever has the subject.")] = ""
    subject: Annotated[str, option("Subject to publish to; {node} and {lane} are filled in.")] = "edge.{node}.{lane}"
