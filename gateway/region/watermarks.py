"""The store of a receiver on one machine: one SQLite file.

WAL with synchronous=FULL: a commit is on disk when it returns. One process at a time has the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from typing import TYPE_CHECKING, Final

from gateway.errors import StoreError
from gateway.region.store import SCHEMA_VERSION, TABLES, Store, read_report
from gateway.workers import outside

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.region.reconcile import Report

FILE_NAME: Final = "region.sqlite"

_SCHEMA: Final = f"BEGIN IMMEDIATE;{TABLES}PRAGMA user_version = {SCHEMA_VERSION};COMMIT;"


class Watermarks(Store):
    """The file, open for writing."""

    _db: sqlite3.Connection

    def __init__(self, folder: Path) -> None:
        """Open for writing and take the folder for this process; `StoreError` when another receiver holds it."""
        path = folder / FILE_NAME
        self.path = path
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._lock = os.open(folder / "region.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise StoreError(f"cannot use the state folder {folder}: {error.strerror}", path=str(folder)) from error
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._lock)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._db = _connect(str(path), uri=False)
                undo.callback(self._db.close)
                self._prepare()
            except BlockingIOError as error:
                raise StoreError(f"another receiver works in {folder}", hint="one receiver per state folder") from error
            except sqlite3.Error as error:
                raise StoreError(f"cannot open {path}: {error}", path=str(path)) from error
            undo.pop_all()

    def _prepare(self) -> None:
        pragmas = ("journal_mode = WAL", "synchronous = FULL", "cache_size = -32768", "journal_size_limit = 67108864")
        for pragma in pragmas:
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            raise StoreError(
                f"{self.path} has schema version {version}, this program knows {SCHEMA_VERSION}",
                hint="run the version of the gateway that made it, or a newer one",
            )
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file and give up the folder."""
        with contextlib.suppress(sqlite3.Error):
            self._db.close()
        os.close(self._lock)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit what is done inside, durably, or nothing of it; SQLite's errors become `StoreError`."""
        try:
            with outside():
                self._db.execute("BEGIN IMMEDIATE")
            yield self._db
            with outside():
                self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(f"cannot commit to {self.path}: {error}", path=str(self.path)) from error
        finally:
            if self._db.in_transaction:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")


def report(folder: Path) -> Report:
    """Read the store of a receiver, running or not, and reconcile every lane; `StoreError` when there is none."""
    path = folder / FILE_NAME
    try:
        with contextlib.closing(_connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute("BEGIN")
            return read_report(db)
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot read {path}: {error}", hint="has `gateway region run` ever run with this configuration?"
        ) from error


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Give a transaction beside a receiver that may run. Raises `StoreError`."""
    path = folder / FILE_NAME
    try:
        with contextlib.closing(_connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
    except sqlite3.Error as error:
        hint = "has `gateway region run` ever run with this configuration?"
        raise StoreError(f"cannot change {path}: {error}", hint=hint) from error


def _connect(target: str, *, uri: bool) -> sqlite3.Connection:
    return sqlite3.connect(target, uri=uri, isolation_level=None, check_same_thread=False, timeout=10.0)
