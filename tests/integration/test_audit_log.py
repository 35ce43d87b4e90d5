"""The audit log of a real node: written by daemon and tools at once, delivered once, and proved against the region."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.audit.chain import Chain
from gateway.config import schema
from gateway.demo.pki import write_pki
from gateway.disk import Disk
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, region_tls
from tests.support.waiting import wait_for

ROUTES = """
[[spool.lanes]]
name = "audit"
bytes_max = "16MiB"
linger = "100ms"

[audit]
lane = "audit"

[[route]]
name = "all"
topics = ["#"]
lane = "telemetry"
"""

APPENDER = """
import sys, time
from pathlib import Path
from gateway.audit.chain import Chain
from gateway.disk import Disk
chain = Chain(Disk(), Path(sys.argv[1]), 64 * 1024)
for number in range(int(sys.argv[2])):
    print(chain.append("thing.done", "me", {"number": number, "pad": 200 * "x"}, time.time_ns()).number, flush=True)
"""


@contextmanager
def at_work(folder: Path) -> Iterator[tuple[Site, PahoSensor]]:
    pki = folder / "pki"
    write_pki(pki)
    with (
        Mosquitto(folder / "local") as local,
        Mosquitto(folder / "central", **region_tls(pki)) as central,
        Site(folder, ROUTES, broker_port=local.port, region_port=central.port, pki=pki) as site,
        PahoSensor(local.port, "sensor", 5) as sensor,
    ):
        site.receiver.start()
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        yield site, sensor


def tool(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([PROGRAM, *arguments], check=False, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def verify(site: Site, *arguments: str) -> tuple[int, str]:
    return tool("audit", "verify", "-c", str(site.configuration), *arguments)


def delivered(site: Site) -> list[str]:
    return [one.value for one in site.readings() if (one.topic, one.field) == (schema.AUDIT_TOPIC, "entry")]


def chain_of(site: Site) -> Chain:
    return Chain(Disk(), site.state / "audit")


def kinds(site: Site) -> list[str]:
    return [entry.kind for entry, _ in chain_of(site).proof().entries]


def all_delivered(site: Site) -> bool:
    return len(delivered(site)) >= chain_of(site).last()


def test_who_changed_what_is_at_the_region_once_and_no_change_of_the_log_passes(tmp_path: Path) -> None:
    with at_work(tmp_path) as (site, sensor):
        sensor.publish("a/b", b"no json", 1)
        wait_for(lambda: site.status()["quarantine"]["kept"], "the message is in quarantine")
        with site.configuration.open("a", encoding="utf-8") as file:
            file.write('[log]\nlevel = "warning"\n')
        assert tool("reload", "-c", str(site.configuration))[0] == 0
        assert tool("quarantine", "purge", "-c", str(site.configuration), "--all")[0] == 0
        site.daemon.kill()
        assert tool("quarantine", "redrive", "-c", str(site.configuration), "--all")[0] == 0
        text = site.configuration.read_text("utf-8")
        site.configuration.write_text(text.replace('"warning"', '"info"'), "utf-8")
        site.daemon.start()
        site.configuration.write_text("nonsense = 1", "utf-8")
        os.kill(site.daemon.pid, signal.SIGHUP)
        wait_for(lambda: "configuration.refused" in kinds(site), "the refusal is in the log")
        site.configuration.write_text(text, "utf-8")
        wait_for(lambda: all_delivered(site), "the region has the log", 30)
        assert kinds(site) == [
            "audit.began",
            "configuration.started",
            "configuration.taken",
            "quarantine.purge",
            "quarantine.purge.done",
            "quarantine.redrive",
            "quarantine.redrive.done",
            "configuration.started",
            "configuration.refused",
        ]
        taken, refused = (chain_of(site).proof().entries[number][0] for number in (2, 8))
        assert taken.what["changed"] == ["log.level"]
        assert f"uid {os.getuid()}" in taken.who
        assert f"pid {os.getpid()}" in refused.who
        assert "neither [node] nor [receiver]" in refused.what["faults"][0]
        assert site.status()["residual"] == {"messages": 0, "readings": 0}
        site.daemon.stop()
        entries = [
            line.split(b" ", 1)[1].decode()
            for line in (site.state / "audit" / "0000000000000001.audit").read_bytes().splitlines()
        ]
        assert delivered(site) == entries
        (ndjson,) = site.region_state.rglob("*.ndjson")
        code, said = verify(site, "--against", str(ndjson), "--node", "node-1")
        assert (code, said) == (0, "entries 1 to 9, 9 of them known elsewhere: whole\n")
        changed_in_turn(site, ndjson)


def changed_in_turn(site: Site, ndjson: Path) -> None:
    """Remove each entry, and cut off each end, and see that it shows."""
    path = site.state / "audit" / "0000000000000001.audit"
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    for number in range(1, len(lines) + 1):
        path.write_bytes(b"".join(lines[: number - 1] + lines[number:]))
        assert verify(site)[0] == 1, f"entry {number} is removed"
        path.write_bytes(b"".join(lines[: number - 1]))
        code, said = verify(site, "--against", str(ndjson))
        assert (code, "is not here" in said or "no entry is here" in said) == (1, True), said
    path.write_bytes(whole)
    assert verify(site)[0] == 0


def test_processes_that_append_at_once_and_are_killed_leave_a_whole_log_with_all_they_were_told(tmp_path) -> None:
    chance = random.Random(7)
    told: list[int] = []
    for turn in range(4):
        outs = [tmp_path / f"{turn}-{number}.out" for number in range(3)]
        started = []
        for out in outs:
            with out.open("wb") as file:
                command = [sys.executable, "-c", APPENDER, str(tmp_path / "log"), "200"]
                started.append(subprocess.Popen(command, stdout=file))
        wait_for(lambda outs=outs: all(out.stat().st_size > 20 for out in outs), "all of them append")
        time.sleep(chance.uniform(0, 0.1))
        for process in started:
            process.kill()
        for process in started:
            process.wait()
        # The last number may be cut off: it was written by halves when its process died.
        told += [int(line) for out in outs for line in out.read_text("ascii").split("\n")[:-1]]
    chain = Chain(Disk(), tmp_path / "log", 64 * 1024)
    chain.append("thing.done", "me", {}, 0)
    proof = chain.proof()
    assert proof.faults == []
    assert len(set(told)) == len(told)
    there = {entry.number for entry, _ in proof.entries}
    assert all(number in there for number in told if number >= proof.first)


def test_a_region_whose_certificate_is_refused_is_in_the_log(tmp_path: Path) -> None:
    write_pki(tmp_path / "pki")
    write_pki(tmp_path / "other")
    with (
        Mosquitto(tmp_path / "local") as local,
        Mosquitto(tmp_path / "central", **region_tls(tmp_path / "other")) as central,
        Site(
            tmp_path,
            ROUTES.replace('lane = "audit"', ""),
            broker_port=local.port,
            region_port=central.port,
            pki=tmp_path / "pki",
        ) as site,
    ):
        site.daemon.start()
        wait_for(lambda: "certificate.refused" in kinds(site), "the refusal is in the log")
        site.daemon.stop()
        code, said = tool("audit", "ls", "-c", str(site.configuration), "--kind", "certificate", "--json")
        (entry,) = json.loads(said)[:1]
        assert code == 0
        assert entry["what"]["peer"] == "region centre"
        assert "certificate" in entry["what"]["fault"]
