"""`gateway config`: effective values and where they come from; the reference pages that are made from the schema."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli import EX_NO, EX_OK
from gateway.config import json_schema, render
from gateway.config.load import load
from gateway.health import catalogue

if TYPE_CHECKING:
    import argparse

FOLDER = Path("docs/reference")
"""Where the pages are, seen from the checkout."""


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    explain = verbs.add_parser("explain", help="every effective value and where it comes from")
    explain.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")
    explain.add_argument("--json", action="store_true", help="print a JSON array")
    docs = verbs.add_parser("docs", help="the reference pages, made from the schema")
    action = docs.add_mutually_exclusive_group(required=True)
    action.add_argument("--write", action="store_true", help="write the pages")
    action.add_argument("--check", action="store_true", help="exit 1 when a page is not what would be written")
    docs.add_argument("--folder", type=Path, default=FOLDER, help="folder of the pages (default: %(default)s)")


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked for."""
    if arguments.what == "explain":
        return _explain(arguments.config, as_json=arguments.json)
    return _write(arguments.folder) if arguments.write else _check(arguments.folder)


def pages() -> dict[str, str]:
    """Return the generated files: name → text."""
    return {
        "configuration.md": render.reference(),
        "gateway.example.toml": render.example(),
        "gateway.schema.json": json_schema.document(),
        "metrics.md": catalogue.page(),
    }


def _explain(path: Path, *, as_json: bool) -> int:
    lines = render.explain(load(path))
    if as_json:
        print(json.dumps([line._asdict() for line in lines], indent=2, ensure_ascii=False))
    else:
        print(render.explained_text(lines), end="")
    return EX_OK


def _write(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
    return EX_OK


def _check(folder: Path) -> int:
    stale = [name for name, text in pages().items() if not _is(folder / name, text)]
    for name in stale:
        print(f"{folder / name} is not what the schema says: run `gateway config docs --write`", file=sys.stderr)
    return EX_NO if stale else EX_OK


def _is(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text
