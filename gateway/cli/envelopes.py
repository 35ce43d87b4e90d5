"""How tools show a batch or a gap.

First comes its header, as a line that begins with `#` or as one line of JSON; then its readings, each as one line of
JSON, bytes as {"base64": …}. A gap is a header only. With a key, what was encrypted under it is shown decrypted.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING

from gateway.cli.shown import moment
from gateway.config.material import read_key
from gateway.config.units import duration_text
from gateway.errors import DecodeError
from gateway.model import CLOCK_HOLDOVER, CLOCK_SYNCHRONISED, CLOCK_UNSYNCHRONISED, Gap

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.batch.decode import DecodedBatch
    from gateway.batch.envelope import Header
    from gateway.model import Reading
    from gateway.process.protect import Protection

_CLOCKS = {CLOCK_UNSYNCHRONISED: "unsynchronised", CLOCK_HOLDOVER: "holdover", CLOCK_SYNCHRONISED: "synchronised"}


def add_key_file(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names a key."""
    parser.add_argument("--key-file", default="", metavar="FILE", help="decrypt fields that were encrypted under it")


def protection_of(arguments: argparse.Namespace) -> Protection | None:
    """Return what decrypts, None when no key is named. Raises `ConfigError`."""
    if not arguments.key_file:
        return None
    from gateway.process.protect import Protection  # noqa: PLC0415  # cryptography takes long to load

    return Protection(read_key(arguments.key_file))


def lines(
    found: DecodedBatch | Gap, *, as_json: bool, header_only: bool, protection: Protection | None
) -> Iterator[str]:
    """Yield the lines that show a batch or a gap."""
    said = found if isinstance(found, Gap) else found.header
    yield json.dumps(_plain(said), ensure_ascii=False) if as_json else f"# {_sentence(said)}"
    if not isinstance(found, Gap) and not header_only:
        for reading in found.readings():
            yield json.dumps(_reading(_opened(reading, protection)), ensure_ascii=False)


def _opened(one: Reading, protection: Protection | None) -> Reading:
    """Return a reading decrypted, or as it is where that is not possible."""
    if protection is None or not isinstance(one.value, bytes):
        return one
    try:
        return one._replace(value=protection.decrypted(one.topic, one.field, one.value))
    except DecodeError:
        return one


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
    span = f"{moment(said.first_ns)} to {moment(said.last_ns)}"
    sealed = f"sealed {moment(said.sealed_ns)}, clock {_CLOCKS[said.clock]}"
    line = f"{said.id}: {said.readings} readings after {said.readings_before}, {span}, {sealed}, hash {said.hash.hex()}"
    mark = said.thinned
    if mark is not None:
        line += f", thinned to {duration_text(mark.interval_ns)}: stands for {mark.readings} readings of"
        line += f" {mark.lane} {mark.first}..{mark.last}"
    return line
