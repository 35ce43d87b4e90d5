"""Renewal of certificates, file by file, half-way and wrong: what fits is used, what does not is reported."""

from __future__ import annotations

import errno
import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from gateway.demo.pki import write_pki
from gateway.errors import CredentialError
from gateway.transport.credentials import Credentials
from gateway.transport.tls import client_context

NAMES = ("ca.pem", "node.pem", "node.key")


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki")
    return tmp_path / "pki"


@pytest.fixture
def renewed(tmp_path: Path) -> Path:
    write_pki(tmp_path / "renewed")
    return tmp_path / "renewed"


def credentials_of(pki: Path) -> Credentials:
    return Credentials(*(str(pki / name) for name in NAMES))


def renew(pki: Path, renewed: Path, *names: str) -> None:
    """Put new files in place as renewal does: each under another name first, then renamed."""
    for name in names:
        (pki / "new").write_bytes((renewed / name).read_bytes())
        (pki / "new").rename(pki / name)


def test_files_that_are_not_touched_have_not_changed(pki: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    assert not credentials.have_changed()
    assert credentials.fault == ""


def test_files_that_are_touched_or_written_again_as_they_were_have_not_changed(pki: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    (pki / "node.pem").touch()
    renew(pki, pki, "node.key", "ca.pem")
    assert not credentials.have_changed()


def test_a_change_that_leaves_time_and_size_as_they_were_is_seen(pki: Path, renewed: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    for name in NAMES:
        before = (pki / name).stat()
        (pki / name).write_bytes((renewed / name).read_bytes())
        os.utime(pki / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert credentials.have_changed()


def test_a_file_that_could_not_be_read_is_used_once_it_can_be(
    pki: Path, renewed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    renew(pki, renewed, *NAMES)
    read = Path.read_bytes

    def refuse(path: Path) -> bytes:  # as for a key whose owner renewal forgot; root, who may run this, reads anything
        if path.name == "node.key":
            raise PermissionError(errno.EACCES, "Permission denied")
        return read(path)

    with monkeypatch.context() as forgotten:
        forgotten.setattr(Path, "read_bytes", refuse)
        assert not credentials.have_changed()
        assert "Permission denied" in credentials.fault
    assert credentials.have_changed()


def test_a_wrong_file_that_is_taken_back_is_reported_no_more(pki: Path, renewed: Path, tmp_path: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    (tmp_path / "kept").mkdir()
    renew(tmp_path / "kept", pki, "node.key")
    renew(pki, renewed, "node.key")
    for _ in range(2):
        assert not credentials.have_changed()
        assert "do not belong together" in credentials.fault
        renew(pki, tmp_path / "kept", "node.key")
        assert not credentials.have_changed()
        assert credentials.fault == ""
        renew(pki, renewed, "node.key")


def test_a_certificate_without_its_key_is_reported_and_used_once_the_key_is_there(pki: Path, renewed: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    renew(pki, renewed, "node.pem")
    assert not credentials.have_changed()
    assert "do not belong together" in credentials.fault
    renew(pki, renewed, "node.key")
    assert credentials.have_changed()
    credentials.context()
    assert not credentials.have_changed()
    assert credentials.fault == ""


def test_a_link_that_breaks_in_the_middle_of_a_renewal_is_made_again_with_what_was_read_before(
    pki: Path, renewed: Path
) -> None:
    credentials = credentials_of(pki)
    before = credentials.context()
    renew(pki, renewed, "node.pem")
    assert credentials.context() is before
    assert "do not belong together" in credentials.fault
    assert not credentials.have_changed()
    renew(pki, renewed, "node.key")
    assert credentials.have_changed()
    assert credentials.context() is not before
    assert credentials.fault == ""


@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_vanishes_is_reported_and_used_when_it_is_back(pki: Path, renewed: Path, name: str) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    (pki / name).unlink()
    assert not credentials.have_changed()
    assert name in credentials.fault
    renew(pki, renewed, *NAMES)
    assert credentials.have_changed()


def test_without_credentials_from_the_start_there_is_nothing_to_go_on_with(pki: Path) -> None:
    (pki / "node.key").rename(pki / "away")
    credentials = credentials_of(pki)
    with pytest.raises(CredentialError, match=r"node\.key"):
        credentials.context()
    (pki / "away").rename(pki / "node.key")
    assert isinstance(credentials.context(), ssl.SSLContext)


def test_an_encrypted_key_is_refused_without_asking_anybody(pki: Path) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    key = serialization.load_pem_private_key((pki / "node.key").read_bytes(), None)
    (pki / "node.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    assert not credentials.have_changed()
    assert "cannot be used" in credentials.fault


def test_an_expired_certificate_is_left_to_the_peer_because_our_own_clock_may_be_wrong(
    pki: Path, tmp_path: Path
) -> None:
    credentials = credentials_of(pki)
    credentials.context()
    write_pki(tmp_path / "expired", days=0)
    renew(pki, tmp_path / "expired", *NAMES)
    assert credentials.have_changed()
    assert credentials.fault == ""


def test_a_file_that_vanishes_between_two_reads_is_a_fault_of_the_credential(
    pki: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pki / "node.key").unlink()
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"")  # it was there when it was looked at
    with pytest.raises(CredentialError, match=r"node\.key"):
        client_context(*(str(pki / name) for name in NAMES))
