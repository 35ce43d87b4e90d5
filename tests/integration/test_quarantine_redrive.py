"""A configuration was wrong, messages went to quarantine; it is put right and they are published again, each once.

Real mosquitto, real daemon, real command line.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site, pems, region_tls
from tests.support.waiting import wait_for

ROUTE = """
[[route]]
name = "all"
topics = ["plant/#"]
lane = "telemetry"
decoder = "{decoder}"
"""
WRONG, RIGHT = (ROUTE.format(decoder=name) for name in ("cbor", "scalar"))
CUT = b"1" * 70_000


def run(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    """Run `gateway quarantine`, and return its exit code with what it says."""
    command = [PROGRAM, "quarantine", *words, "--json", "-c", str(site.configuration)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def listed(site: Site) -> list[str]:
    """Return the topics of what is in quarantine."""
    return [one["topic"] for one in run(site, "ls", "--limit", "0")[1]["messages"]]


def quarantined(site: Site, port: int, *messages: tuple[str, bytes]) -> None:
    """Start the daemon, publish messages that it cannot decode, and wait until they are in quarantine."""
    site.daemon.start()
    wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
    with PahoSensor(port, "sensor", 5) as sensor:
        for topic, payload in messages:
            sensor.publish(topic, payload, 1)
        wait_for(lambda: site.status()["quarantine"]["kept"] == len(messages), "all are kept")


def put_right(site: Site) -> None:
    text = site.configuration.read_text("utf-8")
    site.configuration.write_text(text.replace(WRONG, RIGHT), "utf-8")


def decoded(site: Site) -> int:
    return site.ledger().get("message.decoded", 0)


def test_what_was_redriven_is_decoded_once_whatever_happens_to_the_daemon(tmp_path: Path) -> None:
    good = [(f"plant/{number}", b"%d.5" % number) for number in range(300)]
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, WRONG, broker_port=local.port) as site:
        quarantined(site, local.port, *good, ("plant/big", CUT))
        site.daemon.stop()
        put_right(site)
        site.daemon.start()
        code, said = run(site, "redrive", "--topic", "plant/+")
        assert (code, said["published"], said["unknown"]) == (1, 300, [])
        assert [(one["topic"], one["why"]) for one in said["left"]] == [
            ("plant/big", "its payload was cut when it was kept")
        ]
        wait_for(lambda: decoded(site) == 300, "all are decoded")
        assert listed(site) == ["plant/big"]
        site.daemon.kill()
        site.daemon.start()
        assert listed(site) == ["plant/big"]
        assert run(site, "redrive", "--reason", "not_an_object")[1]["published"] == 0
        assert run(site, "purge", "--all") == (0, {"removed": 1, "unknown": []})
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        assert decoded(site) == 300
        assert site.status()["residual"] == {"messages": 0, "readings": 0}
        site.daemon.stop()


def test_a_crash_does_not_bring_back_what_was_redriven(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "local") as local, Site(tmp_path, WRONG, broker_port=local.port) as site:
        quarantined(site, local.port, ("plant/a", b"1.5"), ("plant/b", b"2.5"))
        site.daemon.kill()  # before any checkpoint: the journal still has both, and a start replays them
        assert run(site, "redrive", "--all") == (0, {"published": 2, "left": [], "unknown": []})
        put_right(site)
        site.daemon.start()
        wait_for(lambda: decoded(site) == 2, "both are decoded, from the broker's queue")
        assert listed(site) == []
        site.daemon.stop()


def test_what_nobody_would_get_or_the_broker_refuses_stays_and_the_rest_goes(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic readwrite plant/#\ntopic read refused/#\n", "utf-8")
    topics = ("plant/a", "refused/a", "plant/b")
    routes = WRONG.replace('"plant/#"', '"plant/#", "refused/#"')
    with Mosquitto(tmp_path / "local") as local:
        with Site(tmp_path, routes, broker_port=local.port) as site:
            quarantined(site, local.port, *((topic, b"1.5") for topic in topics))
            site.daemon.stop()
        local.stop()
        with Mosquitto(tmp_path / "strict", acl_file=rules) as strict:
            text = site.configuration.read_text("utf-8")
            site.configuration.write_text(text.replace(f"port = {local.port}", f"port = {strict.port}"), "utf-8")
            code, said = run(site, "redrive", "--all")
            assert (code, said["published"]) == (1, 0)
            whys = {one["topic"]: one["why"] for one in said["left"]}
            assert whys["plant/a"] == whys["plant/b"] == "nobody subscribes to its topic"
            assert whys["refused/a"].startswith("the broker refuses it")
            site.daemon.start()
            wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
            code, said = run(site, "redrive", "--all")
            assert (code, said["published"]) == (1, 2)
            assert [one["topic"] for one in said["left"]] == ["refused/a"]
            site.daemon.stop()


def test_a_broker_that_asks_for_certificates_gets_them(tmp_path: Path) -> None:
    write_pki(tmp_path / "pki")
    files = pems(tmp_path / "pki", "node")
    broker = "".join(f'tls_{name} = "{path}"\n' for name, path in files.items())
    with (
        Mosquitto(tmp_path / "local", **region_tls(tmp_path / "pki")) as local,
        Site(tmp_path, WRONG, broker_port=local.port, broker=broker + 'host = "localhost"\n') as site,
    ):
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        with PahoSensor(local.port, "sensor", 5, files) as sensor:
            sensor.publish("plant/a", b"1.5", 1)
            wait_for(lambda: site.status()["quarantine"]["kept"] == 1, "it is kept")
        site.daemon.stop()
        assert run(site, "redrive", "--all") == (0, {"published": 1, "left": [], "unknown": []})
        put_right(site)
        site.daemon.start()
        wait_for(lambda: decoded(site) == 1, "it is decoded")
        site.daemon.stop()


def test_a_broker_that_asks_for_user_and_password_gets_them(tmp_path: Path) -> None:
    users, password = tmp_path / "users", tmp_path / "password"
    subprocess.run(["mosquitto_passwd", "-b", "-c", users, "gateway", "s3cret"], check=True, capture_output=True)
    password.write_text("s3cret\n", "utf-8")
    with Mosquitto(tmp_path / "open") as free, Site(tmp_path, WRONG, broker_port=free.port) as site:
        quarantined(site, free.port, ("plant/a", b"1.5"))
        site.daemon.stop()
    with Mosquitto(tmp_path / "local", password_file=users) as local:
        text = site.configuration.read_text("utf-8").replace(WRONG, RIGHT)
        wrong = f'port = {local.port}\nusername = "gateway"\n'
        site.configuration.write_text(text.replace(f"port = {free.port}\n", wrong), "utf-8")
        command = [PROGRAM, "quarantine", "redrive", "--all", "-c", str(site.configuration)]
        refused = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert refused.returncode == 69, refused.stderr
        right = f'{wrong}password_file = "{password}"\n'
        site.configuration.write_text(text.replace(f"port = {free.port}\n", right), "utf-8")
        site.daemon.start()
        wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
        assert run(site, "redrive", "--all")[1]["published"] == 1
        wait_for(lambda: decoded(site) == 1, "it is decoded")
        site.daemon.stop()
