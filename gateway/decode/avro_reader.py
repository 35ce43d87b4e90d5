"""Two Avro schemas → how to read data of the one as data of the other, composed once.

    writer's schema ─┐
                     ├─▶ one function for each pair of types: takes the writer's bytes, returns the reader's value
    reader's schema ─┘

Numbers widen, text and bytes are read as each other, fields match by name or by an alias of the reader, those that only
the writer has are read and dropped, those that only the reader has are their default, symbols that the reader does not
know are the default of its enum. Of a reader's union the branch of the writer's own type is taken, else the first that
reads it. A time keeps the unit that it was written in, so that its ns are right, whichever unit the reader has.

That every datum can be read is proved by `gateway.schemas.avro_resolution` before; so nothing is left to find out when
a payload comes. What a payload may make is counted as in `avro_types`, by what is written.

Source: Apache Avro specification 1.12, "Schema Resolution".
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from gateway.decode.avro_types import (
    PRIMITIVE,
    TIMES,
    Compiler,
    Input,
    Type,
    array_of,
    enum_of,
    fixed_of,
    logical_of,
    map_of,
    union_of,
)
from gateway.decode.contract import Limits
from gateway.errors import ConfigError, DecodeError
from gateway.schemas.document import HINT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gateway.decode.avro_types import Read

_NAMED: Final = frozenset({"record", "error", "enum", "fixed"})
_FLOATING: Final = frozenset({"float", "double"})
_READ_AS: Final = {
    "int": frozenset({"int", "long", *_FLOATING}),
    "long": frozenset({"long", *_FLOATING}),
    "float": _FLOATING,
    "double": frozenset({"double"}),
    "string": frozenset({"string", "bytes"}),
    "bytes": frozenset({"string", "bytes"}),
    "null": frozenset({"null"}),
    "boolean": frozenset({"boolean"}),
}
"""Primitive type that is written → those that it may be read as."""


_DEFAULTS: Final[dict[str, type | tuple[type, ...]]] = {
    "null": type(None), "boolean": bool, "int": int, "long": int, "float": (int, float), "double": (int, float),
    "bytes": str, "fixed": str, "string": str, "enum": str,
}  # fmt: skip
"""What JSON has for a default of each type."""

_NOTHING: Final = Input(b"", 0, Limits())


class _NoMatchError(Exception):
    """One type cannot be read as another, so another branch of a union must be."""


def resolved(writer: Any, reader: Any) -> Type:  # noqa: ANN401  # what the package makes of JSON
    """Return how to read data of `writer` as data of `reader`, both as the package fastavro leaves them.

    Raises `ConfigError` for a default that is not of its type.
    """
    try:
        return _Resolver(writer, reader).type_of(writer, reader)
    except _NoMatchError as error:
        raise ConfigError(f"the reader's schema does not read the writer's: {error}", hint=HINT) from None


class _Resolver:
    """A pair of named types may be used inside of itself, so it is looked up when it is read."""

    def __init__(self, writer: Any, reader: Any) -> None:  # noqa: ANN401  # any JSON
        self._written = dict(_definitions(writer))
        self._wanted = dict(_definitions(reader))
        self._pairs: dict[tuple[str, str], Type] = {}
        self._plain = Compiler()
        self._plain.type_of(writer)  # so that names are known which are defined in what is read otherwise

    def type_of(self, writer: Any, reader: Any) -> Type:  # noqa: ANN401  # any JSON
        """Return how to read `writer` as `reader`. Raises `_NoMatchError`."""
        writer, reader = _whole(writer, self._written), _whole(reader, self._wanted)
        if isinstance(writer, list):
            return union_of([self.type_of(each, reader) for each in writer])
        if isinstance(reader, list):
            return self._branch(writer, reader)
        one, other = _kind(writer), _kind(reader)
        if one in PRIMITIVE and other in PRIMITIVE:
            return _primitive(writer, reader)
        if one != other:
            raise _NoMatchError(f"{one} is not read as {other}")
        if one == "array":
            return array_of(self.type_of(writer["items"], reader["items"]))
        if one == "map":
            return map_of(self.type_of(writer["values"], reader["values"]))
        return self._of_name(writer, reader)

    def _branch(self, writer: Any, branches: Sequence[Any]) -> Type:  # noqa: ANN401  # any JSON
        kinds = [_kind(_whole(branch, self._wanted)) for branch in branches]
        exact = [branch for branch, kind in zip(branches, kinds, strict=True) if kind == _kind(writer)]
        for branch in (*exact, *branches):
            pairs = dict(self._pairs)
            try:
                return self.type_of(writer, branch)
            except _NoMatchError:
                self._pairs = pairs  # what was composed for this branch may hold what does not match
        raise _NoMatchError(f"no branch of a union reads {_kind(writer)}")

    def _of_name(self, writer: Mapping[str, Any], reader: Mapping[str, Any]) -> Type:
        if _last(writer["name"]) != _last(reader["name"]) and writer["name"] not in _aliases(reader):
            raise _NoMatchError(f"{writer['name']} is not read as {reader['name']}")
        kind = _kind(writer)
        if kind == "enum":
            return _enum(writer["symbols"], reader)
        if kind == "fixed":
            if writer["size"] != reader["size"]:
                raise _NoMatchError(f"{writer['name']} has another size")
            return fixed_of(reader)
        pair = writer["name"], reader["name"]
        return self._pairs[pair] if pair in self._pairs else self._record(writer, reader)

    def _record(self, writer: Mapping[str, Any], reader: Mapping[str, Any]) -> Type:
        steps: list[tuple[str | None, Read]] = []
        leaves = [0]
        absent: dict[str, Any] = {}
        record = Type(partial(_record, steps, leaves, absent), is_leaf=False, is_document=True)
        self._pairs[writer["name"], reader["name"]] = record
        written = {field["name"]: field for field in writer["fields"]}
        taken: dict[str, Mapping[str, Any]] = {}
        for field in reader["fields"]:
            source = next((name for name in (field["name"], *field.get("aliases", ())) if name in written), None)
            if source in taken:
                raise ConfigError(f"two fields of the reader's schema are read from the field {source}", hint=HINT)
            absent[field["name"]] = None
            if source is not None:
                taken[source] = field
            elif "default" in field:
                absent[field["name"]] = self._default(field)
            else:
                raise _NoMatchError(f"the field {field['name']} is not written and has no default")
        for name, field in written.items():
            wanted = taken.get(name)
            inner = (
                self._plain.type_of(field["type"]) if wanted is None else self.type_of(field["type"], wanted["type"])
            )
            steps.append((None if wanted is None else wanted["name"], inner.read))
            leaves[0] += inner.is_leaf
        return record

    def _default(self, field: Mapping[str, Any]) -> object:
        try:
            return self._value(field["type"], field["default"])
        except (_NoMatchError, DecodeError, TypeError, ValueError, AttributeError, LookupError):
            raise ConfigError(f"the default of the field {field['name'][:80]} is not of its type", hint=HINT) from None

    def _value(self, type_: Any, said: Any) -> object:  # noqa: ANN401  # any JSON
        """Return what a default in JSON is, read as a payload would be. Raises `_NoMatchError` and what comes of it."""
        type_ = _whole(type_, self._wanted)
        if isinstance(type_, list):
            for branch in type_:
                try:
                    return self._value(branch, said)
                except (_NoMatchError, TypeError, ValueError, AttributeError, LookupError):
                    continue
            raise _NoMatchError("no branch has that value")
        kind = _kind(type_)
        if kind == "array":
            return [self._value(type_["items"], each) for each in _as(list, said)]
        if kind == "map":
            return {str(key): self._value(type_["values"], each) for key, each in _as(dict, said).items()}
        if kind in {"record", "error"}:
            fields = [
                {**field, "default": said[field["name"]]} if field["name"] in said else field
                for field in type_["fields"]
            ]
            return {field["name"]: self._value(field["type"], field["default"]) for field in fields}
        return _scalar(kind, type_, said)


def _record(
    steps: Sequence[tuple[str | None, Read]], leaves: Sequence[int], absent: Mapping[str, Any], source: Input
) -> dict[str, Any]:
    source.enter(leaves[0])
    record = dict(absent)
    for name, read in steps:
        value = read(source)
        if name is not None:
            record[name] = value
    source.depth += 1
    return record


def _primitive(writer: Any, reader: Any) -> Type:  # noqa: ANN401  # any JSON
    one, other = _kind(writer), _kind(reader)
    if other not in _READ_AS[one]:
        raise _NoMatchError(f"{one} is not read as {other}")
    plain = PRIMITIVE[other if one in {"string", "bytes"} else one]
    if other in _FLOATING and one not in _FLOATING:
        plain = Type(partial(_as_float, plain.read), is_leaf=True)
    schemas = [each if isinstance(each, dict) else {} for each in (writer, reader)]
    units = [(kind, schema.get("logicalType")) in TIMES for kind, schema in zip((one, other), schemas, strict=True)]
    if all(units):
        return logical_of(one, schemas[0], plain)
    return logical_of(other, schemas[1], plain)


def _as_float(read: Read, source: Input) -> float:
    return float(read(source))


def _enum(symbols: Sequence[str], reader: Mapping[str, Any]) -> Type:
    known = [symbol if symbol in reader["symbols"] else reader.get("default") for symbol in symbols]
    names = [symbol for symbol in known if isinstance(symbol, str)]
    if len(names) < len(known):
        raise _NoMatchError(f"{reader['name']} lacks a symbol, and has no default")
    return enum_of(names)


def _scalar(kind: str, type_: Any, said: Any) -> object:  # noqa: ANN401  # any JSON
    """Return a default that is one value, with what its logical type makes of it."""
    if not isinstance(said, _DEFAULTS[kind]) or (isinstance(said, bool) and kind != "boolean"):
        raise _NoMatchError("it is of another type")
    if kind == "enum":
        return type_["symbols"][type_["symbols"].index(said)]
    value: Any = said
    if kind in {"bytes", "fixed"}:
        value = value.encode("latin-1")
    elif kind in _FLOATING:
        value = float(value)

    def constant(_: Input) -> object:
        return value

    schema = type_ if isinstance(type_, dict) else {}
    if kind != "fixed":
        return logical_of(kind, schema, Type(constant, is_leaf=True)).read(_NOTHING)
    if len(value) != schema["size"]:
        raise _NoMatchError("it has another size")
    return fixed_of(schema, constant).read(_NOTHING)


def _as(cls: type, said: Any) -> Any:  # noqa: ANN401  # any JSON
    if not isinstance(said, cls):
        raise _NoMatchError("it is of another type")
    return said


def _definitions(schema: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:  # noqa: ANN401  # any JSON
    """Yield the named types that are defined in a schema, by their full names."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            if each["type"] in _NAMED:
                yield each["name"], each
            waiting += [field["type"] for field in each.get("fields", ())]
            waiting += [each[key] for key in ("items", "values") if key in each]


def _whole(schema: Any, definitions: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON
    """Return the type that a name stands for."""
    return definitions.get(schema, schema) if isinstance(schema, str) else schema


def _kind(schema: Any) -> str:  # noqa: ANN401  # any JSON but a list
    kind: str = schema["type"] if isinstance(schema, dict) else schema
    return "record" if kind == "error" else kind


def _aliases(reader: Mapping[str, Any]) -> set[str]:
    space = reader["name"].rpartition(".")[0]
    return {alias if "." in alias or not space else f"{space}.{alias}" for alias in reader.get("aliases", ())}


def _last(name: str) -> str:
    return name.rpartition(".")[2]
