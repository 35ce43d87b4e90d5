"""The quarantine's database is damaged at any byte: the node starts, counts what it cannot keep, and goes on.

The table is a convenience and SQLite has no checksums, so what it holds may be wrong; nothing else may be.
"""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

from gateway.model import Quarantined
from gateway.quarantine import Quarantine
from tests.support.damage import SEED, flipped, positions

ROWS = 40


def bad(key: int) -> Quarantined:
    return Quarantined(key, key, f"raw/{key}", b"\xff" * 30, "raw", "not_json", "it is no JSON")


def filled(folder: Path) -> bytes:
    path = folder / "filled.sqlite"
    one = Quarantine(path)
    one.keep([bad(key) for key in range(ROWS)])
    one.close()
    return path.read_bytes()


def keep(path: Path) -> None:
    """Start twice on a database and quarantine messages each time; none may be neither kept nor counted."""
    for start in range(2):
        one = Quarantine(path)
        for number in range(3):
            one.keep([bad(1000 + 10 * start + number)])
        one.close()
        assert one.counts["kept"] + one.counts["unkept"] == 3


def test_any_flipped_byte_of_the_quarantine_stops_nothing(tmp_path: Path) -> None:
    chance = random.Random(SEED)
    data = filled(tmp_path)
    places = sorted({*range(0, 100, 3), *positions(len(data), chance, 150)})
    for place in places:
        path = tmp_path / f"{place}.sqlite"
        path.write_bytes(flipped(data, place, chance.randrange(8)))
        keep(path)
        for each in tmp_path.glob(f"{place}.sqlite*"):
            each.unlink()
    print(f"{len(places)} flips of the quarantine, GATEWAY_SEED={SEED}")  # noqa: T201  # for people


def test_a_quarantine_cut_at_any_length_stops_nothing(tmp_path: Path) -> None:
    data = filled(tmp_path)
    for size in positions(len(data), random.Random(SEED), 50):
        path = tmp_path / f"{size}.sqlite"
        path.write_bytes(data[:size])
        keep(path)
        for each in tmp_path.glob(f"{size}.sqlite*"):
            each.unlink()


def test_a_quarantine_of_another_program_stops_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("create table message (key text, what blob)")
    connection.close()
    keep(path)
