"""`gateway batch cat FILE...`: what sealed batches and gaps say, verified, for people and for pipes.

Each file holds one envelope, shown as `gateway.cli.envelopes` says. Every file is tried, and what is wrong is said at
the end.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gateway.batch.decode import decode
from gateway.cli.envelopes import add_key_file, lines, protection_of
from gateway.errors import BatchError

if TYPE_CHECKING:
    import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="batch_verb", required=True, metavar="VERB")
    sentence = "print header and readings of batch files"
    cat = verbs.add_parser("cat", help=sentence, description=f"{sentence.capitalize()}, after verifying them.")
    cat.add_argument("files", nargs="+", type=Path, metavar="FILE", help="file that holds one batch or gap")
    cat.add_argument("--json", action="store_true", help="print headers as JSON too, so that every line is JSON")
    cat.add_argument("--header", action="store_true", help="print headers only")
    add_key_file(cat)


def run(arguments: argparse.Namespace) -> int:
    """Print each file; raise what was wrong with some of them after all were tried."""
    errors: list[Exception] = []
    protection = protection_of(arguments)
    for path in arguments.files:
        try:
            found = decode(path.read_bytes())
        except OSError as error:
            errors.append(error)
            continue
        except BatchError as error:
            errors.append(BatchError(f"{path}: {error.fault}", hint=error.hint, **error.facts))
            continue
        for line in lines(found, as_json=arguments.json, header_only=arguments.header, protection=protection):
            print(line)
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("some files are not batches", errors)
    return 0
