"""A checkpoint that is whole but cannot be used costs a longer replay, not the start."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from gateway.clock import Clock
from gateway.config import schema
from gateway.journal.checkpoint import CheckpointStore
from gateway.journal.format import Checkpoint
from gateway.journal.writer import JournalWriter
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.quarantine import Quarantine
from gateway.recovery import Recovered, Recovery, Settings
from gateway.spool.lanes import Spool
from tests.support.faultdisk import FaultDisk

STATE = Path("/state")
S = 10**9
LANES = (schema.Lane(name="telemetry", linger_ns=3600 * S),)
SETTINGS = Settings("node-1", (schema.Route(name="raw", topics=("raw/#",), lane="telemetry"),), LANES, 1 << 20, 64, 20)


def checkpoint(disk: FaultDisk, position: int, slices: list[bytes]) -> None:
    """Write a checkpoint whose state is what is given."""
    store = CheckpointStore(disk, STATE / "checkpoint")
    writer = store.begin(Checkpoint(position, position, 0, 1, 1, msgspec.json.encode(SETTINGS)))
    for each in slices:
        writer.pack(each)
    store.finish(writer)


def recovered(disk: FaultDisk, folder: Path) -> Recovered:
    """Start on what the disk holds."""
    spool = Spool.open(disk, STATE / "spool", schema.Spool(lanes=LANES), "node-1", (), 1)
    store = CheckpointStore(disk, STATE / "checkpoint")
    quarantine = Quarantine(folder / "quarantine.sqlite")
    try:
        return Recovery(disk, Clock(), STATE / "journal", store, spool, quarantine).run(SETTINGS)
    finally:
        quarantine.close()


@pytest.mark.parametrize("unfit", [b"\x92\xa4none\x91\x01", b"\x92\xb4windows of long ago\x91\x01", b"nonsense"])
def test_a_state_that_does_not_fit_leads_to_the_older_checkpoint(unfit: bytes, tmp_path: Path) -> None:
    disk, pipeline = FaultDisk(), SETTINGS.pipeline(1)
    journal = JournalWriter(disk, STATE / "journal", schema.Journal(segment_bytes=64 << 10), 0)
    checkpoint(disk, 0, list(pipeline.state_slices()))
    for position in range(3):
        topics, payloads = ["raw/a", "raw/b"], [b'{"v": %d}' % position] * 2
        entry = MessageGroup(S, position, CLOCK_SYNCHRONISED, 1, False, topics, payloads, [1, 2], [QOS1] * 2, {})
        journal.commit([entry])
        for _ in pipeline.apply(entry, position):
            pass
    checkpoint(disk, 3, [*pipeline.state_slices(), unfit])
    found = recovered(disk, tmp_path)
    assert list(found.pipeline.state_slices()) == list(pipeline.state_slices())
    assert (found.position, found.journal.entries, found.epoch_began) == (3, 3, False)
    assert [note for note in found.notes if "checkpoint 3 cannot be used" in note]


def test_without_any_checkpoint_that_can_be_used_the_start_begins_anew(tmp_path: Path) -> None:
    disk = FaultDisk()
    checkpoint(disk, 0, [b"nonsense"])
    found = recovered(disk, tmp_path)
    assert (found.position, found.pipeline.open_readings) == (0, 0)
    assert len(found.notes) == 1


def test_new_input_takes_no_position_of_input_that_was_lost(tmp_path: Path) -> None:
    disk = FaultDisk()
    pipeline = SETTINGS.pipeline(1)
    checkpoint(disk, 0, list(pipeline.state_slices()))
    journal = JournalWriter(disk, STATE / "journal", schema.Journal(segment_bytes=64 << 10), 0)
    for position in range(3):
        payload = b'{"v": %d' % position
        entry = MessageGroup(S, position, CLOCK_SYNCHRONISED, 1, False, ["raw/a"], [payload], [1], [QOS1], {})
        journal.commit([entry])
    recovered(disk, tmp_path)
    (file,) = [path for path in disk.entries if path.parent == STATE / "journal"]
    disk.entries[file].seen[100:] = bytes(len(disk.entries[file].seen) - 100)
    found = recovered(disk, tmp_path)
    assert found.journal.damaged, "the quarantine has messages of all three entries, so they were durable"
    assert found.epoch_began
    assert found.position == found.journal.next_position == 3
    again = recovered(disk, tmp_path)
    assert (again.position, again.epoch_began, again.journal.missing) == (3, False, [])
