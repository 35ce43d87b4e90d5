"""`gateway route test TOPIC PAYLOAD…`: what a configuration makes of messages, step by step.

Several payloads come one after the other on the same topic, a second apart unless `--every` says otherwise, so that
steps with a memory show it. Nothing is sent anywhere.
"""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path
from typing import TYPE_CHECKING, Final

from gateway.cli import EX_NO, EX_OK, source
from gateway.cli.shown import moment, plain
from gateway.cli.words import duration
from gateway.clock import Clock
from gateway.config.material import read_material
from gateway.errors import DecodeError
from gateway.model import CLOCK_SYNCHRONISED, QOS1, MessageGroup
from gateway.recovery import Settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from gateway.model import Output, Row
    from gateway.process.pipeline import Pipeline

_FROM_FILE: Final = "@"


def register(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    verbs = parser.add_subparsers(dest="route_verb", required=True, metavar="VERB")
    sentence = "show what becomes of messages; the exit code is 1 when one is not taken"
    test = verbs.add_parser("test", help=sentence, description=f"{sentence.capitalize()}.")
    test.add_argument("-c", "--config", type=Path, required=True, metavar="FILE", help="the configuration file")
    test.add_argument("topic", metavar="TOPIC", help="the topic of all messages")
    test.add_argument("payloads", nargs="+", metavar="PAYLOAD", help="text, or @FILE for the bytes of a file")
    test.add_argument("--hex", action="store_true", help="payloads are hex digits")
    sentence = "time between two messages (default 1s)"
    test.add_argument("--every", dest="every_ns", type=duration, default="1s", metavar="TIME", help=sentence)
    test.add_argument("--json", action="store_true", help="print one line of JSON per message")
    test.set_defaults(refuse=test.error)


def run(arguments: argparse.Namespace) -> int:
    """Show each message."""
    config = source.node_configuration(arguments)
    material = read_material(config.route)
    settings = Settings.of(config, material)
    payloads, wall_ns = _payloads(arguments), Clock().wall_ns()
    pipeline = settings.pipeline(1, material.keys)
    names = {route.name for route in settings.route}
    is_taken = True
    for number, payload in enumerate(payloads):
        at = number * arguments.every_ns
        shown = _traced(pipeline, arguments.topic, payload, wall_ns + at, at, names)
        is_taken &= "fault" not in shown and bool(shown["route"])
        print(json.dumps(shown, ensure_ascii=False) if arguments.json else "\n".join(_text(number + 1, shown)))
    return EX_OK if is_taken else EX_NO


def _payloads(arguments: argparse.Namespace) -> list[bytes]:
    texts: list[str] = arguments.payloads
    try:
        return [_payload(text, is_hex=arguments.hex) for text in texts]
    except ValueError as error:
        arguments.refuse(f"a payload is not hex digits: {error}")
        raise  # the line above has ended the program


def _payload(text: str, *, is_hex: bool) -> bytes:
    if is_hex:
        return bytes.fromhex(text)
    return Path(text[1:]).read_bytes() if text.startswith(_FROM_FILE) else text.encode()


def _traced(
    pipeline: Pipeline, topic: str, payload: bytes, wall_ns: int, at: int, routes: set[str]
) -> dict[str, object]:
    """Return what becomes of one message, as plain data; the pipeline remembers it."""
    route = pipeline.route_of(topic)
    shown: dict[str, object] = {"topic": topic, "bytes": len(payload), "route": route.name if route else ""}
    if route is not None:
        if route.decoding.schema:
            shown["schema"] = route.decoding.schema
        try:
            decoded = pipeline.decoded(topic, payload, wall_ns, CLOCK_SYNCHRONISED)
            shown["rows"] = [_row(*one) for one in decoded]
        except DecodeError as error:
            shown["fault"] = {"reason": error.reason, "detail": error.fault}
    before = dict(pipeline.ledger)
    group = MessageGroup(wall_ns, at, CLOCK_SYNCHRONISED, 1, False, [topic], [payload], [1], [QOS1], {})
    outputs = [*pipeline.apply(group, at), pipeline.finish(wall_ns, at, routes)]
    shown["fates"] = {
        fate: number - before.get(fate, 0) for fate, number in pipeline.ledger.items() if number != before.get(fate, 0)
    }
    shown["batches"] = list(_batches(outputs))
    refused = [one for output in outputs for one in output.quarantined]
    if refused:
        shown["fault"] = {"reason": refused[0].reason, "detail": refused[0].detail}
    return shown


def _row(topic: str, time_ns: int, row: Row, is_kept: bool) -> dict[str, object]:  # noqa: FBT001  # as it comes
    return {"topic": topic, "time_ns": time_ns, "fields": _plain(row), "kept": is_kept}


def _plain(row: Row) -> dict[str, object]:
    return {
        name: {"base64": b64encode(value).decode()} if isinstance(value, bytes) else value
        for name, value in row.items()
    }


def _batches(outputs: list[Output]) -> Iterator[dict[str, object]]:
    for output in outputs:
        for batch in output.batches:
            rows = [
                {"topic": topic, "time_ns": time_ns, "fields": _plain(row)}
                for topic, (times, each) in batch.rows.items()
                for time_ns, row in zip(times, each, strict=True)
            ]
            yield {"lane": batch.id.lane, "rows": rows}


def _text(number: int, shown: dict[str, object]) -> Iterator[str]:
    yield f"message {number}: {plain(str(shown['topic']))}, {shown['bytes']} bytes"
    yield f"  route    {shown['route'] or 'none: no filter takes this topic'}"
    if "schema" in shown:
        yield f"  schema   {plain(str(shown['schema']))}"
    fault = shown.get("fault")
    if isinstance(fault, dict):
        yield f"  refused  {fault['reason']}: {plain(fault['detail'])}"
    for row in _list(shown.get("rows")):
        yield f"  decoded  {_line(row)}{'' if row['kept'] else '   (filtered by keep)'}"
    fates = shown["fates"]
    assert isinstance(fates, dict)
    yield f"  counted  {', '.join(f'{fate} {change}' for fate, change in fates.items())}"
    for batch in _list(shown["batches"]):
        for row in _list(batch["rows"]):
            yield f"  goes on  {_line(row)}   in lane {batch['lane']}"


def _list(found: object) -> list[dict[str, object]]:
    assert found is None or isinstance(found, list)
    return found or []


def _line(row: dict[str, object]) -> str:
    time_ns = row["time_ns"]
    assert isinstance(time_ns, int)
    return f"{plain(str(row['topic']))} at {moment(time_ns)}: {plain(json.dumps(row['fields'], ensure_ascii=False))}"
