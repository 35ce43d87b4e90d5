"""What speaks against reading with one schema what another allows to be written."""

from __future__ import annotations

from typing import Final, NamedTuple

FINDINGS_MAX: Final = 100
"""So many are told; more would not be read."""

STEPS_MAX: Final = 10_000
"""Pairs of subschemas that one comparison looks at: alternatives within alternatives would take for ever."""


class Finding(NamedTuple):
    """One reason: `path` is a JSON Pointer into the schema that reads, `reason` a sentence."""

    path: str
    reason: str


class TooLargeError(Exception):
    """A comparison would take more than `STEPS_MAX` steps."""


TOO_LARGE: Final = Finding("", "the schemas have too many alternatives to be compared")
