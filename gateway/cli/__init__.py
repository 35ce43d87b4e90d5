"""The command line: finds the verb, loads only its module, and turns every end of it into an exit code.

A verb is a module of this package with `register(parser)`, which adds its arguments, and `run(arguments) -> int`. It is
imported only when it is used, so `gateway --help` stays quick. Verbs raise; nothing else prints faults or exits:

    exit   why (sysexits.h)              from
    0      done
    1      a check said no               the verb itself
    64     wrong use                     argparse
    65     the data is bad               BatchError, DecodeError, ArchiveError
    66     the file cannot be read       ConfigError caused by an OSError, FileNotFoundError, IsADirectoryError
    69     the other side is not there   LinkError
    70     a defect of the gateway       AssertionError, with its trace
    74     the disk refused              StoreError, OSError
    78     the configuration is wrong    ConfigError, ExpressionError, CredentialError
    130    Ctrl-C                        KeyboardInterrupt
    141    nobody reads our output       BrokenPipeError
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import traceback
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, cast

from gateway import __version__, errors, hangup

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence

EX_OK: Final = 0
EX_NO: Final = 1
EX_USAGE: Final = 64
EX_DATAERR: Final = 65
EX_NOINPUT: Final = 66
EX_UNAVAILABLE: Final = 69
EX_SOFTWARE: Final = 70
EX_IOERR: Final = 74
EX_CONFIG: Final = 78
EX_INTERRUPTED: Final = 130
EX_PIPE: Final = 141

VERBS: Final = {
    "check": "say whether a configuration can be used, and everything that is wrong with it",
    "config": "show the effective configuration, write its reference pages",
    "run": "run the gateway of this box",
    "reload": "let the running gateway take up its configuration file as it is now",
    "status": "show what the running gateway is doing",
    "top": "watch what the running gateway, or a receiver, is doing",
    "region": "run the central side",
    "quarantine": "look at messages that could not be decoded, publish them again, remove them",
    "journal": "look at the log of inputs, find what is damaged",
    "spool": "look at the rings, find what is damaged, carry them to another box",
    "audit": "look at who changed what, and whether the log of it is whole",
    "parked": "look at batches that a region refused, send them again, remove them",
    "route": "try what a configuration makes of messages, step by step",
    "capture": "record what comes from the local broker for a while",
    "replay": "run recorded input through a configuration, beside the one at work",
    "plan": "estimate what a configuration sends, stores, writes and costs, from recorded input",
    "schema": "say whether a change of a schema is compatible, or why not",
    "batch": "read batch files",
    "dev-pki": "make certificates for development",
    "demo": "run a whole site and region on this machine, cut and kill them, and show the books",
}
"""Verb → what it does. The module of a verb has its name, hyphens as underscores."""

_CODES: Final = (
    (errors.ConfigError, EX_CONFIG),
    (errors.ExpressionError, EX_CONFIG),
    (errors.CredentialError, EX_CONFIG),
    (errors.LinkError, EX_UNAVAILABLE),
    (errors.StoreError, EX_IOERR),
    (errors.BatchError, EX_DATAERR),
    (errors.DecodeError, EX_DATAERR),
    (errors.ArchiveError, EX_DATAERR),
)


class Verb(Protocol):
    """What the module of a verb offers."""

    def register(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's arguments."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Do it, and return the exit code."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(EX_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; wrong use and --help end the process as argparse does."""
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except KeyboardInterrupt:
        return EX_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes standard output at exit: give it somewhere to write to.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EX_PIPE
    return code


def _main(words: list[str]) -> int:
    verb = next((word for word in words if word in VERBS), "")
    with hangup.held() if verb == "run" else contextlib.nullcontext():  # before an import begins a thread
        return _parsed_and_run(verb, words)


def _parsed_and_run(verb: str, words: list[str]) -> int:
    parser = command_line({verb})
    arguments = parser.parse_args(words)
    if arguments.verb is None:
        parser.print_help(sys.stderr)
        return EX_USAGE
    return _run(_module(arguments.verb), arguments)


def command_line(filled: Container[str] = frozenset(VERBS)) -> argparse.ArgumentParser:
    """Return the parser of the whole command line, with the arguments of the verbs `filled` only.

    Manual pages and completions are made from it, too: what is declared here and in the verbs is all there is.
    """
    parser = _Parser(prog="gateway", description="Edge gateway: from a site's sensors to its regions.")
    parser.add_argument("--version", action="version", version=f"gateway {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    for name, sentence in VERBS.items():
        one = verbs.add_parser(name, help=sentence, description=f"{sentence[0].upper()}{sentence[1:]}.")
        if name in filled:
            _module(name).register(one)
    return parser


def _module(verb: str) -> Verb:
    return cast("Verb", importlib.import_module(f"gateway.cli.{verb.replace('-', '_')}"))


def _run(verb: Verb, arguments: argparse.Namespace) -> int:
    try:
        return verb.run(arguments)
    except BrokenPipeError:
        raise
    except (errors.GatewayError, OSError, AssertionError, BaseExceptionGroup) as error:
        return _report(error)


def _report(error: BaseException) -> int:
    """Say on standard error what ended the verb, and return the exit code for it."""
    leaves = list(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return EX_INTERRUPTED
    if not all(isinstance(leaf, errors.GatewayError | OSError) for leaf in leaves):
        traceback.print_exception(error)
        print("gateway: this is a defect of the gateway; please report it with the lines above", file=sys.stderr)
        return EX_SOFTWARE
    for leaf in leaves:
        print(_said(leaf), file=sys.stderr)
    return _code(leaves[0])


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _said(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"gateway: {error.filename}: {error.strerror}"
    if not isinstance(error, errors.GatewayError):
        return f"gateway: {error}"
    faults = error.faults if isinstance(error, errors.ConfigError) else (error.fault,)
    lines = [f"gateway: {error.fault}"] if faults != (error.fault,) else []
    lines += faults if lines else [f"gateway: {error.fault}"]
    return "\n".join([*lines, f"hint: {error.hint}"] if error.hint else lines)


def _code(error: BaseException) -> int:
    if isinstance(error, errors.ConfigError) and isinstance(error.__cause__, OSError):
        return EX_NOINPUT
    if isinstance(error, FileNotFoundError | IsADirectoryError):
        return EX_NOINPUT
    return next((code for type_, code in _CODES if isinstance(error, type_)), EX_IOERR)
