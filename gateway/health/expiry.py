"""When an X.509 certificate ends, read from its DER bytes (RFC 5280, section 4.1). Pure.

The daemon needs this one date of certificates that TLS has checked anyway; the library that can read all of them would
take 9 MB of its memory for good. So the few fields before the date are stepped over, and nothing else is looked at.

    Certificate ::= SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serialNumber, signature, issuer,
                                                         validity SEQUENCE { notBefore, notAfter }, … }, … }
"""

from __future__ import annotations

import datetime as dt
import ssl
from typing import Final, NamedTuple

_BEGIN: Final = "-----BEGIN CERTIFICATE-----"
_END: Final = "-----END CERTIFICATE-----"
_SEQUENCE: Final = 0x30
_VERSION: Final = 0xA0
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_LONG: Final = 0x80
_LENGTH_BYTES_MAX: Final = 4
_CENTURY: Final = 50
"""Two digits of a year from this on are of the twentieth century (RFC 5280, 4.1.2.5.1)."""


class _Element(NamedTuple):
    """A tag with the bytes from `begin` to `end`."""

    tag: int
    begin: int
    end: int


def ends(text: str) -> list[dt.datetime]:
    """Return when each certificate in the PEM `text` ends. Raises `ValueError` for one that cannot be read."""
    found = []
    for part in text.split(_BEGIN)[1:]:
        body, mark, _ = part.partition(_END)
        if not mark:
            raise ValueError("a certificate has no end")
        found.append(_not_after(ssl.PEM_cert_to_DER_cert(f"{_BEGIN}{body}{_END}")))
    return found


def _not_after(data: bytes) -> dt.datetime:
    certificate = _inside(data, 0, len(data), _SEQUENCE)
    signed = _inside(data, certificate.begin, certificate.end, _SEQUENCE)
    at, end = signed.begin, signed.end
    if _element(data, at, end).tag == _VERSION:
        at = _element(data, at, end).end
    for _ in ("serialNumber", "signature", "issuer"):
        at = _element(data, at, end).end
    validity = _inside(data, at, end, _SEQUENCE)
    not_before = _element(data, validity.begin, validity.end)
    return _time(data, _element(data, not_before.end, validity.end))


def _inside(data: bytes, at: int, end: int, tag: int) -> _Element:
    found = _element(data, at, end)
    if found.tag != tag:
        raise ValueError(f"tag {found.tag:#x} where {tag:#x} must be")
    return found


def _element(data: bytes, at: int, end: int) -> _Element:
    """Return the element at `at`, which must end by `end`."""
    if at + 2 > end:
        raise ValueError("cut short")
    tag, length, begin = data[at], data[at + 1], at + 2
    if length >= _LONG:
        size = length - _LONG
        if not 0 < size <= _LENGTH_BYTES_MAX or begin + size > end:
            raise ValueError("a length that no certificate has")
        length = int.from_bytes(data[begin : begin + size], "big")
        begin += size
    if begin + length > end:
        raise ValueError("cut short")
    return _Element(tag, begin, begin + length)


def _time(data: bytes, found: _Element) -> dt.datetime:
    digits = data[found.begin : found.end].decode("ascii")
    if found.tag == _UTC_TIME:
        digits = ("19" if int(digits[:2]) >= _CENTURY else "20") + digits
    elif found.tag != _GENERALIZED_TIME:
        raise ValueError(f"tag {found.tag:#x} where a time must be")
    return dt.datetime.strptime(digits, "%Y%m%d%H%M%SZ").replace(tzinfo=dt.UTC)
