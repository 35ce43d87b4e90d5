"""`gateway parked ls | redrive | purge`: the batches that a region refused for good.

All of them work with and without a daemon on the folder. `redrive` sends them once more, over a link of its own, and
removes a batch only when the region has acknowledged it in the way it is configured to; the region takes it back out of
what its gap had called lost. What cannot go stays and is named, with the reason.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from gateway.audit.audited import audited
from gateway.batch import envelope
from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import plain, progress, table
from gateway.disk import Disk
from gateway.errors import BatchError, ConfigError, LinkError
from gateway.mirror import shipment
from gateway.mirror.parked import Parked
from gateway.mirror.place import Place
from gateway.model import SealedBatch
from gateway.transport import wire

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gateway.config import schema
    from gateway.model import BatchId
    from gateway.transport.contract import Link

_COLUMNS: Final = ("region", "batch", "bytes", "why")
_NS: Final = 10**9


class One(NamedTuple):
    """A parked batch: whose, under which name, and what is kept."""

    region: str
    name: str
    data: bytes
    why: str


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = partial(source.add_action, actions)
    add("ls", "list the batches and why they were refused")
    for name, sentence in (
        ("redrive", "send batches to their region again; needs -c FILE"),
        ("purge", "remove batches for ever; their gaps have told the region"),
    ):
        action = add(name, sentence)
        action.add_argument(
            "names", nargs="*", metavar="BATCH", help="as `ls` shows them; none means all of the region"
        )
        action.add_argument("--region", required=True, metavar="NAME", help="the region that refused them")


def run(arguments: argparse.Namespace) -> int:
    """Do what the action says."""
    folder = source.state_folder(arguments)
    if arguments.action == "ls":
        return _ls(list(_found(folder / "parked")), as_json=arguments.json)
    parked = Parked(Disk(), folder / "parked" / arguments.region)
    names = arguments.names or parked.names()
    unknown = sorted(set(names) - set(parked.names()))
    if unknown:
        raise ConfigError(f"nothing is parked under {', '.join(unknown)}", hint="`gateway parked ls` shows the names")
    left: dict[str, str] = {}
    with audited(folder, f"parked.{arguments.action}", {"region": arguments.region, "batches": names}) as outcome:
        if arguments.action == "redrive":
            config = source.node_configuration(arguments)
            redrive = Redrive(_region(config, arguments.region), source.node_id(arguments), parked)
            left = asyncio.run(redrive.run(names))
        else:
            for name in names:
                parked.remove(name)
        gone = outcome["done"] = len(names) - len(left)
    if arguments.json:
        print(json.dumps({"done": gone, "left": left}))
    else:
        print(f"{gone} batches {'sent' if arguments.action == 'redrive' else 'removed'}")
        for name, why in left.items():
            print(f"{name} stays: {plain(why)}")
    return EX_NO if left else EX_OK


def _found(folder: Path) -> Iterator[One]:
    disk = Disk()
    for region in disk.names(folder) if disk.exists(folder) else []:
        parked = Parked(disk, folder / region)
        for name in parked.names():
            yield One(region, name, *parked.load(name))


def _ls(found: Sequence[One], *, as_json: bool) -> int:
    if as_json:
        print(json.dumps([{**one._asdict(), "data": len(one.data)} for one in found]))
        return EX_OK
    if not found:
        print("nothing is parked")
        return EX_OK
    rows = [(one.region, one.name, f"{len(one.data):,}", plain(one.why)) for one in found]
    print("\n".join(table([_COLUMNS, *rows], numbers={2})))
    return EX_OK


def _region(config: schema.Gateway, name: str) -> schema.Region:
    for region in config.region:
        if region.name == name:
            return region
    known = ", ".join(region.name for region in config.region) or "none"
    raise ConfigError(f"no region is named {name!r}", hint=f"the regions are {known}")


class Redrive:
    """Sends parked batches over one link, one after the other."""

    def __init__(self, region: schema.Region, node: str, parked: Parked) -> None:
        # A client id of its own: the daemon's link goes on.
        self._place = Place(msgspec.structs.replace(region, name=f"{region.name}-redrive"), node, random.Random(0))  # noqa: S311  # no secret
        self._patience_s = region.resend_after_ns / _NS
        self._parked = parked
        self._said: list[wire.Acknowledgement] = []
        self._heard = asyncio.Event()

    async def run(self, names: Sequence[str]) -> dict[str, str]:
        """Send them; return those that stay, and why. Raises `LinkError` when there is no link."""
        left: dict[str, str] = {}
        with progress("sending", len(names)) as advance:
            async with self._place.transport.connected() as link:
                hearing = asyncio.create_task(self._hear(link))
                for name in names:
                    why = await self._send(link, name)
                    if why:
                        left[name] = why
                    else:
                        self._parked.remove(name)
                    advance(1)
                hearing.cancel()
                await asyncio.gather(hearing, return_exceptions=True)
        return left

    async def _send(self, link: Link, name: str) -> str:
        """Send one batch and wait for its acknowledgement; return why it stays, empty when it has arrived."""
        data, _ = self._parked.load(name)
        try:
            header = envelope.peek(data)
            refusals = await link.send([shipment.message(SealedBatch(header.id, header.readings, header.hash, data))])
        except (BatchError, LinkError) as error:
            return error.fault
        if refusals:
            return refusals[0].reason
        try:
            async with asyncio.timeout(self._patience_s):
                while self._place.by_receiver and not self._is_said(header.id):
                    self._heard.clear()
                    await self._heard.wait()
        except TimeoutError:
            return f"the broker has it, and no receiver has said so within {self._patience_s:g} s"
        return ""

    def _is_said(self, identity: BatchId) -> bool:
        return any(
            (word.lane, word.epoch) == (identity.lane, identity.epoch)
            and any(first <= identity.sequence <= last for first, last in word.done)
            for word in self._said
        )

    async def _hear(self, link: Link) -> None:
        async for payload in link.words():
            with contextlib.suppress(BatchError):
                self._said.append(wire.decode_acknowledgement(payload))
                self._heard.set()
