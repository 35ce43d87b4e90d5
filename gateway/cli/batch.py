"""`gateway batch cat FILE...`: what sealed batches and gaps say, verified, for people and for pipes.

Each file holds one envelope. First comes its header, as a line that begins with `#` or with `--json` as one line of
JSON; then its readings, each as one line of JSON, bytes as {"base64": …}. A gap is a header only. Every file is tried,
and what is wrong is said at the end.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.batch.decode import decode
from gateway.config.units import duration_text
from gateway.errors import BatchError
from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED, Gap

if TYPE_CHECKING:
    import argparse

    from gateway.batch.envelope import Header
    from gateway.model import Reading

_CLOCKS = {CLOCK_UNSYNCHRONISED: "unsynchronised", CLOCK_HOLDOVER: "holdover", CLOCK_SYNCHRONISED: "synchronised"}


def register(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    verbs = parser.add_subparsers(dest="batch_verb", required=True, metavar="VERB")
    sentence = "print header and readings of batch files"
    cat = verbs.add_parser("cat", help=sentence, description=f"{sentence.capitalize()}, after verifying them.")
    cat.add_argument("files", nargs="+", type=Path, metavar="FILE", help="file that holds one batch or gap")
    cat.add_argument("--json", action="store_true", help="print headers as JSON too, so that every line is JSON")
    cat.add_argument("--header", action="store_true", help="print headers only")


def run(arguments: argparse.Namespace) -> int:
    """Print each file; raise what was wrong with some of them after all were tried."""
    errors: list[Exception] = []
    for path in arguments.files:
        try:
            found = decode(path.read_bytes())
        except OSError as error:
            errors.append(error)
            continue
        except BatchError as error:
            errors.append(BatchError(f"{path}: {error.fault}", hint=error.hint, **error.facts))
            continue
        said = found if isinstance(found, Gap) else found.header
        print(json.dumps(_plain(said), ensure_ascii=False) if arguments.json else f"# {_sentence(said)}")
        if not isinstance(found, Gap) and not arguments.header:
            for reading in found.readings():
                print(json.dumps(_reading(reading), ensure_ascii=False))
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise ExceptionGroup("some files are not batches", errors)
    return 0


def _plain(said: Header | Gap) -> dict[str, object]:
    if isinstance(said, Gap):
        return {"kind": "gap", **asdict(said)}
    thinned = None if said.thinned is None else asdict(said.thinned)
    plain = {**said.id._asdict(), **said._asdict(), "id": str(said.id), "hash": said.hash.hex(), "thinned": thinned}
    return {"kind": "batch", **plain}


def _reading(one: Reading) -> dict[str, object]:
    line: dict[str, object] = one._asdict()
    if isinstance(one.value, bytes):
        line["value"] = {"base64": b64encode(one.value).decode()}
    elif isinstance(one.value, float) and not isfinite(one.value):
        line["value"] = None  # JSON has no word for it
    return line


def _sentence(said: Header | Gap) -> str:
    if isinstance(said, Gap):
        line = f"{said.node}/{said.lane}/{said.epoch}/{said.first}..{said.last}"
        return f"{line}: gap, {said.readings} readings {said.reason}, after {said.readings_before} in the lane"
    span = f"{_moment(said.first_ns)} to {_moment(said.last_ns)}"
    sealed = f"sealed {_moment(said.sealed_ns)}, clock {_CLOCKS[said.clock]}"
    line = f"{said.id}: {said.readings} readings after {said.readings_before}, {span}, {sealed}, hash {said.hash.hex()}"
    mark = said.thinned
    if mark is not None:
        line += f", thinned to {duration_text(mark.interval_ns)}: stands for {mark.readings} readings of"
        line += f" {mark.lane} {mark.first}..{mark.last}"
    return line


def _moment(time_ns: int) -> str:
    """Return a time for people; as a bare number where the calendar ends."""
    try:
        return datetime.fromtimestamp(time_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{time_ns} ns"
