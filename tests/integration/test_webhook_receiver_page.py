"""The receiver in the documents runs: it takes what a node signs, refuses everything else, and stores nothing twice."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from gateway.errors import CredentialError
from tests.support.authority import Authority
from tests.support.webhook_posting import batch, structured, transport_to

PAGE = Path(__file__).resolve().parents[2] / "docs" / "transports" / "webhook.md"


@dataclass
class Example:
    """The receiver of the page as it runs."""

    pki: Authority
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/edge/{{node}}/{{lane}}?a=b"

    @property
    def stored(self) -> list[bytes]:
        return sorted(path.read_bytes() for path in self.folder.iterdir() if path.is_file())


def write_key(key: Ed25519PrivateKey, path: Path) -> dict[str, str]:
    """Write a private key; return the options that sign with it."""
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return {"signature": "ed25519", "key_file": str(path), "key_id": "press-7"}


@pytest.fixture
def signing(tmp_path: Path) -> dict[str, str]:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "store" / "keys").mkdir(parents=True)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "store" / "keys" / "press-7.pem").write_bytes(public)
    return write_key(key, tmp_path / "webhook.key")


@pytest.fixture
def example(tmp_path: Path, signing: dict[str, str]) -> Iterator[Example]:
    assert signing
    script = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert script is not None
    (tmp_path / "receiver.py").write_text(script[1])
    pki = Authority(tmp_path / "pki")
    pki.issue("server", "localhost")
    files = pki.files("server")
    folder = tmp_path / "store"
    command = [sys.executable, str(tmp_path / "receiver.py"), files["certificate"], files["key"], folder, "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Example(pki, folder, int(process.stdout.readline()))
        finally:
            process.kill()
            process.communicate(timeout=10)


async def test_what_a_node_signs_is_stored_once_however_often_it_is_posted(example: Example, signing) -> None:
    for _ in range(2):
        async with transport_to(example.url, example.pki, events_max=100, **signing).connected() as link:
            assert await link.send(structured(150)) == []
            assert await link.send([batch(1, b"\x00" * 300_000)]) == []
    lists = [json.loads(content) for content in example.stored if content.startswith(b"[")]
    assert sorted(event["id"] for found in lists for event in found) == sorted(one.id for one in structured(150))
    assert [content for content in example.stored if not content.startswith(b"[")] == [b"\x00" * 300_000]


async def test_what_another_key_signs_or_nobody_is_not_stored(example: Example, signing, tmp_path: Path) -> None:
    foreign = write_key(Ed25519PrivateKey.generate(), tmp_path / "foreign.key")
    for options, fault in ((foreign, "not one of this request"), ({}, "the request is not signed")):
        async with transport_to(example.url, example.pki, **options).connected() as link:
            with pytest.raises(CredentialError, match=f"401 Unauthorized: .*{fault}"):
                await link.send([batch(1)])
    assert example.stored == []
    async with transport_to(example.url, example.pki, **signing).connected() as link:
        assert await link.send([batch(1)]) == []
