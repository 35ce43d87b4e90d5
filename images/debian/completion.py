"""Shell completion from the declaration of the command line, by shtab: verbs, actions, options, and names of files."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

import shtab

from gateway import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGETS: Final = {
    "bash": "usr/share/bash-completion/completions/gateway",
    "zsh": "usr/share/zsh/vendor-completions/_gateway",
    "fish": "usr/share/fish/vendor_completions.d/gateway.fish",
}
"""Shell → where it looks for a script."""

_COMPLETED: Final = {"FILE": shtab.FILE, "FOLDER": shtab.DIRECTORY}
"""What the word for a value says about it, as everywhere on our command line."""


def scripts() -> dict[str, str]:
    """Return the scripts: shell → text."""
    line = cli.command_line()
    for action in _arguments(line):
        if isinstance(action.metavar, str) and action.metavar in _COMPLETED:
            action.complete = _COMPLETED[action.metavar]  # type: ignore[attr-defined]  # where shtab looks
    return {shell: shtab.complete(line, shell) for shell in TARGETS}


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse offers no list of them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for inner in action.choices.values():
                yield from _arguments(inner)
        else:
            yield action
