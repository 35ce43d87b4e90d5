"""A certificate authority of the tests' own: certificates for any names, that begin and end when a test says.

Files are named as those of the development PKI (`gateway.demo.pki`): ca.pem, and for each party PARTY.pem, PARTY.key.
A second certificate for the same party replaces the first one as renewal does: by renaming, one file after the other.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY_S = 86400.0


class Authority:
    """Signs into `folder`; its own key never touches the disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("tests' authority")
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        made = (
            _builder(self._name, self._name, self._key.public_key(), _DAY_S)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        (folder / "ca.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))

    def issue(self, party: str, *hosts: str, name: str = "", valid_s: float = _DAY_S) -> None:
        """Write the key and certificate of a party, valid for `valid_s`; with `hosts` it is a server of these names."""
        key = ec.generate_private_key(ec.SECP256R1())
        use = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = (
            _builder(_name(name or party), self._name, key.public_key(), valid_s)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
            )
        made = builder.sign(self._key, hashes.SHA256())
        self._write(f"{party}.pem", made.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        self._write(f"{party}.key", key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))

    def files(self, party: str) -> dict[str, Path]:
        """Return the files of a party: ca, certificate, key."""
        folder = self.folder
        return {"ca": folder / "ca.pem", "certificate": folder / f"{party}.pem", "key": folder / f"{party}.key"}

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / "new").write_bytes(data)
        (self.folder / "new").rename(self.folder / name)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_s: float
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(seconds=valid_s))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
