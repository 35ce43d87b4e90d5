"""How long the certificates in the configured files are still valid.

Read again each `LOOK_S`, in a thread: whoever renews them tells nobody. Of a file with several, the one that ends first
counts. A file that cannot be read or holds no certificate is left out here; whoever connects with it says so.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.health import expiry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.config import schema

LOOK_S: Final = 60.0


class Certificates:
    """The files, by whom they are shown to or whom they prove, and what they are: "certificate" or "ca"."""

    def __init__(self, files: Iterable[tuple[str, str, str]]) -> None:
        self._files = [(peer, kind, path) for peer, kind, path in files if path]
        self._ends: dict[tuple[str, str], float] = {}

    def look(self) -> None:
        """Read the files; blocks."""
        found = {}
        for peer, kind, path in self._files:
            with contextlib.suppress(OSError, ValueError):
                found[peer, kind] = min(
                    end.timestamp() for end in expiry.ends(Path(path).read_text("ascii", "replace"))
                )
        self._ends = found

    def left_s(self, wall_s: float) -> dict[str, dict[str, float]]:
        """Return by peer and kind how many seconds are left; less than 0 when it has ended."""
        left: dict[str, dict[str, float]] = {}
        for (peer, kind), end in self._ends.items():
            left.setdefault(peer, {})[kind] = round(end - wall_s, 0)
        return left


def of_node(config: schema.Gateway) -> Certificates:
    """Return those of a node: of its regions, standbys included, and of its broker."""
    files = [("broker", "certificate", config.broker.tls_certificate), ("broker", "ca", config.broker.tls_ca)]
    for region in config.region:
        files += [(f"region {region.name}", kind, path) for kind, path in _of_peer(region)]
    return Certificates(files)


def of_receiver(options: schema.Receiver) -> Certificates:
    """Return those of a receiver: of its region's broker, and of what it hands on to."""
    files = [("region", "certificate", options.tls_certificate), ("region", "ca", options.tls_ca)]
    for forward in options.forward:
        files += [(f"forward {forward.name}", kind, path) for kind, path in _of_peer(forward)]
    return Certificates(files)


def _of_peer(peer: schema.Peer) -> tuple[tuple[str, str], ...]:
    return ("certificate", peer.tls_certificate), ("ca", peer.tls_ca)
