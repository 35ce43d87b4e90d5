"""What the console asks of the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.config import schema
    from gateway.config.render import Effective
    from gateway.console.recent import Recent


class Desk(Protocol):
    """A daemon that may be looked at and told something. Everything is called on the loop and answers at once."""

    config: schema.Gateway
    """The configuration at work."""

    effective: Sequence[Effective]
    """Every value of it, with its origin."""

    recent: Recent | None
    """Recent readings."""

    status: Callable[[], dict[str, object]]
    """Everything that people may want to see, as plain data."""

    reload: Callable[[str], Sequence[str]]
    """Takes up the configuration file as it is now, for whoever asks; says what is wrong, nothing when it is taken."""
