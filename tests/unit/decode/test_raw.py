"""Raw payloads pass as they are."""

from __future__ import annotations

import pytest

from gateway.decode import raw
from gateway.decode.contract import Limits
from gateway.errors import DecodeError


def test_any_payload_is_its_bytes() -> None:
    assert raw.decoder(Limits())(b"\xff\x00{") == {"value": b"\xff\x00{"}


def test_an_empty_payload_is_none() -> None:
    with pytest.raises(DecodeError, match="empty"):
        raw.decoder(Limits())(b"")
