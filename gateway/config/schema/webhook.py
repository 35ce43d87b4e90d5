"""Options of a region behind HTTPS."""

from __future__ import annotations

from typing import Annotated, Literal

from gateway.config.section import DURATION, KIB, MIB, SIZE, S, Section, option


class Webhook(Section, frozen=True, kw_only=True):
    """How batches or events are posted to an HTTPS server."""

    url: Annotated[str, option("Where to post, https://…; {node} and {lane} are filled in.")] = ""
    timeout_ns: Annotated[
        int,
        option("Longest wait for an answer once the line has taken the request.", unit=DURATION, low=S, high=600 * S),
    ] = 30 * S
    events_max: Annotated[
        int,
        option("Events of one request; 1 posts each by itself, not as a list.", unit="events", low=1, high=10_000),
    ] = 500
    bytes_max: Annotated[int, option("Bytes of events of one request.", unit=SIZE, low=KIB, high=64 * MIB)] = MIB
    probe: Annotated[
        Literal["OPTIONS", "HEAD", "GET"],
        option("What the server is asked, at the address, to see whether it is there; it need not like it."),
    ] = "OPTIONS"
    connections: Annotated[int, option("Connections, and so requests at once.", unit="connections", low=1, high=64)] = 4
    in_order: Annotated[
        bool,
        option(
            "Whether what belongs together (a node's batches, a series) is posted one after the other; false uses all "
            "connections for it, and it arrives in any order."
        ),
    ] = True
    signature: Annotated[
        Literal["none", "ed25519", "hmac-sha256"],
        option("How requests are signed (HTTP Message Signatures, RFC 9421)."),
    ] = "none"
    key_file: Annotated[
        str, option("File with the key that signs: PEM for ed25519, for hmac-sha256 its bytes, all of them.")
    ] = ""
    key_id: Annotated[str, option("Name of that key, for whoever verifies.")] = ""
    signature_valid_ns: Annotated[
        int,
        option(
            "How long a signature says that it is valid; 0 leaves it to the receiver.",
            unit=DURATION,
            low=0,
            high=86400 * S,
        ),
    ] = 0
    signature_nonce: Annotated[
        bool, option("Whether each signature carries a random number, for receivers that take none twice.")
    ] = False
    token_file: Annotated[str, option("File with a bearer token.")] = ""
    secret_header: Annotated[
        str, option('Name of one header with a secret, such as "aeg-sas-key" for Azure Event Grid.')
    ] = ""
    secret_file: Annotated[str, option("File with the value of `secret_header`.")] = ""
