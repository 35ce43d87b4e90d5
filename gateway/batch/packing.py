"""One column of numbers, bits or bytes ↔ the fewest bytes. The body of a batch is a run of these.

    column = varint (4 * stored length + codec), stored bytes      codec 0 raw · 1 zstd · 2 pco · 3 constant

A varint is unsigned LEB128. How many items a column holds is never stored: the reader knows it before it reads, so it
can bound what it allocates before it does. `Packer` takes the codec with the fewest bytes, in a fixed order of
preference, so the same content gives the same bytes with the same libraries. Raw numbers are little-endian.

Invariant of `Unpacker`: whatever the bytes are, it returns what was asked for or raises `BatchError`, and never
allocates more than `RAW_BYTES_MAX` in all. Both hot calls, into pcodec and zstd, release the GIL.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import zstandard
from pcodec import ChunkConfig, standalone

from gateway.errors import BatchError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

assert sys.byteorder == "little", "columns are viewed in place, little-endian"

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

RAW_BYTES_MAX: Final = 128 << 20
"""Most bytes that the columns of one batch take when unpacked."""

RAW: Final = 0
ZSTD: Final = 1
PCO: Final = 2
CONSTANT: Final = 3

_CODEC_BITS: Final = 2
_VARINT_BYTES_MAX: Final = 5
_SMALL_BYTES: Final = 32
"""Columns up to this size stay raw: the frame of zstd or pco would be longer than what it saves."""
_ZSTD_LEVEL: Final = 6
_PCO_LEVEL: Final = 8


class Packer:
    """Collects packed columns; `done` returns them in one piece. One per body, for one thread."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._zstd = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_content_size=True)
        self._pco = ChunkConfig(compression_level=_PCO_LEVEL)

    def count(self, number: int) -> None:
        """Append a bare varint."""
        self._parts.append(_varint(number))

    def numbers(self, values: Array) -> None:
        """Append a column of int64, float64 or uint32."""
        raw = values.tobytes()
        if len(raw) > values.itemsize and _is_constant(values):
            self._append(CONSTANT, raw[: values.itemsize])
            return
        packed = standalone.simple_compress(values, self._pco) if len(raw) > _SMALL_BYTES else raw
        if len(packed) < len(raw):
            self._append(PCO, packed)
        else:
            self._append(RAW, raw)

    def bits(self, values: Array) -> None:
        """Append a column of booleans, eight to a byte, the first in the lowest bit."""
        if len(values) > 1 and _is_constant(values):
            self._append(CONSTANT, values[:1].tobytes())
        else:
            self.blob(np.packbits(values, bitorder="little").tobytes())

    def blob(self, raw: bytes) -> None:
        """Append bytes as they are, or compressed."""
        packed = self._zstd.compress(raw) if len(raw) > _SMALL_BYTES else raw
        if len(packed) < len(raw):
            self._append(ZSTD, packed)
        else:
            self._append(RAW, raw)

    def done(self) -> bytes:
        """Return all that was appended."""
        return b"".join(self._parts)

    def _append(self, codec: int, stored: bytes) -> None:
        self._parts += (_varint(len(stored) << _CODEC_BITS | codec), stored)


