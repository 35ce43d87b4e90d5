"""What the options of a webhook must be to each other. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config import schema

_FIELD_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OWN_FIELDS: Final = re.compile(
    r"host|connection|content-.*|transfer-.*|te|trailer|upgrade|expect|idempotency-key|signature|signature-input|ce-.*",
    re.IGNORECASE,
)


def faults(options: schema.Webhook) -> Iterator[tuple[str, str]]:
    """Yield each option that does not fit, and what is wrong with it, in words that follow the option's name."""
    fault = url_fault(options.url)
    if fault:
        yield "url", f'"{options.url}" {fault}'
    if options.signature != "none" and not options.key_file:
        yield "key_file", "is needed by signature: name the file with the key"
    if options.signature == "none" and options.key_file:
        yield "key_file", "means nothing without signature: set that, or remove this"
    if not (options.key_id.isascii() and options.key_id.isprintable()):
        yield "key_id", "is not plain ASCII: choose another name"
    for one, other in (("secret_header", "secret_file"), ("secret_file", "secret_header")):
        if getattr(options, one) and not getattr(options, other):
            yield one, f"is set and {other} is not: set both"
    name = options.secret_header
    if name and not _FIELD_NAME.fullmatch(name):
        yield "secret_header", f'"{name}" is no name of a header: correct it'
    if _OWN_FIELDS.fullmatch(name):
        yield "secret_header", f'"{name}" is a header that the gateway sets itself: choose another'
    if name.lower() == "authorization" and options.token_file:
        yield "secret_header", f'"{name}" is what token_file sets: remove one of them'


def url_fault(text: str) -> str:
    """Return what is wrong with the address, where places are to be filled in yet; empty when nothing is."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        return "is no address: correct host and port"
    if url.scheme != "https" or not url.hostname or port == 0:
        return "is no address of the form https://host/path: correct it"
    if url.username is not None:
        return "holds a user name: remove it, what is secret belongs into a file"
    if url.fragment:
        return "has a #: remove it and what follows, no server sees that"
    return ""
