"""HTTP Message Signatures (RFC 9421) of requests, with Ed25519 or HMAC-SHA256, and Content-Digest (RFC 9530). Pure.

A signature is over the **signature base**, a text that both sides make of the request: one line per covered component
(`@method`, `@authority`, `@path`, … or the name of a field), then `@signature-params`: which components, when, by which
key. `Signature-Input` carries those parameters and `Signature` the bytes, both under a label. The content is covered
through its digest: `verify` holds the digest against the content that was received whenever the digest is covered, and
the caller says what must be covered, because a valid signature says nothing about what it leaves out.

Whoever verifies looks the key up by its `keyid`, and the kind of key alone decides the algorithm: an `alg` that says
otherwise is refused (RFC 9421, section 3.2). Text that is not in the strict form of structured fields (RFC 8941,
section 4.1), and components with parameters of their own, are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gateway.errors import GatewayError, Reaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from urllib.parse import SplitResult

Key: TypeAlias = Ed25519PrivateKey | Ed25519PublicKey | bytes
"""An Ed25519 key, of which the private one signs and both verify; or the secret of HMAC-SHA256."""

FIELD_BYTES_MAX: Final = 8192
"""Longest `Signature-Input` or `Signature` that is looked at."""
SKEW_S: Final = 60
"""How far the signer's clock may be ahead of the verifier's."""

_KEY = r"[a-z*][a-z0-9_.*-]*"
_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_VALUE = rf"(?:-?[0-9]{{1,15}}|{_STRING})"
_PARAMETER: Final = re.compile(rf";({_KEY})=({_VALUE})")
_INPUT: Final = re.compile(
    rf"({_KEY})=(\(((?:{_STRING}(?: {_STRING})*)?)\)((?:;{_KEY}={_VALUE})*))(?:[ \t]*,[ \t]*|\Z)"
)
_SIGNATURE: Final = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):(?:[ \t]*,[ \t]*|\Z)")
_DIGEST: Final = re.compile(rf"({_KEY})=:([A-Za-z0-9+/]*={{0,2}}):(?:[ \t]*,[ \t]*|\Z)")
_DIGESTS: Final = {"sha-256": hashlib.sha256, "sha-512": hashlib.sha512}
_USUAL_PORTS: Final = {"https": 443, "http": 80}


class SignatureError(GatewayError):
    """A request is not signed as it must be; `fault` says what is wrong with it."""

    reaction = Reaction.DROP
    hint = "compare key, clock, and what proxies change on the way"


class Request(NamedTuple):
    """What is signed: `url` is absolute, `fields` have names in lower case, repeated fields joined by a comma."""

    method: str
    url: str
    fields: Mapping[str, str]


class Parameters(NamedTuple):
    """What a signature says of itself; times are Unix seconds, what is empty or None is left out."""

    created: int | None = None
    keyid: str = ""
    algorithm: str = ""
    expires: int | None = None
    nonce: str = ""


class Signed(NamedTuple):
    """A signature that holds: what it covers, and its parameters, for whoever remembers each `nonce`."""

    label: str
    components: tuple[str, ...]
    parameters: Parameters


def content_digest(content: bytes) -> str:
    """Return the field Content-Digest of a content (RFC 9530, section 2), with SHA-256."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def algorithm_of(key: Key) -> str:
    """Return the name of the algorithm that a key is for (RFC 9421, section 6.2.2)."""
    return "hmac-sha256" if isinstance(key, bytes) else "ed25519"


def sign(
    request: Request, components: Sequence[str], parameters: Parameters, key: Ed25519PrivateKey | bytes, label: str
) -> dict[str, str]:
    """Return the fields Signature-Input and Signature to add to a request (RFC 9421, section 3.1)."""
    stated = _stated(components, parameters)
    base = signature_base(request, components, stated)
    made = hmac.digest(key, base, "sha256") if isinstance(key, bytes) else key.sign(base)
    return {"Signature-Input": f"{label}={stated}", "Signature": f"{label}=:{base64.b64encode(made).decode()}:"}


