"""What an answer of an HTTP server means for what was posted. Pure.

    2xx                      taken
    400, 413, 415, 422       about the content: a joined request is halved, one message is refused
    401, 403                 credentials
    404, 405, 410, 3xx       the address is wrong; redirects are not followed
    everything else          not now: 408, 409, 425, 429, 5xx

Only 413 says for good that it is the message: a server that is set up wrongly says 400, 415 and 422 to all of them, so
it has to be shown (`webhook_requests.judged`), or who sends finds out. Any answer may carry Retry-After, and the error
then has the fact `retry_after_s`.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from gateway.errors import CredentialError, LinkError
from gateway.transport.webhook_requests import Verdict

RETRY_AFTER_S_MAX: Final = 3600.0
"""Longest wait that a server can ask for."""
WORDS_MAX: Final = 200
"""Characters of an answer's content that are shown."""

_CONTENT: Final = frozenset({400, 413, 415, 422})
_CREDENTIALS: Final = frozenset({401, 403})
_ADDRESS: Final = frozenset({404, 405, 410})
_TOO_LARGE: Final = 413


class Answer(NamedTuple):
    """What a server answered: status, the fields that matter here (empty when not there), the content's beginning."""

    status: int
    retry_after: str = ""
    location: str = ""
    content: bytes = b""


def verdict(answer: Answer, now_s: float) -> Verdict:
    """Return what is said about the content; `now_s` is Unix time. Raises `LinkError` and `CredentialError`."""
    status = answer.status
    if 200 <= status < 300:  # noqa: PLR2004  # the class of success
        return Verdict()
    words = said(answer)
    if status in _CONTENT:
        return Verdict(words, status == _TOO_LARGE, status == _TOO_LARGE)
    if status in _CREDENTIALS:
        hint = "check the token, key or certificate of this region, and the clock where requests are signed"
        raise CredentialError(words, hint=hint, status=status)
    facts: dict[str, object] = {"status": status}
    wait_s = retry_after_s(answer.retry_after, now_s)
    if wait_s is not None:
        facts["retry_after_s"] = wait_s
    raise LinkError(words, hint=_hint(answer), **facts)


def said(answer: Answer) -> str:
    """Return the answer in words: number, its meaning, and what the content says where it is text."""
    try:
        phrase = f" {HTTPStatus(answer.status).phrase}"
    except ValueError:
        phrase = ""
    text = " ".join(answer.content[: 4 * WORDS_MAX].decode("utf-8", "replace").split())
    shown = "".join(character for character in text if character.isprintable())[:WORDS_MAX]
    return f"the server answers {answer.status}{phrase}" + (f": {shown}" if shown else "")


def retry_after_s(field: str, now_s: float) -> float | None:
    """Return how long the field Retry-After asks to wait (RFC 9110, section 10.2.3); None when it says nothing."""
    field = field.strip()
    if field.isascii() and field.isdigit():
        return min(float(field), RETRY_AFTER_S_MAX)
    try:
        at = parsedate_to_datetime(field)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return min(max(at.timestamp() - now_s, 0.0), RETRY_AFTER_S_MAX)


def _hint(answer: Answer) -> str:
    if answer.status in _ADDRESS:
        return "check region.webhook.url, and that the server takes POST there"
    if 300 <= answer.status < 400:  # noqa: PLR2004  # the class of redirection
        target = "".join(character for character in answer.location if character.isprintable())[:WORDS_MAX]
        to = f", to {target}" if target else ""
        return f"redirects are not followed{to}: put the final address into region.webhook.url"
    return ""
