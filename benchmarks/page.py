"""Writes the measured rows into the page about performance.

    python -m benchmarks --json docs/performance/rows.json && python -m benchmarks.page

The tables stand between two marks in `docs/performance.md`; all else there is written by people. A run that began on a
busy machine says so by itself: the load average before it is in its file.
"""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path

from benchmarks.__main__ import cell

PAGE = Path("docs/performance.md")
ROWS = Path("docs/performance/rows.json")
BEGIN, END = "<!-- begin of measured rows -->", "<!-- end of measured rows -->"
WIDTH = 120
BUSY = 0.5
"""Load average before the run from which the machine was busy with something else."""
HEAD = "| what | figure | beside it | ratio | budget | |\n|---|---:|---:|---:|---|---|\n"


def main() -> int:
    """Write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description="Write measured rows into the page.")
    parser.add_argument("rows", type=Path, nargs="?", default=ROWS)
    arguments = parser.parse_args()
    report = json.loads(arguments.rows.read_text("utf-8"))
    text = PAGE.read_text("utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(report)}\n{END}{after}", "utf-8")
    return 0


def tables(report: dict) -> str:
    """Return the machine, the rows that have a budget, and the others."""
    machine, rows = report["machine"], report["rows"]
    load = machine["load"][0]
    busy = f" **The machine was busy: its load average before the run was {load:.1f}.**" if load > BUSY else ""
    judged = [row for row in rows if row["budget"]]
    others = [row for row in rows if not row["budget"]]
    said = (
        f"{machine['date']}, {machine['processor']}, {machine['cores']} cores, {machine['system']}, Python"
        f" {machine['python']}.{busy} Raw: [rows.json](performance/rows.json)."
    )
    return (
        f"{textwrap.fill(said, WIDTH, break_long_words=False, break_on_hyphens=False)}\n\n"
        f"### Budgets\n\n{HEAD}{''.join(map(line, judged))}\n### Without a budget\n\n{HEAD}{''.join(map(line, others))}"
    )


def line(row: dict) -> str:
    """Return one row of a table."""
    met = {True: "met", False: "**not met**", None: ""}[row["met"]]
    budget = (row["budget"] or "").replace(">=", "≥").replace("<=", "≤")
    beside, ratio = ("" if row[key] is None else cell(row[key]) for key in ("baseline", "ratio"))
    return f"| {row['name']} | {cell(row['figure'])} {row['unit'] or ''} | {beside} | {ratio} | {budget} | {met} |\n"


if __name__ == "__main__":
    sys.exit(main())
