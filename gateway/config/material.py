"""Reads the files that routes name: keys, and the schemas of their payloads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway import redaction
from gateway.errors import ConfigError
from gateway.process.material import KEY_BYTES, Material, documents_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.config import schema

_KEY_FILE_BYTES_MAX: Final = 4096
_DOCUMENT_BYTES_MAX: Final = 256 * 1024


def read_material(routes: Sequence[schema.Route]) -> Material:
    """Return the content of all files. Raises `ConfigError` with one sentence for each that cannot be used."""
    keys: dict[str, bytes] = {}
    documents: dict[str, bytes] = {}
    faults = []
    for path in sorted({route.key_file for route in routes if route.key_file}):
        try:
            keys[path] = _key(path)
        except ValueError as error:
            faults.append(str(error))
    for path in sorted({path for route in routes for path in documents_of(route)}):
        try:
            documents[path] = _read(path, _DOCUMENT_BYTES_MAX)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError(faults[0] if len(faults) == 1 else "files of routes cannot be used", tuple(faults))
    return Material(documents, keys)


def read_key(path: str) -> bytes:
    """Return the key in a file. Raises `ConfigError`."""
    try:
        return _key(path)
    except ValueError as error:
        raise ConfigError(str(error), hint="name the file that the route has as key_file") from error


def _key(path: str) -> bytes:
    text = _read(path, _KEY_FILE_BYTES_MAX).strip()
    redaction.learn(text)
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError(f"{path}: must hold {2 * KEY_BYTES} hex digits, as `openssl rand -hex {KEY_BYTES}` makes")
    return key


def _read(path: str, bytes_max: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(bytes_max + 1)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    if len(data) > bytes_max:
        raise ValueError(f"{path}: is larger than {bytes_max:,} bytes")
    return data
