from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from gateway import __version__, cli, errors
from gateway.cli import status as status_verb

CONFIG = """
[node]
id = "node-1"
state_folder = "state"
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "sensors"
topics = ["sensors/#"]
lane = "telemetry"
"""
STATUS = {
    "node": "node-1",
    "epoch": 7,
    "uptime_s": 12.5,
    "ledger": {"message.received": 1200, "reading.sealed": 3600},
    "residual": {"messages": 0, "readings": 0},
    "open_readings": 3,
    "rates": {"message.received": 100.5},
    "ingest": {"connected": True, "last_fault": ""},
    "disk": {"state": "ok", "faults": {}, "free_bytes": 1 << 40},
    "journal": {"entries": 4, "checkpoints": {"written": 1}},
    "channels": [{"name": "inputs, messages", "weight": 0, "limit": 8000}],
    "refusing": "",
    "flash": {"bytes": {"journal": 4096}, "per_payload_byte": 0.25},
    "lanes": {"telemetry": {"bytes": 1024}, "alarm": {"bytes": 0}},
    "regions": {"centre": {"connected": True, "cursors": {"telemetry": 3}}},
    "quarantine": {},
    "topics": {"bulk": {"hall/4\x1b[31m": 70, "b": 20, "c": 5, "d": 4, "": 1}},
    "recovery": {"seconds": 0.1, "notes": ["a note"]},
}


class FakeVerb:
    """A verb that ends as it is told to."""

    def __init__(self, end: BaseException | int) -> None:
        self.end = end

    def register(self, parser) -> None: ...

    def run(self, _arguments) -> int:
        if isinstance(self.end, BaseException):
            raise self.end
        return self.end


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "gateway.toml"
    path.write_text(CONFIG, "utf-8")
    return path


def ended(monkeypatch, end: BaseException | int) -> int:
    monkeypatch.setitem(sys.modules, "gateway.cli.check", FakeVerb(end))
    return cli.main(["check"])


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (0, 0),
        (1, 1),
        (errors.ConfigError("x"), 78),
        (caused(errors.ConfigError("x"), FileNotFoundError()), 66),
        (errors.ExpressionError("x", 1), 78),
        (errors.CredentialError("x"), 78),
        (errors.LinkError("x"), 69),
        (errors.StoreError("x"), 74),
        (errors.BatchError("x"), 65),
        (errors.DecodeError("reason", "x"), 65),
        (OSError("x"), 74),
        (AssertionError("x"), 70),
        (KeyboardInterrupt(), 130),
        (ExceptionGroup("tasks", [errors.LinkError("x")]), 69),
        (ExceptionGroup("tasks", [ExceptionGroup("inner", [errors.StoreError("x"), errors.LinkError("y")])]), 74),
        (ExceptionGroup("tasks", [errors.LinkError("x"), ValueError("y")]), 70),
        (BaseExceptionGroup("tasks", [KeyboardInterrupt()]), 130),
    ],
    ids=repr,
)
def test_every_end_of_a_verb_has_its_exit_code(monkeypatch, capsys, end, code) -> None:
    assert ended(monkeypatch, end) == code
    assert ("Traceback" in capsys.readouterr().err) == (code == 70)


def test_ctrl_c_while_a_verb_is_still_loaded_prints_no_trace(monkeypatch, capsys) -> None:
    def interrupted(_name: str) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.importlib, "import_module", interrupted)
    assert cli.main(["check", "-c", "x"]) == 130
    assert capsys.readouterr().err == ""


def test_an_error_is_told_with_what_to_do_about_it(monkeypatch, capsys) -> None:
    ended(monkeypatch, errors.LinkError("no gateway answers", hint="start it"))
    assert capsys.readouterr().err == "gateway: no gateway answers\nhint: start it\n"


def test_a_defect_is_told_as_one(monkeypatch, capsys) -> None:
    ended(monkeypatch, AssertionError("impossible"))
    assert "this is a defect of the gateway" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [[], ["no-such-verb"], ["check"], ["check", "--no-such"]])
