"""Measurements of the gateway's budgets: `python -m benchmarks [--only NAME]... [--json FILE]`.

A benchmark is a module of this package with a function `run() -> list[dict]`; each dict is one row:

    name      what was measured, unique among all rows
    figure    the measured number
    unit      what the number counts: "messages/s", "MB", "bytes/byte"
    baseline  the number of the thing it is compared with, measured in the same run on the same machine, or None
    ratio     figure / baseline, or None
    budget    None, or a condition on the row: "ratio >= 0.7", "figure <= 90" (operators >= and <=)

Budgets are ratios wherever a baseline exists, because only a ratio means the same on every machine. A row may carry
further keys; they go into the JSON and not into the table. Modules without `run` are parts of benchmarks.
"""
