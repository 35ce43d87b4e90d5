"""Who acts: the user of a process, and who logged in behind it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Final

_NOBODY: Final = 0xFFFFFFFF
"""What the kernel calls a login user that was never set."""


def of_process(pid: int | None = None) -> str:
    """Return who runs this process: `uid 0 (root), login 1000 (anna), pid 4711`."""
    uid = os.getuid()
    said = _user(uid)
    login = _login(pid)
    if login not in (None, uid):
        said += f", login {_named(login)}"
    return f"{said}, pid {pid or os.getpid()}"


def of_signal(uid: int, pid: int) -> str:
    """Return who sent a signal; the kernel itself, a terminal for example, has pid 0."""
    if not pid:
        return "the kernel"
    said = _user(uid)
    login = _login(pid)
    if login not in (None, uid):
        said += f", login {_named(login)}"
    return f"{said}, pid {pid}"


def _user(uid: int) -> str:
    return f"uid {_named(uid)}"


def _named(uid: int | None) -> str:
    assert uid is not None
    try:
        return f"{uid} ({pwd.getpwuid(uid).pw_name})"
    except KeyError:
        return str(uid)


def _login(pid: int | None) -> int | None:
    """Return who logged in for a process, which no change of user forgets; None where the kernel does not say."""
    try:
        uid = int(Path(f"/proc/{pid or 'self'}/loginuid").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if uid == _NOBODY else uid
