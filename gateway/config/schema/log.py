"""Options of the log."""

from __future__ import annotations

from typing import Annotated, Literal

from gateway.config.section import Section, option


class Log(Section, frozen=True, kw_only=True):
    """What the gateway says of itself on standard error; a reload takes this up."""

    level: Annotated[Literal["debug", "info", "warning", "error"], option("The least level that is written.")] = "info"
    format: Annotated[
        Literal["auto", "json", "text", "journal"],
        option(
            "The form: of systemd's journal where that listens, else text at a terminal, else JSON; or one of them."
        ),
    ] = "auto"
    lines_per_minute: Annotated[
        int,
        option(
            "Lines of one kind in a minute; more are left out, counted and told as one line. 0 lets all through.",
            unit="lines",
            low=0,
            high=100_000,
        ),
    ] = 60
