from __future__ import annotations

from pathlib import Path

import pytest

from gateway import cli
from gateway.config.files import named_files
from gateway.config.load import CREDENTIALS_FOLDER, Loaded, parse
from gateway.errors import ConfigError

TEXT = """[node]
id = "node-1"
[broker]
password_file = "{password}"
[[spool.lanes]]
name = "telemetry"
[[route]]
name = "sensors"
topics = ["sensors/#"]
lane = "telemetry"
[[region]]
name = "centre"
host = "h"
tls_ca = "pki/ca.pem"
tls_certificate = "/etc/node.pem"
tls_key = "{key}"
"""


def read(key: str = "credential:node.key", word: str = "") -> Loaded:
    return parse(TEXT.format(key=key, password=word), "gateway.toml", Path("/etc/edge"))


def test_a_credential_is_the_file_in_the_folder_that_systemd_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS_FOLDER, "/run/credentials/gateway.service")
    assert read().to_start().region[0].tls_key == "/run/credentials/gateway.service/node.key"


def test_a_credential_whose_folder_is_unknown_is_a_fault_to_a_start_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(CREDENTIALS_FOLDER, raising=False)
    loaded = read(word="credential:broker.password")
    assert loaded.config.region[0].tls_key == "credential:node.key"
    with pytest.raises(ConfigError) as caught:
        loaded.to_start()
    assert caught.value.faults == (
        'gateway.toml:4: broker.password_file: "credential:broker.password", and CREDENTIALS_DIRECTORY is not set',
        'gateway.toml:16: region[0].tls_key: "credential:node.key", and CREDENTIALS_DIRECTORY is not set',
    )
    assert "LoadCredential" not in str(caught.value.faults)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "x" * 256])
def test_what_is_no_name_of_a_credential_is_a_fault_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS_FOLDER, "/run/credentials/gateway.service")
    with pytest.raises(ConfigError, match="one fault") as caught:
        read(f"credential:{name}")
    assert "expected the name of a credential" in caught.value.faults[0]


def test_check_says_what_a_credential_needs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CREDENTIALS_FOLDER, raising=False)
    path = tmp_path / "gateway.toml"
    path.write_text(TEXT.format(key="credential:node.key", password=""), "utf-8")
    assert cli.main(["check", "-c", str(path)]) == cli.EX_CONFIG
    said = capsys.readouterr().err
    assert "region[0].tls_key" in said
    assert "systemd sets CREDENTIALS_DIRECTORY" in said


def test_every_file_that_is_read_is_named_with_its_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CREDENTIALS_FOLDER, "/c")
    found = dict(named_files(read(word="word").config))
    assert found == {
        "broker.password_file": "/etc/edge/word",
        "region[0].tls_ca": "/etc/edge/pki/ca.pem",
        "region[0].tls_certificate": "/etc/node.pem",
        "region[0].tls_key": "/c/node.key",
    }
