"""What files the steps of routes need: schemas by path, and keys.

A pipeline does no input: whoever makes it has read them. Documents are part of the settings that a checkpoint keeps, so
a replay has those that were valid then; keys are not, a checkpoint only knows their marks.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config import schema

KEY_BYTES: Final = 32
_MARK_BYTES: Final = 8


class Material(NamedTuple):
    """Content of files by the path that the configuration names them with. A key has `KEY_BYTES` bytes."""

    documents: Mapping[str, bytes]
    keys: Mapping[str, bytes]


NO_MATERIAL: Final = Material({}, {})


def documents_of(route: schema.Route) -> tuple[str, ...]:
    """Return the paths of the documents that a route names."""
    avro = route.avro
    paths = (route.schema_file, route.protobuf.descriptor_file, avro.schema_file, avro.reader_schema_file)
    return tuple(path for path in paths if path)


def mark(key: bytes) -> str:
    """Return what tells a key from others and nothing else about it."""
    return blake2b(key, digest_size=_MARK_BYTES, person=b"key mark").hexdigest()
