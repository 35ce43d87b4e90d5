"""Tokens, secrets and keys of a webhook: taken from files as they are now, and options that do not fit each other."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.config.schema import Webhook
from gateway.errors import ConfigError, CredentialError
from gateway.transport.http_signatures import Request, verify
from gateway.transport.watched_file import WatchedFile
from gateway.transport.webhook_authority import Authority

NOW = 1_800_000_000.0
URL = "https://example.org/edge"
POST = {"Content-Type": "application/x", "Idempotency-Key": '"b1"', "ce-id": "b1"}


def pem(key: Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize("algorithm", ["ed25519", "hmac-sha256"])
@pytest.mark.parametrize("url", [URL, f"{URL}?lane=alarm"])
def test_all_that_says_what_is_posted_is_signed(tmp_path: Path, algorithm, url) -> None:
    key = Ed25519PrivateKey.generate() if algorithm == "ed25519" else bytes(range(32))
    (tmp_path / "key").write_bytes(key if isinstance(key, bytes) else pem(key))
    options = Webhook(url=url, signature=algorithm, key_file=str(tmp_path / "key"), key_id="n1")
    fields = Authority(options).signed("POST", url, POST, b"content", NOW)
    request = Request("POST", url, {name.lower(): value for name, value in fields.items()})
    signed = verify(request, b"content", {"n1": key}.get, NOW, required=["@method"])
    query = ["@query"] if "?" in url else []
    assert list(signed.components) == [
        *["@method", "@authority", "@path", *query],
        *["content-type", "idempotency-key", "ce-id", "content-digest"],
    ]
    assert (signed.parameters.algorithm, signed.parameters.expires, signed.parameters.nonce) == (algorithm, None, "")


def test_a_signature_ends_and_is_never_the_same_where_that_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "key").write_bytes(bytes(range(32)))
    options = Webhook(
        url=URL,
        signature="hmac-sha256",
        key_file=str(tmp_path / "key"),
        signature_valid_ns=60 * 10**9,
        signature_nonce=True,
    )
    authority = Authority(options)
    made = [authority.signed("POST", URL, POST, b"", NOW)["Signature-Input"] for _ in range(2)]
    assert all(f";created={NOW:.0f};expires={NOW + 60:.0f};nonce=" in one for one in made)
    assert made[0] != made[1]


def test_token_and_secret_go_into_their_fields(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc.def\n")
    (tmp_path / "secret").write_text(" SharedAccessKey xyz= \n")
    options = Webhook(
        url=URL,
        token_file=str(tmp_path / "token"),
        secret_header="aeg-sas-key",  # noqa: S106  # the name of a header
        secret_file=str(tmp_path / "secret"),
    )
    authority = Authority(options)
    assert authority.signed("POST", URL, POST, b"", NOW) == {
        **POST,
        "Authorization": "Bearer abc.def",
        "aeg-sas-key": "SharedAccessKey xyz=",
    }
    (tmp_path / "token").write_text("renewed")
    assert authority.fields()["Authorization"] == "Bearer renewed"


def test_a_secret_that_is_renewed_half_way_is_reported_once_and_the_former_one_is_used(tmp_path: Path, caplog) -> None:
    path = tmp_path / "secret"
    path.write_text("first")

    def parse(data: bytes) -> str:
        if not data:
            raise ValueError("it is empty")
        return data.decode()

    watched = WatchedFile(str(path), parse)
    with caplog.at_level(logging.WARNING):
        assert watched.secret() == "first"
        path.write_text("")
        assert [watched.secret(), watched.secret()] == ["first", "first"]
        assert [record.getMessage() for record in caplog.records] == [
            f"cannot use {path}: it is empty; what was read before is used"
        ]
        path.unlink()
        assert watched.secret() == "first"
        path.write_text("second")
        assert watched.secret() == "second"


@pytest.mark.parametrize(
    ("signature", "content", "fault"),
    [
        ("ed25519", None, "No such file"),
        ("ed25519", b"no key", "no private key in PEM form"),
        ("ed25519", pem(rsa.generate_private_key(65537, 2048)), "not one of Ed25519"),
        ("hmac-sha256", b"short", "5 bytes is too short"),
    ],
)
def test_a_key_that_cannot_sign_is_said_to_be_none(tmp_path: Path, signature, content, fault) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    authority = Authority(Webhook(url=URL, signature=signature, key_file=str(tmp_path / "key")))
    with pytest.raises(CredentialError, match=fault):
        authority.fields()


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"a\x00b", b"gr\xfcn"])
def test_a_token_that_no_header_can_carry_is_refused(tmp_path: Path, content) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(CredentialError, match=r"it is empty|not one line"):
        Authority(Webhook(url=URL, token_file=str(tmp_path / "token"))).fields()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"url": "http://example.org/"}, "url .*of the form https"),
        ({"url": "https://"}, "url .*of the form https"),
        ({"url": "https://example.org:0/"}, "url .*of the form https"),
        ({"url": "https://example.org:99999/"}, "url .*correct host and port"),
        ({"url": "https://[example.org/"}, "url .*correct host and port"),
        ({"url": "https://me:secret@example.org/"}, "url .*user name"),
        ({"url": "https://example.org/#here"}, "url .*has a #"),
        ({"signature": "ed25519"}, "key_file is needed"),
        ({"key_file": "key"}, "key_file means nothing"),
        ({"secret_header": "aeg-sas-key"}, "secret_header is set and secret_file is not"),
        ({"secret_file": "secret"}, "secret_file is set and secret_header is not"),
        ({"secret_header": "a b", "secret_file": "secret"}, "secret_header .*no name of a header"),
        ({"secret_header": "Content-Type", "secret_file": "secret"}, "secret_header .*sets itself"),
        ({"secret_header": "ce-id", "secret_file": "secret"}, "secret_header .*sets itself"),
        ({"secret_header": "Authorization", "secret_file": "s", "token_file": "t"}, "secret_header .*token_file sets"),
        ({"key_id": "ä"}, "key_id is not plain ASCII"),
    ],
)
def test_options_that_do_not_fit_are_refused_before_anything_is_sent(options, fault) -> None:
    with pytest.raises(ConfigError, match=rf"^region\.webhook\.{fault}"):
        Authority(Webhook(**{"url": URL, **options}))
