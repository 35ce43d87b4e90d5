"""Data types of Sparkplug B → values.

Integers come in fields that have no sign, and encoders differ in how many bits they fill with it: -1 as an Int8 is sent
as 0xFF, as 0xFFFFFFFF and as 0xFFFFFFFFFFFFFFFF. All three are read as -1; what no encoder of the type could have sent
is refused, not cut to size.

Source: Sparkplug 3.0.0, section 6.4.16; the arrays' examples there for arrays. (Its examples of FloatArray and
DoubleArray are printed with the bytes turned round; the text and the reference implementations say little-endian.)
"""

from __future__ import annotations

import struct
from functools import partial
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.contract import INTEGER_MAX
from gateway.decode.sparkplug.payload import BOOLEAN, BYTES, DOUBLE, FLOAT, INT, LONG, STRING, text_of
from gateway.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.model import Value

    Convert = Callable[[Any], Value]

DATASET_TYPE: Final = 16
TEMPLATE_TYPE: Final = 19

_MS_NS: Final = 1_000_000
_32_BITS: Final = 32
_64_BITS: Final = 64

_SIGNED: Final = {1: 8, 2: 16, 3: 32, 4: 64}
_UNSIGNED: Final = {5: 8, 6: 16, 7: 32, 8: 64}
_FLOAT_TYPE, _DOUBLE_TYPE, _BOOLEAN_TYPE, _STRING_TYPE, _DATETIME_TYPE, _TEXT_TYPE, _UUID_TYPE = range(9, 16)
_BYTES_TYPE, _FILE_TYPE = 17, 18

_ARRAYS: Final = {22: "b", 23: "h", 24: "i", 25: "q", 26: "B", 27: "H", 28: "I", 29: "Q", 30: "f", 31: "d", 34: "q"}
_BOOLEAN_ARRAY, _STRING_ARRAY, _DATETIME_ARRAY = 32, 33, 34
_FIRST_ARRAY, _LAST_ARRAY = 22, 34
_COUNT: Final = struct.Struct("<I")


def value_of(datatype: int, tag: int, raw: int | bytes) -> Value:
    """Return the value of a type other than arrays, data sets and templates. Raises `DecodeError`."""
    convert = _CONVERT.get(datatype << 8 | tag)
    if convert is None:
        raise mismatch(datatype)
    return convert(raw)


def is_array(datatype: int) -> bool:
    """Return whether values of the type are arrays."""
    return _FIRST_ARRAY <= datatype <= _LAST_ARRAY


def array_of(datatype: int, tag: int, raw: int | bytes, count_max: int) -> Sequence[Value]:
    """Return the elements of an array, at most `count_max`. Raises `DecodeError`."""
    if tag != BYTES or not isinstance(raw, bytes):
        raise mismatch(datatype)
    if datatype == _BOOLEAN_ARRAY:
        return _booleans(raw, count_max)
    if datatype == _STRING_ARRAY:
        texts = raw.split(b"\0", count_max + 1)
        _check_count(len(texts) - 1, count_max)
        if texts.pop():
            raise DecodeError("array_invalid", "an array of text does not end with a zero byte")
        return [text_of(text) for text in texts]
    code = _ARRAYS[datatype]
    size = struct.calcsize("<" + code)
    if len(raw) % size:
        raise DecodeError("array_invalid", f"an array of elements of {size} bytes has {len(raw)} bytes")
    _check_count(len(raw) // size, count_max)
    values = struct.unpack(f"<{len(raw) // size}{code}", raw)
    if datatype == _DATETIME_ARRAY:
        return [_time(value) for value in values]
    return [_finite(value) if isinstance(value, float) else _held(value) for value in values]


def time_ns_of(time_ms: int) -> int:
    """Return the ns of so many ms since 1970. Raises `DecodeError` past the year 2262."""
    time_ns = time_ms * _MS_NS
    if time_ns > INTEGER_MAX:
        raise DecodeError("time_invalid", "a time lies after 2262")
    return time_ns


def mismatch(datatype: int) -> DecodeError:
    """Return the refusal of a value that is of another kind than its data type says."""
    return DecodeError("value_mismatch", f"a value is not of the data type {datatype} that was announced for it")


def _booleans(raw: bytes, count_max: int) -> list[Value]:
    """Return the bits of an array: its length in four bytes, then the first element in the highest bit."""
    if len(raw) < _COUNT.size:
        raise DecodeError("array_invalid", "an array of booleans does not say how many there are")
    (count,) = _COUNT.unpack_from(raw)
    _check_count(count, count_max)
    bits = raw[_COUNT.size :]
    if len(bits) != (count + 7) // 8:
        raise DecodeError("array_invalid", f"an array of {count} booleans has {len(bits)} bytes of them")
    return [bool(bits[place >> 3] >> (7 - (place & 7)) & 1) for place in range(count)]


def _check_count(count: int, count_max: int) -> None:
    if count > count_max:
        raise DecodeError("too_many_fields", f"an array has {count} elements, {count_max} are allowed")


def _signed(bits: int, width: int, raw: int) -> int:
    raw &= (1 << width) - 1
    half = 1 << (bits - 1)
    if raw < half:
        return raw
    if raw < 2 * half:
        return raw - 2 * half
    if raw >= (1 << width) - half:
        return raw - (1 << width)
    raise DecodeError("value_mismatch", f"{raw} does not fit {bits} signed bits")


def _unsigned(bits: int, width: int, raw: int) -> int:
    raw &= (1 << width) - 1
    if raw >> bits:
        raise DecodeError("value_mismatch", f"{raw} does not fit {bits} unsigned bits")
    return _held(raw)


def _held(value: int) -> int:
    if value > INTEGER_MAX:
        raise DecodeError("integer_too_large", "an integer does not fit 64 signed bits")
    return value


def _finite(value: float) -> float:
    if not isfinite(value):
        raise DecodeError("not_finite", "the payload holds NaN or Infinity")
    return value


def _float(form: struct.Struct, raw: bytes) -> float:
    value: float
    (value,) = form.unpack(raw)
    return value if isfinite(value) else _finite(value)


def _time(raw: int) -> int:
    if raw < 0:
        raise DecodeError("time_invalid", "a time lies before 1970")
    return time_ns_of(raw)


def _same(raw: bytes) -> bytes:
    return raw


def _conversions() -> dict[int, Convert]:
    """Return how to read each data type from each field that it may come in: (type << 8 | tag) → conversion."""
    found: dict[int, Convert] = {}
    for tag, width in ((INT, _32_BITS), (LONG, _64_BITS)):
        found |= {datatype << 8 | tag: partial(_signed, bits, width) for datatype, bits in _SIGNED.items()}
        found |= {datatype << 8 | tag: partial(_unsigned, bits, width) for datatype, bits in _UNSIGNED.items()}
    for datatype in (_FLOAT_TYPE, _DOUBLE_TYPE):
        found[datatype << 8 | FLOAT] = partial(_float, struct.Struct("<f"))
        found[datatype << 8 | DOUBLE] = partial(_float, struct.Struct("<d"))
    found[_BOOLEAN_TYPE << 8 | BOOLEAN] = bool
    found |= {datatype << 8 | STRING: text_of for datatype in (_STRING_TYPE, _TEXT_TYPE, _UUID_TYPE)}
    found[_DATETIME_TYPE << 8 | LONG] = _time
    found |= {datatype << 8 | BYTES: _same for datatype in (_BYTES_TYPE, _FILE_TYPE)}
    return found


_CONVERT: Final = _conversions()