def test_wrong_use_is_64_with_the_usage(argv, capsys) -> None:
    code = None
    try:
        code = cli.main(argv)
    except SystemExit as end:
        code = end.code
    assert code == 64
    assert "usage: gateway" in capsys.readouterr().err


def test_help_names_every_verb_and_imports_none() -> None:
    script = (
        "import sys\nfrom gateway import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit as end: assert end.code == 0\n"
        "print(sorted(name for name in sys.modules if name.startswith('gateway.')))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("    ")}
    assert listed >= set(cli.VERBS)
    assert done.stdout.splitlines()[-1] == "['gateway.cli', 'gateway.errors', 'gateway.hangup']"


@pytest.mark.parametrize("verb", list(cli.VERBS))
def test_every_verb_has_its_module_and_its_help(verb, capsys) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([verb, "--help"])
    assert end.value.code == 0
    assert f"usage: gateway {verb}" in capsys.readouterr().out


def test_the_version_is_said_once_for_package_and_command(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"gateway {__version__}\n"


def test_a_reader_that_left_is_no_fault(config) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "gateway", "config", "explain", "-c", str(config)]
    done = subprocess.run(command, check=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_check_says_what_a_good_file_sets_up(config, capsys) -> None:
    assert cli.main(["check", "-c", str(config)]) == 0
    assert (
        "ok, node node-1, broker 127.0.0.1:1883, 1 route, 1 lane (telemetry 256MiB), 0 regions"
        in capsys.readouterr().out
    )


def test_check_of_a_bad_file_prints_one_line_per_fault_and_exits_78(config, capsys) -> None:
    config.write_text(CONFIG + "qos = 9\nlone = 1\n[broker]\nprot = 1\n", "utf-8")
    assert cli.main(["check", "-c", str(config)]) == 78
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"gateway: {config} has 3 faults"
    assert [line.startswith(f"{config}:1") for line in lines[1:-1]] == [True, True, True]
    assert lines[-1].startswith("hint: ")


def test_check_of_a_missing_file_exits_66(tmp_path, capsys) -> None:
    assert cli.main(["check", "-c", str(tmp_path / "none.toml")]) == 66
    assert "No such file" in capsys.readouterr().err


def test_explain_prints_lines_and_json(config, capsys) -> None:
    assert cli.main(["config", "explain", "-c", str(config)]) == 0
    assert 'node.id = "node-1"' in capsys.readouterr().out
    assert cli.main(["config", "explain", "-c", str(config), "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    assert lines[0] == {"key": "node.id", "value": '"node-1"', "origin": f"{config}:3"}


def test_stale_pages_are_found_and_written_anew(tmp_path, capsys) -> None:
    folder = tmp_path / "reference"
    assert cli.main(["config", "docs", "--check", "--folder", str(folder)]) == 1
    assert "configuration.md" in capsys.readouterr().err
    assert cli.main(["config", "docs", "--write", "--folder", str(folder)]) == 0
    assert cli.main(["config", "docs", "--check", "--folder", str(folder)]) == 0
    (folder / "gateway.schema.json").write_text("{}", "utf-8")
    assert cli.main(["config", "docs", "--check", "--folder", str(folder)]) == 1


def test_status_without_a_daemon_exits_69(config, capsys) -> None:
    assert cli.main(["status", "-c", str(config)]) == 69
    assert "no gateway answers" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "status"])
def test_what_needs_a_node_refuses_a_receiver(verb, tmp_path, capsys) -> None:
    path = tmp_path / "receiver.toml"
    path.write_text('[receiver]\ntls_ca = "a"\ntls_certificate = "b"\ntls_key = "c"\n', "utf-8")
    assert cli.main([verb, "-c", str(path)]) == 78
    assert "has no [node]" in capsys.readouterr().err
    assert signal.SIGHUP not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "children would be deaf to it"


def answering(folder: Path, times: int) -> threading.Thread:
    """Answer as a daemon on `folder` does, so many times; return the thread that does it, started."""
    folder.mkdir()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "gateway.sock"))
    server.listen()

    def answer() -> None:
        with server:
            for _ in range(times):
                link, _ = server.accept()
                with link:
                    link.sendall(json.dumps(STATUS).encode())

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_status_asks_the_daemon_over_its_socket(config, capsys) -> None:
    thread = answering(config.parent / "state", 2)
    assert cli.main(["status", "-c", str(config), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS
    assert cli.main(["status", "-c", str(config)]) == 0
    thread.join()
    out = capsys.readouterr().out
    assert out.startswith("node node-1, epoch 7, up 12 s\n")
    assert "!" not in out


def test_a_daemon_can_be_asked_while_its_configuration_file_is_faulty(config, capsys) -> None:
    config.write_text("[node", "utf-8")
    assert cli.main(["status", "-c", str(config)]) == 78
    thread = answering(config.parent / "state", 1)
    assert cli.main(["status", "--state", str(config.parent / "state")]) == 0
    thread.join()
    assert capsys.readouterr().out.startswith("node node-1, ")


def test_the_status_has_one_block_per_stage_and_lanes_side_by_side() -> None:
    lines = status_verb.text(STATUS).splitlines()
    titles = [line.split()[0] for line in lines if line and not line.startswith(" ")]
    assert titles[1:] == [
        "rates",
        "ledger",
        "ingest",
        "journal",
        "disk",
        "flash",
        "channels",
        "lanes",
        "regions",
        "topics,",
        "quarantine",
        "last",
    ]
    assert ["message.received", "1,200"] in [line.split() for line in lines]
    assert next(line.split() for line in lines if line.startswith("lanes")) == ["lanes", "telemetry", "alarm"]
    assert ["bytes", "1,024", "0"] in [line.split() for line in lines]
    assert ["cursors.telemetry", "3"] in [line.split() for line in lines]
    topics = lines[next(index for index, line in enumerate(lines) if line.startswith("topics,")) + 1 :]
    assert [line.split() for line in topics[:4]] == [
        ["hall/4\\x1b[31m", "70"],
        ["b", "20"],
        ["c", "5"],
        ["all", "others", "5"],
    ]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"residual": {"messages": 1, "readings": 0}}, "unaccounted"),
        ({"ingest": {"connected": False, "last_fault": "refused"}}, "not connected to the local broker: refused"),
        ({"disk": {"state": "failed", "faults": {"journal": "EIO"}}}, "the disk is failed, journal: EIO"),
        ({"disk": {"state": "low_space", "faults": {}, "free_bytes": 1000}}, "low on space, 1,000 bytes are free"),
        ({"refusing": "alarm"}, "lane alarm is full and refuses"),
        ({"recovery": {"acknowledged_input_missing": True}}, "acknowledged input damaged"),
        (
            {"reloads": {"last_refusal": "it has 2 faults"}},
            "the last reload was refused, the gateway goes on as it was",
        ),
        ({"lanes": [{"name": "a", "state": "full", "policy": "refuse"}]}, "lane a is full: new batches wait"),
        ({"lanes": [{"name": "a", "state": "full", "policy": "evict_oldest"}]}, "lane a is full: its oldest"),
        ({"lanes": [{"name": "a", "conflicts": 1}]}, "made twice with different content"),
        ({"regions": {"b": {"connected": False, "last_fault": "refused"}}}, "region b is not connected: refused"),
        ({"regions": {"b": {"connected": True, "foreign_acknowledgements": 2}}}, "does another box have"),
    ],
)
def test_what_needs_a_person_comes_first_in_the_status(change, sentence) -> None:
    second = status_verb.text({**STATUS, **change}).splitlines()[1]
    assert second.startswith("! ")
    assert sentence in second
