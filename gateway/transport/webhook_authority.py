"""How a node shows a webhook who it is: bearer token, one secret field, signature; each from a file that is watched.

A signature covers method, authority, path and query, the content's type and digest, the idempotency key and every `ce-`
field. It is made anew each time something is posted, also again.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.errors import ConfigError
from gateway.transport.http_signatures import Parameters, Request, content_digest, sign
from gateway.transport.watched_file import WatchedFile
from gateway.transport.webhook_options import faults

if TYPE_CHECKING:
    from gateway.config import schema

LABEL: Final = "edge"
SECRET_BYTES_MIN: Final = 16
"""Shortest key of HMAC-SHA256 that is taken."""

_NS: Final = 10**9
_NONCE_BYTES: Final = 18
_FIELD_VALUE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class Authority:
    """Adds to each request what proves who sends it. Raises `ConfigError` for options that do not fit."""

    def __init__(self, options: schema.Webhook) -> None:
        found = tuple(f"region.webhook.{key} {sentence}" for key, sentence in faults(options))
        if found:
            raise ConfigError("; ".join(found), found)
        self._options = options
        self._token = WatchedFile(options.token_file, _line) if options.token_file else None
        self._secret = WatchedFile(options.secret_file, _line) if options.secret_file else None
        parse = _ed25519 if options.signature == "ed25519" else _hmac
        self._key: WatchedFile[Ed25519PrivateKey | bytes] | None = (
            None if options.signature == "none" else WatchedFile(options.key_file, parse)
        )

    def fields(self) -> dict[str, str]:
        """Return the fields of any request, without a signature. Raises `CredentialError`."""
        found: dict[str, str] = {}
        if self._token is not None:
            found["Authorization"] = f"Bearer {self._token.secret()}"
        if self._secret is not None:
            found[self._options.secret_header] = self._secret.secret()
        if self._key is not None:
            self._key.secret()
        return found

    def signed(self, method: str, url: str, fields: dict[str, str], content: bytes, now_s: float) -> dict[str, str]:
        """Return the fields of a request with `fields()` and the signature added. Raises `CredentialError`."""
        if self._key is None:
            return {**fields, **self.fields()}
        options, created = self._options, int(now_s)
        fields = {**fields, "Content-Digest": content_digest(content)}
        request = Request(method, url, {name.lower(): value for name, value in fields.items()})
        components = ["@method", "@authority", "@path"]
        if urlsplit(url).query:
            components.append("@query")
        key = self._key.secret()
        parameters = Parameters(
            created,
            options.key_id,
            options.signature,
            created + options.signature_valid_ns // _NS if options.signature_valid_ns else None,
            secrets.token_urlsafe(_NONCE_BYTES) if options.signature_nonce else "",
        )
        return {**fields, **self.fields(), **sign(request, [*components, *request.fields], parameters, key, LABEL)}


def _line(data: bytes) -> str:
    text = data.decode("latin-1").strip()
    if not _FIELD_VALUE.fullmatch(text):
        raise ValueError("it is empty" if not text else "it is not one line of plain ASCII")
    return text


def _hmac(data: bytes) -> Ed25519PrivateKey | bytes:
    if len(data) < SECRET_BYTES_MIN:
        raise ValueError(f"a key of {len(data)} bytes is too short, {SECRET_BYTES_MIN} is the least and 32 is usual")
    return data


def _ed25519(data: bytes) -> Ed25519PrivateKey | bytes:
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it holds no private key in PEM form without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("its private key is not one of Ed25519")  # noqa: TRY004  # the content is wrong, no type
    return key
