"""A server behind TLS that speaks no HTTP, too much of it, or too early: bounded, and understood as far as it goes."""

from __future__ import annotations

import asyncio

import pytest

from gateway.errors import LinkError
from tests.support.authority import Authority
from tests.support.webhook_posting import batch, transport_to
from tests.support.webhook_server import raw_server, server_context

_NS = 10**9


@pytest.fixture(scope="module")
def pki(tmp_path_factory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("pki"))
    made.issue("server", "localhost")
    made.issue("other", "elsewhere.example.org")
    made.issue("node")
    return made


async def read_head(reader: asyncio.StreamReader) -> int:
    """Return the length of the content that follows the head; 0 for a probe."""
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return lengths[0] if lengths else 0


def speaking(*pieces: bytes, endless: bytes = b"", reads_all: bool = True):
    """Answer probes well, and what is posted with these bytes, the last of them again and again."""

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not (length := await read_head(reader)):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        if reads_all:
            await reader.readexactly(length)
        for piece in pieces:
            writer.write(piece)
        await writer.drain()
        while endless:
            writer.write(endless)
            await writer.drain()

    return speak


HEAD = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    ("speak", "fault"),
    [
        (speaking(b"SSH-2.0-OpenSSH_9\r\n\r\n"), "no answer from the server"),
        (speaking(b"HTTP/1.1 200"), "no answer from the server"),
        (speaking(b"HTTP/1.1 200 OK\r\n", endless=b"a: b\r\n" * 1000), "no answer from the server"),
        (speaking(b"HTTP/1.1 200 OK\r\nb: ", endless=b"a" * 1000), "no answer from the server"),
        (
            speaking(HEAD % b"500 x" + b"Content-Length: 999999999999\r\n\r\n", endless=b"a" * 1000),
            "500 Internal .*: aaaa",
        ),
    ],
)
async def test_garbage_and_answers_without_an_end_are_bounded(pki: Authority, speak, fault) -> None:
    files = pki.files("server")
    context = server_context(files["certificate"], files["key"])
    async with raw_server(context, speak) as url, transport_to(url, pki, timeout_ns=3 * _NS).connected() as link:
        with pytest.raises(LinkError, match=fault):
            await link.send([batch(1)])
        assert link.traffic() < 8 << 20


@pytest.mark.parametrize(
    "speak",
    [
        speaking(HEAD % b"200 OK" + b"Content-Length: 999999999999\r\n\r\n", endless=b"a" * 1000),
        speaking(HEAD % b"200 OK" + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        speaking(HEAD % b"200 OK" + b"Content-Length: 10\r\n\r\nhello"),
        speaking(HEAD % b"202 Accepted" + b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"),
    ],
)
async def test_a_success_is_one_whatever_is_wrong_with_its_content(pki: Authority, speak) -> None:
    files = pki.files("server")
    context = server_context(files["certificate"], files["key"])
    async with raw_server(context, speak) as url, transport_to(url, pki, timeout_ns=3 * _NS).connected() as link:
        assert await link.send([batch(1)]) == []
        assert link.traffic() < 8 << 20


async def test_an_answer_before_the_end_of_the_request_is_understood(pki: Authority) -> None:
    files = pki.files("server")
    early = speaking(HEAD % b"413 Too Large" + b"Connection: close\r\nContent-Length: 0\r\n\r\n", reads_all=False)

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await early(reader, writer)
        while await reader.read(65536):
            pass

    context = server_context(files["certificate"], files["key"])
    async with raw_server(context, speak) as url, transport_to(url, pki).connected() as link:
        (refusal,) = await link.send([batch(1, bytes(8 << 20))])
    assert refusal.is_final
