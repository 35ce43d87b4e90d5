"""A development PKI: one CA, and a certificate each for a broker, a node and a receiver. Never for a real fleet.

    ca.pem   server.pem server.key   node.pem node.key   receiver.pem receiver.key

The CA's key is thrown away after signing, so nothing can be added later: make a new folder instead. Keys are ECDSA
P-256 and readable by their owner alone; certificates follow RFC 5280 (the server's names localhost and 127.0.0.1).
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

DAYS: Final = 30
_SKEW: Final = dt.timedelta(hours=1)
_USES: Final = {
    "server": ExtendedKeyUsageOID.SERVER_AUTH,
    "node": ExtendedKeyUsageOID.CLIENT_AUTH,
    "receiver": ExtendedKeyUsageOID.CLIENT_AUTH,
}


def write_pki(folder: Path, node: str = "node-1", *, days: int = DAYS) -> None:
    """Write all files into `folder`; `node` is the name in the node's certificate.

    Raises `StoreError` when the folder holds any of them already or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o750)
        made = _certificates({"server": "localhost", "node": node, "receiver": "receiver"}, days)
        for name in made:
            if (folder / name).exists():
                raise StoreError(
                    f"{folder / name} is there already", hint="choose an empty folder; nothing is overwritten"
                )
        for name, data in made.items():
            mode = 0o600 if name.endswith(".key") else 0o644
            with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
                file.write(data)
    except OSError as error:
        raise StoreError(f"cannot write to {folder}: {error.strerror}", path=str(folder)) from error


def _certificates(subjects: dict[str, str], days: int) -> dict[str, bytes]:
    """Return file name → content for a new CA and a key and certificate of each subject."""
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("edge-gateway development CA")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    made = {"ca.pem": authority.public_bytes(serialization.Encoding.PEM)}
    for file, subject in subjects.items():
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(subject), authority_name, key.public_key(), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_USES[file]]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
            )
        )
        if file == "server":
            names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made[f"{file}.pem"] = builder.sign(authority_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        made[f"{file}.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    return made


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )
