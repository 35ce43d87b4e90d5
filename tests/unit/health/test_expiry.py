"""When a certificate ends: as the library that reads all of it says, and never more than one kind of error."""

from __future__ import annotations

import datetime as dt
import random
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from gateway.health.expiry import ends

KEYS = {"elliptic": ec.generate_private_key(ec.SECP256R1()), "rsa": rsa.generate_private_key(65537, 2048)}


def certificate(end: dt.datetime, kind: str = "elliptic", name: str = "node-1", extensions: int = 1) -> str:
    key = KEYS[kind]
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(end - dt.timedelta(days=3650)).not_valid_after(end)
    for number in range(extensions):
        oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number + 1}")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, b"x" * 50), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize("kind", list(KEYS))
@pytest.mark.parametrize("name", ["n", "a long name, for lengths of two bytes".ljust(64, "."), "пресс"])
@pytest.mark.parametrize("extensions", [0, 1, 40])
@pytest.mark.parametrize("year", [1999, 2027, 2049, 2050, 2200])
def test_the_end_is_the_one_that_the_library_reads(kind: str, name: str, extensions: int, year: int) -> None:
    text = certificate(dt.datetime(year, 2, 28, 23, 59, 58, tzinfo=dt.UTC), kind, name, extensions)
    (known,) = x509.load_pem_x509_certificates(text.encode())
    assert ends(text) == [known.not_valid_after_utc]


def test_a_file_may_hold_several_with_words_between() -> None:
    days = [dt.datetime(2030, 1, day, tzinfo=dt.UTC) for day in (3, 1, 2)]
    text = "\n# the next one\n".join(certificate(day) for day in days)
    assert ends(f"of our CA\n{text}") == days
    assert ends("no certificate") == []


def test_every_truncation_and_mutation_is_a_date_or_a_value_error() -> None:
    data = ssl.PEM_cert_to_DER_cert(certificate(dt.datetime(2030, 1, 1, tzinfo=dt.UTC)))
    chance = random.Random(7)
    mutated = [data[:cut] for cut in range(len(data))]
    for _ in range(3000):
        one = bytearray(data)
        one[chance.randrange(min(len(one), 160))] = chance.randrange(256)
        mutated.append(bytes(one))
    refused = 0
    for one in mutated:
        try:
            ends(ssl.DER_cert_to_PEM_cert(one))
        except ValueError:
            refused += 1
    assert refused > len(data) // 2, "what is cut before its end is refused"
    with pytest.raises(ValueError, match="has no end"):
        ends("-----BEGIN CERTIFICATE-----\nMIIB")
    with pytest.raises(ValueError, match="cut short"):
        ends("-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----")
