"""Show the configuration to people: effective values with their origin, the reference page, and a file to start from.

Everything is made from `options`, so an option that is declared is documented. `json_schema` does the same for editors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from gateway import redaction
from gateway.config import schema
from gateway.config.options import options, tables
from gateway.config.positions import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.load import Loaded
    from gateway.config.options import Option
    from gateway.config.positions import Place


class Effective(NamedTuple):
    """One value that the gateway works with: dotted key, value as TOML, and "file:line" or "default"."""

    key: str
    value: str
    origin: str


_WRITTEN: Final = {
    "duration": "duration",
    "size": "size",
    "integer": "integer",
    "number": "number",
    "text": "text",
    "boolean": "boolean",
    "texts": "array of texts",
    "numbers": "table of numbers",
    "words": "table of texts",
}

_EXAMPLES: Final = {
    "node.id": '"node-1"',
    "spool.lanes.name": '"telemetry"',
    "route.name": '"sensors"',
    "route.topics": '["sensors/#"]',
    "route.lane": '"telemetry"',
    "route.field.name": '"temperature"',
    "route.tag.topics": '["sensors/hall-4/#"]',
    "route.tag.fields": '{line = "A"}',
    "route.duplicates.key": '"number"',
    "route.limit.messages_per_second": "10",
    "route.window.size": '"1m"',
    "console.listen": '"/run/edge-gateway/console.sock"',
    "health.listen": '"127.0.0.1:9273"',
    "region.name": '"centre"',
    "region.host": '"region.example.org"',
    "region.tls_ca": '"pki/ca.pem"',
    "region.tls_certificate": '"pki/node.pem"',
    "region.tls_key": '"pki/node.key"',
    "receiver.forward.name": '"warehouse"',
    "receiver.forward.host": '"kafka.example.org"',
    "receiver.forward.tls_ca": '"pki/ca.pem"',
    "receiver.forward.tls_certificate": '"pki/receiver.pem"',
    "receiver.forward.tls_key": '"pki/receiver.key"',
    "trace.endpoint": '"http://127.0.0.1:4318"',
    "receiver.tls_ca": '"pki/ca.pem"',
    "receiver.tls_certificate": '"pki/receiver.pem"',
    "receiver.tls_key": '"pki/receiver.key"',
}
"""What the example file says where an option has no default, or one that does not do or shows nothing."""

_OPTIONAL_TABLES: Final = frozenset(
    {
        "route.duplicates",
        "route.field",
        "route.limit",
        "route.under_pressure",
        "route.under_pressure.sample",
        "route.window",
        "region.events",
        "region.link",
        "region.amqp",
        "region.kafka",
        "region.kafka.registry",
        "region.nats",
        "region.webhook",
        "receiver",
        "trace",
        "receiver.kafka",
        "receiver.kafka.sink",
        "receiver.kafka.sink.events",
        "receiver.kafka.sink.registry",
        "receiver.postgresql",
        "receiver.parquet",
        "receiver.forward",
        "receiver.forward.events",
        "receiver.forward.amqp",
        "receiver.forward.kafka",
        "receiver.forward.kafka.registry",
        "receiver.forward.nats",
        "receiver.forward.webhook",
        "console",
        "health",
    }
)
"""Tables that the example file shows as comments only."""

_OF_RECEIVERS: Final = frozenset({"receiver", "health", "log", "audit", "trace"})
"""Tables that mean something where there is no `[node]`."""

_GENERATED: Final = "made by `gateway config docs --write` from `gateway/config/schema`: change that, not this"

_PREFACE: Final = f"""\
# Configuration

<!-- {_GENERATED} -->

The gateway reads one TOML file, `gateway -c FILE …`. `gateway check -c FILE` names everything that is wrong with it,
`gateway config explain -c FILE` shows every effective value and where it comes from. Editors that know JSON Schema
can use [gateway.schema.json](gateway.schema.json); a file to start from is
[gateway.example.toml](gateway.example.toml).

