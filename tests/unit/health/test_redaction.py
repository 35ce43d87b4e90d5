"""What must not be shown is not shown."""

from __future__ import annotations

import base64

import pytest

from gateway import redaction
from gateway.redaction import MASK


@pytest.fixture(autouse=True)
def knowing_nothing(monkeypatch) -> None:
    monkeypatch.setattr(redaction, "_known", {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cannot connect to amqp://edge:s3same!@broker:5671/", f"cannot connect to amqp://edge:{MASK}@broker:5671/"),
        ("host=db password=s3same dbname=edge", f"host=db password={MASK} dbname=edge"),
        ("host=db password='s3 same' dbname=edge", f"host=db password={MASK} dbname=edge"),
        ("https://example.org/hook?token=abcdef123&x=1", f"https://example.org/hook?token={MASK}&x=1"),
        ("Authorization: Bearer abcdefghijklmnop.qrst", f"Authorization: Bearer {MASK}"),
        ("-----BEGIN PRIVATE KEY-----\nMC4CAQ\n-----END PRIVATE KEY----- rest", f"{MASK} rest"),
        ("-----BEGIN EC PRIVATE KEY-----\nMC4CAQ", MASK),
    ],
)
def test_forms_that_hold_secrets_are_masked(text, shown) -> None:
    assert redaction.masked(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "cannot read the password file /etc/edge/password: Permission denied",
        "broker 127.0.0.1:1883: connected",
        "see https://example.org:8443/page@2",
        "the secret is that basic information needs no mask",
    ],
)
def test_lines_without_secrets_stay_as_they_are(text) -> None:
    assert redaction.masked(text) == text


def test_what_was_learned_is_masked_as_text_as_hex_and_as_base64() -> None:
    secret = b"correct horse battery"
    redaction.learn(secret)
    for form in (secret.decode(), secret.hex(), base64.b64encode(secret).decode().rstrip("=")):
        assert redaction.masked(f"it said {form}, no more") == f"it said {MASK}, no more"


def test_short_texts_are_not_learned() -> None:
    redaction.learn(b"plant")
    assert redaction.masked("plant/7/climate") == "plant/7/climate"


def test_plain_data_is_masked_all_through() -> None:
    found = {"regions": [{"last_fault": "password=abcdef"}], "count": 3, "none": None}
    assert redaction.masked_all(found) == {"regions": [{"last_fault": f"password={MASK}"}], "count": 3, "none": None}
