"""The health endpoint as it is configured; what it needs is an extra, imported only where it is wanted."""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any, cast

from gateway import __version__
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from types import ModuleType

    from gateway.config import schema
    from gateway.health.contract import Watched
    from gateway.health.metric import Metric
    from gateway.health.web import WebServer


def check(options: schema.Health) -> None:
    """Raise `ConfigError` when there is to be an endpoint and its packages are missing."""
    if options.listen:
        _module("pages")
        _module("metrics")


@contextlib.asynccontextmanager
async def endpoint(
    options: schema.Health,
    watched: Watched,
    metrics: Sequence[Metric],
    facts: Callable[[dict[str, Any], str], dict[str, Any]],
) -> AsyncIterator[WebServer | None]:
    """Serve what is asked about `watched`, inside; None when nothing is configured. Raises `ConfigError`.

    `metrics` are those whose values are in what `facts` makes of the status and the version.
    """
    if not options.listen:
        yield None
        return
    tables = [
        _module("pages").routes(watched),
        _module("metrics").routes(metrics, lambda: facts(watched.status(), __version__)),
    ]
    server = cast("WebServer", _module("web").WebServer(options.listen, tables))
    async with server:
        yield server


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"gateway.health.{name}")
    except ImportError as error:
        fault = f"health.listen needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[health]', or remove health.listen") from error
