"""Options of a region behind HTTPS."""

from __future__ import annotations

from typing import Annotated, Literal

from gateway.config.section import DURATION, KIB, MIB, SIZE, S, Section, option


class Webhook(Section, frozen=True, kw_only=True):
    """How batches or events are posted to an HTTPS server."""

    url: Annotated[str, option("Where to post, https://…; {node} and {lane} are filled in.")] = ""
    timeout_ns: Annotated[int, option("Longest wait for an answer.", unit=DURATION, low=S, high=600 * S)] = 30 * S
    events_max: Annotated[int, option("Events of one request.", unit="events", low=1, high=10_000)] = 500
    bytes_max: Annotated[int, option("Bytes of events of one request.", unit=SIZE, low=KIB, high=64 * MIB)] = MIB
    signature: Annotated[
        Literal["none", "ed25519", "hmac-sha256"],
        option("How requests are signed (HTTP Message Signatures, RFC 9421)."),
    ] = "none"
    key_file: Annotated[str, option("File with the key that signs: PEM for ed25519, raw bytes for hmac-sha256.")] = ""
    key_id: Annotated[str, option("Name of that key, for whoever verifies.")] = ""
    token_file: Annotated[str, option("File with a bearer token.")] = ""
