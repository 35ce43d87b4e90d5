"""What a metric is declared with: name, kind, labels, one sentence, and where in the facts its value stands. Pure.

Facts are made from the status (`gateway.health.facts`). A path names their keys; each `*` is a level whose keys are the
values of the next label. A histogram's path leads to its buckets and sum. What is `None` in the facts has no series.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"

OTHER: Final = "other"
"""The label of whatever is not on a fixed list."""

QUALITIES: Final = {"unsynchronised": 0, "holdover": 1, "synchronised": 2}
"""Of the clock."""


class Metric(NamedTuple):
    """One family; `name` is as it is queried.

    `absent` says when there is no series of it; empty where there always is one.
    """

    name: str
    kind: str
    sentence: str
    path: str
    labels: tuple[str, ...] = ()
    absent: str = ""

    @property
    def unit(self) -> str:
        """The unit in the name, empty where it counts things or is a state."""
        words = self.name.removesuffix("_total").split("_")
        return words[-1] if words[-1] in _UNITS else ""


_UNITS: Final = frozenset({"seconds", "bytes", "ratio", "hours", "years"})


def counter(name: str, path: str, sentence: str, *labels: str, absent: str = "") -> Metric:
    """Declare a count that only rises, from the start on unless its sentence says more."""
    return Metric(f"gateway_{name}_total", COUNTER, sentence, path, labels, absent)


def gauge(name: str, path: str, sentence: str, *labels: str, absent: str = "") -> Metric:
    """Declare a value that rises and falls."""
    return Metric(f"gateway_{name}", GAUGE, sentence, path, labels, absent)


def histogram(name: str, path: str, sentence: str, *labels: str, absent: str = "") -> Metric:
    """Declare how long something takes."""
    return Metric(f"gateway_{name}_seconds", HISTOGRAM, sentence, path, labels, absent)


def limited(counts: Mapping[str, int], known: frozenset[str]) -> dict[str, int]:
    """Return the counts with those of unknown names under one."""
    found: dict[str, int] = {}
    for name, number in counts.items():
        key = name if name in known else OTHER
        found[key] = found.get(key, 0) + number
    return found
