"""A JSON Schema as the contract of a route: does a decoded document keep it?

The checking is the package jsonschema-rs's (drafts 4 to 2020-12, Rust), which is imported only where a contract is. No
reference is ever fetched: what a schema refers to lies inside of it, or it is refused. Patterns are matched in linear
time, so without look-around and back-references. The time of a check is bounded by the schema, which the operator
writes, and by the document, which is bounded before it gets here.

Invariant: `check` returns or raises `DecodeError`, whatever the document holds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.errors import ConfigError, DecodeError
from gateway.schemas.document import HINT, pointer, schema_document

if TYPE_CHECKING:
    import jsonschema_rs

REASON: Final = "schema_violated"
PATTERN_BYTES_MAX: Final = 1 << 20
"""What one compiled pattern may take, and the states it makes while it runs may take."""

DOCUMENT_DEPTH_MAX: Final = 256
"""Beyond every decoder's own limit; the checker would run out of its stack at some ten thousand."""

_PATH_CHARACTERS_MAX: Final = 200
_FAULT_CHARACTERS_MAX: Final = 300


class Contract:
    """One compiled schema. `name` says which, in faults: a file name, a version."""

    __slots__ = ("_faults", "_validate", "name")

    def __init__(self, data: bytes, name: str) -> None:
        """Compile the schema that `data` holds. Raises `ConfigError`."""
        try:
            import jsonschema_rs  # noqa: PLC0415  # an extra
        except ImportError:
            hint = "pip install 'edge-gateway[schema]'"
            raise ConfigError("contracts of JSON Schema need the package jsonschema-rs", hint=hint) from None
        document = schema_document(data)
        if not isinstance(document, dict | bool):
            raise ConfigError(f"{name} is no JSON Schema: it is neither an object nor true or false", hint=HINT)
        try:
            validator = jsonschema_rs.validator_for(
                document,
                offline=True,
                mask="the value",
                pattern_options=jsonschema_rs.RegexOptions(
                    size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
                ),
            )
        except ValueError as error:
            raise ConfigError(f"{name} is no JSON Schema: {_first_line(str(error))}", hint=HINT) from None
        self.name = name
        self._validate = validator.validate
        self._faults = jsonschema_rs.ValidationError

    def check(self, document: object) -> None:
        """Return when `document` (dicts, lists, text, numbers, booleans, None) keeps the contract.

        Raises `DecodeError`: "schema_violated" with the path of the first fault (a JSON Pointer) and what is wrong;
        "unsupported_type" when it holds what JSON cannot; "too_deep" beyond `DOCUMENT_DEPTH_MAX`.
        """
        if _is_too_deep(document):
            raise DecodeError("too_deep", f"the payload is nested deeper than {DOCUMENT_DEPTH_MAX} ({self.name})")
        try:
            self._validate(document)
        except self._faults as error:
            raise self._violation(error) from None
        except (ValueError, RecursionError):
            fault = f"the payload holds what JSON cannot, so {self.name} cannot be checked"
            raise DecodeError("unsupported_type", fault) from None

    def _violation(self, error: jsonschema_rs.ValidationError) -> DecodeError:
        path = pointer("", *error.instance_path)[:_PATH_CHARACTERS_MAX] or "/"
        keyword = pointer("", *error.schema_path)[:_PATH_CHARACTERS_MAX]
        return DecodeError(REASON, f"{path}: {_first_line(error.message)} ({self.name}, {keyword})")


def _first_line(text: str) -> str:
    return text.partition("\n")[0][:_FAULT_CHARACTERS_MAX]


def _is_too_deep(document: object) -> bool:
    level = [document]
    for _ in range(DOCUMENT_DEPTH_MAX):
        level = [
            inner
            for each in level
            for inner in (each.values() if isinstance(each, dict) else each if isinstance(each, list) else ())
            if inner.__class__ is dict or inner.__class__ is list
        ]
        if not level:
            return False
    return True
