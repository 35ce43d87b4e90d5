"""What `write_pki` leaves in a folder: certificates that say what they are for, keys that nobody else can read."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.demo.pki import DAYS, write_pki
from gateway.errors import StoreError

NAMES = {"ca.pem", *(f"{who}.{suffix}" for who in ("server", "node", "receiver") for suffix in ("pem", "key"))}


@pytest.fixture
def pki(tmp_path: Path) -> Path:
    write_pki(tmp_path / "pki", "plant-7")
    return tmp_path / "pki"


def certificate(pki: Path, who: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate((pki / f"{who}.pem").read_bytes())


def test_each_party_has_a_certificate_for_its_use_that_the_ca_signed(pki: Path) -> None:
    assert {path.name for path in pki.iterdir()} == NAMES
    uses = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "node": ExtendedKeyUsageOID.CLIENT_AUTH}
    uses["receiver"] = ExtendedKeyUsageOID.CLIENT_AUTH
    subjects = {"server": "localhost", "node": "plant-7", "receiver": "receiver"}
    for who, use in uses.items():
        found = certificate(pki, who)
        found.verify_directly_issued_by(certificate(pki, "ca"))
        assert list(found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [use]
        assert not found.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        (name,) = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        assert name.value == subjects[who]
        key = load_pem_private_key((pki / f"{who}.key").read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        assert key.public_key() == found.public_key()


def test_certificates_are_good_now_and_end_when_they_should(pki: Path) -> None:
    now = dt.datetime.now(dt.UTC)
    for who in ("ca", "server", "node", "receiver"):
        found = certificate(pki, who)
        assert found.not_valid_before_utc < now
        assert abs(found.not_valid_after_utc - now - dt.timedelta(days=DAYS)) < dt.timedelta(minutes=5)


@pytest.mark.parametrize("mask", [0o000, 0o077])
def test_keys_are_readable_by_their_owner_alone_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_pki(tmp_path / "pki")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "pki").iterdir()}
    assert {mode for name, mode in modes.items() if name.endswith(".key")} == {0o600}
    assert all(mode & 0o022 == 0 for mode in modes.values())


@pytest.mark.parametrize("name", sorted(NAMES))
def test_nothing_is_written_where_any_of_the_files_is_already(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        write_pki(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_link_in_the_place_of_a_key_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "node.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        write_pki(tmp_path / "pki")
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write to"):
        write_pki(tmp_path / "file" / "pki")
