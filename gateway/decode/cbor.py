"""CBOR maps → rows.

Tags are refused, all of them but the one that only says "this is CBOR": what a tag means is the parser's to compute
(big numbers, fractions, shared and cyclic references, patterns), and a payload must not choose what is computed. Keys
must be text: maps with keys made to collide are the other way to make a parser slow.

Source: RFC 8949; section 5.6 leaves duplicate keys to the application, which refuses them.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Final, NoReturn

import cbor2

from gateway.decode.flatten import flatten
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from gateway.decode.contract import Decoder, Limits
    from gateway.model import Row

_SELF_DESCRIBED: Final = b"\xd9\xd9\xf7"
_DEPTH_MAX: Final = 200
"""Beyond every `depth_max`: what lies between is told from malformed bytes by the walk."""

_COMPUTED_TAGS: Final = (
    *range(6), 25, 28, 29, 30, 35, 36, 37, 52, 54, 100, 256, 258, 260, 261, 1004, 43000, 55799,
)  # fmt: skip
"""Tags that the parser would act on by itself; a test holds the list against the installed parser."""


def _refuse(*_: object) -> NoReturn:
    raise DecodeError("unsupported_type", "the payload holds a tagged value, which a reading cannot hold")


_REFUSALS: Final = dict.fromkeys(_COMPUTED_TAGS, _refuse)


def decoder(limits: Limits) -> Decoder:
    """Return a decoder under `limits`."""

    def decode(payload: bytes, /) -> Row:
        if not payload:
            raise DecodeError("empty", "the payload is empty")
        keys_are_unique = True
        try:
            document = _parsed(payload)
        except cbor2.CBORError:
            document = _parsed_again(payload)
            keys_are_unique = False
        if not isinstance(document, dict):
            raise DecodeError("not_an_object", "the payload is no map")
        row = flatten(document, limits)
        if not keys_are_unique:
            raise DecodeError("duplicate_key", "the payload holds a key twice")
        return row

    return decode


def parse(payload: bytes, /) -> object:
    """Return the document that `payload` is: plain values, lists, and dicts whose keys are text or bytes, and unique.

    Its values are still to be checked. Raises `DecodeError`.
    """
    if not payload:
        raise DecodeError("empty", "the payload is empty")
    try:
        return _parsed(payload)
    except cbor2.CBORError:
        _parsed_again(payload)
        raise DecodeError("duplicate_key", "the payload holds a key twice") from None


def _parsed(payload: bytes, *, allow_duplicate_keys: bool = False) -> object:
    """Return the one data item that `payload` is. Raises `DecodeError` and what the parser raises."""
    file = BytesIO(payload.removeprefix(_SELF_DESCRIBED))
    document: object = cbor2.CBORDecoder(
        file,
        tag_hook=_refuse,
        semantic_decoders=_REFUSALS,
        max_depth=_DEPTH_MAX,
        allow_duplicate_keys=allow_duplicate_keys,
        strict_hashable_types=True,
    ).decode()
    if file.read(1):
        raise DecodeError("malformed_cbor", "bytes follow the first data item")
    return document


def _parsed_again(payload: bytes) -> object:
    """Return a document whose keys are not unique, or say what else is wrong with it."""
    try:
        return _parsed(payload, allow_duplicate_keys=True)
    except cbor2.CBORError as error:
        if isinstance(error.__cause__, DecodeError):
            raise error.__cause__ from None
        if "depth" in str(error):
            raise DecodeError("too_deep", "the payload is nested deeper than any limit") from None
        if isinstance(error.__cause__, UnicodeDecodeError):
            raise DecodeError("not_utf8", "text in the payload is not UTF-8") from None
        raise DecodeError("malformed_cbor", f"the payload is not CBOR: {error}") from None
