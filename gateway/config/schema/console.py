"""Options of the console, the page for people."""

from __future__ import annotations

from typing import Annotated

from gateway.config.section import Section, option


class Console(Section, frozen=True, kw_only=True):
    """A web page about this node. Whoever reaches it may look; only a token may change something."""

    listen: Annotated[
        str,
        option(
            'Absolute path of a Unix socket, loopback address and port ("127.0.0.1:9274"), or with TLS any address and'
            " port; empty means no console. Needs the extra `console`."
        ),
    ] = ""
    token_file: Annotated[
        str,
        option(
            "File whose first line, 16 characters or more, permits redrive, purge and reload, over a Unix socket or"
            " TLS; empty: nobody."
        ),
    ] = ""
    tls_certificate: Annotated[str, option("PEM file of the console's certificate; set, TLS is spoken.")] = ""
    tls_key: Annotated[str, option("PEM file of the key to `tls_certificate`.")] = ""
    tls_ca: Annotated[
        str, option("PEM file of the CA whose client certificates are let in; needed wherever TLS is spoken.")
    ] = ""
