"""The configuration as a JSON Schema (draft 2020-12), for editors that complete and check TOML.

Durations and sizes are texts with a pattern here, as they are written; their bounds, which a pattern cannot say, stand
in the description.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.config import schema
from gateway.config.options import options, tables
from gateway.config.units import DURATION_PATTERN, SIZE_PATTERN, duration_text, size_text
from gateway.config.values import NAME_PATTERN

if TYPE_CHECKING:
    from gateway.config.options import Kind, Option
    from gateway.config.section import Section


def document() -> str:
    """Return the schema as JSON text."""
    sections: dict[str, tuple[type[Section], str]] = {"Gateway": (schema.Gateway, "")}
    for path, option in tables():
        assert option.section is not None
        sections[option.section.__name__] = (option.section, path)
    definitions = {name: _table(section, path) for name, (section, path) in sections.items()}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "gateway.toml",
        **definitions.pop("Gateway"),
        "$defs": definitions,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _table(section: type[Section], path: str) -> dict[str, Any]:
    found = options(section, path)
    required = [option.key for option in found if option.required]
    return {
        "description": section.__doc__,
        "type": "object",
        "additionalProperties": False,
        **({"required": required} if required else {}),
        "properties": {option.key: _option(option) for option in found},
    }


def _option(option: Option) -> dict[str, Any]:
    bounds = option.bounds() if option.kind in {"duration", "size"} else ""
    described: dict[str, Any] = {
        "description": f"{option.sentence} From {bounds}." if bounds else option.sentence,
        **_type(option),
    }
    if not option.required and option.section is None:
        described["default"] = _written(option)
    return described


def _written(option: Option) -> object:
    if option.kind == "duration":
        return duration_text(option.default)
    return size_text(option.default) if option.kind == "size" else option.default


def _type(option: Option) -> dict[str, Any]:
    name = option.section.__name__ if option.section is not None else ""
    limits: dict[str, Any] = {"minimum": option.low, "maximum": option.high}
    limits = {key: bound for key, bound in limits.items() if bound is not None}
    is_name = option.path in schema.NAME_OPTIONS
    may_be_empty = not (option.required or option.default)
    texts: dict[str, Any] = {"type": "array", "uniqueItems": True, **({} if may_be_empty else {"minItems": 1})}
    types: dict[Kind, dict[str, Any]] = {
        "table": {"$ref": f"#/$defs/{name}"},
        "tables": {"type": "array", "items": {"$ref": f"#/$defs/{name}"}},
        "duration": {"type": "string", "pattern": DURATION_PATTERN},
        "size": {"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", **limits}]},
        "integer": {"type": "integer", **limits},
        "number": {"type": "number", **limits},
        "text": {
            "type": "string",
            **({"pattern": NAME_PATTERN} if is_name else {} if may_be_empty else {"minLength": 1}),
        },
        "boolean": {"type": "boolean"},
        "choice": {"enum": list(option.choices)},
        "texts": {**texts, "items": {"type": "string", "minLength": 1}},
        "choices": {**texts, "items": {"enum": list(option.choices)}},
        "numbers": {"type": "object", "additionalProperties": {"type": "number"}},
        "words": {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}},
    }
    return types[option.kind]
