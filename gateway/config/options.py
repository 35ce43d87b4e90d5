"""What the Structs of `schema` declare, as a list of options: the one source of loader, reference page and JSON Schema.

An option's `path` is its dotted TOML key without indices ("spool.lanes.bytes_max"). Its `kind` says how it is written:

    kind      in TOML                          in the Struct
    table     a table                          a Section, or None where it may be absent
    tables    an array of tables               a tuple of Sections
    duration  text with a unit                 int, nanoseconds
    size      text with a unit, or an integer  int, bytes
    integer   an integer                       int
    number    an integer or a float            float, finite
    text      text                             str
    boolean   true or false                    bool
    choice    one of some texts                str
    texts     an array of texts                tuple of str
    choices   an array of some of the texts    tuple of str
    numbers   a table of numbers               dict of str → float, finite
    words     a table of texts                 dict of str → str
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from gateway.config import schema
from gateway.config.section import DURATION, SIZE, Section
from gateway.config.units import duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind: TypeAlias = Literal[
    "table",
    "tables",
    "duration",
    "size",
    "integer",
    "number",
    "text",
    "boolean",
    "choice",
    "texts",
    "choices",
    "numbers",
    "words",
]

_PLAIN: Final[dict[object, Kind]] = {int: "integer", float: "number", str: "text", bool: "boolean"}
_UNIT_KINDS: Final[dict[str, Kind]] = {DURATION: "duration", SIZE: "size"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `low` and `high` are inclusive, in the Struct's unit; `default` is None where `required`."""

    path: str
    attribute: str
    kind: Kind
    sentence: str
    unit: str
    low: float | None
    high: float | None
    choices: tuple[str, ...]
    required: bool
    default: Any
    section: type[Section] | None

    @property
    def key(self) -> str:
        """The key inside its table."""
        return self.path.rpartition(".")[2]

    def text(self, value: object) -> str:
        """Return `value` of this option as it is written in TOML."""
        if self.kind == "duration":
            assert isinstance(value, int)
            return quoted(duration_text(value))
        if self.kind == "size":
            assert isinstance(value, int)
            return quoted(size_text(value))
        return toml_text(value)

    def bounds(self) -> str:
        """Return the bounds for people, empty where there are none."""
        low, high = (None if bound is None else self.text(_whole(bound)).strip('"') for bound in (self.low, self.high))
        if low is not None and high is not None:
            return f"{low} to {high}"
        return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


@cache
def options(section: type[Section], path: str = "") -> tuple[Option, ...]:
    """Return the options of a table in the order in which they are declared; `path` is the table's own."""
    hints = get_type_hints(section, include_extras=True)
    found = []
    for field in fields(section):
        inner, meta = get_args(hints[field.name])
        assert isinstance(meta, Meta)
        assert meta.extra is not None
        kind, choices, table = _kind(inner, meta.extra["unit"])
        has_default = field.default is not NODEFAULT
        has_factory = field.default_factory is not NODEFAULT
        found.append(
            Option(
                path=f"{path}.{field.encode_name}" if path else field.encode_name,
                attribute=field.name,
                kind=kind,
                sentence=meta.description or "",
                unit=meta.extra["unit"],
                low=meta.extra["low"],
                high=meta.extra["high"],
                choices=choices,
                required=field.required,
                default=field.default if has_default else field.default_factory() if has_factory else None,
                section=table,
            )
        )
    return tuple(found)


def tables(section: type[Section] = schema.Gateway, path: str = "") -> Iterator[tuple[str, Option]]:
    """Yield (path, option) of every table of the file below `section`, parents first."""
    for option in options(section, path):
        if option.section is not None:
            yield option.path, option
            yield from tables(option.section, option.path)


def quoted(text: str) -> str:
    """Return `text` as a TOML basic string."""
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(sign) or (sign if sign.isprintable() else _escape(sign)) for sign in text) + '"'


def _escape(sign: str) -> str:
    return f"\\U{ord(sign):08x}"


def toml_text(value: object) -> str:
    """Return a plain value as TOML: text, numbers, booleans, arrays and inline tables of them."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(toml_text(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml_text(one)}" for key, one in value.items()) + "}"
    return str(value)


def _whole(bound: float) -> float:
    return int(bound) if bound == int(bound) else bound


def _kind(inner: Any, unit: str) -> tuple[Kind, tuple[str, ...], type[Section] | None]:  # noqa: ANN401  # a type
    """Return (kind, choices, table) of an option whose attribute has the type `inner`."""
    origin, parts = get_origin(inner), get_args(inner)
    if origin in (Union, types.UnionType):
        return _kind(parts[0], unit)
    if origin is Literal:
        return "choice", parts, None
    if origin is tuple:
        kind, choices, table = _kind(parts[0], "")
        many: dict[Kind, Kind] = {"choice": "choices", "text": "texts", "table": "tables"}
        return many[kind], choices, table
    if origin is dict:
        assert parts in {(str, float), (str, str)}
        return "numbers" if parts[1] is float else "words", (), None
    if isinstance(inner, type) and issubclass(inner, Struct):
        assert issubclass(inner, Section)
        return "table", (), inner
    return _UNIT_KINDS.get(unit) or _PLAIN[inner], (), None
