"""Options of traces."""

from __future__ import annotations

from typing import Annotated

from gateway.config.section import Section, option


class Trace(Section, frozen=True, kw_only=True):
    """Spans that follow batches, to a collector by OTLP over HTTP. Needs the extra `trace`."""

    endpoint: Annotated[
        str, option("The collector, http://… or https://…; /v1/traces is added where it is not its end.")
    ]
    sample_ratio: Annotated[
        float, option("Share of the batches that is traced, by a hash of their identity.", low=0, high=1)
    ] = 0.01
    tls_ca: Annotated[str, option("PEM file of the CA that signed the collector's certificate; empty: certifi's.")] = ""
    token_file: Annotated[str, option("File with a bearer token for the collector; empty means none.")] = ""
