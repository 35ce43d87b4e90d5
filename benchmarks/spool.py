"""What the ring costs over the bare file: appending sealed batches, and opening again what was appended.

Appending is held against writing the same bytes to one preallocated file and one fdatasync at the end; the spool also
syncs once per segment. A third is the spool that many make of SQLite: a row a batch, in WAL mode, committed as often as
the spool syncs (`synchronous=NORMAL`, which does not survive a power cut either, and a checkpoint at the end). Opening
is held against reading the files from end to end, which is what a spool without an index in its segments would have to
do at least. Batches are random bytes in a real envelope, so nothing compresses. Rounds alternate, the median counts.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.rows import row, sized
from gateway.batch import envelope
from gateway.config import schema
from gateway.config.section import MIB
from gateway.disk import Disk
from gateway.model import BatchId, OpenBatch, SealedBatch
from gateway.spool.lanes import Appended, Spool

BATCHES = sized(2000, 100)
BATCH_BYTES = 60_000
READINGS = 1
ROUNDS = sized(3, 1)
WIDE_SEGMENTS = sized(1200, 20)
WIDE_BATCHES = 100
WIDE_BATCH_BYTES = 450
WIDE_SEGMENT_BYTES = 64 * 1024
SEGMENT_BYTES = 8 * MIB
LANE = "telemetry"


def run() -> list[dict]:
    sealed = list(batches())
    appended, written, kept, opened, scanned, read = [], [], [], [], [], []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            written.append(plain_write_s(Path(folder) / "plain", sealed))
            kept.append(sqlite_s(Path(folder) / "spool.sqlite", sealed))
            appended.append(append_s(Path(folder) / "spool", sealed))
            opened.append(open_s(Path(folder) / "spool"))
            scanned.append(scan_s(Path(folder) / "spool"))
            read.append(read_s(Path(folder) / "spool"))
    megabytes = sum(len(batch.data) for batch in sealed) / 1e6
    append, plain, rows, drain = (megabytes / statistics.median(times) for times in (appended, written, kept, read))
    opening, scan = statistics.median(opened), statistics.median(scanned)
    return [
        row("spool, append against a plain file", append, "MB/s", plain),
        row("spool, append against SQLite in WAL mode", append, "MB/s", rows),
        row(f"spool, read back {len(sealed):,} batches", drain, "MB/s"),
        row(f"spool, open {megabytes:,.0f} MB, against reading it", opening, "s", scan),
        wide_row(),
    ]


def wide_row() -> dict:
    """Open a ring of as many segments and batches as one of 10 GB has, in smaller files: bodies are not read."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spool"
        lane = schema.Lane(name=LANE, bytes_max=2 * WIDE_SEGMENTS * WIDE_SEGMENT_BYTES)
        options = schema.Spool(bytes_max=lane.bytes_max, segment_bytes=WIDE_SEGMENT_BYTES, lanes=(lane,))
        region = schema.Region(name="region", host="localhost", tls_ca="", tls_certificate="", tls_key="")
        spool = Spool.open(Disk(), path, options, "bench", (region,), 1)
        first = batches()[0]
        small = replace(first, data=first.data[:WIDE_BATCH_BYTES])  # whole enough: only its header is looked at
        sequence = 0
        while spool.status()[0]["segments"] <= WIDE_SEGMENTS:
            for _ in range(WIDE_BATCHES):
                sequence += 1
                spool.append(replace(small, id=small.id._replace(sequence=sequence)))
        spool.sync()
        spool.save_cursors()
        spool.close()
        times = []
        for _ in range(ROUNDS):
            started = time.perf_counter()
            again = Spool.open(Disk(), path, options, "bench", (region,), 1)
            times.append(time.perf_counter() - started)
            assert again.head(LANE) == sequence
            again.close()
    name = f"spool, open {WIDE_SEGMENTS:,} segments of {WIDE_BATCHES} batches, as in 10 GB"
    return row(name, statistics.median(times), "s", None, "figure <= 1")


def batches() -> list[SealedBatch]:
    chance = random.Random(1)
    found = []
    for sequence in range(1, BATCHES + 1):
        rows = {"bench/topic": ([sequence], [{"value": chance.randbytes(BATCH_BYTES)}])}
        identity = BatchId("bench", LANE, 1, sequence)
        found.append(envelope.seal(OpenBatch(identity, rows, READINGS, sequence - 1, {}, sequence, 0), "boot"))
    return found


def opened_spool(folder: Path) -> Spool:
    lane = schema.Lane(name=LANE, bytes_max=2 * BATCHES * BATCH_BYTES)
    region = schema.Region(name="region", host="localhost", tls_ca="", tls_certificate="", tls_key="")
    options = schema.Spool(bytes_max=lane.bytes_max, segment_bytes=SEGMENT_BYTES, lanes=(lane,))
    return Spool.open(Disk(), folder, options, "bench", (region,), 1)


def append_s(folder: Path, sealed: list[SealedBatch]) -> float:
    spool = opened_spool(folder)
    started = time.perf_counter()
    for batch in sealed:
        assert spool.append(batch) is Appended.STORED
    spool.sync()
    seconds = time.perf_counter() - started
    spool.save_cursors()
    spool.close()
    return seconds


def plain_write_s(path: Path, sealed: list[SealedBatch]) -> float:
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    started = time.perf_counter()
    os.posix_fallocate(handle, 0, sum(len(batch.data) for batch in sealed))
    offset = 0
    for batch in sealed:
        offset += os.pwrite(handle, batch.data, offset)
    os.fdatasync(handle)
    seconds = time.perf_counter() - started
    os.close(handle)
    return seconds


def sqlite_s(path: Path, sealed: list[SealedBatch]) -> float:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE batch (lane TEXT, sequence INTEGER, body BLOB, PRIMARY KEY (lane, sequence))")
        started = time.perf_counter()
        database.execute("BEGIN")
        waiting = 0
        for batch in sealed:
            database.execute("INSERT INTO batch VALUES (?, ?, ?)", (LANE, batch.id.sequence, batch.data))
            waiting += len(batch.data)
            if waiting >= SEGMENT_BYTES:
                database.execute("COMMIT")
                database.execute("BEGIN")
                waiting = 0
        database.execute("COMMIT")
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return time.perf_counter() - started


def open_s(folder: Path) -> float:
    started = time.perf_counter()
    spool = opened_spool(folder)
    seconds = time.perf_counter() - started
    assert spool.head(LANE) == BATCHES
    assert not spool.report
    spool.close()
    return seconds


def scan_s(folder: Path) -> float:
    started = time.perf_counter()
    for path in sorted(folder.rglob("*.seg")):
        path.read_bytes()
    return time.perf_counter() - started


def read_s(folder: Path) -> float:
    spool = opened_spool(folder)
    started = time.perf_counter()
    for sequence in range(1, BATCHES + 1):
        assert isinstance(spool.read(LANE, sequence), SealedBatch)
    seconds = time.perf_counter() - started
    spool.close()
    return seconds