| written as | what it is | examples |
|---|---|---|
| duration | text: a number and one of ns, us, ms, s, m, h, d | `"250ms"`, `"1.5h"`, `"7d"` |
| size | text: a number and one of B, kB, MB, GB, TB, KiB, MiB, GiB, TiB; or an integer, bytes | `"8MiB"`, `65536` |
| name | 1 to 64 of `a-z A-Z 0-9 . _ -`, a letter or digit first | `"line-1.temperature"` |
| path | text; a relative path starts at the folder of the configuration file | `"pki/ca.pem"` |

A box needs `[node]`, at least one `[[spool.lanes]]` and one `[[route]]`; it mirrors to each `[[region]]`. The central
side needs only `[receiver]`. Unknown keys are faults. A file with faults is not used: exit code 78, one line for each.
"""


def explain(loaded: Loaded) -> list[Effective]:
    """Return every value that the gateway works with, in the order of the reference, without tables that are absent."""
    config = loaded.config
    parts = [option for option in options(schema.Gateway) if config.node is not None or option.key in _OF_RECEIVERS]
    return [line for part in parts for line in _explained(loaded, part, getattr(config, part.attribute), (part.key,))]


def _explained(loaded: Loaded, option: Option, value: object, place: Place) -> Iterator[Effective]:
    if option.section is None:
        yield Effective(dotted(place), redaction.masked(option.text(value)), loaded.origin(place))
    elif isinstance(value, tuple):
        for number, one in enumerate(value):
            yield from _explained(loaded, option, one, (*place, number))
    elif value is not None:
        for inner in options(option.section, option.path):
            yield from _explained(loaded, inner, getattr(value, inner.attribute), (*place, inner.key))


def explained_text(lines: list[Effective]) -> str:
    """Return the lines of `explain` for people, origins in one column."""
    texts = [f"{line.key} = {line.value}" for line in lines]
    width = min(max((len(text) for text in texts), default=0), 60)
    return "".join(f"{text:<{width}}  # {line.origin}\n" for text, line in zip(texts, lines, strict=True))


def header(path: str, option: Option) -> str:
    """Return the header that begins the table of `option` in a file."""
    return f"[[{path}]]" if option.kind == "tables" else f"[{path}]"


def reference() -> str:
    """Return the reference page, Markdown."""
    parts = [_PREFACE]
    for path, table in tables():
        assert table.section is not None
        rows = [_row(option) for option in options(table.section, path) if option.section is None]
        parts += [
            f"\n{'#' * (3 if '.' in path else 2)} `{header(path, table)}`\n\n{table.section.__doc__}\n\n",
            "| option | written as | default | bounds | |\n|---|---|---|---|---|\n",
            *rows,
        ]
    return "".join(parts)


def _row(option: Option) -> str:
    default = "**required**" if option.required else f"`{option.text(option.default)}`"
    cells = (f"`{option.key}`", _written(option), default, _bounds(option), option.sentence)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _written(option: Option) -> str:
    if option.path in schema.NAME_OPTIONS:
        return "name"
    if option.path in schema.PATH_OPTIONS:
        return "path"
    choices = ", ".join(f'`"{choice}"`' for choice in option.choices)
    return f"array of {choices}" if option.kind == "choices" else choices or _WRITTEN[option.kind]


def _bounds(option: Option) -> str:
    unit = "" if option.kind in {"duration", "size"} else option.unit
    return f"{option.bounds()} {unit}".strip()


def example() -> str:
    """Return a file to start from: every option with its sentence, those whose default does commented out."""
    parts = [f"# An example of every option, {_GENERATED}.\n"]
    for path, table in tables():
        assert table.section is not None
        mark = "#" if path in _OPTIONAL_TABLES else ""
        parts.append(f"\n# {table.section.__doc__}\n{mark}{header(path, table)}\n")
        for option in options(table.section, path):
            if option.section is None:
                value = _EXAMPLES.get(option.path) or option.text(option.default)
                hidden = mark or ("" if option.required or option.path in _EXAMPLES else "#")
                parts.append(f"# {_remark(option)}\n{hidden}{option.key} = {value}\n")
    return "".join(parts)


def _remark(option: Option) -> str:
    choices = "; one of " + ", ".join(option.choices) if option.choices else ""
    bounds = f"; {_bounds(option)}" if option.bounds() else ""
    return f"{option.sentence.rstrip('.')}{choices}{bounds}."
