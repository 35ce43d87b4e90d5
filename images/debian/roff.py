"""Text as man(7) source: escaped, and put into the few macros that groff and mandoc read alike.

A line that begins with a dot is a request to the formatter, and a bare hyphen may be shown as a dash that cannot be
copied into a shell; so nothing goes into a page but through `text`.
"""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPES: Final = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}
_ESCAPED: Final = re.compile("[" + re.escape("".join(_ESCAPES)) + "]")


_WIDTH: Final = 78
"""Longest line of the source, which mandoc minds."""


def text(words: str) -> str:
    """Return plain text on one line."""
    line = _ESCAPED.sub(lambda match: _ESCAPES[match[0]], " ".join(words.split()))
    return rf"\&{line}" if line.startswith(".") else line


def paragraph(words: str) -> str:
    """Return one paragraph of plain text, broken into lines."""
    lines = textwrap.wrap(text(words), _WIDTH, break_long_words=False, break_on_hyphens=False)
    return "\n".join(rf"\&{line}" if line.startswith(".") else line for line in lines)


def bold(words: str) -> str:
    """Return words to be typed as they are."""
    return rf"\fB{text(words)}\fR"


def italic(words: str) -> str:
    """Return words that stand for others."""
    return rf"\fI{text(words)}\fR"


def title(name: str, section: int, version: str, day: str) -> list[str]:
    """Return the first lines of a page; `day` is written as 2026-11-30."""
    return [rf'.TH "{text(name.upper())}" "{section}" "{day}" "edge\-gateway {text(version)}" "Edge gateway"']


def heading(words: str) -> list[str]:
    """Return the head of a section."""
    return [f".SH {text(words.upper())}"]


def subheading(words: str) -> list[str]:
    """Return the head of a part of a section."""
    return [f'.SS "{text(words)}"']


def item(term: str, *paragraphs: str) -> list[str]:
    """Return an entry of a list of terms, all of it roff already."""
    lines = [".TP", term, paragraphs[0] if paragraphs else r"\&"]
    for paragraph in paragraphs[1:]:
        lines += [".br", paragraph]
    return lines


def example(lines: Sequence[str]) -> list[str]:
    """Return lines to be shown as they are."""
    shown = [_ESCAPED.sub(lambda match: _ESCAPES[match[0]], line) for line in lines]
    return [".PP", ".RS 4", ".nf", *(rf"\&{line}" if line.startswith(".") else line for line in shown), ".fi", ".RE"]
