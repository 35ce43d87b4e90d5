"""The log: forms, priorities, repeats, and what a journal gets."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import socket
import struct

from gateway.config import schema
from gateway.health import journald, log
from gateway.health.journald import JournalSocket


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def fields_of(data: bytes) -> dict[str, str]:
    """Read an entry of the native protocol as systemd does."""
    found = {}
    while data:
        line, _, data = data.partition(b"\n")
        name, mark, value = line.partition(b"=")
        if not mark:
            (size,) = struct.unpack("<Q", data[:8])
            value, data = data[8 : 8 + size], data[9 + size :]
        found[name.decode()] = value.decode()
    return found


def drained(journal: socket.socket) -> list[dict[str, str]]:
    """Read what waits in a socket."""
    journal.setblocking(False)
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(fields_of(journal.recv(65536)))
    return found


def test_json_has_one_object_a_line_with_the_trace_of_an_error_in_it() -> None:
    stream = io.StringIO()
    log.setup(schema.Log(), stream)
    error = ValueError("no good\nat all")
    logging.getLogger("gateway.flow").error("it %s", "broke", exc_info=error)
    (line,) = stream.getvalue().splitlines()
    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"]) == ("error", "gateway.flow", "it broke")
    assert said["trace"] == "ValueError: no good\nat all"


def test_a_terminal_gets_text_on_which_no_message_can_draw() -> None:
    stream = Terminal()
    log.setup(schema.Log(), stream)
    logging.getLogger("gateway.mirror.place").warning("region %s: gone", "a\x1b[2J\nb")
    assert stream.getvalue()[13:] == "warning  mirror.place: region a\\x1b[2J\\nb: gone\n"


def test_the_level_of_the_configuration_holds() -> None:
    stream = io.StringIO()
    log.setup(schema.Log(level="warning"), stream)
    logging.getLogger("gateway").info("nobody")
    logging.getLogger("gateway").warning("somebody")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["somebody"]


def test_lines_of_one_kind_are_left_out_past_the_limit_and_told_at_the_next_setup() -> None:
    stream = io.StringIO()
    log.setup(schema.Log(lines_per_minute=2), stream)
    for number in range(7):
        logging.getLogger("gateway").warning("fault %d", number)
    logging.getLogger("gateway").warning("another")
    log.setup(schema.Log(), stream)
    said = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [one["message"] for one in said[:3]] == ["fault 0", "fault 1", "another"]
    assert (said[3]["left_out"], said[3]["level"]) == (5, "warning")
    assert said[3]["message"] == "5 lines like this one were left out in 0 s: fault %d"


def test_secrets_in_messages_and_traces_are_masked() -> None:
    stream = io.StringIO()
    log.setup(schema.Log(), stream)
    error = OSError("amqp://edge:s3same99@host refused")
    logging.getLogger("gateway").error("cannot use password=%s", "s3same99", exc_info=error)
    assert "s3same99" not in stream.getvalue()


def test_a_journal_gets_fields_and_its_own_priorities(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        link = JournalSocket(str(tmp_path / "journal"))
        form = log._Journal(io.StringIO(), link)
        form.write(log.Line(0.0, "gateway.flow", logging.ERROR, "two\nlines", "Traceback\n…"))
        found = fields_of(journal.recv(65536))
        link.close()
    assert found == {
        "MESSAGE": "two\nlines",
        "PRIORITY": "3",
        "SYSLOG_IDENTIFIER": "gateway",
        "LOGGER": "gateway.flow",
        "TRACE": "Traceback\n…",
    }


def test_a_journal_that_hangs_costs_lines_and_no_time_and_the_loss_is_told(tmp_path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(tmp_path / "journal"))
        stream, link = io.StringIO(), JournalSocket(str(tmp_path / "journal"))
        form = log._Journal(stream, link)
        for number in range(5000):
            form.write(log.Line(0.0, "gateway", logging.INFO, f"line {number} " + 1000 * "x"))
        kept = drained(journal)
        form.write(log.Line(0.0, "gateway", logging.INFO, "again"))
        told = fields_of(journal.recv(65536))
        link.close()
    assert len(kept) < 5000
    assert int(told["LEFT_OUT"]) + sum("LEFT_OUT" not in one for one in kept) >= 5000
    assert told["PRIORITY"] == "4"
    assert stream.getvalue() == ""


def test_without_a_journal_lines_go_to_standard_error_with_their_priority(tmp_path) -> None:
    stream = io.StringIO()
    log._Journal(stream, JournalSocket(str(tmp_path / "none"))).write(
        log.Line(0.0, "gateway", logging.WARNING, "careful", "Traceback\nmore")
    )
    assert stream.getvalue() == "<4>gateway: careful\n<4>Traceback\n<4>more\n"


def test_a_value_that_is_too_long_is_cut_and_says_so() -> None:
    found = fields_of(journald.entry({"MESSAGE": "x" * (journald.VALUE_BYTES_MAX + 7)}))
    assert found["MESSAGE"].endswith("x… 7 bytes are cut")


def test_the_journal_is_known_by_device_and_inode_of_the_stream(tmp_path, monkeypatch) -> None:
    with (tmp_path / "stream").open("w") as file:
        found = os.fstat(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino}")
        assert journald.is_connected(file.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{found.st_ino + 1}")
        assert not journald.is_connected(file.fileno())
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not journald.is_connected(file.fileno())
