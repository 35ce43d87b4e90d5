"""A registry of schemas with Confluent's REST interface, asked for the number of our events' schema.

What is produced begins with that number, so that any consumer that knows the registry can read it: a zero, four bytes,
and for Protobuf the place of the message in its file (another zero: the first). A schema is registered under a subject,
which is named after the topic, the record, or both; numbers never change, so each subject is asked for once.

Source: Confluent Schema Registry, API reference and "Wire format".
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Final, Literal, NamedTuple
from urllib.parse import quote

import msgspec

from gateway import redaction
from gateway.errors import CredentialError, LinkError
from gateway.schemas import event
from gateway.transport.https import HttpsLine
from gateway.transport.subscriber import password_of
from gateway.transport.tls import client_context

if TYPE_CHECKING:
    from gateway.config import schema
    from gateway.transport.webhook_answers import Answer

ANSWER_S: Final = 10.0

_TYPE: Final = "application/vnd.schemaregistry.v1+json"
_OK, _NOT_FOUND, _CONFLICT = 200, 404, 409
_CREDENTIALS: Final = frozenset({401, 403})
_TOLD_MAX: Final = 300


class Registered(NamedTuple):
    """A schema as the registry takes it; `after_number` follows the number in what is produced."""

    kind: str
    text: str
    after_number: bytes


class _Number(msgspec.Struct):
    id: int


class _Fault(msgspec.Struct):
    message: str


class SchemaRegistry:
    """One registry, one schema. `ca` is trusted where the options name no other."""

    def __init__(self, options: schema.Registry, encoding: Literal["json", "avro", "protobuf"], ca: str) -> None:
        self._options = options
        self._schema = (
            Registered("PROTOBUF", event.protobuf(), b"\0")
            if encoding == "protobuf"
            else Registered("AVRO", event.avro(), b"")
        )
        self._ca = options.tls_ca or ca
        self._password = password_of(options.password_file)
        self._begins: dict[str, bytes] = {}

    async def begin(self, topic: str) -> bytes:
        """Return what the payloads of a topic begin with. Raises `LinkError`, `CredentialError`."""
        subject = {"topic": f"{topic}-value", "record": event.NAME, "topic_record": f"{topic}-{event.NAME}"}
        name = subject[self._options.subject]
        if name not in self._begins:
            number = await self._ask(name)
            self._begins[name] = b"\0" + number.to_bytes(4, "big") + self._schema.after_number
        return self._begins[name]

    async def _ask(self, subject: str) -> int:
        versions = "/versions" if self._options.register else ""
        url = f"{self._options.url.rstrip('/')}/subjects/{quote(subject, safe='')}{versions}"
        content = msgspec.json.encode({"schemaType": self._schema.kind, "schema": self._schema.text})
        loop = asyncio.get_running_loop()
        context = await loop.run_in_executor(None, client_context, self._ca, "", "")
        line = HttpsLine(context, ANSWER_S, ANSWER_S)
        try:
            answer = await line.exchange("POST", url, self._fields(), content)
        except LinkError as error:
            raise LinkError(f"the schema registry: {error.fault}") from error
        finally:
            await line.close()
        if answer.status != _OK:
            raise self._refused(answer, subject)
        try:
            return msgspec.json.decode(answer.content, type=_Number).id
        except msgspec.DecodeError as error:
            raise LinkError(f"the schema registry answers what is no number of a schema: {error}") from error

    def _fields(self) -> dict[str, str]:
        fields = {"Content-Type": _TYPE, "Accept": _TYPE}
        if self._options.username:
            secret = self._options.username.encode() + b":" + (self._password() or b"")
            redaction.learn(secret)
            fields["Authorization"] = f"Basic {b64encode(secret).decode()}"
        return fields

    def _refused(self, answer: Answer, subject: str) -> LinkError | CredentialError:
        try:
            told = msgspec.json.decode(answer.content, type=_Fault).message
        except msgspec.DecodeError:
            told = answer.content.decode(errors="replace")
        said = f"{answer.status} {told[:_TOLD_MAX]}".strip()
        if answer.status in _CREDENTIALS:
            return CredentialError(
                f"the schema registry does not let us in: {said}", hint="check username and password_file of registry"
            )
        if answer.status == _CONFLICT:
            return LinkError(
                f"the schema registry finds our schema incompatible with what the subject {subject} has: {said}",
                hint="choose another topic, or another subject in registry",
            )
        if answer.status == _NOT_FOUND and not self._options.register:
            return LinkError(
                f"the schema registry does not have our schema under the subject {subject}: {said}",
                hint="register it there, or set register = true",
            )
        return LinkError(f"the schema registry did not answer with a number: {said}")
