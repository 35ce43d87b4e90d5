"""What must not be shown: secrets that this process has read, and whatever looks like one.

Whoever reads a password, a token or a key from a file says so (`learn`), and everything that leaves the process for
people passes `masked`: log lines, the status, `gateway config explain`. So a library that puts what it was given into
the text of an error tells nobody. Besides what was learned, forms that hold secrets are known: a password in a URL, in
libpq's words or in a header, and a private key in PEM form.

Texts shorter than `BYTES_MIN` are not learned: masking them would destroy lines that have nothing to do with them. What
is kept is bounded; the oldest goes, which by then was renewed many times.
"""

from __future__ import annotations

import base64
import re
from typing import Final

MASK: Final = "•••"
BYTES_MIN: Final = 6
KNOWN_MAX: Final = 256

_FORMS: Final = (
    (re.compile(r"-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL), MASK),
    (re.compile(r"(://[^/\s:@\"']*:)[^/\s@\"']+(@)"), rf"\1{MASK}\2"),
    (
        re.compile(
            r"(?i)((?<![/.\w-])(?:password|passwd|pwd|secret|token|api[-_]?key)\s*[=:]\s*)('[^']*'|[^\s,;&\"'}\])]+)"
        ),
        rf"\1{MASK}",
    ),
    (re.compile(r"(?i)(\b(?:bearer|basic)\s+)[a-z0-9._~+/=-]{16,}"), rf"\1{MASK}"),
)
_SIGNS: Final = re.compile(r"(?i)PRIVATE KEY|://|password|passwd|pwd|secret|token|api.?key|bearer|basic")

_known: dict[str, None] = {}


def learn(secret: bytes) -> None:
    """Mask these bytes from now on: as text, and as hexadecimal and Base64 have them."""
    if len(secret) < BYTES_MIN:
        return
    for form in (_text(secret), secret.hex(), base64.b64encode(secret).decode().rstrip("=")):
        _known.pop(form, None)
        _known[form] = None
    while len(_known) > KNOWN_MAX:
        del _known[next(iter(_known))]


def masked(text: str) -> str:
    """Return the text without what is secret in it."""
    for form in _known:
        if form in text:
            text = text.replace(form, MASK)
    if _SIGNS.search(text):
        for pattern, instead in _FORMS:
            text = pattern.sub(instead, text)
    return text


def masked_all(found: object) -> object:
    """Return plain data (what JSON has) with all its texts masked; keys are ours and stay."""
    if isinstance(found, str):
        return masked(found)
    if isinstance(found, dict):
        return {key: masked_all(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [masked_all(value) for value in found]
    return found


def _text(secret: bytes) -> str:
    return secret.decode("utf-8", "backslashreplace")
