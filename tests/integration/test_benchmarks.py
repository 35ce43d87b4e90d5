"""The benchmarks still run from end to end; figures are never judged here."""

from __future__ import annotations

import csv
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks

ROOT = Path(__file__).resolve().parents[2]
IS_LONG = os.environ.get("GATEWAY_LONG") == "1"
TIMEOUT_S = 1800.0 if IS_LONG else 300.0
QUICK = ["latency", "mirror", "pipeline", "spool"]
NAMES = [one.name for one in pkgutil.iter_modules(benchmarks.__path__) if not one.name.startswith("_")]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)


def test_a_trial_of_the_benchmarks_ends_with_rows_of_each_and_judges_nothing(tmp_path) -> None:
    report = tmp_path / "rows.json"
    names = NAMES if IS_LONG else QUICK
    ended = run("benchmarks", "--trial", "--json", str(report), *(f"--only={name}" for name in names))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    rows = json.loads(report.read_text("utf-8"))["rows"]
    assert {row["benchmark"] for row in rows} >= set(QUICK)
    assert len({row["name"] for row in rows}) == len(rows), "names are unique"
    assert {row["met"] for row in rows} == {None}
    assert all(row["figure"] > 0 for row in rows if row["benchmark"] in QUICK)


@pytest.mark.skipif(not IS_LONG, reason="takes a minute; GATEWAY_LONG=1")
def test_a_minute_of_the_long_run_with_two_cuts_passes_its_own_verdict(tmp_path) -> None:
    path = tmp_path / "soak.csv"
    words = ("--minutes", "1", "--rate", "1000", "--cut-every", "20", "--cut-for", "5", "--scrape", "--csv", str(path))
    ended = run("benchmarks.soak", *words)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "verdict: PASSED" in ended.stdout
    samples = list(csv.DictReader(path.open(encoding="utf-8")))
    assert {int(one["is_cut"]) for one in samples} <= {0, 1}
    assert int(samples[-1]["connects"]) > 1, "the uplink was cut"