def verify(
    request: Request,
    content: bytes,
    key_of: Callable[[str], Key | None],
    now_s: float,
    *,
    required: Sequence[str],
    age_s_max: float = 300.0,
    label: str = "",
) -> Signed:
    """Return the signature of a request if it holds, under `label` or the only one (RFC 9421, section 3.2).

    `required` components must be covered, and `created` at most `age_s_max` old. Raises `SignatureError`.
    """
    found, stated, components, parameters = _input(request.fields.get("signature-input", ""), label)
    missing = [name for name in required if name not in components]
    if missing:
        raise SignatureError(f"the signature does not cover {', '.join(missing)}")
    _check_times(parameters, now_s, age_s_max)
    key = key_of(parameters.keyid)
    if key is None:
        raise SignatureError(f'the key "{parameters.keyid}" is not known')
    if parameters.algorithm not in ("", algorithm_of(key)):
        raise SignatureError(f'the key "{parameters.keyid}" is not one of the algorithm {parameters.algorithm}')
    base = signature_base(request, components, stated)
    if not _holds(key, _signature(request.fields.get("signature", ""), found), base):
        raise SignatureError(f'the signature is not one of this request by the key "{parameters.keyid}"')
    if "content-digest" in components:
        _check_digest(request.fields["content-digest"], content)
    return Signed(found, components, parameters)


def signature_base(request: Request, components: Sequence[str], stated: str) -> bytes:
    """Return what is signed (RFC 9421, section 2.5); `stated` are the parameters as in Signature-Input.

    Raises `SignatureError` for a component that the request has not, or that appears twice.
    """
    if len(set(components)) < len(components):
        raise SignatureError("a component is covered twice")
    lines = [f'"{name}": {_value(request, name)}' for name in components]
    text = "\n".join([*lines, f'"@signature-params": {stated}'])
    try:
        return text.encode("ascii")
    except UnicodeEncodeError as error:
        raise SignatureError("a covered component is not plain ASCII") from error


def _value(request: Request, name: str) -> str:
    """Return the value of a component (RFC 9421, sections 2.1 and 2.2)."""
    if name.startswith("@"):
        return _derived(request, name)
    if name not in request.fields:
        raise SignatureError(f"the request has no field {name}, which the signature covers")
    value = request.fields[name].strip(" \t")
    if "\n" in value or "\r" in value:
        raise SignatureError(f"the field {name} has more than one line")
    return value


def _derived(request: Request, name: str) -> str:
    try:
        parts = urlsplit(request.url)
        authority = _authority(parts)
    except ValueError as error:
        raise SignatureError(f'"{request.url}" is no URL: {error}') from error
    path = parts.path or "/"
    values = {
        "@method": request.method,
        "@target-uri": request.url,
        "@authority": authority,
        "@scheme": parts.scheme,
        "@request-target": f"{path}?{parts.query}" if parts.query else path,
        "@path": path,
        "@query": f"?{parts.query}",
    }
    if name not in values:
        raise SignatureError(f"the component {name} is not one that is understood")
    return values[name]


def _authority(parts: SplitResult) -> str:
    """Return host and port in the form of RFC 9421, section 2.2.3."""
    port = "" if parts.port in (None, _USUAL_PORTS.get(parts.scheme)) else f":{parts.port}"
    host = parts.hostname or ""
    return f"[{host}]{port}" if ":" in host else f"{host}{port}"


def _stated(components: Sequence[str], parameters: Parameters) -> str:
    covered = " ".join(f'"{name}"' for name in components)
    stated = (
        ("created", parameters.created),
        ("expires", parameters.expires),
        ("nonce", parameters.nonce or None),
        ("alg", parameters.algorithm or None),
        ("keyid", parameters.keyid or None),
    )
    return f"({covered})" + "".join(f";{name}={_item(value)}" for name, value in stated if value is not None)


def _item(value: str | int) -> str:
    if isinstance(value, int):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    if not re.fullmatch(_STRING, f'"{escaped}"'):
        raise SignatureError(f"{value!r} is not plain ASCII, as a parameter of a signature must be")
    return f'"{escaped}"'


