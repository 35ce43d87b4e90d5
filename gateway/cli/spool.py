"""`gateway spool ls | check | cat | export | import | forget-region`: the rings of a node.

`ls`, `check`, `cat` and `export` change nothing and work beside a daemon. `import` and `forget-region` own the state
folder while they work: the daemon must be stopped. `ls` reads indexes, `check` every byte; `check --deep` also decodes
every batch.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.audit.audited import audited
from gateway.batch.decode import decode
from gateway.cli import EX_NO, EX_OK, source, spool_said
from gateway.cli.envelopes import add_key_file, lines, protection_of
from gateway.cli.shown import progress
from gateway.clock import Clock
from gateway.disk import Disk
from gateway.errors import BatchError, ConfigError, StoreError
from gateway.lock import only_one
from gateway.model import Gap
from gateway.spool import archive
from gateway.spool.cursor import forget_region, regions_in
from gateway.spool.inspect import inspect, spool_bytes
from gateway.spool.stored import node_of, stored
from gateway.spool.takeover import import_archive
from gateway.spool.walk import CHECKSUMS, CONTENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.model import SealedBatch
    from gateway.spool.findings import Inspection

_NO_END = 1 << 63


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(source.add_action, actions)
    ls = add("ls", "list lanes, what each region waits for, and gaps")
    ls.add_argument("--files", action="store_true", help="list the segments, too")
    check = add("check", "read every batch, and name what is damaged; the exit code is 1 then")
    check.add_argument("--deep", action="store_true", help="decode every batch, too")
    cat = add("cat", "print batches and gaps, as `gateway batch cat` does")
    cat.add_argument("--header", action="store_true", help="print headers only")
    add_key_file(cat)
    export = add("export", "write batches and gaps into a file, for another box")
    for action in (cat, export):
        _add_selection(action)
    export.add_argument("file", type=Path, metavar="FILE", help="the tar file to make")
    import_ = add("import", "take up the batches of an export into a ring that has none yet; needs -c FILE")
    import_.add_argument("file", type=Path, metavar="FILE", help="what `export` wrote")
    forget = add("forget-region", "remove what is known of how far a region is")
    forget.add_argument("region", metavar="REGION", help="its name")
    forget.add_argument("--resend", action="store_true", help="also one that is configured: it gets everything again")


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lane", action="append", default=[], metavar="LANE", help="only this lane; may be repeated")
    parser.add_argument("--from", dest="first", type=_sequence, default=1, metavar="N", help="first sequence")
    parser.add_argument("--to", dest="last", type=_sequence, default=_NO_END, metavar="N", help="last sequence")
    parser.add_argument("--for", dest="region", default="", metavar="REGION", help="only what this region waits for")


def _sequence(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < _NO_END:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a sequence, which is a number from 1")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    folder = source.state_folder(arguments)
    actions = {"ls": _ls, "check": _check, "cat": _cat, "export": _export, "import": _import, "forget-region": _forget}
    return actions[arguments.action](arguments, folder)


def _ls(arguments: argparse.Namespace, folder: Path) -> int:
    disk = Disk()
    found = inspect(disk, folder / "spool")
    node = node_of(disk, found)
    if arguments.json:
        print(spool_said.list_json(found, node))
    else:
        print("\n".join(spool_said.listing(found, node, files=arguments.files)))
    return EX_OK


def _check(arguments: argparse.Namespace, folder: Path) -> int:
    disk = Disk()
    spool = folder / "spool"
    node = source.node_id(arguments)
    with progress("reading the spool", spool_bytes(disk, spool)) as advance:
        found = inspect(disk, spool, node, CONTENT if arguments.deep else CHECKSUMS, advance)
    said = spool_said.check_json(found, node) if arguments.json else "\n".join(spool_said.verdict(found))
    print(said)
    return EX_NO if found.is_damaged else EX_OK


def _cat(arguments: argparse.Namespace, folder: Path) -> int:
    disk = Disk()
    found = inspect(disk, folder / "spool")
    faults, protection = 0, protection_of(arguments)
    for one in _selected(arguments, disk, found):
        try:
            content = one if isinstance(one, Gap) else decode(one.data)
        except BatchError as error:
            faults += 1
            print(json.dumps({"kind": "fault", "id": str(one.id), "fault": error.fault}))  # type: ignore[union-attr]
            continue
        for line in lines(content, as_json=arguments.json, header_only=arguments.header, protection=protection):
            print(line)
    return EX_NO if faults else EX_OK


def _selected(arguments: argparse.Namespace, disk: Disk, found: Inspection) -> Iterator[SealedBatch | Gap]:
    """Yield the batches and gaps that the arguments ask for. Raises `ConfigError` for a name that is not there."""
    node = node_of(disk, found)
    for lane in arguments.lane:
        _must_be_one_of(lane, list(found.contents), "lane")
    if arguments.region:
        _must_be_one_of(arguments.region, list(found.cursors), "region with cursors")
    for lane, contents in found.contents.items():
        if arguments.lane and lane not in arguments.lane:
            continue
        place = found.cursors.get(arguments.region, {}).get(lane)
        first = max(arguments.first, place.sequence + 1 if place else 1)
        yield from stored(disk, contents, node, first, arguments.last)


def _must_be_one_of(name: str, names: list[str], what: str) -> None:
    if name not in names:
        raise ConfigError(f"there is no {what} {name!r}", hint=f"there are: {', '.join(names) or 'none'}")


def _export(arguments: argparse.Namespace, folder: Path) -> int:
    disk = Disk()
    found = inspect(disk, folder / "spool")
    manifest = archive.Manifest(node_of(disk, found), Clock().wall_ns(), regions=found.cursors)
    with progress("exporting", sum(lane.bytes_used for lane in found.lanes)) as advance:
        archive.write(arguments.file, manifest, _selected(arguments, disk, found), advance)
    _say(arguments, manifest)
    return EX_OK


def _import(arguments: argparse.Namespace, folder: Path) -> int:
    config = source.node_configuration(arguments)
    manifest = archive.manifest_of(arguments.file)
    size = arguments.file.stat().st_size
    told = {"file": arguments.file, "node": manifest.node, "made_ns": manifest.made_ns}
    Disk().make_folder(folder)
    with (
        only_one(folder),
        audited(folder, "spool.import", told) as outcome,
        progress("importing", 2 * size) as advance,
    ):
        import_archive(Disk(), folder, config, arguments.file, manifest, Clock().wall_ns(), advance)
        outcome["batches"] = sum(lane.batches for lane in manifest.lanes.values())
    _say(arguments, manifest)
    return EX_OK


def _say(arguments: argparse.Namespace, manifest: archive.Manifest) -> None:
    lanes = {name: (lane.batches, lane.gaps, lane.readings) for name, lane in manifest.lanes.items()}
    if arguments.json:
        names = ("batches", "gaps", "readings")
        said = {lane: dict(zip(names, counts, strict=True)) for lane, counts in lanes.items()}
        print(json.dumps({"node": manifest.node, "made_ns": manifest.made_ns, "lanes": said}))
    else:
        print("\n".join(spool_said.exported(manifest.made_ns, lanes)))


def _forget(arguments: argparse.Namespace, folder: Path) -> int:
    disk = Disk()
    config = source.node_configuration(arguments)
    cursors = folder / "spool" / "cursors"
    region = arguments.region
    with only_one(folder):
        _must_be_one_of(region, regions_in(disk, cursors), "region with cursors")
        if region in {one.name for one in config.region} and not arguments.resend:
            raise StoreError(
                f"region {region} is configured: it would get everything that is stored once more",
                hint="remove it from the configuration first, or say --resend if this is meant",
            )
        with audited(folder, "spool.forget-region", {"region": region, "resend": arguments.resend}):
            forget_region(disk, cursors, region)
    print(json.dumps({"forgotten": region}) if arguments.json else f"region {region} is forgotten")
    return EX_OK
