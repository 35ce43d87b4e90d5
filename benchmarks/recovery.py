"""How fast a start replays the journal: 200,000 messages after the checkpoint, of which the ring knows all batches.

Everything that a start does is in the figure: reading and unpacking the journal, the pipeline, sealing each batch again
and comparing it with what the ring holds. The baseline is the pipeline alone over the same groups from memory.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.pipeline import load, pipeline_rate
from gateway.batch import envelope
from gateway.clock import Clock
from gateway.config import schema
from gateway.disk import Disk
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.writer import JournalWriter
from gateway.quarantine import Quarantine
from gateway.recovery import Recovery, Settings
from gateway.spool.lanes import Appended, Spool

TOPICS = 500
COPIES = 2
ROUNDS = 3
LANE = schema.Lane(name="telemetry")
OPTIONS = schema.Spool(lanes=(LANE,))
REGION = schema.Region(name="bench", host="localhost", tls_ca="", tls_certificate="", tls_key="")
SETTINGS = Settings(
    "bench", (schema.Route(name="bench", topics=("plant/#",), lane="telemetry"),), (LANE,), 1 << 20, 1024, 2000
)


def run() -> list[dict]:
    groups = load(TOPICS, with_time=False)
    baseline = statistics.median(pipeline_rate(groups, {}) for _ in range(ROUNDS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        messages = COPIES * sum(len(group.topics) for group in groups)
        prepare(folder, groups * COPIES)
        figure = messages / statistics.median(replay_s(folder, messages) for _ in range(ROUNDS))
    return [
        {
            "name": f"start: replay of {messages:,} messages, against the pipeline alone",
            "figure": figure,
            "unit": "messages/s",
            "baseline": baseline,
            "ratio": figure / baseline,
            "budget": "figure >= 250000",
        }
    ]


def opened(folder: Path) -> Spool:
    return Spool.open(Disk(), folder / "spool", OPTIONS, "bench", (REGION,), 1)


def prepare(folder: Path, groups: list) -> None:
    """Leave a journal and a ring behind as a crash would."""
    journal = JournalWriter(Disk(), folder / "journal", schema.Journal(), 0)
    spool = opened(folder)
    pipeline = SETTINGS.pipeline(spool.epoch)
    for group in groups:
        for output in pipeline.apply(group, journal.commit([group])):
            for batch in output.batches:
                assert spool.append(envelope.seal(batch, "boot")) is Appended.STORED
    spool.sync()
    spool.save_cursors()
    spool.close()
    journal.close()


def replay_s(folder: Path, messages: int) -> float:
    """Return how long a start takes, which must find all messages and no batch that is new."""
    quarantine = Quarantine(folder / "quarantine.sqlite")
    started = perf_counter()
    spool = opened(folder)
    checkpoints = CheckpointStore(Disk(), folder / "checkpoint")
    recovered = Recovery(Disk(), Clock(), folder / "journal", checkpoints, spool, quarantine).run(SETTINGS)
    elapsed = perf_counter() - started
    assert recovered.journal.messages == messages
    assert set(recovered.batches) == {"known"}, recovered.batches
    spool.close()
    quarantine.close()
    return elapsed