def _input(field: str, label: str) -> tuple[str, str, tuple[str, ...], Parameters]:
    """Return label, parameters as they stand, components and parameters of the signature that is wanted."""
    found = {match[1]: match for match in _members(_INPUT, field, "Signature-Input")}
    if label and label not in found:
        raise SignatureError(f"the request has no signature {label}")
    if not label and len(found) != 1:
        raise SignatureError("the request is not signed" if not found else "the request has several signatures")
    match = found[label or next(iter(found))]
    texts = dict(_PARAMETER.findall(match[4]))
    unknown = texts.keys() - {"created", "expires", "nonce", "alg", "keyid", "tag"}
    if unknown:
        raise SignatureError(f"the parameter {min(unknown)} of the signature is not one that is understood")
    components = tuple(_text(name) for name in re.findall(_STRING, match[3]))
    names = ("nonce", "alg", "keyid")
    nonce, algorithm, keyid = (_text(texts[name]) if name in texts else "" for name in names)
    created, expires = (_number(texts[name]) if name in texts else None for name in ("created", "expires"))
    return match[1], match[2], components, Parameters(created, keyid, algorithm, expires, nonce)


def _members(pattern: re.Pattern[str], field: str, name: str) -> list[re.Match[str]]:
    """Return the members of a dictionary (RFC 8941, section 3.2), whole or not at all."""
    if len(field) > FIELD_BYTES_MAX:
        raise SignatureError(f"{name} is longer than {FIELD_BYTES_MAX} bytes")
    found, position = [], 0
    while position < len(field):
        match = pattern.match(field, position)
        if match is None:
            raise SignatureError(f"{name} is not a well-formed list of signatures from character {position + 1} on")
        found.append(match)
        position = match.end()
    if field.rstrip(" \t").endswith(","):
        raise SignatureError(f"{name} ends with a comma")
    return found


def _text(quoted: str) -> str:
    if not quoted.startswith('"'):
        raise SignatureError(f"{quoted} stands where a text must be")
    return re.sub(r"\\(.)", r"\1", quoted[1:-1])


def _number(text: str) -> int:
    if text.startswith('"'):
        raise SignatureError(f"{text} stands where a time must be")
    return int(text)


def _signature(field: str, label: str) -> bytes:
    found = {match[1]: match[2] for match in _members(_SIGNATURE, field, "Signature")}
    if label not in found:
        raise SignatureError(f"the field Signature has no signature {label}")
    return _decoded(found[label])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise SignatureError("what should be base64 is not") from error


def _holds(key: Key, signature: bytes, base: bytes) -> bool:
    if isinstance(key, bytes):
        return hmac.compare_digest(hmac.digest(key, base, "sha256"), signature)
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    try:
        public.verify(signature, base)
    except InvalidSignature:
        return False
    return True


def _check_times(parameters: Parameters, now_s: float, age_s_max: float) -> None:
    if parameters.created is None:
        raise SignatureError("the signature does not say when it was made")
    if parameters.created > now_s + SKEW_S:
        raise SignatureError(f"the signature was made in the future, in {parameters.created - now_s:.0f} s")
    if now_s - parameters.created > age_s_max:
        raise SignatureError(f"the signature is {now_s - parameters.created:.0f} s old, {age_s_max:.0f} s is the most")
    if parameters.expires is not None and parameters.expires < now_s:
        raise SignatureError(f"the signature expired {now_s - parameters.expires:.0f} s ago")


def _check_digest(field: str, content: bytes) -> None:
    """Hold every digest of a known algorithm against the content; there must be one."""
    known = [match for match in _members(_DIGEST, field, "Content-Digest") if match[1] in _DIGESTS]
    if not known:
        raise SignatureError("Content-Digest has no digest with SHA-256 or SHA-512")
    for match in known:
        if not hmac.compare_digest(_DIGESTS[match[1]](content).digest(), _decoded(match[2])):
            raise SignatureError("the content is not the one of Content-Digest")
