"""Who may look, and who may change something.

    look     a Host of this machine (a page elsewhere that has its name point here, DNS rebinding, is refused), or TLS
             with a client certificate; nothing that another site's page asks for in its own name
    change   besides: a Unix socket or TLS; an Origin that is the page's own, and JSON, which no form can send; a bearer
             token, compared in constant time

There are no cookies, so a browser adds nothing by itself that another site's page could ride on. Wrong tokens are let
pass `TRIES_MAX` times, then one more each `TRY_AGAIN_S`, whoever sends them: guessing 16 characters is hopeless then,
and somebody who floods the console shuts it for changes, not for looking, and not for the command line.
"""

from __future__ import annotations

import hmac
import socket
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import redaction
from gateway.audit import actor
from gateway.health.listen import host_of, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

TOKEN_CHARACTERS_MIN: Final = 16
TOKEN_BYTES_MAX: Final = 4096
TRIES_MAX: Final = 5
TRY_AGAIN_S: Final = 10.0

_BEARER: Final = "Bearer "
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7)


class Refused(Exception):  # noqa: N818  # what happened, not a fault of ours
    """A request that is not answered: with which HTTP status, and the sentence for a person."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


def may_look(request: web.Request) -> None:
    """Raise `Refused` for a request that another site's page may stand behind."""
    if not _is_tls(request) and not is_loopback(host_of(request.host)):
        raise Refused(421, "the console is asked by names of this machine only, such as localhost")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in {"same-origin", "none"} and request.headers.get("Sec-Fetch-Mode") != "navigate":
        raise Refused(403, "the console answers its own page only")


def why_read_only(request: web.Request, token_file: str) -> str:
    """Return why nothing can be changed over this connection, whatever the token; empty when it can."""
    if not token_file:
        return "no token is configured: set console.token_file"
    if _is_tls(request) or _is_unix(request):
        return ""
    return "changes need a Unix socket or TLS: set console.listen to a path, and open it through ssh -L"


def actor_of(request: web.Request) -> str:
    """Return who asks, for the audit log: whoever holds the other end of the socket, or the name in a certificate.

    Through `ssh -L` the other end is the session of whoever logged in.
    """
    transport = request.transport
    if transport is None:
        return "console"
    if _is_tls(request):
        subject = (transport.get_extra_info("peercert") or {}).get("subject", ())
        names = [value for part in subject for key, value in part if key == "commonName"]
        return f"console, certificate {', '.join(names) or 'without a name'}"
    if _is_unix(request):
        found = transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(found)
        return f"console, {actor.of_signal(uid, pid)}"
    return "console, a loopback port"


class Doorman:
    """Lets those through who know the token. `now` is a clock that does not step, in seconds."""

    def __init__(self, token_file: str, now: Callable[[], float]) -> None:
        self._token_file = token_file
        self._now = now
        self._tries = float(TRIES_MAX)
        self._tried_at = now()

    def may_change(self, request: web.Request) -> None:
        """Raise `Refused` unless the request may change something."""
        why = why_read_only(request, self._token_file)
        if why:
            raise Refused(403, why)
        if request.headers.get("Origin") != f"{request.scheme}://{request.host}":
            raise Refused(403, "changes are taken from the console's own page only")
        if request.content_type != "application/json":
            raise Refused(415, "a change is asked for in JSON")
        self._try(request.headers.get("Authorization", ""))

    def _try(self, said: str) -> None:
        now = self._now()
        self._tries = min(TRIES_MAX, self._tries + (now - self._tried_at) / TRY_AGAIN_S)
        self._tried_at = now
        if self._tries < 1:
            raise Refused(429, f"too many wrong tokens: wait {TRY_AGAIN_S * (1 - self._tries):.0f} s")
        expected = _token(self._token_file)
        token = said.removeprefix(_BEARER) if said.startswith(_BEARER) else ""
        if not hmac.compare_digest(token.encode("utf-8", "surrogateescape"), expected):
            self._tries -= 1
            raise Refused(401, "this is not the token")


def _token(path: str) -> bytes:
    """Return the token that counts now; it may be replaced at any time."""
    try:
        with Path(path).open("rb") as file:
            first = file.read(TOKEN_BYTES_MAX).split(b"\n", 1)[0].strip()
    except OSError as error:
        raise Refused(403, f"console.token_file cannot be read: {error.strerror}") from error
    if len(first) < TOKEN_CHARACTERS_MIN:
        raise Refused(403, f"console.token_file holds fewer than {TOKEN_CHARACTERS_MIN} characters: write a longer one")
    redaction.learn(first)
    return first


def _is_tls(request: web.Request) -> bool:
    transport = request.transport
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def _is_unix(request: web.Request) -> bool:
    link = request.transport.get_extra_info("socket") if request.transport is not None else None
    return link is not None and link.family == socket.AF_UNIX
