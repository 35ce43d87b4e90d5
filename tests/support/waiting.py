"""Waiting for a condition: polled, bounded, and clear about what did not come true."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_S = 0.01
Found = TypeVar("Found")


def wait_for(condition: Callable[[], Found], what: str, timeout_s: float = 20.0, poll_s: float = POLL_S) -> Found:
    """Return the first true value of `condition`; fail with `what` and its last value after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}; last seen: {found!r}"
        time.sleep(poll_s)
