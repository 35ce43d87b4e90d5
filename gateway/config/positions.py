"""Find the line of every key in a TOML text, because tomllib keeps none.

The text has already been accepted by tomllib, so this only walks it: keys, headers and the edges of values. A place is
a tuple of keys and indices, ("route", 0, "time", "field"), as one would index the parsed document; headers count as
the place of their table. Arrays of tables are counted, so `[route.time]` belongs to the `[[route]]` last seen.
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_right
from typing import Final, TypeAlias

Place: TypeAlias = tuple[str | int, ...]

_BLANK: Final = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_KEY: Final = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"|'[^']*'""")
_DOT: Final = re.compile(r"[ \t]*(\.?)[ \t]*")
_STRING: Final = re.compile(
    r'"""(?:[^\\]|\\[\s\S])*?"{3,5}(?!")' + r"|'''[\s\S]*?'{3,5}(?!')" + r'|"(?:[^"\\\n]|\\.)*"' + r"|'[^'\n]*'"
)
_BARE: Final = re.compile(r"[^,\]}\n#]*")


def lines_of(text: str) -> dict[Place, int]:
    """Return place → line, counted from 1, for a TOML text that is valid."""
    return _Walk(text.replace("\r\n", "\n")).document()


def dotted(place: Place) -> str:
    """Return a place as people write it: `spool.lanes[0].name`."""
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._breaks = [index for index, sign in enumerate(text) if sign == "\n"]
        self._tables: dict[Place, int] = {}
        self._lines: dict[Place, int] = {}

    def document(self) -> dict[Place, int]:
        table: Place = ()
        while self._skip_blank():
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self._lines

    def _header(self) -> Place:
        line = self._line()
        is_array = self._text.startswith("[[", self._at)
        self._at += 2 if is_array else 1
        keys = self._keys()
        self._at += 2 if is_array else 1
        place: Place = ()
        for number, key in enumerate(keys, 1):
            place += (key,)
            if is_array and number == len(keys):
                self._lines.setdefault(place, line)
                self._tables[place] = self._tables.get(place, -1) + 1
            if place in self._tables:
                place += (self._tables[place],)
        self._lines[place] = line
        return place

    def _pair(self, table: Place) -> None:
        line = self._line()
        place = table
        for key in self._keys():
            place += (key,)
            self._lines.setdefault(place, line)
        self._at += 1
        self._value(place)

    def _keys(self) -> list[str]:
        keys = []
        more = "."
        while more:
            self._skip_blank()
            key = self._take(_KEY)
            keys.append(tomllib.loads(f"x = {key}")["x"] if key[0] in "\"'" else key)
            dot = _DOT.match(self._text, self._at)
            assert dot is not None
            self._at, more = dot.end(), dot[1]
        return keys

    def _value(self, place: Place) -> None:
        self._skip_blank()
        sign = self._text[self._at]
        if sign == "[":
            self._array(place)
        elif sign == "{":
            self._at += 1
            while self._skip_blank() and self._text[self._at] != "}":
                self._pair(place)
                self._skip_comma()
            self._at += 1
        else:
            self._take(_STRING if sign in "\"'" else _BARE)

    def _array(self, place: Place) -> None:
        self._at += 1
        index = 0
        while self._skip_blank() and self._text[self._at] != "]":
            self._lines[(*place, index)] = self._line()
            self._value((*place, index))
            self._skip_comma()
            index += 1
        self._at += 1

    def _skip_comma(self) -> None:
        if self._skip_blank() and self._text[self._at] == ",":
            self._at += 1

    def _skip_blank(self) -> bool:
        self._take(_BLANK)
        return self._at < len(self._text)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        assert match is not None, f"tomllib took what this does not know, at offset {self._at}"
        self._at = match.end()
        return match[0]

    def _line(self) -> int:
        return bisect_right(self._breaks, self._at) + 1
