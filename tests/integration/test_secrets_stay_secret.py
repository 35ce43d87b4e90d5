"""A daemon full of secrets, taken through faults by peers that say them back: none is in what it shows."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from contextlib import ExitStack
from pathlib import Path

from aiohttp import web

from gateway.demo.pki import write_pki
from gateway.redaction import MASK
from tests.support.loop_thread import LoopThread
from tests.support.mosquitto import Mosquitto
from tests.support.sensors import PahoSensor
from tests.support.site import PROGRAM, Site
from tests.support.waiting import wait_for
from tests.support.webhook_server import Posted, WebhookServer, server_context

CONFIGURATION = """
[log]
level = "debug"

[[route]]
name = "people"
topics = ["people/+"]
lane = "telemetry"
key_file = "{folder}/field.key"
[[route.field]]
name = "badge"
protect = "hash"

[[region]]
name = "hook"
transport = "webhook"
acknowledge = "broker"
tls_ca = "{pki}/ca.pem"
tls_certificate = "{pki}/node.pem"
tls_key = "{pki}/node.key"
backoff_min = "50ms"
backoff_max = "1s"
[region.webhook]
url = "{url}"
timeout = "1s"
signature = "hmac-sha256"
key_id = "k1"
key_file = "{folder}/signing.key"
token_file = "{folder}/token"
secret_header = "x-secret"
secret_file = "{folder}/secret"

[[region]]
name = "away"
transport = "kafka"
acknowledge = "broker"
host = "127.0.0.1"
port = 9
tls_ca = "{pki}/ca.pem"
tls_certificate = "{pki}/node.pem"
tls_key = "{pki}/node.key"
username = "edge"
password_file = "{folder}/kafka.password"
"""


async def say_it_back(posted: Posted, _: web.Request) -> web.StreamResponse:
    """Refuse, and repeat all that was shown, as careless servers do."""
    return web.Response(status=422, text=f"not with {posted.fields['authorization']} and {posted.fields['x-secret']}")


def written(folder: Path) -> dict[str, str]:
    """Write one secret into each file that the configuration names."""
    found = {
        name: secrets.token_hex(32)
        for name in ("field.key", "signing.key", "token", "secret", "kafka.password", "mqtt")
    }
    for name, secret in found.items():
        (folder / name).write_text(secret, "ascii")
    return found


def shown(*arguments: str) -> str:
    done = subprocess.run([PROGRAM, *arguments], check=False, capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


def test_no_secret_is_in_the_log_the_status_or_the_explained_configuration(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_pki(pki)
    hidden = written(tmp_path)
    users = tmp_path / "users"
    password = hidden["mqtt"]
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "gateway", password], check=True, timeout=20)
    users.chmod(0o644)
    server = WebhookServer(server_context(pki / "server.pem", pki / "server.key", pki / "ca.pem"), behave=say_it_back)
    with (
        LoopThread("server") as thread,
        ExitStack() as leave,
        Mosquitto(tmp_path / "local", allow_anonymous="false", password_file=users) as local,
    ):
        running = server.running()
        thread.wait(running.__aenter__())
        leave.callback(lambda: thread.wait(running.__aexit__(None, None, None)))
        broker = f'username = "gateway"\npassword_file = "{tmp_path}/mqtt"'
        text = CONFIGURATION.format(folder=tmp_path, pki=pki, url=server.url)
        with Site(tmp_path, text, broker_port=local.port, broker=broker) as site:
            (tmp_path / "mqtt").write_text("a wrong one of its own", "ascii")
            site.daemon.start()
            wait_for(lambda: site.status()["ingest"]["last_fault"], "the broker refuses the wrong password")
            (tmp_path / "mqtt").write_text(password, "ascii")
            wait_for(lambda: site.status()["ingest"]["connected"], "the daemon has subscribed")
            with PahoSensor(local.port, "sensor", 5, login=("gateway", password)) as sensor:
                sensor.publish("people/1", b'{"badge": "7", "door": 3}', 1)
                wait_for(lambda: "422" in site.status()["regions"]["hook"]["last_fault"], "the hook refuses a batch")
            (tmp_path / "token").write_text("", "ascii")
            wait_for(lambda: "token" in site.daemon.log(), "the daemon says that the token is no good")
            with site.configuration.open("a", encoding="utf-8") as file:
                file.write('\n[nonsense]\npassword = "hunter2hunter2"\n')
            os.kill(site.daemon.pid, signal.SIGHUP)
            wait_for(lambda: site.status()["reloads"]["refused"], "the daemon refuses the configuration")
            status = json.dumps(site.status())
            site.daemon.stop()
            log = site.daemon.log_path.read_text("utf-8")
        parked = shown("parked", "ls", "--state", str(site.state))
        explained = shown("config", "explain", "-c", str(site.configuration))
    everything = {"log": log, "status": status, "parked": parked, "explained": explained}
    material = (pki / "node.key").read_text("ascii").splitlines()[1]
    for name, secret in {**hidden, "tls key": material, "nonsense": "hunter2hunter2"}.items():
        for place, text in everything.items():
            assert secret not in text, f"{name} in the {place}"
    assert MASK in log, "the server's words, with what was secret in them masked"
