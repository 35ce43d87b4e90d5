"""Options of the HTTP endpoint that supervisors look at."""

from __future__ import annotations

from typing import Annotated

from gateway.config.section import Section, option


class Health(Section, frozen=True, kw_only=True):
    """What supervisors ask over HTTP, on this machine only: metrics, health, status."""

    listen: Annotated[
        str,
        option(
            'Loopback address and port ("127.0.0.1:9273", "[::1]:9273"; port 0 takes a free one, `gateway status` names'
            " it), or absolute path of a Unix socket; empty means no endpoint. Needs the extra `health`."
        ),
    ] = ""
