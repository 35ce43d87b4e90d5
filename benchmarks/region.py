"""How fast the receiver makes batches durable: verify, decide, expand, write, commit.

A backlog of sealed batches goes through the receiver's intake in groups, with each sink and with two, into a folder of
its own. The baseline has the readings as Python rows before its clock starts and does nothing but write them in the
same groups with the same durability: `executemany` into the same table for SQLite, lines by the same encoder and an
fdatasync for NDJSON, the driver's own COPY, row by row, for a real PostgreSQL on this machine. So the ratio is what
verifying, unpacking and keeping books costs on top of the bare write.
Rounds alternate and the fastest counts; a run that did not write every reading fails.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec
import psycopg

from benchmarks.batch import random_walk
from gateway.batch import envelope
from gateway.batch.decode import decode
from gateway.clock import Clock
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from gateway.region import postgresql, watermarks
from gateway.region.intake import Intake
from gateway.region.postgresql import PostgresqlStore
from gateway.region.sink.ndjson import NdjsonSink
from gateway.region.sink.postgresql import PostgresqlSink
from gateway.region.sink.sqlite import SqliteSink
from gateway.region.watermarks import Watermarks
from tests.support.batches import open_batch
from tests.support.postgresql import PASSWORD, Postgresql
from tests.support.receiving import PREFIX, message
from tests.support.site import region_tls

BATCHES = 24
GROUP = 8
ROUNDS = 3
PRAGMAS = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32768")
TABLE = "CREATE TABLE reading (id INTEGER PRIMARY KEY, node, topic, field, time_ns, value, is_bool)"
INSERT = "INSERT INTO reading (node, topic, field, time_ns, value, is_bool) VALUES (?, ?, ?, ?, ?, ?)"


def run() -> list[dict]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pki(folder / "pki")
        with Postgresql(folder / "server", **region_tls(folder / "pki")) as server:
            return measured(server)


def measured(server: Postgresql) -> list[dict]:
    sealed = backlog()
    groups = [[message(one) for one in sealed[begin : begin + GROUP]] for begin in range(0, BATCHES, GROUP)]
    rows = [[row for one in group for row in rows_of(one.payload)] for group in groups]
    count = sum(map(len, rows))
    runs = {
        "sqlite": lambda folder: receiver(folder, groups, count, ("sqlite",)),
        "ndjson": lambda folder: receiver(folder, groups, count, ("ndjson",)),
        "both sinks": lambda folder: receiver(folder, groups, count, ("sqlite", "ndjson")),
        "postgresql": lambda _: receiver_on(server, groups, count),
        "bare copy": lambda _: bare_copy(server, rows),
        "bare sqlite": lambda folder: bare_sqlite(folder, rows),
        "bare ndjson": lambda folder: bare_ndjson(folder, rows),
    }
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, work in runs.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[name] = min(seconds[name], work(Path(folder)))
    both = seconds["bare sqlite"] + seconds["bare ndjson"]
    return [
        result("region, sqlite sink, against bare executemany", count, seconds["sqlite"], seconds["bare sqlite"], 0.7),
        result("region, ndjson sink, against bare lines", count, seconds["ndjson"], seconds["bare ndjson"], None),
        result("region, both sinks, against both bare", count, seconds["both sinks"], both, None),
        result("region, postgresql, against bare COPY", count, seconds["postgresql"], seconds["bare copy"], None),
    ]


def result(name: str, count: int, seconds: float, baseline_s: float, least: float | None) -> dict:
    budget = None if least is None else f"ratio >= {least}"
    figure, baseline = count / seconds, count / baseline_s
    return {
        "name": name,
        "figure": figure,
        "unit": "readings/s",
        "baseline": baseline,
        "ratio": figure / baseline,
        "budget": budget,
    }


def backlog() -> list:
    """Return sealed batches of one lane, 20,000 readings each, sequences from 1."""
    sealed = []
    before = 0
    rows = random_walk()
    for sequence in range(1, BATCHES + 1):
        opened = open_batch(rows, sequence=sequence, readings_before=before)
        before += opened.readings
        sealed.append(envelope.seal(opened, "benchmark"))
    return sealed


def rows_of(data: bytes) -> list[tuple]:
    return [(*reading, False) for reading in decode(data).readings()]


def receiver(folder: Path, groups: list, count: int, names: tuple[str, ...]) -> float:
    """Return the seconds of the receiver's whole work on all groups."""
    made = {"sqlite": SqliteSink(), "ndjson": NdjsonSink(folder / "ndjson", Disk(), Clock())}
    store = Watermarks(folder)
    intake = Intake(store, [made[name] for name in names], Clock(), PREFIX)
    started = time.perf_counter()
    for group in groups:
        assert intake.take(group).decided == {"fresh": len(group)}
    seconds = time.perf_counter() - started
    for sink in made.values():
        sink.close()
    store.close()
    (lane,) = watermarks.report(folder).lanes
    assert (lane.received, lane.unaccounted) == (count, 0)
    return seconds


def receiver_on(server: Postgresql, groups: list, count: int) -> float:
    """Return the seconds of the same work on PostgreSQL."""
    server.do("DROP SCHEMA IF EXISTS edge CASCADE")
    store = PostgresqlStore(server.options)
    intake = Intake(store, [PostgresqlSink()], Clock(), PREFIX)
    started = time.perf_counter()
    for group in groups:
        assert intake.take(group).decided == {"fresh": len(group)}
    seconds = time.perf_counter() - started
    store.close()
    (lane,) = postgresql.report(server.options).lanes
    assert (lane.received, lane.unaccounted) == (count, 0)
    return seconds


def bare_copy(server: Postgresql, groups: list[list[tuple]]) -> float:
    server.do("DROP TABLE IF EXISTS bare")
    server.do("CREATE TABLE bare (node text, topic text, field text, time_ns bigint, value double precision)")
    with psycopg.connect(server.options.connect, password=PASSWORD) as connection:
        started = time.perf_counter()
        for rows in groups:
            with connection.cursor().copy("COPY bare FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row[:5])
            connection.commit()
        return time.perf_counter() - started


def bare_sqlite(folder: Path, groups: list[list[tuple]]) -> float:
    with contextlib.closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as database:
        for pragma in PRAGMAS:
            database.execute(f"PRAGMA {pragma}")
        database.execute(TABLE)
        started = time.perf_counter()
        for rows in groups:
            database.execute("BEGIN IMMEDIATE")
            database.executemany(INSERT, rows)
            database.execute("COMMIT")
        return time.perf_counter() - started


def bare_ndjson(folder: Path, groups: list[list[tuple]]) -> float:
    encoder = msgspec.json.Encoder()
    names = ("node", "topic", "field", "time_ns", "value")
    ready = [[dict(zip(names, row, strict=False)) for row in rows] for rows in groups]
    with (folder / "bare.ndjson").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for lines in ready:
            file.write(encoder.encode_lines(lines))
            os.fdatasync(file.fileno())
        return time.perf_counter() - started
