"""May what is written by one version of a schema be read with another?

A change is **backward** compatible when whoever reads with the new schema can read all that the old one allowed to be
written, **forward** compatible when whoever still reads with the old schema can read all that the new one allows, and
**full** when both hold. So there is one question, asked in two directions: can `reader` read everything that `writer`
allows? Each format answers it with the findings that speak against it; none means yes.

The answer errs on one side only: "yes" is proved, and what cannot be proved is a finding that says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias

from gateway.schemas import avro_resolution, json_containment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gateway.schemas.finding import Finding

SchemaFormat: TypeAlias = Literal["json", "avro"]
Direction: TypeAlias = Literal["backward", "forward", "full"]

FORMATS: Final[Mapping[SchemaFormat, Callable[[Any, Any], tuple[Finding, ...]]]] = {
    "json": json_containment.unreadable,
    "avro": avro_resolution.unreadable,
}


class Compatibility(NamedTuple):
    """What speaks against each direction; paths are JSON Pointers into the schema that reads."""

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


def compatibility(old: Any, new: Any, schema_format: SchemaFormat) -> Compatibility:  # noqa: ANN401  # any JSON
    """Compare two schemas, given as JSON documents. Raises `ConfigError` when one of them is no schema."""
    unreadable = FORMATS[schema_format]
    return Compatibility(backward=unreadable(old, new), forward=unreadable(new, old))
