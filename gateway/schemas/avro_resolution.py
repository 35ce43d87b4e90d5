"""Can data written with one Avro schema be read with another?

The rules are those of the Apache Avro specification 1.12, "Schema Resolution": numbers widen, string and bytes are
read as each other, named types match by their unqualified name or an alias of the reader, a field that was not written
needs a default, a symbol that the reader does not know needs the default of its enum, and every branch of a writer's
union must find its place. Decimals match only with equal scale and precision.

Invariant: no finding means that a reader that follows the specification reads every datum of the writer.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from gateway.errors import ConfigError
from gateway.schemas.document import HINT, pointer
from gateway.schemas.finding import FINDINGS_MAX, STEPS_MAX, TOO_LARGE, Finding, TooLargeError

_PROMOTIONS: Final[dict[str, frozenset[str]]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
_PRIMITIVE: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED: Final = frozenset({"record", "error", "enum", "fixed"})


def unreadable(writer: Any, reader: Any) -> tuple[Finding, ...]:  # noqa: ANN401  # any JSON
    """Return why `reader` cannot read all that `writer` writes; nothing when it can. Raises `ConfigError`."""
    comparison = _Comparison(_Types(), _Types())
    pair = comparison.writer.node(writer, "", ""), comparison.reader.node(reader, "", "")
    try:
        return tuple(comparison.findings(*pair, "")[:FINDINGS_MAX])
    except (TooLargeError, RecursionError):
        return (TOO_LARGE,)


class _Node(NamedTuple):
    """One type: its kind, its full name where it has one, what it holds, its attributes."""

    kind: str
    name: str = ""
    inner: tuple[Any, ...] = ()  # branches, items or values: nodes; of a record: _Field; of an enum: symbols
    aliases: frozenset[str] = frozenset()
    size: object = None
    default: object = None
    logical: tuple[object, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind


class _Field(NamedTuple):
    name: str
    aliases: frozenset[str]
    type: _Node
    has_default: bool


class _Types:
    """The types of one schema. A name stands for its type from where it is defined."""

    def __init__(self) -> None:
        self.named: dict[str, _Node] = {}

    def node(self, schema: Any, space: str, path: str) -> _Node:  # noqa: ANN401  # any JSON
        """Return the type that `schema` says, in the namespace `space`. Raises `ConfigError`."""
        if isinstance(schema, str):
            return self._by_name(schema, space, path)
        if isinstance(schema, list):
            branches = tuple(self.node(each, space, pointer(path, index)) for index, each in enumerate(schema))
            return _Node("union", inner=branches)
        if not isinstance(schema, dict):
            raise _no_schema(path, "a type is a name, an object or an array")
        kind = schema.get("type")
        if isinstance(kind, str) and kind in _NAMED:
            return self._defined(schema, kind, space, path)
        if kind in ("array", "map"):
            key = "items" if kind == "array" else "values"
            return _Node(kind, inner=(self.node(schema.get(key), space, pointer(path, key)),))
        node = self.node(kind, space, pointer(path, "type"))
        return node._replace(logical=_logical(schema)) if node.kind in _PRIMITIVE else node

    def _by_name(self, name: str, space: str, path: str) -> _Node:
        if name in _PRIMITIVE:
            return _Node(name)
        full = _full(name, space)
        if full not in self.named:
            raise _no_schema(path, f"the type {name[:80]!r} is not defined before it is used")
        return _Node("name", full)

    def _defined(self, schema: dict[str, Any], kind: str, space: str, path: str) -> _Node:
        name = schema.get("name")
        if not isinstance(name, str) or not name:
            raise _no_schema(path, f"a {kind} has a name")
        full = _full(name, str(schema.get("namespace") or space))
        if full in self.named:
            raise _no_schema(path, f"the type {full[:80]!r} is defined twice")
        space = full.rpartition(".")[0]
        aliases = frozenset(_full(alias, space) for alias in _names(schema.get("aliases", []), path))
        node = _Node("record" if kind == "error" else kind, full, aliases=aliases, logical=_logical(schema))
        self.named[full] = node
        if kind == "enum":
            symbols = tuple(_names(schema.get("symbols"), path))
            node = node._replace(inner=symbols, default=schema.get("default"))
        elif kind == "fixed":
            node = node._replace(size=schema.get("size"))
        else:
            node = node._replace(inner=self._fields(schema.get("fields"), space, path))
        self.named[full] = node
        return node

    def _fields(self, fields: Any, space: str, path: str) -> tuple[_Field, ...]:  # noqa: ANN401  # any JSON
        if not isinstance(fields, list):
            raise _no_schema(path, "a record has fields")
        found: list[_Field] = []
        for index, each in enumerate(fields):
            if not isinstance(each, dict) or not isinstance(each.get("name"), str):
                raise _no_schema(pointer(path, "fields", index), "a field is an object with a name")
            name = each["name"]
            type_ = self.node(each.get("type"), space, pointer(path, "fields", name, "type"))
            found.append(_Field(name, frozenset(_names(each.get("aliases", []), path)), type_, "default" in each))
        return tuple(found)

    def whole(self, node: _Node) -> _Node:
        """Return the type that a name stands for."""
        return self.named[node.name] if node.kind == "name" else node


class _Comparison:
    def __init__(self, writer: _Types, reader: _Types) -> None:
        self.writer = writer
        self.reader = reader
        self._steps = 0
        self._assumed: set[tuple[str, str]] = set()

    def findings(self, writer: _Node, reader: _Node, path: str) -> list[Finding]:
        """Return what speaks against reading `writer` as `reader`."""
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise TooLargeError
        writer, reader = self.writer.whole(writer), self.reader.whole(reader)
        if writer.kind == "union":
            return [finding for branch in writer.inner for finding in self.findings(branch, reader, path)]
        if reader.kind == "union":
            return self._in_union(writer, reader, path)
        if writer.kind != reader.kind:
            is_wider = reader.kind in _PROMOTIONS.get(writer.kind, ())
            return [] if is_wider else [Finding(path, f"{writer} may be written, and cannot be read as {reader}")]
        return self._of_a_kind(writer, reader, path)

    def _of_a_kind(self, writer: _Node, reader: _Node, path: str) -> list[Finding]:
        if writer.kind in _NAMED:
            return self._named(writer, reader, path)
        if writer.kind in {"array", "map"}:
            step = "items" if writer.kind == "array" else "values"
            return self.findings(writer.inner[0], reader.inner[0], pointer(path, step))
        return _decimals(writer, reader, path)

    def _in_union(self, writer: _Node, reader: _Node, path: str) -> list[Finding]:
        nearest: list[Finding] = []
        for index, branch in enumerate(reader.inner):
            found = self.findings(writer, branch, pointer(path, index))
            if not found:
                return []
            if self.reader.whole(branch).kind == writer.kind:
                nearest = nearest or found
        return nearest or [Finding(path, f"{writer} may be written, and no branch of the union reads it")]

    def _named(self, writer: _Node, reader: _Node, path: str) -> list[Finding]:
        if _last(writer.name) != _last(reader.name) and writer.name not in reader.aliases:
            return [Finding(path, f"{writer} is read as {reader}, whose name is another and which has no such alias")]
        if writer.kind == "fixed":
            if writer.size != reader.size:
                return [Finding(path, f"{writer.size} bytes are written, {reader.size} are read")]
            return _decimals(writer, reader, path)
        if writer.kind == "enum":
            missing = [] if reader.default is not None else [each for each in writer.inner if each not in reader.inner]
            reason = "may be written, is not known to the reader, and its enum has no default"
            return [Finding(pointer(path, "symbols"), f"{symbol!r} {reason}") for symbol in missing]
        pair = (writer.name, reader.name)
        if pair in self._assumed:
            return []
        self._assumed.add(pair)
        found = self._fields(writer, reader, path)
        self._assumed.remove(pair)
        return found

    def _fields(self, writer: _Node, reader: _Node, path: str) -> list[Finding]:
        written: dict[str, _Field] = {field.name: field for field in writer.inner}
        found: list[Finding] = []
        for field in reader.inner:
            here = pointer(path, "fields", field.name)
            names = [field.name, *sorted(field.aliases)]
            source = next((written[name] for name in names if name in written), None)
            if source is not None:
                found += self.findings(source.type, field.type, pointer(here, "type"))
            elif not field.has_default:
                found.append(Finding(here, "the field is not written and has no default"))
        return found


def _decimals(writer: _Node, reader: _Node, path: str) -> list[Finding]:
    both_are = bool(writer.logical) and bool(reader.logical)
    if both_are and writer.logical != reader.logical:
        shown = [f"decimal({precision}, {scale})" for precision, scale in (writer.logical, reader.logical)]
        return [Finding(path, f"{shown[0]} is written, {shown[1]} is read")]
    return []


def _logical(schema: dict[str, Any]) -> tuple[object, ...]:
    is_decimal = schema.get("logicalType") == "decimal"
    return (schema.get("precision"), schema.get("scale", 0)) if is_decimal else ()


def _names(names: object, path: str) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _no_schema(path, "symbols and aliases are arrays of names")
    return names


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _no_schema(path: str, fault: str) -> ConfigError:
    return ConfigError(f"this is no Avro schema: {fault} (at {path or '/'})", hint=HINT)
