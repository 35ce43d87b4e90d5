"""May what is written by one version of a schema be read with another?

A change is **backward** compatible when whoever reads with the new schema can read all that the old one allowed to be
written, **forward** compatible when whoever still reads with the old schema can read all that the new one allows, and
**full** when both hold. So there is one question, asked in two directions: can `reader` read everything that `writer`
allows? Each format answers it with the findings that speak against it; none means yes.

The answer errs on one side only: "yes" is proved, and what cannot be proved is a finding that says so.

Of Protobuf one thing more is asked, from old to new only: are numbers that are not in use any more reserved? It speaks
against the backward direction, because what it leads to is that a later schema reads what the old one wrote as
something else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from gateway.schemas import avro_resolution, json_containment, protobuf_history, protobuf_resolution
from gateway.schemas.document import schema_document
from gateway.schemas.finding import FINDINGS_MAX
from gateway.schemas.protobuf_types import types_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.schemas.finding import Finding

SchemaFormat: TypeAlias = Literal["json", "avro", "protobuf", "protobuf-wire"]
Direction: TypeAlias = Literal["backward", "forward", "full"]

FORMATS: Final[Mapping[SchemaFormat, Callable[[Any, Any], tuple[Finding, ...]]]] = {
    "json": json_containment.unreadable,
    "avro": avro_resolution.unreadable,
    "protobuf": protobuf_resolution.unreadable,
    "protobuf-wire": protobuf_resolution.unreadable_on_wire,
}
PROTOBUF: Final = frozenset({"protobuf", "protobuf-wire"})


class Compatibility(NamedTuple):
    """What speaks against each direction.

    Paths are JSON Pointers into the schema that reads; of Protobuf they are a message or enum and what is in it.
    """

    backward: tuple[Finding, ...]
    forward: tuple[Finding, ...]

    @property
    def verdict(self) -> str:
        """One of full, backward, forward, none."""
        if not self.backward:
            return "backward" if self.forward else "full"
        return "none" if self.forward else "forward"

    def allows(self, direction: Direction) -> bool:
        """Return whether the change is compatible in a direction."""
        return self.verdict in {"full", direction}


def schema_of(data: bytes, schema_format: SchemaFormat, message: str = "") -> Any:  # noqa: ANN401  # as it compares
    """Return what `data` (JSON, or a descriptor set) says, for `compatibility`. Raises `ConfigError`.

    `message` names the one that is compared, of a descriptor set; empty means all.
    """
    return types_of(data, message) if schema_format in PROTOBUF else schema_document(data)


def compatibility(old: Any, new: Any, schema_format: SchemaFormat) -> Compatibility:  # noqa: ANN401  # as above
    """Compare two schemas, as `schema_of` returns them. Raises `ConfigError` when one of them is no schema."""
    unreadable = FORMATS[schema_format]
    backward = unreadable(old, new)
    if schema_format in PROTOBUF:
        backward = (backward + protobuf_history.forgotten(old, new))[:FINDINGS_MAX]
    return Compatibility(backward=backward, forward=unreadable(new, old))
