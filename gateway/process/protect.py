"""Personal data: one field becomes a keyed hash of itself, or is encrypted, before anything else sees it.

    hash      HMAC-SHA-256 (RFC 2104) of the value, cut to 128 bits, in hex: the same value gives the same text, so that
              rows can still be joined and counted, and nobody without the key can try out values
    encrypt   AES-256-GCM (NIST SP 800-38D) of the value; what stands in the reading is nonce, ciphertext and tag

The pipeline is a pure function and draws no randomness, so the nonce is synthetic: the first 96 bits of an HMAC of
topic, field, time and value, under a key of its own. Only a repetition of all four repeats a nonce, and then it is the
same ciphertext. Topic and field are authenticated, so a value cannot be moved to another series. All keys come from the
one that is configured, by HKDF-SHA-256 (RFC 5869).
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.model import Value

HASH_CHARACTERS: Final = 32
_NONCE_BYTES: Final = 12
_KEY_BYTES: Final = 32


class Protection:
    """Hashes and encrypts under one key of 32 bytes."""

    def __init__(self, key: bytes) -> None:
        self._hash_key = _derived(key, b"edge gateway: field hash")
        self._nonce_key = _derived(key, b"edge gateway: field nonce")
        self._cipher = AESGCM(_derived(key, b"edge gateway: field encryption"))

    def hashed(self, value: Value) -> str:
        """Return the keyed hash of a value; values of different types have different ones."""
        return hmac.digest(self._hash_key, msgspec.msgpack.encode(value), "sha256").hex()[:HASH_CHARACTERS]

    def encrypted(self, topic: str, field: str, time_ns: int, value: Value) -> bytes:
        """Return nonce, ciphertext and tag of a value."""
        series, plain = _series(topic, field), msgspec.msgpack.encode(value)
        said = msgspec.msgpack.encode((series, time_ns, plain))
        nonce = hmac.digest(self._nonce_key, said, "sha256")[:_NONCE_BYTES]
        return nonce + self._cipher.encrypt(nonce, plain, series)

    def decrypted(self, topic: str, field: str, data: bytes) -> Value:
        """Return the value in `data`. Raises `DecodeError` when it is not of this key, topic and field."""
        try:
            plain = self._cipher.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], _series(topic, field))
        except (InvalidTag, ValueError):
            raise DecodeError("not_decrypted", "the value was encrypted under another key, topic or field") from None
        value: Value = msgspec.msgpack.decode(plain)
        return value


def _series(topic: str, field: str) -> bytes:
    return msgspec.msgpack.encode((topic, field))


def _derived(key: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), _KEY_BYTES, salt=None, info=purpose).derive(key)
