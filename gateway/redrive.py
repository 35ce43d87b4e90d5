"""Publishes messages of the quarantine again on their topics, to the node's own broker, for those who ask for it.

A message is removed only when the broker has said that a subscriber gets it; stopped in between, a message may be sent
twice, never lost. What cannot go stays, with the reason.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.errors import LinkError
from gateway.process.topics import topic_fault
from gateway.quarantine import Kept
from gateway.transport.publisher import Publisher, connected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.config import schema
    from gateway.quarantine import Editor

_LINKS_IN_VAIN_MAX: Final = 3


class Left(NamedTuple):
    """A message that a redrive left in quarantine, and why."""

    key: int
    topic: str
    why: str


class Redrive:
    """Publishes messages in order and removes each that a subscriber gets: `went` of them; `left` are the others."""

    def __init__(self, editor: Editor, advance: Callable[[int], None]) -> None:
        self._editor = editor
        self._advance = advance
        self.went = 0
        self.left: list[Left] = []

    async def run(self, found: Sequence[Kept], config: schema.Gateway) -> None:
        """Publish all that can be published. Raises `LinkError` when there is no broker at all."""
        rest = deque[Kept]()
        for one in found:
            why = _obstacle(one)
            if why:
                self._leave(one, why)
            else:
                rest.append(one)
        assert config.node is not None
        client_id = f"{config.broker.client_id or f'edge-gateway-{config.node.id}'}-redrive"
        fault, in_vain = "", 0
        while rest and in_vain < _LINKS_IN_VAIN_MAX:
            before = self.went
            try:
                async with connected(config.broker, client_id) as publisher:
                    fault = await self._publish(publisher, rest)
            except LinkError as error:
                if not fault:
                    raise
                fault = error.fault
                break
            in_vain = in_vain + 1 if self.went == before else 0
        for one in rest:
            self._leave(one, f"not tried: {fault}")

    async def _publish(self, publisher: Publisher, rest: deque[Kept]) -> str:
        """Publish until there is no more; return what ended the link before, together with the message under way."""
        while rest:
            one = rest.popleft()
            data = self._editor.payload(one.key)
            try:
                why = "" if data is None else await publisher.publish(one.topic, data)
            except LinkError as error:
                self._leave(one, error.fault)
                return error.fault
            if why:
                self._leave(one, why)
            else:
                self.went += self._editor.remove([one.key])
                self._advance(1)
        return ""

    def _leave(self, one: Kept, why: str) -> None:
        self.left.append(Left(one.key, one.topic, why))
        self._advance(1)


def _obstacle(one: Kept) -> str:
    """Return why a message cannot be published whatever the broker says; empty when it can."""
    if one.payload_bytes is None and not one.is_whole:
        return "an earlier version kept it, and may have cut its payload"
    if not one.is_whole:
        return "its payload was cut when it was kept"
    fault = topic_fault(one.topic)
    return f"no message may have its topic: {fault}" if fault else ""
