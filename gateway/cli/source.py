"""Where a tool finds a node's state: `-c FILE`, whose `[node]` names the folder, or `--state FOLDER` itself."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.load import load
from gateway.errors import ConfigError

if TYPE_CHECKING:
    import argparse
    from typing import TypeAlias

    from gateway.config import schema

    Actions: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  # it has no other name


def add_action(actions: Actions, name: str, sentence: str) -> argparse.ArgumentParser:
    """Add an action of a verb, with what says where; return its parser."""
    action = actions.add_parser(name, help=sentence, description=f"{sentence[0].upper()}{sentence[1:]}.")
    add_arguments(action)
    return action


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what says where, and `--json`."""
    parser.add_argument("-c", "--config", type=Path, metavar="FILE", help="the configuration file of the node")
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="its state folder, where there is no such file")
    parser.add_argument("--json", action="store_true", help="print JSON")


def state_folder(arguments: argparse.Namespace) -> Path:
    """Return the state folder, which exists. Raises `ConfigError`, `FileNotFoundError`."""
    folder: Path = arguments.state or Path(_node(node_configuration(arguments), arguments.config).state_folder)
    if not folder.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))
    return folder


def node_id(arguments: argparse.Namespace) -> str:
    """Return whose state it is, empty when only the folder is named. Raises `ConfigError`."""
    return _node(node_configuration(arguments), arguments.config).id if arguments.config else ""


def node_configuration(arguments: argparse.Namespace) -> schema.Gateway:
    """Return the configuration of `-c FILE`, which has a `[node]`. Raises `ConfigError`."""
    if arguments.config is None:
        raise ConfigError("it is not said which node is meant", hint="name its configuration with -c FILE")
    config = load(arguments.config).config
    _node(config, arguments.config)
    return config


def _node(config: schema.Gateway, path: Path) -> schema.Node:
    if config.node is None:
        raise ConfigError(
            f"{path}: has no [node]", hint="it belongs to a receiver, which has no journal and quarantine"
        )
    return config.node
