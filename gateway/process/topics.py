"""MQTT topic names and topic filters.

Source: MQTT 5.0 section 4.7.
"""

from __future__ import annotations

import re
from typing import Final

TOPIC_BYTES_MAX: Final = 65535


def matches(pattern: str, topic: str) -> bool:
    """Return whether the topic filter `pattern`, which must be valid, takes `topic`.

    `+` takes one level, a last `#` the rest and the level before it; neither takes a first level that begins with `$`.
    """
    if topic[:1] == "$" and pattern[:1] in ("+", "#"):
        return False
    wanted, levels = pattern.split("/"), topic.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        del levels[len(wanted) :]
    return len(wanted) == len(levels) and all(want in ("+", level) for want, level in zip(wanted, levels, strict=True))


def expression(pattern: str) -> str:
    """Return a regular expression, for `fullmatch` with DOTALL, that takes what the topic filter `pattern` takes."""
    levels = pattern.split("/")
    takes_rest = levels[-1] == "#"
    if takes_rest:
        levels.pop()
    guard = r"(?!\$)" if pattern[:1] in ("+", "#") else ""
    if not levels:
        return f"{guard}.*"
    path = "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels)
    return f"{guard}{path}(?:/.*)?" if takes_rest else f"{guard}{path}"


def covers(pattern: str, other: str) -> bool:
    """Return whether `pattern` takes every topic that the topic filter `other` takes; both must be valid."""
    if other[:1] == "$" and pattern[:1] in ("+", "#"):
        return False
    wanted, others = pattern.split("/"), other.split("/")
    if wanted[-1] == "#":
        wanted.pop()
        if len(others) < len(wanted) or (others[-1] == "#" and len(others) == len(wanted)):
            return False
        del others[len(wanted) :]
    return len(wanted) == len(others) and all(
        want == one or (want == "+" and one != "#") for want, one in zip(wanted, others, strict=True)
    )


def filter_fault(pattern: str) -> str:
    """Return what makes `pattern` no topic filter for a route, as a sentence; empty when nothing does."""
    if not pattern:
        return "it is empty"
    if len(pattern.encode(errors="surrogatepass")) > TOPIC_BYTES_MAX:
        return f"it is longer than {TOPIC_BYTES_MAX} bytes"
    if "\0" in pattern or not _is_unicode(pattern):
        return "it holds a character that MQTT does not allow"
    return _level_fault(pattern.split("/"))


def _level_fault(levels: list[str]) -> str:
    if levels[0] == "$share":
        return "it is a shared subscription, of which a gateway would get only a part"
    for number, level in enumerate(levels, 1):
        if "#" in level and (level != "#" or number != len(levels)):
            return "it has a `#` that is not the whole last level"
        if "+" in level and level != "+":
            return "it has a `+` that is not a whole level"
    return ""


def topic_fault(topic: str) -> str:
    """Return what makes `topic` no name that a message may have, as a sentence; empty when nothing does."""
    if not topic:
        return "it is empty"
    if "+" in topic or "#" in topic:
        return "it holds a wildcard"
    if "\0" in topic or not _is_unicode(topic):
        return "it holds a character that MQTT does not allow"
    return ""


def topic_refusal(topic: str, bytes_max: int) -> tuple[str, str] | None:
    """Return (reason, sentence) when a message with this topic cannot be taken."""
    fault = topic_fault(topic)
    if fault:
        return "topic_invalid", f"no message may have this topic, {fault}"
    if len(topic.encode()) > bytes_max:
        return "topic_too_long", f"the topic is longer than {bytes_max} bytes"
    return None


def series_fault(topic: str, bytes_max: int) -> str:
    """Return why readings cannot go under this topic, which a payload has made longer, as a sentence.

    Nobody subscribes to it, so a `+` or `#` in it does no harm.
    """
    if "\0" in topic or not _is_unicode(topic):
        return "it holds a character that no topic may hold"
    if len(topic.encode()) > bytes_max:
        return f"with the topic it is longer than {bytes_max} bytes"
    return ""


def _is_unicode(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= character <= "\udfff" for character in text)
