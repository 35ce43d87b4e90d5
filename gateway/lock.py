"""One owner of a state folder at a time: the daemon, or a tool that changes what lies there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
from typing import IO, TYPE_CHECKING

from gateway.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Own `folder` for a while. Raises `StoreError` when somebody else does."""
    with _lock_file(folder / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise StoreError(
                f"another gateway runs on {folder}", hint="stop it, or give this one another node.state_folder"
            ) from error
        yield


def _lock_file(path: Path) -> IO[str]:
    try:
        return path.open("a")
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.ENOSPC, errno.EDQUOT):
            raise
        return path.open("r")  # a disk that takes nothing still knows the file of the last run
