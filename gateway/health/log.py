"""The log: one line for each record, in the form that its reader wants, with repeats held back and secrets masked.

    journal   systemd's journal, with fields and its own priorities; what standard error is where systemd started us
    text      for a person at a terminal
    json      for everything else: one object a line

Lines of one kind (logger and template) beyond `lines_per_minute` are left out, counted, and told as one line
(`repeats`). Everything passes `redaction`. A reload of the configuration brings a new level and form, and keeps what is
still to be told.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
import sys
import time
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TextIO

from gateway import redaction
from gateway.config import schema
from gateway.health.journald import JournalSocket, is_connected
from gateway.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gateway.repeats import LeftOut

TELL_EVERY_S: Final = 5.0

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG: Final = 7
_FOREIGN: Final = ("asyncio", "aiohttp", "aiormq", "opentelemetry", "urllib3")
"""Loggers of packages that have much to say about their own insides; they never say less than a warning here."""


class Kind(NamedTuple):
    """What two lines have in common that say the same of different things."""

    logger: str
    level: int
    template: str


class Line(NamedTuple):
    """One line, ready to be written: all texts are masked."""

    moment: float
    logger: str
    level: int
    message: str
    trace: str = ""
    left_out: int = 0

    @property
    def level_name(self) -> str:
        """The level in lower case."""
        return logging.getLevelName(self.level).lower()

    @property
    def priority(self) -> int:
        """The priority of syslog (RFC 5424) and of the journal."""
        return next((number for least, number in _PRIORITIES if self.level >= least), _DEBUG)


class _Form(Protocol):
    def write(self, line: Line) -> None: ...


class _Lines:
    """JSON or text on a stream."""

    def __init__(self, stream: TextIO, *, is_text: bool) -> None:
        self._stream = stream
        self._said = text_of if is_text else json_of

    def write(self, line: Line) -> None:
        self._stream.write(self._said(line) + "\n")
        self._stream.flush()


class _Journal:
    """The journal; where its socket cannot be used its stream, with the priority as a prefix (sd-daemon(3))."""

    def __init__(self, stream: TextIO, link: JournalSocket) -> None:
        self._stream = stream
        self._link = link

    def write(self, line: Line) -> None:
        if self._link.unheard:
            lines, self._link.unheard = self._link.unheard, 0
            told = f"the journal had no room for {lines} lines, they are lost"
            self._write(Line(line.moment, __name__, logging.WARNING, told, left_out=lines))
            if self._link.unheard:
                self._link.unheard = lines  # it still has none, and what we said of it is no loss
        self._write(line)

    def _write(self, line: Line) -> None:
        fields = {
            "MESSAGE": line.message,
            "PRIORITY": str(line.priority),
            "SYSLOG_IDENTIFIER": "gateway",
            "LOGGER": line.logger,
        }
        if line.trace:
            fields["TRACE"] = line.trace
        if line.left_out:
            fields["LEFT_OUT"] = str(line.left_out)
        if not self._link.send(fields):
            whole = f"{line.logger}: {line.message}" + (f"\n{line.trace}" if line.trace else "")
            self._stream.write("".join(f"<{line.priority}>{part}\n" for part in whole.splitlines()))
            self._stream.flush()


def json_of(line: Line) -> str:
    """Return the line as one JSON object."""
    moment = dt.datetime.fromtimestamp(line.moment, dt.UTC)
    said: dict[str, object] = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": line.level_name,
        "logger": line.logger,
        "message": line.message,
    }
    if line.trace:
        said["trace"] = line.trace
    if line.left_out:
        said["left_out"] = line.left_out
    return json.dumps(said, ensure_ascii=False)


def text_of(line: Line) -> str:
    """Return the line for a person: time of day, level, where it comes from, what it says."""
    moment = dt.datetime.fromtimestamp(line.moment).astimezone().isoformat(sep=" ", timespec="milliseconds")[11:23]
    message = "".join(one if one.isprintable() else repr(one)[1:-1] for one in line.message)
    said = f"{moment} {line.level_name:<8} {line.logger.removeprefix('gateway.')}: {message}"
    return f"{said}\n{line.trace}" if line.trace else said


class Log(logging.Handler):
    """The one handler of the process."""

    def __init__(self, form: _Form, repeats: Repeats[Kind]) -> None:
        super().__init__()
        self._form = form
        self._repeats = repeats

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, unless there were too many of its kind."""
        now_s = time.monotonic()
        try:
            self._tell(self._repeats.due(now_s))
            if self._repeats.admits(Kind(record.name, record.levelno, str(record.msg)), now_s):
                trace = ""
                if record.exc_info:
                    trace = redaction.masked(logging.Formatter().formatException(record.exc_info))
                message = redaction.masked(record.getMessage())
                self._form.write(Line(record.created, record.name, record.levelno, message, trace))
        except Exception:  # noqa: BLE001  # whoever logs must not fail of it
            self.handleError(record)

    def tell(self) -> None:
        """Tell what was left out and is due."""
        self.acquire()
        try:
            self._tell(self._repeats.due(time.monotonic()))
        finally:
            self.release()

    def flush(self) -> None:
        """Tell all that was left out; `logging` calls this at the end of the process."""
        self.acquire()
        try:
            self._tell(self._repeats.rest(time.monotonic()))
        finally:
            self.release()

    def _tell(self, found: Iterable[LeftOut[Kind]]) -> None:
        for one in found:
            lines = "1 line" if one.lines == 1 else f"{one.lines:,} lines"
            said = redaction.masked(f"{lines} like this one were left out in {one.span_s:.0f} s: {one.kind.template}")
            self._form.write(Line(time.time(), one.kind.logger, one.kind.level, said, left_out=one.lines))


def setup(options: schema.Log | None = None, stream: TextIO | None = None) -> Log:
    """Send every log record as `options` say, to standard error or the journal, from now on."""
    options = options or schema.Log()
    stream = stream or sys.stderr
    for old in logging.getLogger().handlers:
        if isinstance(old, Log):
            old.flush()
    handler = Log(_form(options.format, stream), Repeats(options.lines_per_minute))
    logging.basicConfig(level=options.level.upper(), handlers=[handler], force=True)
    for name in _FOREIGN:
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
    return handler


def _form(name: str, stream: TextIO) -> _Form:
    if name == "auto":
        name = "journal" if is_connected() else "text" if stream.isatty() else "json"
    if name == "journal":
        return _Journal(stream, JournalSocket())
    return _Lines(stream, is_text=name == "text")


async def keep_telling() -> None:
    """Tell now and then what was left out, also while nothing else is logged; until cancelled."""
    while True:
        await asyncio.sleep(TELL_EVERY_S)
        for handler in logging.getLogger().handlers:
            if isinstance(handler, Log):
                handler.tell()
