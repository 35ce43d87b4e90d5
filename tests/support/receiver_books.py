"""What a receiver with the sinks `ndjson` and `sqlite` holds: its books and its readings, read from beside it."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.site import PROGRAM

if TYPE_CHECKING:
    from pathlib import Path

ANSWER_S = 20.0


class Counts(NamedTuple):
    """What a region got: batches, how many of them for a second time, and readings that its sink holds twice."""

    batches: int
    repeated: int
    readings: int
    held_twice: int


class ReceiverBooks:
    """The books of the receiver of one configuration file and state folder; it may run or not."""

    def __init__(self, configuration: Path, state: Path) -> None:
        self._configuration = configuration
        self._state = state

    def lanes(self) -> list[dict[str, Any]]:
        """Return the receiver's books."""
        found: list[dict[str, Any]] = json.loads(self._status("--json"))["lanes"]
        return found

    def shown(self) -> str:
        """Return what `gateway region status` prints."""
        return self._status()

    def counts(self) -> Counts:
        """Return what came, before and after de-duplication."""
        lanes = self.lanes()
        readings = Counter(self.readings())
        batches, repeated = (sum(lane[name] for lane in lanes) for name in ("batches", "duplicates"))
        return Counts(batches + repeated, repeated, len(readings), readings.total() - len(readings))

    def readings(self) -> list[tuple[str, int]]:
        """Return (topic, number) of each row that the SQLite sink holds."""
        return self._rows("SELECT topic, value FROM reading")

    def held(self) -> int:
        """Return how many rows the SQLite sink holds."""
        return int(self._rows("SELECT count(*) FROM reading")[0][0])

    def lines(self) -> list[tuple[str, int]]:
        """Return (topic, number) of each line of the NDJSON sink."""
        paths = sorted((self._state / "ndjson").glob("*.ndjson"))
        made = (json.loads(line) for path in paths for line in path.read_text("utf-8").splitlines())
        return [(line["topic"], line["value"]) for line in made]

    def check_holds_once(self, expected: list[tuple[str, int]]) -> None:
        """Fail unless both sinks hold exactly the expected readings, once each, and the books say so too."""
        assert sorted(self.readings()) == expected
        assert sorted(self.lines()) == expected
        assert "unaccounted: 0" in self.shown().splitlines(), self.shown()
        lanes = self.lanes()
        assert sum(lane["received"] for lane in lanes) == len(expected)
        assert all((lane["missing"], lane["forks"], lane["lost"]) == (0, 0, {}) for lane in lanes), lanes

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        where = f"file:{self._state / 'region.sqlite'}?mode=ro"
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=ANSWER_S)) as database:
            return database.execute(sql).fetchall()

    def _status(self, *options: str) -> str:
        command = [PROGRAM, "region", "status", "-c", str(self._configuration), *options]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=ANSWER_S).stdout
