"""Addresses with places to fill in: `edge.{node}.{lane}` → `edge.press-7.alarm`. Pure."""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from gateway.transport.contract import Message

PLACES: Final = ("node", "lane")


class Address:
    """A template that is rendered for messages; what was rendered for a node and lane is kept."""

    def __init__(self, template: str) -> None:
        assert not fault(template), template
        self._template = template
        self._rendered: dict[tuple[str, str], str] = {}

    def __call__(self, message: Message) -> str:
        """Return the address of a message."""
        key = message.node, message.lane
        if key not in self._rendered:
            self._rendered[key] = self._template.format(node=message.node, lane=message.lane)
        return self._rendered[key]


def fault(template: str) -> str:
    """Return what is wrong with a template, in words that follow "the address"; empty when nothing is."""
    known = ", ".join(f"{{{place}}}" for place in PLACES)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return f"has a brace without its other half: the places are {known}"
    for _, place, layout, conversion in parts:
        if place is not None and (place not in PLACES or layout or conversion):
            return f"has the place {{{place}}}, which nothing fills: the places are {known}"
    return ""
