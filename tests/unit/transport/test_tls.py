"""What cannot be used as a credential is named, with its file; what can be is pinned."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.demo.pki import write_pki
from gateway.errors import CredentialError, StoreError
from gateway.transport.credentials import Credentials
from gateway.transport.tls import client_context, fault_of, server_context


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


def paths(pki: Path, who: str = "node") -> tuple[str, str, str]:
    return str(pki / "ca.pem"), str(pki / f"{who}.pem"), str(pki / f"{who}.key")


def handshake(client: ssl.SSLContext, server: ssl.SSLContext, host: str = "localhost") -> tuple[str, str]:
    """Shake hands in memory and return the subjects that the client and the server saw."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=host)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (one, other):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    other_seen, one_seen = one.getpeercert(), other.getpeercert()
    assert one_seen
    assert other_seen
    return tuple(dict(name[0] for name in seen["subject"])["commonName"] for seen in (other_seen, one_seen))


def test_node_and_server_of_one_pki_trust_each_other(pki: Path) -> None:
    assert handshake(client_context(*paths(pki)), server_context(*paths(pki, "server"))) == ("localhost", "node-1")


def test_another_name_another_ca_and_no_certificate_are_refused(pki: Path, tmp_path: Path) -> None:
    write_pki(tmp_path / "other")
    server = server_context(*paths(pki, "server"))
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        handshake(client_context(*paths(pki)), server, "mqtt.example.org")
    with pytest.raises(ssl.SSLCertVerificationError, match="certificate verify failed"):
        handshake(client_context(*paths(tmp_path / "other")), server)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(client_context(str(pki / "ca.pem")), server)


def test_tls_older_than_1_2_is_not_spoken(pki: Path) -> None:
    assert client_context(*paths(pki)).minimum_version == ssl.TLSVersion.TLSv1_2
    assert server_context(*paths(pki, "server")).minimum_version == ssl.TLSVersion.TLSv1_2


def test_a_missing_file_is_named(pki: Path) -> None:
    for name in ("ca.pem", "node.pem", "node.key"):
        (pki / name).rename(pki / "away")
        with pytest.raises(CredentialError, match=name):
            client_context(*paths(pki))
        (pki / "away").rename(pki / name)


@pytest.mark.parametrize("name", ["ca.pem", "node.pem", "node.key"])
@pytest.mark.parametrize("data", [b"", b"no pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_that_is_no_credential_is_named(pki: Path, name: str, data: bytes) -> None:
    (pki / name).write_bytes(data)
    with pytest.raises(CredentialError, match=name):
        client_context(*paths(pki))


def test_a_key_of_another_certificate_and_an_encrypted_key_are_refused_without_asking(pki: Path) -> None:
    ca, certificate, key = paths(pki)
    with pytest.raises(CredentialError, match="do not belong together"):
        client_context(ca, certificate, str(pki / "server.key"))
    private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    encrypted = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(key).write_bytes(encrypted)
    with pytest.raises(CredentialError):
        client_context(ca, certificate, key)


def test_keys_are_readable_by_their_owner_alone_and_nothing_is_overwritten(pki: Path) -> None:
    assert {path.stat().st_mode & 0o777 for path in pki.glob("*.key")} == {0o600}
    before = {path: path.read_bytes() for path in pki.iterdir()}
    with pytest.raises(StoreError, match="is there already"):
        write_pki(pki)
    assert {path: path.read_bytes() for path in pki.iterdir()} == before


def test_renewed_credentials_are_used_only_when_the_set_fits(pki: Path, tmp_path: Path) -> None:
    credentials = Credentials(*paths(pki))
    credentials.context()
    assert not credentials.have_changed()
    write_pki(tmp_path / "new", "node-1")
    for name, is_fit in (("ca.pem", True), ("node.pem", False), ("node.key", True)):
        (pki / name).unlink()
        (pki / name).write_bytes((tmp_path / "new" / name).read_bytes())
        assert credentials.have_changed() == is_fit
        assert credentials.have_changed() == is_fit, "asked again, the answer is the same"
    credentials.context()
    assert not credentials.have_changed()
    assert credentials.fault == ""


def test_credentials_that_vanish_are_reported_once_and_not_used(pki: Path) -> None:
    credentials = Credentials(*paths(pki))
    credentials.context()
    (pki / "node.key").unlink()
    assert not credentials.have_changed()
    assert "node.key" in credentials.fault


def test_a_certificate_that_was_refused_is_told_as_ones_own_or_the_servers_however_it_is_wrapped(pki: Path) -> None:
    server = server_context(*paths(pki, "server"))
    with pytest.raises(ssl.SSLError) as refused:
        handshake(client_context(*paths(pki)), server, "mqtt.example.org")
    wrapped = ConnectionError("failed")
    wrapped.__cause__ = refused.value
    told = "the server's certificate is refused: Hostname mismatch, certificate is not valid for 'mqtt.example.org'."
    assert fault_of(refused.value) == fault_of(wrapped) == told
    for reason, own in (
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "the server refuses our certificate: certificate expired"),
        ("TLSV1_ALERT_UNKNOWN_CA", "the server refuses our certificate: unknown ca"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "the server refuses our certificate: certificate required"),
    ):
        alert = ssl.SSLError(1, "as OpenSSL says it")
        alert.reason = reason
        assert fault_of(alert) == own


def test_any_other_failure_of_a_connection_is_told_in_its_own_words() -> None:
    alert = ssl.SSLError(1, "handshake failure")
    alert.reason = "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert "handshake failure" in fault_of(alert)
    assert fault_of(ConnectionRefusedError(111, "Connection refused")) == "[Errno 111] Connection refused"
    assert fault_of(ConnectionError()) == "ConnectionError"
