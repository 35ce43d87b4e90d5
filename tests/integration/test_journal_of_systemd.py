"""A real systemd-journald, in mount and process namespaces of its own, gets what a daemon logs. Needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.site import PROGRAM

pytestmark = pytest.mark.root

JOURNALD = "/lib/systemd/systemd-journald"

STARTER = """
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect("/run/systemd/journal/stdout")
stream.sendall(b"gateway.service\\n\\n6\\n1\\n0\\n0\\n0\\n")
found = os.fstat(stream.fileno())
os.environ["JOURNAL_STREAM"] = f"{found.st_dev}:{found.st_ino}"
os.dup2(stream.fileno(), 2)
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Starts a program as systemd does with StandardError=journal."""

SCRIPT = """
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
said() { journalctl --directory=/run/log/journal -o json --no-pager SYSLOG_IDENTIFIER=gateway "$@"; }
$JOURNALD >/run/journald.out 2>&1 &
for _ in $(seq 100); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.1; done
python3 -c "$STARTER" $PROGRAM run -c $FILE >/run/out &
daemon=$!
for _ in $(seq 200); do said LOGGER=gateway.transport.subscriber | grep -q . && break; sleep 0.1; done
kill -TERM $daemon
wait $daemon
for _ in $(seq 50); do said MESSAGE=stopped | grep -q . && break; sleep 0.1; done
said
"""

CONFIGURATION = """
[node]
id = "node-1"
state_folder = "{state}"
[broker]
port = 9
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "all"
topics = ["#"]
lane = "telemetry"
"""


def test_systemds_journal_gets_fields_and_priorities_of_a_daemon_that_it_listens_to(tmp_path: Path) -> None:
    for program in (JOURNALD, "journalctl", "unshare"):
        assert shutil.which(program), f"{program} is missing: apt-get install systemd util-linux"
    file = tmp_path / "gateway.toml"
    file.write_text(CONFIGURATION.format(state=tmp_path / "state"), "utf-8")
    command = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "bash", "-c", SCRIPT]
    environment = {"JOURNALD": JOURNALD, "PROGRAM": PROGRAM, "FILE": str(file), "STARTER": STARTER}
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=90, env={**os.environ, **environment}
    )
    entries = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    said = {(one["PRIORITY"], one.get("LOGGER", ""), one["_TRANSPORT"]): one["MESSAGE"] for one in entries}
    assert ("6", "gateway.daemon", "journal") in said, done.stderr
    assert "Connect" in said["4", "gateway.transport.subscriber", "journal"]
    assert {one["SYSLOG_IDENTIFIER"] for one in entries} == {"gateway"}
