"""The text of a `.proto` file → tokens, with the line of each for faults.

Source: https://protobuf.dev/reference/protobuf/textformat-spec/#elements and .../reference/protobuf/proto3-spec/,
"Lexical elements".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from gateway.errors import ConfigError

TEXT_BYTES_MAX: Final = 256 * 1024
HINT: Final = "`protoc` names what is wrong with it, too"

_TOKEN: Final = re.compile(
    r"""
      (?P<skip>\s+ | //[^\n]* | /\*.*?\*/)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<number>0[xX][0-9a-fA-F]+ | (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*')
    | (?P<mark>[{}()\[\]<>=;,.:/+-])
    """,
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_ESCAPE: Final = re.compile(
    rb"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)
_SINGLE: Final = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class Token(NamedTuple):
    """One token: `kind` is name, number, text, mark or, at the end, end."""

    kind: str
    text: str
    line: int


class Tokens:
    """The tokens of one file, read from the first to the last. Every method raises `ConfigError`."""

    def __init__(self, data: bytes) -> None:
        if len(data) > TEXT_BYTES_MAX:
            raise ConfigError(f"the schema has {len(data)} bytes, {TEXT_BYTES_MAX} are allowed", hint=HINT)
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            raise ConfigError("the schema is not UTF-8", hint=HINT) from None
        self._tokens = _split(text)
        self._at = 0

    @property
    def next(self) -> Token:
        """The token that is taken next."""
        return self._tokens[self._at]

    def take(self, kind: str = "", what: str = "") -> str:
        """Return the next token's text, which must be of a kind where one is named; `what` says it for people."""
        token = self.next
        if token.kind == "end" or (kind and token.kind != kind):
            raise self.fault(f"{what or f'a {kind}' if kind else 'more'} is missing before {token.text[:40]!r}")
        self._at += 1
        return token.text

    def takes(self, text: str) -> bool:
        """Pass over `text` if it is next, and return whether it was; a text between quotes is never meant."""
        is_next = self.next.text == text and self.next.kind in {"name", "mark"}
        self._at += is_next
        return is_next

    def expect(self, text: str) -> None:
        """Pass over `text`, which must be next."""
        if not self.takes(text):
            raise self.fault(f"{text!r} is missing before {self.next.text[:40]!r}")

    def full_name(self) -> str:
        """Return a name with dots, one before it included."""
        found = "." if self.takes(".") else ""
        found += self.take("name")
        while self.takes("."):
            found += "." + self.take("name")
        return found

    def integer(self) -> int:
        """Return an integer: decimal, octal or hexadecimal, with or without a minus."""
        sign = -1 if self.takes("-") else 1
        text = self.take("number")
        try:
            is_octal = len(text) > 1 and text[0] == "0" and text.isdigit()
            return sign * (int(text, 8) if is_octal else int(text, 0))
        except ValueError:
            raise self.fault(f"{text[:40]!r} is no integer") from None

    def string(self) -> bytes:
        """Return what is between quotes; several in a row are one."""
        found = _unescaped(self.take("text"))
        while self.next.kind == "text":
            found += _unescaped(self.take())
        return found

    def skip_block(self) -> None:
        """Pass over `{ … }`, which is next, whatever it holds."""
        self.expect("{")
        depth = 1
        while depth:
            token = self.next
            self.take()
            if token.kind == "mark":
                depth += (token.text == "{") - (token.text == "}")

    def fault(self, sentence: str) -> ConfigError:
        """Return the error of a text that is wrong here."""
        return ConfigError(f"the schema is no text of Protobuf: line {self.next.line}: {sentence}", hint=HINT)


def _split(text: str) -> list[Token]:
    tokens: list[Token] = []
    at, line = 0, 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise ConfigError(f"the schema is no text of Protobuf: line {line}: {text[at]!r} is unexpected", hint=HINT)
        if found.lastgroup != "skip":
            tokens.append(Token(str(found.lastgroup), found[0], line))
        line += found[0].count("\n")
        at = found.end()
    return [*tokens, Token("end", "the end", line)]


def _unescaped(quoted: str) -> bytes:
    return _ESCAPE.sub(_of_escape, quoted[1:-1].encode())


def _of_escape(found: re.Match[bytes]) -> bytes:
    hexadecimal, octal, short, long, single = found.groups()
    if hexadecimal or octal:
        return bytes([(int(hexadecimal, 16) if hexadecimal else int(octal, 8)) & 0xFF])
    if short or long:
        return chr(min(int(short or long, 16), 0x10FFFF)).encode(errors="replace")
    return _SINGLE.get(single, single)
