"""What a start on this box would stumble over: files, folders and packages, beyond what the configuration itself says.

Some obstacles keep the daemon from starting. With the others it starts and says so: a region whose certificate is
missing must not cost the site its readings, and a disk that cannot be written still serves what its rings hold.
"""

from __future__ import annotations

import datetime as dt
import os
import random
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509

from gateway.clock import WALL_FLOOR_NS, Clock
from gateway.config.files import named_files
from gateway.config.units import size_text
from gateway.disk import Disk
from gateway.errors import ConfigError, CredentialError, StoreError
from gateway.mirror.place import Place
from gateway.trace import exporter
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import schema

_LOCK: Final = "lock"
_SOCKET_FOLDER: Final = "the folder of node.status_socket"
_READABLE_BY_ALL: Final = 0o004


class Obstacle(NamedTuple):
    """One sentence, and whether it keeps the daemon from starting."""

    sentence: str
    stops: bool


def obstacles(config: schema.Gateway, clock: Clock) -> list[Obstacle]:
    """Return everything that is found, in the order in which a start would meet it."""
    found = list(_folders(config))
    files = [Obstacle(sentence, stops=False) for sentence in _files(config)]
    found += files or _tls(config, clock)
    found += _packages(config)
    if clock.wall_ns() < WALL_FLOOR_NS:
        found.append(Obstacle("the clock has not been set: certificates will not be valid yet", stops=False))
    return found


def _folders(config: schema.Gateway) -> Iterator[Obstacle]:
    if config.node is not None:
        folder = Path(config.node.state_folder)
        yield from _state_folder(folder, "node.state_folder", config.spool.free_bytes_min)
        place = config.node.socket_path.parent
        if place != folder and (fault := _unwritable(place)):
            yield Obstacle(f"{_SOCKET_FOLDER}, {place}, {fault}: nobody can ask for the status", stops=False)
    if config.receiver is not None:
        yield from _state_folder(Path(config.receiver.state_folder), "receiver.state_folder", 0)


def _state_folder(folder: Path, key: str, free_bytes_min: int) -> Iterator[Obstacle]:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if fault := _unwritable(there):
        is_read_only = there == folder and fault.endswith("read-only")
        doing = "it starts, and serves what the rings hold" if is_read_only else f"let {_user()} write there"
        yield Obstacle(f"{key}: {there} {fault}: {doing}", stops=not is_read_only)
        return
    if there != folder:
        return
    for path in sorted(folder.iterdir()):
        if not os.access(path, os.R_OK | os.W_OK):
            sentence = f"{key}: {path} belongs to somebody else: chown -R {_user()} {folder}"
            yield Obstacle(sentence, stops=path.name == _LOCK)
    try:
        free_bytes = Disk().free(folder)
    except StoreError as error:
        yield Obstacle(f"{key}: {error.fault}", stops=False)
        return
    if free_bytes < free_bytes_min:
        least = f"spool.free_bytes_min, {size_text(free_bytes_min)}"
        yield Obstacle(f"{key}: {free_bytes:,} bytes are free, less than {least}: rings will not grow", stops=False)


def _unwritable(folder: Path) -> str:
    """Return why nothing can be made in a folder; empty when it can."""
    if not folder.is_dir():
        return "is no folder" if folder.exists() else "is missing"
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return "is on a file system that is mounted read-only"
    return "" if os.access(folder, os.R_OK | os.W_OK | os.X_OK) else f"may not be written by {_user()}"


def _user() -> str:
    return f"user {os.geteuid()}"


def _files(config: schema.Gateway) -> Iterator[str]:
    for key, path in named_files(config):
        try:
            with Path(path).open("rb") as file:
                file.read(1)
                mode = os.fstat(file.fileno()).st_mode
        except OSError as error:
            yield f"{key}: cannot read {path}: {error.strerror}"
            continue
        if mode & _READABLE_BY_ALL and key.endswith(("tls_key", "password_file", "secret_file", "token_file")):
            yield f"{key}: everybody may read {path}: chmod o= {path}"


def _tls(config: schema.Gateway, clock: Clock) -> Iterator[Obstacle]:
    """Look whether certificates fit their keys and are valid now; all files are there."""
    peers: list[tuple[str, schema.Broker | schema.Peer | schema.Receiver]] = [("broker", config.broker)]
    peers += [(f"region {region.name}", region) for region in config.region]
    if config.receiver is not None:
        peers.append(("receiver", config.receiver))
        peers += [(f"forward {forward.name}", forward) for forward in config.receiver.forward]
    now = dt.datetime.fromtimestamp(clock.wall_ns() / 10**9, dt.UTC)
    for name, peer in peers:
        if not peer.tls_ca:
            continue
        try:
            client_context(peer.tls_ca, peer.tls_certificate, peer.tls_key)
        except CredentialError as error:
            yield Obstacle(f"{name}: {error.fault}", stops=False)
            continue
        for path in filter(None, (peer.tls_ca, peer.tls_certificate)):
            if fault := _validity(Path(path), now):
                yield Obstacle(f"{name}: {path} {fault}", stops=False)


def _validity(path: Path, now: dt.datetime) -> str:
    certificate = x509.load_pem_x509_certificates(path.read_bytes())[0]
    if now > certificate.not_valid_after_utc:
        return f"has expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if now < certificate.not_valid_before_utc:
        return f"is not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC, or the clock is wrong"
    return ""


def _packages(config: schema.Gateway) -> Iterator[Obstacle]:
    """Build what would be built for each place: a transport whose extra is missing keeps the daemon from starting."""
    node = config.node.id if config.node is not None else ""
    chance = random.Random(0)  # noqa: S311  # nothing is drawn
    for region in config.region:
        try:
            Place(region, node, chance)
        except ConfigError as error:
            yield Obstacle(str(error), stops=True)
    try:
        exporter.check(config.trace)
    except ConfigError as error:
        yield Obstacle(str(error), stops=True)
