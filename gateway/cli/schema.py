"""`gateway schema check OLD NEW`: may what one version of a schema writes be read with the other?"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from gateway.cli import EX_NO, EX_OK
from gateway.cli.shown import plain
from gateway.errors import ConfigError
from gateway.schemas.compatibility import FORMATS, PROTOBUF, Compatibility, SchemaFormat, compatibility, schema_of
from gateway.schemas.protobuf_text import descriptor_set_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_MEANINGS = {
    "backward": "the new schema reads what the old one wrote",
    "forward": "the old schema reads what the new one writes",
}

_TEXT = ".proto"
_SUFFIXES = {".avsc": "avro", **dict.fromkeys((_TEXT, ".desc", ".pb", ".binpb", ".protoset"), "protobuf")}


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="schema_verb", required=True, metavar="VERB")
    sentence = "say whether a change of a schema is backward, forward or fully compatible, or why not"
    check = verbs.add_parser("check", help=sentence, description=f"{sentence.capitalize()}. Exits 1 when it is not.")
    check.add_argument("old", type=Path, metavar="OLD", help="the schema that was used so far")
    check.add_argument("new", type=Path, metavar="NEW", help="the schema that is to be used")
    check.add_argument(
        "--format",
        choices=sorted(FORMATS),
        help="what the files hold (default: avro for .avsc, protobuf for .proto and descriptor sets, else json)",
    )
    check.add_argument("--message", default="", metavar="NAME", help="compare this message of Protobuf (default: all)")
    check.add_argument(
        "--require",
        choices=["backward", "forward", "full"],
        default="backward",
        help="which compatibility decides the exit code (default: %(default)s)",
    )
    check.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict and what speaks against it."""
    schema_format = arguments.format or _format_of(arguments.old, arguments.new)
    if arguments.message and schema_format not in PROTOBUF:
        raise ConfigError(f"--message is for Protobuf, and the files are {schema_format}", hint="leave it out")
    found = _compared(arguments.old, arguments.new, schema_format, arguments.message)
    if arguments.json:
        print(json.dumps(_as_json(found, schema_format), indent=2, ensure_ascii=False))
    else:
        for line in _lines(found):
            print(line)
    return EX_OK if found.allows(arguments.require) else EX_NO


def _compared(old: Path, new: Path, schema_format: SchemaFormat, message: str) -> Compatibility:
    documents = [_read(path, schema_format, message) for path in (old, new)]
    for path, document in zip((old, new), documents, strict=True):
        try:
            compatibility(document, document, schema_format)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error.fault}", hint=error.hint) from None
    return compatibility(documents[0], documents[1], schema_format)


def _read(path: Path, schema_format: SchemaFormat, message: str) -> Any:  # noqa: ANN401  # as the format compares it
    try:
        if schema_format in PROTOBUF and path.suffix == _TEXT:
            return schema_of(descriptor_set_of(path.name, partial(_source, path)), schema_format, message)
        return schema_of(path.read_bytes(), schema_format, message)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error.fault}", hint=error.hint) from None


def _source(path: Path, name: str) -> bytes:
    """Return the file itself, or one that an import names: from its folder, or the nearest above it that has it."""
    if name == path.name:
        return path.read_bytes()
    if ".." not in Path(name).parts:
        for folder in path.absolute().parents:
            if (folder / name).is_file():
                return (folder / name).read_bytes()
    hint = "imports are looked for in the folder of the file, and in those above it"
    raise ConfigError(f"there is no file {name[:200]} to be imported", hint=hint)


def _format_of(old: Path, new: Path) -> SchemaFormat:
    formats = {_SUFFIXES.get(path.suffix, "json") for path in (old, new)}
    if len(formats) > 1:
        raise ConfigError(f"{old} and {new} seem to be of two formats", hint="say which one with --format")
    return cast("SchemaFormat", formats.pop())


def _lines(found: Compatibility) -> Iterator[str]:
    said = {"none": "not compatible", "full": "fully compatible"}.get(found.verdict, f"{found.verdict} compatible")
    yield said
    for direction, meaning in _MEANINGS.items():
        findings = getattr(found, direction)
        yield f"{direction}: {'yes' if not findings else 'no'}, {meaning}{'' if not findings else ' not always:'}"
        for finding in findings:
            yield f"  {plain(finding.path) or '/'}: {plain(finding.reason)}"


def _as_json(found: Compatibility, schema_format: SchemaFormat) -> dict[str, object]:
    directions = {direction: [finding._asdict() for finding in getattr(found, direction)] for direction in _MEANINGS}
    return {"format": schema_format, "compatible": found.verdict, **directions}
