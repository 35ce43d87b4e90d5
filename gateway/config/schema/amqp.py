"""Options of a region behind RabbitMQ."""

from __future__ import annotations

from typing import Annotated

from gateway.config.section import Section, option


class Amqp(Section, frozen=True, kw_only=True):
    """How batches or events are published to RabbitMQ."""

    virtual_host: Annotated[str, option("Virtual host.")] = "/"
    exchange: Annotated[
        str, option("Exchange to publish to; empty means the default one, whose routing keys are names of queues.")
    ] = ""
    routing_key: Annotated[str, option("Routing key; {node} and {lane} are filled in.")] = "edge.{lane}"
