"""Descriptor sets → a pool of descriptors that the package protobuf has checked.

A descriptor set is what `protoc --include_imports --descriptor_set_out=…` writes. The package, an extra, resolves
names, imports, editions, presence and closed enums; nothing but schemas of the operator reaches it.

Sources: `google/protobuf/descriptor.proto`; https://protobuf.dev/programming-guides/editions/ for what its features
mean.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gateway.errors import ConfigError

DESCRIPTOR_BYTES_MAX: Final = 256 * 1024
WHOSE_COMPARISON: Final = "comparing schemas of Protobuf"
HINT: Final = "protoc --include_imports --descriptor_set_out=FILE SOURCE.proto makes it"

KINDS: Final = {
    1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 6: "fixed64", 7: "fixed32", 8: "bool", 9: "string",
    10: "group", 11: "message", 12: "bytes", 13: "uint32", 14: "enum", 15: "sfixed32", 16: "sfixed64", 17: "sint32",
    18: "sint64",
}  # fmt: skip
"""The types of descriptor.proto by number, without `TYPE_` and in small letters."""

TIMES: Final = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
"""Messages that become one integer of ns in a row."""


class Files(NamedTuple):
    """The files of a descriptor set: the pool that knows them, and their descriptors in the order of the set."""

    pool: Any  # the package has no types of its own
    files: tuple[Any, ...]

    @property
    def message_names(self) -> list[str]:
        """The full names of the outermost messages."""
        return sorted(
            f"{file.package}.{each}".lstrip(".") for file in self.files for each in file.message_types_by_name
        )

    def message(self, name: str) -> Any:  # noqa: ANN401  # a descriptor, which has no type
        """Return the descriptor of the message `name` (with its package). Raises `ConfigError`."""
        try:
            return self.pool.FindMessageTypeByName(name)
        except KeyError:
            fault = f"the descriptor set has no message {name!r}, it has {', '.join(self.message_names)[:200]}"
            raise ConfigError(fault, hint="name the message with its package") from None


def files_of(data: bytes, whose: str = "the decoder protobuf") -> Files:
    """Return the files of the descriptor set `data`; `whose` says who needs the package. Raises `ConfigError`."""
    descriptor_pb2, descriptor_pool, message = package_of(whose)
    if len(data) > DESCRIPTOR_BYTES_MAX:
        raise ConfigError(f"the descriptor set has {len(data)} bytes, {DESCRIPTOR_BYTES_MAX} are allowed", hint=HINT)
    pool = descriptor_pool.DescriptorPool()
    try:
        found = descriptor_pb2.FileDescriptorSet.FromString(data).file
        for file in found:
            pool.Add(file)
        return Files(pool, tuple(pool.FindFileByName(file.name) for file in found))
    except message.DecodeError as error:
        raise ConfigError(f"the file is no descriptor set: {_first_line(error)}", hint=HINT) from None
    except (TypeError, KeyError, ValueError) as error:
        raise ConfigError(f"the schema does not hold together: {_first_line(error)}", hint=HINT) from None


def package_of(whose: str) -> tuple[Any, Any, Any]:
    """Return the modules descriptor_pb2, descriptor_pool and message. Raises `ConfigError` when they are missing."""
    try:
        from google.protobuf import (  # type: ignore[import-untyped]  # noqa: PLC0415  # an extra, without types
            descriptor_pb2,
            descriptor_pool,
            message,
        )
    except ImportError:
        hint = "pip install 'edge-gateway[protobuf]'"
        raise ConfigError(f"{whose} needs the package protobuf", hint=hint) from None
    return descriptor_pb2, descriptor_pool, message


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
