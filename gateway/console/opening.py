"""The console as it is configured; what it needs is an extra, imported only where it is wanted."""

from __future__ import annotations

import contextlib
import importlib
import ssl
from typing import TYPE_CHECKING

from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from types import ModuleType

    from gateway.config import schema
    from gateway.console.contract import Desk
    from gateway.health.web import WebServer


def check(options: schema.Console) -> None:
    """Raise `ConfigError` when there is to be a console and its packages are missing, or its certificates unusable."""
    if options.listen:
        _module("gateway.console.pages")
        tls_context(options)


@contextlib.asynccontextmanager
async def console(desk: Desk) -> AsyncIterator[WebServer | None]:
    """Serve the console of a daemon, inside; None when none is configured. Raises `ConfigError`."""
    options = desk.config.console
    if not options.listen:
        yield None
        return
    pages = _module("gateway.console.pages").Pages(desk)
    made = _module("gateway.health.web").WebServer
    server: WebServer = made(options.listen, [pages.routes()], name="console", tls=tls_context(options))
    try:
        async with server:
            yield server
    finally:
        pages.close()


def tls_context(options: schema.Console) -> ssl.SSLContext | None:
    """Return what lets in clients with a certificate of `tls_ca`; None without TLS. Raises `ConfigError`."""
    if not options.tls_certificate:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(options.tls_certificate, options.tls_key)
        context.load_verify_locations(options.tls_ca)
    except OSError as error:
        is_content = isinstance(error, ssl.SSLError)  # which is an OSError, too, and of no file that cannot be read
        raise ConfigError(
            f"the console's certificates cannot be used: {error}", hint="see console.tls_certificate, tls_key, tls_ca"
        ) from (None if is_content else error)
    return context


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        fault = f"console.listen needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[console]', or remove console.listen") from error
