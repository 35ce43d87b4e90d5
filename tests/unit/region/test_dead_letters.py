"""Dead letters beside a receiver that runs: listed, taken in again when they can be, removed; whole or not at all."""

from __future__ import annotations

import asyncio
import io
import random
from pathlib import Path

import msgspec
import pytest

from gateway.cli import main
from gateway.clock import Clock
from gateway.config import schema
from gateway.disk import Disk
from gateway.region import dead_letters, service, store, watermarks
from gateway.region.intake import Message
from gateway.region.service import Service
from tests.support.receiving import PREFIX, Region, sent

CONFIG = """
[receiver]
tls_ca = "ca.pem"
tls_certificate = "receiver.pem"
tls_key = "receiver.key"
state_folder = "region"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with three dead letters: a lane too many, one of them cut, and something that is no batch."""
    (tmp_path / "gateway.toml").write_text(CONFIG, "utf-8")
    with Region(tmp_path / "region") as region:
        region.take(sent(1, 100))
        with monkeypatch.context() as narrow:
            narrow.setattr(store, "LANES_MAX", 1)
            region.take(sent(1, 101))
            narrow.setattr(store, "DEAD_LETTER_BYTES_MAX", 100)
            region.take(sent(1, 102))
        region.take(Message(f"{PREFIX}/node/telemetry/batch", b"garbage"))
    return tmp_path


def call(folder: Path, *arguments: str) -> int:
    return main(["region", "dead", *arguments, "-c", str(folder / "gateway.toml")])


async def taken_in(folder: Path) -> None:
    """Run a receiver that has no broker until nothing is marked any more."""
    options = schema.Receiver(
        host="127.0.0.1", port=1, tls_ca="", tls_certificate="", tls_key="", state_folder=str(folder / "region")
    )
    running = Service(options, Disk(), Clock(), random.Random(1))
    task = asyncio.create_task(running.run(lambda: None))
    try:
        async with asyncio.timeout(10.0):
            while _marked(folder):  # noqa: ASYNC110  # no event tells
                await asyncio.sleep(0.01)
        running.stop()
        await asyncio.wait_for(task, 10.0)
    finally:
        task.cancel()
        running.close()


def _marked(folder: Path) -> bool:
    with watermarks.editing(folder / "region") as db:
        return bool(db.execute("SELECT count(*) FROM redrive").fetchone()[0]) or len(dead_letters.listed(db)) > 2


async def test_a_letter_that_can_be_taken_is_taken_and_one_that_cannot_is_buried_anew(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(service, "REDRIVE_S", 0.01)
    assert call(folder, "redrive", "--all") == 1
    assert capsys.readouterr().out.splitlines()[0] == "2 will be taken in again by the receiver"
    await taken_in(folder)
    report = watermarks.report(folder / "region")
    assert [(lane.epoch, lane.batches) for lane in report.lanes] == [(100, 1), (101, 1)]
    with watermarks.editing(folder / "region") as db:
        left = [(one.reason, one.why_not) for one in dead_letters.listed(db)]
    assert left[1] == ("no_batch", "")
    assert left[0][0] == "too_many_lanes"
    assert "only 100 of its" in left[0][1]
    assert report.rejected == {"too_many_lanes": 2, "no_batch": 2}


def test_they_are_listed_shown_and_removed(folder: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert call(folder, "ls", "--json") == 0
    found = msgspec.json.decode(capsysbinary.readouterr().out)
    assert [one["reason"] for one in found] == ["too_many_lanes", "too_many_lanes", "no_batch"]
    assert call(folder, "cat", str(found[2]["id"])) == 0
    assert capsysbinary.readouterr().out == b"garbage"
    assert call(folder, "purge", "--reason", "too_many_lanes") == 0
    assert call(folder, "ls") == 0
    assert capsysbinary.readouterr().out.count(b"too_many_lanes") == 0
    assert call(folder, "purge", "--all") == 0
    assert call(folder, "ls") == 0
    assert capsysbinary.readouterr().out.splitlines()[-1] == b"there is no dead letter"


@pytest.mark.parametrize("arguments", [("purge",), ("redrive",), ("cat",), ("redrive", "999"), ("cat", "999")])
def test_nothing_is_done_without_saying_what_to(folder: Path, arguments: tuple[str, ...]) -> None:
    assert call(folder, *arguments) == 1
    with watermarks.editing(folder / "region") as db:
        assert len(dead_letters.listed(db)) == 3
        assert not dead_letters.claimed(db, 100)


@pytest.mark.parametrize("arguments", [("ls",), ("cat", "1"), ("purge", "--all")])
def test_a_pager_that_holds_the_print_up_holds_no_receiver_up(
    folder: Path, arguments: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []

    class Pager(io.TextIOWrapper):
        """Hands on nothing before a receiver has taken something in."""

        def write(self, text: str) -> int:
            if not taken:
                with Region(folder / "region") as region:
                    taken.append(region.take(sent(2, 100)).messages)
            return super().write(text)

        def flush(self) -> None:
            self.write("")
            super().flush()

    monkeypatch.setattr("sys.stdout", Pager(io.BytesIO()))
    assert call(folder, *arguments) == 0
    assert taken == [1]


def test_what_is_rolled_back_costs_no_letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "DEAD_LETTERS_MAX", 3)
    with Region(tmp_path) as region:
        for number in range(5):
            region.take(Message(f"{PREFIX}/node/telemetry/batch", b"garbage %d" % number))
    with watermarks.editing(tmp_path) as db:
        db.execute("UPDATE sqlite_sequence SET seq = 1000 WHERE name = 'dead_letter'")
    with Region(tmp_path) as region:
        region.take(Message(f"{PREFIX}/node/telemetry/batch", b"garbage 5"))
    with watermarks.editing(tmp_path) as db:
        kept = [dead_letters.payload(db, one.id) for one in dead_letters.listed(db)]
    assert kept == [b"garbage 3", b"garbage 4", b"garbage 5"]
