"""What all benchmarks share: one row of figures, and sizes that a trial run makes small.

A trial (`--trial`) is for people who change a benchmark or look whether all of them still work: sizes are so small that
its figures mean nothing, and so no budget is judged.
"""

from __future__ import annotations

import os

TRIAL = "GATEWAY_BENCHMARK_TRIAL"
"""Name in the environment, because the children of a benchmark must know it too."""


def row(name: str, figure: float, unit: str, baseline: float | None = None, budget: str | None = None) -> dict:
    """Return one row; the ratio follows from figure and baseline."""
    ratio = figure / baseline if baseline else None
    return {"name": name, "figure": figure, "unit": unit, "baseline": baseline, "ratio": ratio, "budget": budget}


def is_trial() -> bool:
    """Whether sizes are small."""
    return os.environ.get(TRIAL) == "1"


def sized(full: int, trial: int) -> int:
    """Return a size: the full one, or the one of a trial."""
    return trial if is_trial() else full


def quantile(values: list[float], share: float) -> float:
    """Return the value that a share of all values does not exceed (nearest rank)."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, max(0, int(share * len(ranked))))]
