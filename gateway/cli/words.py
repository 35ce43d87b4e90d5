"""What words of the command line stand for, as types of argparse: what cannot be meant is told with the usage."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gateway.config.units import parse_duration, parse_size
from gateway.process.topics import filter_fault

if TYPE_CHECKING:
    from collections.abc import Callable


def duration(text: str) -> int:
    """Return nanoseconds of a number with its unit. Raises `ArgumentTypeError`."""
    return _parsed(parse_duration, text)


def size(text: str) -> int:
    """Return bytes of a number with its unit. Raises `ArgumentTypeError`."""
    return _parsed(parse_size, text)


def positive(text: str) -> int:
    """Return a whole number of at least 1. Raises `ArgumentTypeError`."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a whole number of at least 1")
    return int(text)


def topic_filter(text: str) -> str:
    """Return a topic filter of MQTT. Raises `ArgumentTypeError`."""
    fault = filter_fault(text)
    if fault:
        raise argparse.ArgumentTypeError(f"{text!r} is no topic filter: {fault}")
    return text


def _parsed(parse: Callable[[str], int], text: str) -> int:
    try:
        return parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
