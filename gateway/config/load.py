"""`gateway.toml` → `schema.Gateway`, with every fault of the file at once and the origin of every value.

Three steps, none of which stops at the first fault: the text is parsed and the line of each key is kept (`positions`);
each table is read option by option (`values`), where a faulty option is reported and stands in with its default; then
what options must be to each other is checked (`checks`), leaving out what rests on a fault already reported. Only when
nothing was found is a configuration returned.

A fault is one line: file and line, dotted key, what was found, what is expected and what to write.

An option that names a file may name a credential of systemd instead: "credential:NAME" is the file NAME in the folder
that `CREDENTIALS_DIRECTORY` names. Tools that only ask a daemon need none of its secrets, so a name whose folder is not
known is left as it stands, and is a fault only to who asks `to_start`.
"""

from __future__ import annotations

import hashlib
import os
import re
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gateway.config import schema
from gateway.config.checks import findings
from gateway.config.options import options, tables
from gateway.config.positions import dotted, lines_of
from gateway.config.values import found, nearest, value_of
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.config.options import Option
    from gateway.config.positions import Place
    from gateway.config.section import Section

FILE_BYTES_MAX: Final = 1024 * 1024
"""A configuration of this size is a mistake, such as the path of a device or a log."""

CREDENTIAL: Final = "credential:"
"""What the name of a credential begins with, where a path may stand."""

CREDENTIALS_FOLDER: Final = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd hands over the folder of a unit's credentials, systemd.exec(5)."""

_CREDENTIAL_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,255}")
_SYNTAX_LINE: Final = re.compile(r" \(at line (\d+), column (\d+)\)$")
_KNOWN_MAX: Final = 12


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration that can be used, and where each value stands: `lines` maps place → line of `file`.

    `unknown` has a fault for each credential whose folder is not known, `sha256` is the hash of the file, in hex.
    """

    config: schema.Gateway
    file: str
    lines: Mapping[Place, int]
    unknown: tuple[str, ...] = ()
    sha256: str = ""

    def to_start(self) -> schema.Gateway:
        """Return the configuration for whoever needs the files that it names. Raises `ConfigError`."""
        if self.unknown:
            hint = f"systemd sets {CREDENTIALS_FOLDER} for the unit's own commands; by hand, set it to the folder"
            raise ConfigError(f"{self.file} names credentials, and nobody says where they are", self.unknown, hint=hint)
        return self.config

    def origin(self, place: Place) -> str:
        """Return where the value at `place` comes from: "gateway.toml:12", or "default"."""
        return f"{self.file}:{self.lines[place]}" if place in self.lines else "default"


def load(path: Path) -> Loaded:
    """Read the file; raise `ConfigError` with all its faults. Its cause is an OSError when it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        fault = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError(fault, hint="name a readable TOML file with -c FILE") from error
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: is larger than {FILE_BYTES_MAX} bytes, this is no configuration")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8: save the file in that encoding") from error
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        return replace(parse(text, str(path), path.absolute().parent), sha256=sha256)
    except ConfigError as error:
        error.facts["sha256"] = sha256
        raise


