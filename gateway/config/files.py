"""The files that a configuration names, with the option that names each."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from gateway.config import schema
from gateway.config.options import options
from gateway.config.positions import dotted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.positions import Place
    from gateway.config.section import Section

_MADE_BY_US = frozenset({"node.state_folder", "node.status_socket", "receiver.state_folder", "receiver.parquet.folder"})


class NamedFile(NamedTuple):
    """A file that must be there: the dotted key of its option, and its path."""

    key: str
    path: str


def named_files(config: schema.Gateway) -> Iterator[NamedFile]:
    """Yield every file that the gateway reads and does not make, in the order of the options."""
    yield from _files_of(config, (), "")


def _files_of(section: Section, place: Place, path: str) -> Iterator[NamedFile]:
    for option in options(type(section), path):
        here, value = (*place, option.key), getattr(section, option.attribute)
        if option.kind == "tables":
            for number, one in enumerate(value):
                yield from _files_of(one, (*here, number), option.path)
        elif option.kind == "table" and value is not None:
            yield from _files_of(value, here, option.path)
        elif option.path in schema.PATH_OPTIONS - _MADE_BY_US and value:
            yield NamedFile(dotted(here), value)
