"""What a person may do from the page: publish messages of the quarantine again, remove them, reload the configuration.

They do what the command line does, by the same code: `gateway quarantine redrive`, `purge`, `gateway reload`. One is
under way at a time. The audit log is told before and after.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from gateway.audit.audited import audited
from gateway.quarantine import Editor, Selection
from gateway.redrive import Redrive

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import TypeVar

    from gateway.console.contract import Desk
    from gateway.console.documents import Documents

    T = TypeVar("T")

KEYS_MAX: Final = 500
"""Messages of one action."""

_LEFT_NAMED_MAX: Final = 20
_KEY_MAX: Final = 2**63 - 1


class Actions:
    """The actions of one daemon. All raise `GatewayError`."""

    def __init__(self, desk: Desk, documents: Documents) -> None:
        self._desk = desk
        self._documents = documents
        # Not the thread of the documents: publishing takes as long as the broker does.
        self._thread = ThreadPoolExecutor(1, "console-act")

    def close(self) -> None:
        """Let go of the thread; what is under way goes on in it."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def redrive(self, keys: Sequence[int], who: str) -> dict[str, Any]:
        """Publish messages again on their topics, and remove those that a subscriber got."""
        went, left = await self._done(lambda: self._redriven(self._documents.path, keys, who))
        return {"done": went, "left": left}

    async def purge(self, keys: Sequence[int], who: str) -> dict[str, Any]:
        """Remove messages for ever."""
        removed = await self._done(lambda: _purged(self._documents.path, keys, who))
        return {"done": removed, "left": []}

    async def reload(self, _: Sequence[int], who: str) -> dict[str, Any]:
        """Take up the configuration file as it is now."""
        faults = self._desk.reload(who)
        return {"done": 0 if faults else 1, "left": [{"key": "", "topic": "", "why": fault} for fault in faults]}

    async def _done(self, action: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, action)

    def _redriven(self, path: Path, keys: Sequence[int], who: str) -> tuple[int, list[dict[str, str]]]:
        if not path.exists():
            return 0, []
        asked = {"keys": list(keys)}
        with (
            audited(path.parent, "quarantine.redrive", asked, who) as outcome,
            contextlib.closing(Editor(path)) as editor,
        ):
            redrive = Redrive(editor, lambda _: None)
            # A loop of its own, in this thread: the daemon's goes on.
            asyncio.run(redrive.run(editor.select(Selection(keys=tuple(keys))), self._desk.config))
            outcome.update(published=redrive.went, left=len(redrive.left))
        left = redrive.left[:_LEFT_NAMED_MAX]
        return redrive.went, [{"key": str(one.key), "topic": one.topic, "why": one.why} for one in left]


def keys_of(body: object) -> tuple[int, ...]:
    """Return the keys that a request names, as texts of digits. Raises `ValueError`."""
    named = body.get("keys", []) if isinstance(body, dict) else None
    if not isinstance(named, list) or len(named) > KEYS_MAX:
        raise ValueError(f"expected an object with at most {KEYS_MAX} keys")
    return tuple(key_of(one) for one in named)


def key_of(text: object) -> int:
    """Return the key of a message from its digits. Raises `ValueError`."""
    if not isinstance(text, str) or not re.fullmatch("[0-9]{1,19}", text) or int(text) > _KEY_MAX:
        raise ValueError("a key is a text of digits, as the list has it")
    return int(text)


def _purged(path: Path, keys: Sequence[int], who: str) -> int:
    if not path.exists():
        return 0
    asked = {"keys": list(keys)}
    with audited(path.parent, "quarantine.purge", asked, who) as outcome, contextlib.closing(Editor(path)) as editor:
        removed = editor.remove(keys)
        outcome["removed"] = removed
        return removed
