"""The files of the page, read once from the package: name → bytes and type."""

from __future__ import annotations

from importlib import resources
from typing import Final, NamedTuple

_TYPES: Final = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
}


class Asset(NamedTuple):
    """One file."""

    data: bytes
    content_type: str


def read() -> dict[str, Asset]:
    """Return all files."""
    folder = resources.files("gateway.console") / "static"
    return {
        file.name: Asset(file.read_bytes(), _TYPES[file.name.rpartition(".")[2]])
        for file in folder.iterdir()
        if file.name.rpartition(".")[2] in _TYPES
    }