def parse(text: str, file: str, folder: Path) -> Loaded:
    """Read the text of a file named `file` whose relative paths start at `folder`; raise `ConfigError`."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{file}: is nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of too many digits
        raise ConfigError(_syntax_fault(file, str(error))) from None
    reader = _Reader(file, folder, lines_of(text))
    config = reader.table(schema.Gateway, document, (), "")
    sound = [one for one in findings(config) if not any(reader.is_reported(place) for place in one.places)]
    for finding in sound:
        reader.report(*finding.places, sentence=finding.sentence)
    faults = reader.sorted_faults()
    if faults:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(f"{file} has {count}", faults)
    return Loaded(config, file, reader.lines, tuple(reader.unknown))


def _syntax_fault(file: str, sentence: str) -> str:
    where = _SYNTAX_LINE.search(sentence)
    if where is None:
        return f"{file}: is not TOML: {sentence}"
    return f"{file}:{where[1]}: is not TOML: {sentence[: where.start()]}, in column {where[2]}"


def _known_paths() -> dict[str, list[str]]:
    """Return key → dotted paths of all options, to find one that was written into the wrong table."""
    known: dict[str, list[str]] = {}
    for _, option in tables():
        assert option.section is not None
        for inner in options(option.section, option.path):
            known.setdefault(inner.key, []).append(inner.path)
    return known


class _Reader:
    """Walks one document along the schema and gathers faults."""

    def __init__(self, file: str, folder: Path, lines: Mapping[Place, int]) -> None:
        self.lines = lines
        self._file = file
        self._folder = folder
        self._faults: list[tuple[int, str]] = []
        self._reported: set[Place] = set()
        self.unknown: list[str] = []

    def report(self, place: Place, *others: Place, sentence: str) -> None:
        """Note a fault at `place`; where the file does not have it, the table around it or `others` give the line."""
        self._reported.add(place)
        line = next((line for line in map(self._line, (place, *others)) if line), 0)
        where = f"{self._file}:{line}" if line else self._file
        self._faults.append((line, f"{where}: {dotted(place)}: {sentence}"))

    def _line(self, place: Place) -> int:
        """Return the line of `place` or of the nearest table around it, or 0."""
        return next((self.lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self.lines), 0)

    def is_reported(self, place: Place) -> bool:
        """Say whether `place`, or a table around it, has a fault already."""
        return any(place[:n] in self._reported for n in range(1, len(place) + 1))

    def sorted_faults(self) -> tuple[str, ...]:
        """Return the faults in the order of the file."""
        return tuple(fault for _, fault in sorted(self._faults, key=lambda one: one[0]))

    def table(self, section: type[Section], raw: Mapping[str, object], place: Place, path: str) -> Any:  # noqa: ANN401  # a `section`
        """Return the table at `place` as a `section`."""
        known = {option.key: option for option in options(section, path)}
        for key in (key for key in raw if key not in known):
            self.report((*place, key), sentence=self._unknown(key, known))
        values = {}
        for option in known.values():
            here = (*place, option.key)
            if option.key in raw:
                values[option.attribute] = self._value(option, raw[option.key], here)
                continue
            if option.required:
                self.report(here, sentence=f"is missing: {_continued(option.sentence)}")
            values[option.attribute] = _stand_in(option)
        return section(**values)

    def _value(self, option: Option, raw: object, place: Place) -> object:
        if option.section is not None:
            many = option.kind == "tables"
            if not isinstance(raw, list if many else dict):
                brackets = f"[[{option.path}]]" if many else f"[{option.path}]"
                sentence = f"found {found(raw)}, expected {'tables' if many else 'a table'}: write {brackets}"
                self.report(place, sentence=sentence)
                return _stand_in(option)
            return self._tables(option, raw, place) if isinstance(raw, list) else self._table(option, raw, place)
        try:
            value = value_of(option, raw)
        except ValueError as error:
            self.report(place, sentence=str(error))
            return _stand_in(option)
        if option.path in schema.PATH_OPTIONS and value:
            return self._credential(value, place) if value.startswith(CREDENTIAL) else str(self._folder / value)
        return value

    def _credential(self, value: str, place: Place) -> str:
        """Return the path of a credential, or `value` where its folder is not known."""
        name, folder = value.removeprefix(CREDENTIAL), os.environ.get(CREDENTIALS_FOLDER, "")
        if not _CREDENTIAL_NAME.fullmatch(name) or name in {".", ".."}:
            sentence = f'found "{value}", expected the name of a credential of systemd, like "{CREDENTIAL}node.key"'
            self.report(place, sentence=sentence)
        elif folder:
            return str(Path(folder) / name)
        else:
            where = f"{self._file}:{self._line(place)}"
            self.unknown.append(f'{where}: {dotted(place)}: "{value}", and {CREDENTIALS_FOLDER} is not set')
        return value

    def _tables(self, option: Option, raw: list[object], place: Place) -> tuple[object, ...]:
        return tuple(self._table(option, one, (*place, number)) for number, one in enumerate(raw))

    def _table(self, option: Option, raw: object, place: Place) -> object:
        assert option.section is not None
        if isinstance(raw, dict):
            return self.table(option.section, raw, place, option.path)
        self.report(place, sentence=f"found {found(raw)}, expected a table: write [[{option.path}]]")
        return option.section(**{inner.attribute: _stand_in(inner) for inner in options(option.section, option.path)})

    def _unknown(self, key: str, known: Mapping[str, Option]) -> str:
        close = nearest(key, known)
        if close:
            return f'unknown key; did you mean "{close}"?'
        elsewhere = _known_paths().get(key)
        if elsewhere:
            return f"unknown key here; did you mean {' or '.join(elsewhere)}?"
        names = list(known)
        more = ", …" if len(names) > _KNOWN_MAX else ""
        return f"unknown key: remove it; known here are {', '.join(names[:_KNOWN_MAX])}{more}"


def _continued(sentence: str) -> str:
    """Return the sentence as it goes on after a colon; a word in capitals stays so."""
    return sentence if sentence[1:2].isupper() else sentence[0].lower() + sentence[1:]


def _stand_in(option: Option) -> object:
    """Return the default of `option`, or where there is none something of its type that says nothing."""
    if not option.required:
        return option.default
    return {"texts": (), "choices": (), "text": "", "choice": ""}.get(option.kind, 0)
