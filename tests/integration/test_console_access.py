"""Every way into the console of a real daemon, by hand: loopback, TLS, Host, Origin, token; and what stays shut."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.demo.pki import write_pki
from tests.support.mosquitto import Mosquitto
from tests.support.site import Site
from tests.support.waiting import wait_for

TOKEN = "correct horse battery"  # noqa: S105  # of the tests
ROUTE = '\n[[route]]\nname = "all"\ntopics = ["#"]\nlane = "telemetry"\n[console]\nlisten = "{listen}"\n{more}\n'
PAGES = ("/", "/main.js", "/console.css", "/now", "/series?words=a", "/quarantine", "/configuration")


@pytest.fixture
def broker(tmp_path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as broker:
        yield broker


def listening(site: Site) -> int:
    """Start the daemon, and return the port on which its console listens."""
    site.daemon.start()
    return int(wait_for(lambda: site.status()["console"]["listens"], "the console listens").rpartition(":")[2])


def asked(
    port: int, page: str, *, tls: ssl.SSLContext | None = None, body: str = "", **fields: str
) -> tuple[int, http.client.HTTPMessage, str]:
    """Return status, fields and content of a page; POST where there is a body."""
    if tls is None:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    else:
        line = http.client.HTTPSConnection("localhost", port, timeout=10, context=tls)
    try:
        named = {name.replace("_", "-"): value for name, value in fields.items()}
        line.request("POST" if body else "GET", page, body or None, named)
        answer = line.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        line.close()


def test_a_loopback_port_shows_everything_and_changes_nothing(broker, tmp_path: Path) -> None:
    with Site(tmp_path, ROUTE.format(listen="127.0.0.1:0", more=""), broker_port=broker.port) as site:
        port = listening(site)
        for page in PAGES:
            status, fields, _ = asked(port, page)
            assert status == 200, page
            assert fields["Content-Security-Policy"].startswith(
                "default-src 'none'; script-src 'self'; style-src 'self'"
            )
            assert "frame-ancestors 'none'" in fields["Content-Security-Policy"]
            assert fields["X-Content-Type-Options"] == "nosniff"
            assert fields["Set-Cookie"] is None
            assert fields["Access-Control-Allow-Origin"] is None
            assert asked(port, page, Host="evil.example")[0] == 421, page
            assert asked(port, page, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors")[0] == 403, page
        assert "no token is configured" in json.loads(asked(port, "/now")[2])["read_only"]
        origin = f"http://127.0.0.1:{port}"
        sound = {"Origin": origin, "Content_Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        for action in ("redrive", "purge", "reload"):
            assert asked(port, f"/actions/{action}", body='{"keys": []}', **sound)[0] == 403
            assert asked(port, f"/actions/{action}")[0] == 405
        for page in ("/actions/delete", "/../gateway.toml", "/%2e%2e/token", "/assets.py", "/__init__.py"):
            assert asked(port, page)[0] == 404, page
        for key in ("9" * 19, "9" * 400, "-1", "1e3", "%00"):
            assert asked(port, f"/quarantine/{key}")[0] in {400, 404}, key
        assert site.status()["console"]["listens"] == f"127.0.0.1:{port}"


def test_over_tls_a_certificate_lets_in_and_the_token_permits_changes(broker, tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    write_pki(pki)
    (tmp_path / "token").write_text(TOKEN, "utf-8")
    more = f'tls_certificate = "{pki}/server.pem"\ntls_key = "{pki}/server.key"\ntls_ca = "{pki}/ca.pem"\n'
    listen = ROUTE.format(listen="0.0.0.0:0", more=f'{more}token_file = "token"')
    with Site(tmp_path, listen, broker_port=broker.port) as site:
        port = listening(site)
        stranger = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            asked(port, "/now", tls=stranger)
        known = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        known.load_cert_chain(pki / "node.pem", pki / "node.key")
        assert json.loads(asked(port, "/now", tls=known)[2])["read_only"] == ""
        sound = {
            "Origin": f"https://localhost:{port}",
            "Content_Type": "application/json",
            "Authorization": f"Bearer {TOKEN}",
        }
        status, _, said = asked(port, "/actions/purge", tls=known, body='{"keys": ["1"]}', **sound)
        assert (status, json.loads(said)) == (200, {"done": 0, "left": []})
        assert asked(port, "/actions/purge", tls=known, body="{", **sound)[0] == 400
        assert asked(port, "/actions/purge", tls=known, body="[" * 50_000, **sound)[0] == 400
        assert asked(port, "/actions/purge", tls=known, body='{"keys": []}' + " " * 70_000, **sound)[0] == 413
        assert asked(port, "/actions/reload", tls=known, body="{}", **{**sound, "Origin": "https://evil"})[0] == 403
        guesses = {**sound, "Authorization": "Bearer guess"}
        said = [asked(port, "/actions/reload", tls=known, body="{}", **guesses)[0] for _ in range(7)]
        assert said == [401] * 5 + [429] * 2
        assert TOKEN not in site.daemon.log()


def test_certificates_that_cannot_be_used_are_named_before_the_daemon_starts(broker, tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("no certificate", "utf-8")
    path = tmp_path / "no.pem"
    more = f'tls_certificate = "{path}"\ntls_key = "{path}"\ntls_ca = "{path}"'
    with Site(tmp_path, ROUTE.format(listen="127.0.0.1:0", more=more), broker_port=broker.port) as site:
        site.daemon.spawn()
        process = site.daemon.process
        assert process is not None
        assert process.wait(20) == 78
        site.daemon.process = None
        assert "the console's certificates cannot be used" in site.daemon.log()