class Unpacker:
    """Reads what a `Packer` wrote, in the same order; raises `BatchError` for anything else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._offset = 0
        self._budget = RAW_BYTES_MAX
        self._zstd = zstandard.ZstdDecompressor()

    def count(self, limit: int) -> int:
        """Return the next bare varint, at most `limit`."""
        number = self._varint()
        if number > limit:
            raise BatchError("a count in a batch is out of bounds", count=number, limit=limit)
        return number

    def numbers(self, dtype: DTypeLike, items: int) -> Array:
        """Return a column of `items` numbers; `dtype` is one that `Packer.numbers` takes."""
        kind = np.dtype(dtype)
        codec, stored = self._stored(items * kind.itemsize)
        if codec == CONSTANT:
            return np.full(items, _one(stored, kind), kind)
        if codec == PCO:
            return _unpco(stored, kind, items)
        return np.frombuffer(self._expanded(codec, stored, items * kind.itemsize), kind)

    def bits(self, items: int) -> Array:
        """Return a column of `items` booleans."""
        codec, stored = self._stored(items)
        if codec == CONSTANT:
            bit = _one(stored, np.dtype(np.uint8))
            if bit > 1:
                raise BatchError("a constant truth value is neither 0 nor 1", value=int(bit))
            return np.full(items, bit, np.bool_)
        packed = np.frombuffer(self._expanded(codec, stored, -(-items // 8)), np.uint8)
        if items % 8 and packed[-1] >> items % 8:
            raise BatchError("the unused bits of a column of truth values are not zero")
        return np.unpackbits(packed, count=items, bitorder="little").view(np.bool_)

    def blob(self, size: int) -> bytes:
        """Return `size` bytes."""
        codec, stored = self._stored(size)
        return self._expanded(codec, stored, size)

    def end(self) -> None:
        """Raise unless everything was read."""
        if self._offset != len(self._data):
            raise BatchError("bytes follow the last column of a batch", left=len(self._data) - self._offset)

    def _stored(self, raw_bytes: int) -> tuple[int, bytes]:
        self._budget -= raw_bytes
        if self._budget < 0:
            raise BatchError("a batch would take too much memory", limit=RAW_BYTES_MAX)
        head = self._varint()
        begin = self._offset
        self._offset += head >> _CODEC_BITS
        if self._offset > len(self._data):
            raise BatchError("a column runs past the end of its batch", offset=begin)
        return head & (1 << _CODEC_BITS) - 1, self._data[begin : self._offset]

    def _varint(self) -> int:
        number = 0
        for index, byte in enumerate(self._data[self._offset : self._offset + _VARINT_BYTES_MAX]):
            number |= (byte & 0x7F) << 7 * index
            if byte < 0x80:  # noqa: PLR2004  # the highest bit says that more follows
                self._offset += index + 1
                return number
        raise BatchError("a varint in a batch has no end", offset=self._offset)

    def _expanded(self, codec: int, stored: bytes, size: int) -> bytes:
        if codec == ZSTD:
            stored = self._unzstd(stored, size)
        elif codec != RAW:
            raise BatchError("a column has a codec that cannot hold it", codec=codec)
        if len(stored) != size:
            raise BatchError("a column has the wrong length", expected=size, got=len(stored))
        return stored

    def _unzstd(self, stored: bytes, size: int) -> bytes:
        try:
            # zstandard allocates what the frame announces, whatever limit it is given: look before the leap
            if zstandard.frame_content_size(stored) != size:
                raise BatchError("a zstd column has the wrong length", expected=size)
            return self._zstd.decompress(stored, allow_extra_data=False) if size else b""
        except zstandard.ZstdError as error:
            raise BatchError(f"a zstd column cannot be read: {error}") from error


def _is_constant(values: Array) -> bool:
    """Compare bits, not values: 0.0 is not -0.0, and NaN is NaN."""
    bits = values.view(f"u{values.itemsize}")
    return bool(bits[0] == bits[-1] and (bits == bits[0]).all())


def _one(stored: bytes, kind: np.dtype[Any]) -> Any:  # noqa: ANN401  # a numpy scalar of `kind`
    if len(stored) != kind.itemsize:
        raise BatchError("a constant column has the wrong length", expected=kind.itemsize, got=len(stored))
    return np.frombuffer(stored, kind)[0]


def _unpco(stored: bytes, kind: np.dtype[Any], items: int) -> Array:
    values = np.empty(items, kind)
    try:
        progress = standalone.simple_decompress_into(stored, values)
    except RuntimeError as error:
        raise BatchError(f"a pco column cannot be read: {error}") from error
    except BaseException as error:
        # a panic in Rust is a BaseException of no importable class; hostile bytes must not end the process
        if type(error).__name__ != "PanicException":
            raise
        raise BatchError("a pco column cannot be read: its decoder panicked") from error
    if progress.n_processed != items or not progress.finished:
        raise BatchError("a pco column has the wrong length", expected=items, got=progress.n_processed)
    return values


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > 0x7F:  # noqa: PLR2004  # seven bits a byte
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
