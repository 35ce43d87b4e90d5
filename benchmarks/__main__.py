"""Run the benchmarks, print a table, write JSON; exit 1 when a budget is not met.

Each benchmark runs in this process, one after the other, so that they never compete; one that raises is reported as a
row of its own and fails the run, the others still run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import operator
import os
import pkgutil
import platform
import sys
import time
import traceback
from pathlib import Path

import benchmarks
from benchmarks.rows import TRIAL, is_trial
from gateway.cli import shown

OPERATORS = {">=": operator.ge, "<=": operator.le}
COLUMNS = ("name", "figure", "unit", "baseline", "ratio", "budget", "met")


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure the budgets.")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this benchmark only (repeatable)")
    parser.add_argument("--trial", action="store_true", help="tiny sizes: does every benchmark work? judges no budget")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the rows to FILE")
    arguments = parser.parse_args()
    names = [module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")]
    unknown = sorted(set(arguments.only or ()) - set(names))
    if unknown:
        parser.error(f"no benchmark named {', '.join(unknown)}; there are {', '.join(names)}")
    if arguments.trial:
        os.environ[TRIAL] = "1"
    before, rows = machine(), []
    for name in arguments.only or names:
        rows += measured(name)
    print(table(rows))
    if arguments.json:
        report = {"machine": before, "rows": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0 if all(row["met"] in (True, None) for row in rows) else 1


def measured(name: str) -> list[dict]:
    """Run one benchmark and return its rows, each with `met`; none when the module is only a part."""
    started = time.monotonic()
    try:
        run = getattr(importlib.import_module(f"benchmarks.{name}"), "run", None)
        rows = [] if run is None else run()
    except Exception:  # noqa: BLE001  # a broken benchmark must not hide the figures of the others
        traceback.print_exc()
        return [{**dict.fromkeys(COLUMNS), "name": f"{name}: failed", "met": False, "benchmark": name}]
    for row in rows:
        row["met"] = None if is_trial() else is_met(row)
        row["benchmark"] = name
    if rows:
        print(f"{name}: {len(rows)} rows in {time.monotonic() - started:.1f} s", file=sys.stderr)
    return rows


def is_met(row: dict) -> bool | None:
    """Judge the budget of a row; None where it has none."""
    if row.get("budget") is None:
        return None
    what, compare, bound = row["budget"].split()
    assert what in {"figure", "ratio"}, row
    return bool(OPERATORS[compare](row[what], float(bound)))


def table(rows: list[dict]) -> str:
    """Return the rows as aligned text."""
    return "\n".join(
        shown.table([COLUMNS, *(tuple(cell(row.get(name)) for name in COLUMNS) for row in rows)], {1, 3, 4})
    )


def cell(value: object) -> str:
    """Return one value as the table shows it: four significant digits, big numbers grouped."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "NO"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return str(value)


def machine() -> dict:
    """Describe where the figures come from, and how busy it is; a figure without its machine means nothing."""
    return {
        "processor": f"{platform.machine()}, {processor()}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": os.getloadavg(),
    }


def processor() -> str:
    """Return what the processor calls itself."""
    for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
        if line.startswith(("model name", "Model")):
            return line.partition(":")[2].strip()
    return "unknown"


if __name__ == "__main__":
    sys.exit(main())
