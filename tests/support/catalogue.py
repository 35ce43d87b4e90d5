"""The catalogue of messages in tests/fixtures/messages, for formats whose payloads lie there as `<name>.payload`.

Beside each lies `<name>.expected.json`:

- `options`: what the decoder is told, and whatever else it takes to decode the message; files are named as they lie in
  the same folder;
- `records`: [series, time in ns or null, row] for each record; or `refused`: the reason. Bytes are {"$hex": "…"}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1] / "fixtures" / "messages"
PAYLOAD = ".payload"
EXPECTED = ".expected.json"


@dataclass(frozen=True)
class Example:
    """One message: `records` is None where it is refused with the reason `refused`."""

    folder: Path
    name: str
    payload: bytes
    options: dict[str, Any]
    records: list[tuple[str, int | None, dict[str, Any]]] | None
    refused: str

    def file(self, option: str) -> bytes:
        """Return the content of the file that an option names."""
        return (self.folder / self.options[option]).read_bytes()

    def __str__(self) -> str:
        return self.name


def example(format_: str, name: str) -> Example:
    """Return one message of a format."""
    folder = ROOT / format_
    expected = json.loads((folder / (name + EXPECTED)).read_text("utf-8"))
    assert set(expected) in ({"options", "records"}, {"options", "refused"}), name
    records = expected.get("records")
    if records is not None:
        records = [
            (series, time_ns, {key: _value(each) for key, each in row.items()}) for series, time_ns, row in records
        ]
    payload = (folder / (name + PAYLOAD)).read_bytes()
    return Example(folder, name, payload, expected["options"], records, expected.get("refused", ""))


def examples(format_: str) -> list[Example]:
    """Return all messages of a format; each has its expectation, and no expectation is without a message."""
    folder = ROOT / format_
    names = sorted(path.name.removesuffix(PAYLOAD) for path in folder.glob("*" + PAYLOAD))
    assert names == sorted(path.name.removesuffix(EXPECTED) for path in folder.glob("*" + EXPECTED)), format_
    assert names, format_
    return [example(format_, name) for name in names]


def typed(records: Any) -> list[tuple[str, int | None, list[tuple[str, type, Any]]]]:
    """Return records in a form that tells 1 from 1.0 and from true, and keeps the order of fields."""
    return [
        (series, time_ns, [(key, type(value), value) for key, value in row.items()]) for series, time_ns, row in records
    ]


def _value(written: Any) -> Any:
    return bytes.fromhex(written["$hex"]) if isinstance(written, dict) else written
