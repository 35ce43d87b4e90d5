"""Hands spans to a collector by OTLP over HTTP, in a thread of its own, and never makes anyone wait.

`put` appends to a bounded queue, or counts the span as dropped when it is full. The thread takes what is there, at most
once a second, and gives it to OpenTelemetry's exporter, which tries again for some seconds. What a collector does not
take is counted as failed and forgotten: traces are the first thing that a node can do without. Nothing of it is kept on
disk, so what waits at a crash is lost.

The ids of spans are ours (`context`), so spans are made as the data that the exporter takes, and not by a tracer that
would choose its own.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway import __version__, redaction
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gateway.config import schema
    from gateway.trace.spans import Span

log = logging.getLogger(__name__)

WAITING_MAX: Final = 2048
SPANS_AT_ONCE: Final = 512
LINGER_S: Final = 1.0
ATTEMPT_S: Final = 10.0
CLOSE_S: Final = 2.0
PATH: Final = "/v1/traces"

_KINDS: Final = {"internal": "INTERNAL", "producer": "PRODUCER", "consumer": "CONSUMER"}


class Exporter:
    """The queue and the thread. Raises `ConfigError` when the extra is not installed or the token cannot be read."""

    def __init__(self, options: schema.Trace, resource: Mapping[str, str]) -> None:
        self._collector = _Collector(options, resource)
        self._waiting: deque[Span] = deque()
        self._woken = threading.Event()
        self._is_closing = False
        self._fault = False
        self.counts = {"spans": 0, "exported": 0, "dropped": 0, "failed": 0}
        self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
        self._thread.start()

    def put(self, span: Span) -> None:
        """Let a span be exported; from any thread."""
        self.counts["spans"] += 1
        if len(self._waiting) >= WAITING_MAX:
            self.counts["dropped"] += 1
            return
        self._waiting.append(span)
        if len(self._waiting) >= SPANS_AT_ONCE:
            self._woken.set()

    def status(self) -> dict[str, int]:
        """Return what became of all spans so far."""
        return {**self.counts, "waiting": len(self._waiting)}

    def close(self) -> None:
        """Export what waits, for `CLOSE_S` at most."""
        self._is_closing = True
        self._woken.set()
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            self._collector.close()

    def _run(self) -> None:
        while True:
            self._woken.wait(LINGER_S)
            self._woken.clear()
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(SPANS_AT_ONCE, len(self._waiting)))]
                self._export(some)
            if self._is_closing:
                self._collector.close()
                return

    def _export(self, some: Sequence[Span]) -> None:
        is_taken = self._collector.take(some)
        self.counts["exported" if is_taken else "failed"] += len(some)
        if not is_taken and not self._fault:
            log.warning("the trace collector does not take spans; they are counted and forgotten")
        elif is_taken and self._fault:
            log.warning("the trace collector takes spans again, %d are lost", self.counts["failed"])
        self._fault = not is_taken


class _Collector:
    """OpenTelemetry's exporter, imported here and nowhere else."""

    def __init__(self, options: schema.Trace, resource: Mapping[str, str]) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk import resources, trace  # noqa: PLC0415
            from opentelemetry.sdk.trace import export  # noqa: PLC0415
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415
            from opentelemetry.trace import Link, SpanContext, SpanKind, TraceFlags  # noqa: PLC0415
            from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415
        except ImportError as error:
            fault = f"traces need a package that is not installed: {error.name}"
            raise ConfigError(fault, hint="pip install 'edge-gateway[trace]', or remove [trace]") from error
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # its faults are counted here
        self._made = OTLPSpanExporter(
            endpoint=_url(options.endpoint),
            certificate_file=options.tls_ca or None,
            headers=_headers(options.token_file),
            timeout=ATTEMPT_S,
        )
        self._success = export.SpanExportResult.SUCCESS
        self._resource = resources.Resource({**resource, "service.version": __version__})
        self._scope = InstrumentationScope("edge-gateway", __version__)
        self._span, self._link, self._context = trace.ReadableSpan, Link, SpanContext
        self._flags = TraceFlags(TraceFlags.SAMPLED)
        self._kinds = {name: SpanKind[word] for name, word in _KINDS.items()}
        self._status: Any = lambda fault: Status(StatusCode.ERROR, fault) if fault else Status(StatusCode.OK)

    def take(self, spans: Sequence[Span]) -> bool:
        try:
            return bool(self._made.export([self._readable(span) for span in spans]) is self._success)
        except Exception:  # noqa: BLE001  # whatever a collector or the package does, the thread goes on
            return False

    def close(self) -> None:
        self._made.shutdown()  # type: ignore[no-untyped-call]  # of the package

    def _readable(self, span: Span) -> Any:  # noqa: ANN401  # of the package
        trace_id = span.context.trace_id

        def of(span_id: int, *, remote: bool) -> Any:  # noqa: ANN401  # of the package
            return self._context(trace_id, span_id, remote, self._flags)

        links = [self._link(self._context(one.trace_id, one.span_id, True, self._flags)) for one in span.links]
        return self._span(
            name=span.name,
            context=of(span.context.span_id, remote=False),
            parent=of(span.parent_id, remote=True) if span.parent_id else None,
            resource=self._resource,
            attributes=dict(span.attributes),
            links=links,
            kind=self._kinds[span.kind],
            status=self._status(redaction.masked(span.fault)),
            start_time=span.start_ns,
            end_time=max(span.start_ns, span.end_ns),
            instrumentation_scope=self._scope,
        )


def check(options: schema.Trace | None) -> None:
    """Raise `ConfigError` when the extra is not installed, or a file that is named cannot be used."""
    if options is not None:
        _Collector(options, {}).close()


def _url(endpoint: str) -> str:
    base = endpoint.rstrip("/")
    return base if base.endswith(PATH) else base + PATH


def _headers(token_file: str) -> dict[str, str]:
    if not token_file:
        return {}
    try:
        token = Path(token_file).read_bytes().strip()
    except OSError as error:
        raise ConfigError(f"trace.token_file: cannot read {token_file}: {error.strerror}", hint="check it") from error
    redaction.learn(token)
    return {"Authorization": f"Bearer {token.decode('ascii', 'replace')}"}


def chance_id() -> int:
    """Return the id of a span that is like no other."""
    return int.from_bytes(os.urandom(8)) or 1
