"""One place that batches or events go to: how to connect to it, with which credentials, and how it has gone."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from gateway.audit.trail import record_security
from gateway.config import schema
from gateway.mirror.hearing import Hearing
from gateway.transport.backoff import Backoff
from gateway.transport.choice import transport
from gateway.transport.credentials import Credentials
from gateway.transport.tls import is_refusal

if TYPE_CHECKING:
    import random

    from gateway.errors import GatewayError

log = logging.getLogger(__name__)

STABLE_S: Final = 30.0
"""Time a link must be up until former failures are forgotten."""
_NS: Final = 10**9


class Place:
    """A region's own place, one of its standbys, or what a receiver hands on to; `what` names the kind in the log."""

    def __init__(self, region: schema.Peer, node: str, chance: random.Random, what: str = "region") -> None:
        self.name = region.name
        self.what = what
        self.by_receiver = isinstance(region, schema.Region) and region.acknowledge == "receiver"
        self._group = region.receiver_group if isinstance(region, schema.Region) else ""
        self.hearing = Hearing(region.heartbeat_ns if isinstance(region, schema.Region) else 0)
        self.credentials = Credentials(
            region.tls_ca,
            region.tls_certificate,
            region.tls_key,
            region.password_file,
            region.kafka.registry.tls_ca,
            region.kafka.registry.password_file,
            region.webhook.key_file,
            region.webhook.token_file,
            region.webhook.secret_file,
        )
        self.transport = transport(region, node, self.credentials, self._count_unheard)
        self.backoff = Backoff(chance, region.backoff_min_ns / _NS, region.backoff_max_ns / _NS, STABLE_S)
        self.connected_at = 0.0
        self.last_fault = ""
        self.counts = {"connects": 0, "faults": 0, "unheard": 0}

    def connected(self) -> None:
        """Note that there is a link."""
        self.connected_at, self.last_fault = time.monotonic(), ""
        self.counts["connects"] += 1
        log.info("%s %s: connected", self.what, self.name)

    def counts_word_of(self, group: str) -> bool:
        """Say whether the word of a receiver of this share group counts."""
        return self._group in ("", group)

    def ended(self) -> float:
        """Note that the link, if there was one, has ended; return how long it was up, in seconds."""
        up_s = time.monotonic() - self.connected_at if self.connected_at else 0.0
        self.connected_at = 0.0
        self.hearing.link_ended()
        return up_s

    def note(self, error: GatewayError) -> None:
        """Keep a fault, and log it unless it is the same again."""
        self.counts["faults"] += 1
        if error.fault != self.last_fault:
            log.warning("%s %s: %s", self.what, self.name, error)
            if is_refusal(error.fault):
                record_security("certificate.refused", peer=f"{self.what} {self.name}", fault=error.fault)
        self.last_fault = error.fault

    def _count_unheard(self) -> None:
        self.counts["unheard"] += 1
