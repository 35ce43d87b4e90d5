"""Every metric there is, and the page that says so. Pure.

The page `docs/reference/metrics.md`, what is exposed (`gateway.health.metrics`) and the tests of alerts and dashboards
are made from these lists. Labels are bounded: names of lanes, regions, routes and forwards come from the configuration;
reasons are those of `REASONS`, any other is "other"; topics and nodes are the largest few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.health import of_mirrors, of_node
from gateway.health.metric import COUNTER, GAUGE, HISTOGRAM, Metric, counter, gauge, histogram
from gateway.health.of_receiver import RECEIVER

if TYPE_CHECKING:
    from collections.abc import Iterable

PROCESS: Final = (
    Metric("process_resident_memory_bytes", GAUGE, "Resident memory (RSS).", ""),
    Metric("process_virtual_memory_bytes", GAUGE, "Virtual memory.", ""),
    Metric("process_cpu_seconds_total", COUNTER, "Time on a core, user and system.", ""),
    Metric("process_open_fds", GAUGE, "Open file descriptors.", ""),
    Metric("process_max_fds", GAUGE, "Most file descriptors that may be open.", ""),
    Metric("process_start_time_seconds", GAUGE, "When the process started, since the Unix epoch.", ""),
)
"""Of both; prometheus_client reads them from /proc."""

BOTH: Final = (
    gauge("clock_quality", "clock_quality", "2 synchronised, 1 holdover, 0 not set."),
    histogram(
        "loop_delay",
        "latency.loop_delay",
        "How late the loop comes to a timer; four a second.",
        absent="from topic to topic of Kafka",
    ),
    histogram(
        "writer_answer",
        "latency.writer_answer",
        "How long a job waits for the thread that writes; four a second.",
        absent="from topic to topic of Kafka",
    ),
    counter(
        "writer_busy_seconds",
        "busy_s.writer",
        "Time that this thread spent in jobs, waits for the disk or the database included.",
        absent="from topic to topic of Kafka",
    ),
    gauge(
        "certificate_left_seconds",
        "certificates.*.*",
        "Time until a certificate in a configured file ends; below 0 it has.",
        "peer",
        "file",
        absent="without TLS, and while the file cannot be read",
    ),
)

NODE: Final = (*BOTH, *of_node.STAGES, *of_mirrors.LANES, *of_mirrors.REGIONS, *of_mirrors.LAST_START)
REGION: Final = (*BOTH, *RECEIVER)

_PREFACE: Final = """\
# Metrics

<!-- made by `gateway config docs --write` from `gateway/health`: change that, not this -->

What `/metrics` says, see [monitoring](../operate/monitoring.md): OpenMetrics 1.0 to who asks for it, else the text
format of Prometheus. A counter begins at the start of the process, or of the flow after a reload, unless its sentence
says more. A histogram `x` has the series `x_bucket`, `x_sum` and `x_count`. States are 1 or 0.

How many series there are depends on the configuration alone: lanes, regions, routes and forwards are those of the file;
reasons are a fixed list, any other is `other`; topics are the 20 largest of each lane, nodes the 10 worst.
"""

_TITLES: Final = (
    ("Of a node and of a receiver", (*PROCESS, *BOTH)),
    ("Of a node: from the broker to the disk", of_node.STAGES),
    ("Of a node: its rings", of_mirrors.LANES),
    ("Of a node: its regions", of_mirrors.REGIONS),
    ("Of a node: its last start", of_mirrors.LAST_START),
    ("Of a receiver", RECEIVER),
)


def page() -> str:
    """Return the reference page, Markdown."""
    parts = [_PREFACE]
    for title, metrics in _TITLES:
        parts += [f"\n## {title}\n\n", "| metric | kind | unit | labels | | |\n|---|---|---|---|---|---|\n"]
        parts += [_row(metric) for metric in metrics]
    return "".join(parts)


def _row(metric: Metric) -> str:
    absent = f"not {metric.absent}" if metric.absent else ""
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.sentence} | {absent} |\n"


def series_names(metrics: Iterable[Metric]) -> set[str]:
    """Return the names of all series, as queries name them."""
    names = set()
    for metric in metrics:
        if metric.kind == HISTOGRAM:
            names |= {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}
        else:
            names.add(metric.name)
    return names
