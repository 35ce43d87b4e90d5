r"""One entry of the audit log, and its bytes. Pure.

A file of the log is lines, one for each entry, in order:

    <hash> <entry>\n

`entry` is canonical JSON: UTF-8, keys in the order of their code points, no white space, whole numbers only. `hash` is
SHA-256 of these bytes, 64 hex digits. `previous` in an entry is the hash of the one before it, zeros in the first. So
a line that was changed does not fit its hash, or the next one's `previous`; and a line that is missing shows by both
`number` and `previous`.

Invariant: who verifies hashes the bytes as they stand and never writes JSON anew, so how an entry was escaped does not
matter; a writer of another language may escape otherwise.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta

if TYPE_CHECKING:
    from collections.abc import Mapping

ENTRY_BYTES_MAX: Final = 4096
"""Bound of an entry; what is said in `what` is cut to fit."""
TEXT_CHARACTERS_MAX: Final = 500
NAMES_MAX: Final = 50
NOTHING_BEFORE: Final = 64 * "0"
BEGAN: Final = "audit.began"
ANCHOR: Final = "audit.anchor"
TORN: Final = "audit.torn"

_HASH_BYTES: Final = 64
_Number = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
_TimeNs = Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)]
_Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]

_encode = msgspec.json.Encoder(order="sorted").encode


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What happened: `kind` is dotted words, `who` did it, `what` are the particulars, `time_ns` is wall time."""

    number: _Number
    time_ns: _TimeNs
    kind: Annotated[str, Meta(min_length=1, max_length=64)]
    who: str
    what: dict[str, Any]
    previous: _Hash


def content_of(entry: Entry) -> bytes:
    """Return the canonical bytes of an entry, which its hash covers; `what` is cut where it is too long."""
    content = _encode(entry)
    if len(content) > ENTRY_BYTES_MAX:
        content = _encode(msgspec.structs.replace(entry, what={"cut": True, "keys": sorted(entry.what)[:NAMES_MAX]}))
    return content


def hash_of(content: bytes) -> str:
    """Return the hash of an entry's bytes, in hex."""
    return hashlib.sha256(content).hexdigest()


def line_of(content: bytes) -> bytes:
    """Return the line of an entry in a file."""
    return hash_of(content).encode() + b" " + content + b"\n"


def split(line: bytes) -> tuple[str, bytes]:
    """Return the hash and the entry's bytes in a line without its end; an empty hash where it has no such form."""
    stated, space, content = line[:_HASH_BYTES], line[_HASH_BYTES : _HASH_BYTES + 1], line[_HASH_BYTES + 1 :]
    if space != b" ":
        return "", line
    return stated.decode("ascii", "replace"), content


def parsed(content: bytes) -> Entry | None:
    """Return the entry in its bytes; None when they hold none."""
    try:
        return msgspec.json.decode(content, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def told(what: Mapping[str, object]) -> dict[str, Any]:
    """Return particulars as an entry holds them: texts, whole numbers, truth values, and short lists of them."""
    return {key: _plain(value) for key, value in what.items()}


def _plain(value: object) -> object:
    if isinstance(value, bool | int):
        return value if abs(value) < 1 << 63 else str(value)
    if isinstance(value, list | tuple):
        some = [_plain(one) for one in value[:NAMES_MAX]]
        return some if len(value) <= NAMES_MAX else [*some, f"… and {len(value) - NAMES_MAX} more"]
    text = str(value).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= TEXT_CHARACTERS_MAX else f"{text[:TEXT_CHARACTERS_MAX]}…"
