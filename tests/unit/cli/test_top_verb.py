"""`gateway top`: quantities, blocks at every width, keys, and what a hostile name may do to a terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from gateway.cli import main, quantities, top, top_node, top_region
from gateway.health.picture import Watch
from gateway.region.reconcile import Hole, LaneReport, Report
from tests.support.node_status import lane, region, status


def shown(picture, width: int = 80, *, is_plain: bool = False) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for block in top_node.blocks(picture, width, is_plain=is_plain):
        console.print(block)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.00 kB"), (45_600, "45.6 kB"), (999_999, "1.00 MB"), (123e6, "123 MB")],
)
def test_sizes_have_three_digits_and_their_unit(number, text) -> None:
    assert quantities.size(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (185, "3 min 5 s"),
        (7800, "2 h 10 min"),
        (90_000, "1 d 1 h"),
        (1e9, "> 999 d"),
        (None, "-"),
    ],
)
def test_spans_have_their_two_largest_units(seconds, text) -> None:
    assert quantities.span(seconds) == text


def test_rings_are_told_in_powers_of_two_as_they_are_configured() -> None:
    assert quantities.room(64 << 20) == "64.0 MiB"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 120, 200])
def test_no_line_is_wider_than_the_terminal(width) -> None:
    away = region(connected=False, last_fault="x" * 300, next_attempt_s=90)
    picture = Watch().look(0.0, status(lanes=[lane("a" * 64, state="full")], regions={"r" * 64: away}))
    assert max(len(line) for line in shown(picture, width).splitlines()) <= width


def test_what_needs_a_person_stands_first() -> None:
    picture = Watch().look(0.0, status(refusing="telemetry", pressure=["ring:telemetry"]))
    first, second, *_ = shown(picture).splitlines()
    assert first == "! lane telemetry is full and refuses: the local broker keeps what comes"
    assert second == "! under pressure: ring:telemetry"


def test_names_from_outside_cannot_command_the_terminal() -> None:
    away = region(connected=False, last_fault="\x1b]0;owned\x07\x1b[2J")
    picture = Watch().look(0.0, status(regions={"centre": away}, ledger={"message.quarantined.\x1b[31m": 1}))
    assert "\x1b" not in shown(picture)
    assert "\\x1b[2J" in shown(picture, 200)


def test_a_bar_is_full_only_when_the_ring_is() -> None:
    assert top_node.bar(1.0, is_plain=False, width=4).plain == "████"
    assert top_node.bar(0.999, is_plain=False, width=4).plain != "████"
    assert top_node.bar(0.001, is_plain=False, width=4).plain == "▏   "
    assert top_node.bar(0.5, is_plain=True, width=10).plain == "[####....]"
    assert shown(Watch().look(0.0, status()), is_plain=True).isascii()


def test_keys_are_told_from_sequences_that_mean_nothing() -> None:
    assert list(top._keys(b"\x1b[A\x1b[Bq")) == ["k", "j", "q"]
    assert list(top._keys(b"\x1b")) == ["q"]
    assert list(top._keys(b"\x1b[15~")) == []
    assert list(top._keys(b" ?")) == ["p", "h"]


def test_a_receiver_shows_what_is_missing_and_what_was_not_taken() -> None:
    one = LaneReport(
        node="n", lane="a", epoch=1, is_newest_epoch=True, watermark=3, highest=9, batches=8, received=80, lost={},
        missing=10, holes=[Hole(4, 4, 10)], expected=90, unaccounted=0, duplicates=1, forks=0, ledger={},
        ledger_sequence=9, seen_ns=0,
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=100)
    watch = top_region.Watch()
    watch.look(0.0, Report(lanes=[one], rejected={}))
    one.received = 90
    report, rates = watch.look(2.0, Report(lanes=[one], rejected={"not_a_batch": 3}))
    for block in top_region.blocks(report, rates):
        console.print(block)
    text = console.file.getvalue()
    assert "n/a: batches 4 to 4 are missing" in text
    assert "not_a_batch" in text
    assert " 5.0 " in text


def test_it_must_be_said_who_is_meant(capsys) -> None:
    assert main(["top", "--once"]) == 78
    assert "name a configuration with -c FILE, or --state FOLDER" in capsys.readouterr().err


def test_a_node_that_does_not_answer_ends_a_single_look(capsys, tmp_path) -> None:
    assert main(["top", "--once", "--state", str(tmp_path)]) == 69
    assert "no gateway answers on" in capsys.readouterr().err
