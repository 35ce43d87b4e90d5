"""What the health endpoint asks of whoever it speaks for: the daemon of a box, or a receiver.

`unwell` and `unready` are two questions. Who is unwell should be started anew; who is unready is at work, but takes
nothing in just now. Neither depends on the regions: a site whose uplink is gone is well and ready.
"""

from __future__ import annotations

from typing import Protocol


class Watched(Protocol):
    """A process that can be looked at. All answers are made on the loop, and quickly."""

    def status(self) -> dict[str, object]:
        """Return everything that people may want to see, as plain data."""

    def unwell(self) -> str:
        """Return why the process does not work any more; empty when it does."""

    def unready(self) -> str:
        """Return why no input is taken in now; empty when it is."""
