"""Ask a health endpoint, on a port or a Unix socket, and read what it says as Prometheus would."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

if TYPE_CHECKING:
    from prometheus_client.core import Metric
    from prometheus_client.samples import Sample

ASK_S = 10.0
OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def asked(where: str, page: str, host: str = "localhost", accept: str = "*/*") -> tuple[int, str]:
    """Return status and content of a page; `where` is "address:port" or the path of a socket."""
    with connection_to(where) as line:
        fields = f"Host: {host}\r\nAccept: {accept}\r\nConnection: close"
        line.sendall(f"GET {page} HTTP/1.1\r\n{fields}\r\n\r\n".encode())
        head, _, content = everything(line).partition(b"\r\n\r\n")
    return int(head.split()[1]), content.decode()


def connection_to(where: str) -> socket.socket:
    """Connect."""
    if where.startswith("/"):
        line = socket.socket(socket.AF_UNIX)
        line.settimeout(ASK_S)
        try:
            line.connect(where)
        except OSError:
            line.close()
            raise
        return line
    host, _, port = where.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), ASK_S)


def everything(line: socket.socket) -> bytes:
    """Read to the end."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := line.recv(65536):
            parts.append(part)
    return b"".join(parts)


def scraped(where: str) -> list[Metric]:
    """Return the families of the page in OpenMetrics."""
    code, text = asked(where, "/metrics", accept=OPENMETRICS)
    assert code == 200
    return list(openmetrics.text_string_to_metric_families(text))


def scraped_text(where: str) -> list[Metric]:
    """Return the same of the page in the text format."""
    code, text = asked(where, "/metrics")
    assert code == 200
    return list(parser.text_string_to_metric_families(text))


def samples(families: list[Metric]) -> list[Sample]:
    """Return all samples."""
    return [sample for family in families for sample in family.samples]


def value(where: str, name: str, **labels: str) -> float:
    """Return the value of one series; -1 when it is not there."""
    for sample in samples(scraped(where)):
        if sample.name == name and labels.items() <= sample.labels.items():
            return sample.value
    return -1.0


def promtool(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool; it must be installed."""
    ours = Path(__file__).resolve().parents[1] / ".promtool" / "usr" / "bin"
    program = shutil.which("promtool", path=os.pathsep.join((os.environ.get("PATH", ""), str(ours))))
    assert program, "the tests need promtool: make promtool, or install Prometheus"
    return subprocess.run([program, *arguments], input=given, capture_output=True, text=True, check=False, timeout=120)
