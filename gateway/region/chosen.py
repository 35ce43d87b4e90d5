"""The store and the sinks that a receiver is configured for; what needs an extra of the package is imported then."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.errors import ConfigError
from gateway.region import watermarks
from gateway.region.sink.ndjson import NdjsonSink
from gateway.region.sink.sqlite import SqliteSink
from gateway.region.watermarks import Watermarks

if TYPE_CHECKING:
    from types import ModuleType

    from gateway.clock import Clock
    from gateway.config import schema
    from gateway.disk import Disk
    from gateway.region.reconcile import Report
    from gateway.region.sink import Sink
    from gateway.region.store import Store


def store(options: schema.Receiver) -> Store:
    """Open the store. Raises `ConfigError` when its extra is not installed, `StoreError` when it cannot be opened."""
    if "postgresql" in options.sinks:
        made: Store = _postgresql().PostgresqlStore(options.postgresql)
        return made
    return Watermarks(Path(options.state_folder))


def sinks(options: schema.Receiver, disk: Disk, clock: Clock) -> list[Sink]:
    """Return the sinks, in the order in which they are named."""
    made: list[Sink] = []
    for name in options.sinks:
        match name:
            case "ndjson":
                made.append(NdjsonSink(Path(options.state_folder) / "ndjson", disk, clock))
            case "sqlite":
                made.append(SqliteSink())
            case "postgresql":
                from gateway.region.sink.postgresql import PostgresqlSink  # noqa: PLC0415  # of an extra

                made.append(PostgresqlSink())
    return made


def report(options: schema.Receiver) -> Report:
    """Read the store of a receiver, running or not, and reconcile every lane. Raises as `store` does."""
    if "postgresql" in options.sinks:
        found: Report = _postgresql().report(options.postgresql)
        return found
    return watermarks.report(Path(options.state_folder))


def _postgresql() -> ModuleType:
    try:
        from gateway.region import postgresql  # noqa: PLC0415  # of an extra
    except ImportError as error:
        fault = f"the sink postgresql needs a package that is not installed: {error.name}"
        raise ConfigError(fault, hint="pip install 'edge-gateway[postgresql]'") from error
    return postgresql
