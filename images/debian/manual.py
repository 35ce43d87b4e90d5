"""Manual pages, made from what declares the command line and the options, so that they cannot say anything else.

`gateway(1)` lists the verbs, `gateway-VERB(1)` tells one of them with all its actions, `gateway.toml(5)` the options
of the configuration. Exit codes come from the table in the docstring of `gateway.cli`.
"""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Final

from gateway import cli
from gateway.config import schema
from gateway.config.options import options, tables
from gateway.config.render import header
from images.debian.roff import bold, example, heading, italic, item, paragraph, subheading, text, title

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.config.options import Option

_FILES: Final = {
    "/etc/edge-gateway/gateway.toml": "configuration of the box, see gateway.toml(5)",
    "/etc/edge-gateway/receiver.toml": "configuration of a receiver; the package brings none",
    "/var/lib/edge-gateway": "journal, spool, checkpoints and quarantine",
    "/usr/share/doc/edge-gateway": "the documentation, and examples",
}
_ABOUT_OPTIONS: Final = """
One TOML file holds what a gateway does, or what a receiver does. Unknown keys are faults, and a file with faults is not
used: `gateway check -c FILE` names them all, with their lines.
"""
_ABOUT_VALUES: Final = """
Durations are text with one of the units ns, us, ms, s, m, h, d; sizes are bytes, or text with one of B, kB, MB, GB, TB,
KiB, MiB, GiB, TiB. A relative path starts at the folder of the file.
"""
_EXIT: Final = re.compile(r"^    (\d+) +(.+?)(?:  .*)?$", re.MULTILINE)


def pages(version: str, day: str) -> dict[str, str]:
    """Return the pages: file name → roff."""
    line = cli.command_line()
    verbs = _subparsers(line)
    assert verbs is not None
    found = {"gateway.1": _overview(line, version, day), "gateway.toml.5": _options_page(version, day)}
    for name, parser in verbs.choices.items():
        found[f"gateway-{name}.1"] = _verb(name, parser, version, day)
    return {name: "\n".join(lines) + "\n" for name, lines in found.items()}


def _overview(line: argparse.ArgumentParser, version: str, day: str) -> list[str]:
    about = line.description or ""
    lines = [*title("gateway", 1, version, day), *heading("name"), rf"gateway \- {text(_lowered(about))}"]
    lines += [*heading("synopsis"), f"{bold('gateway')} {italic('VERB')} [{italic('ARGUMENT')} ...]"]
    lines += [*heading("description"), paragraph(about), *heading("verbs")]
    for name, sentence in cli.VERBS.items():
        lines += item(rf"{bold(f'gateway-{name}')}(1)", paragraph(_sentence(sentence)))
    lines += heading("options")
    for action in _shown(line):
        lines += _argument(action)
    return [*lines, *_exits(), *_files(), *_see_also(f"gateway-{name}(1)" for name in cli.VERBS)]


def _verb(name: str, parser: argparse.ArgumentParser, version: str, day: str) -> list[str]:
    lines = [*title(f"gateway-{name}", 1, version, day), *heading("name")]
    lines += [rf"gateway\-{text(name)} \- {text(cli.VERBS[name])}", *heading("synopsis")]
    for number, usage in enumerate(_usages(parser)):
        lines += [".br"] * bool(number) + [usage]
    lines += [*heading("description"), paragraph(parser.description or cli.VERBS[name])]
    if parser.epilog:
        lines += [".PP", paragraph(parser.epilog)]
    if arguments := list(_shown(parser)):
        lines += heading("options")
        for action in arguments:
            lines += _argument(action)
    if inner := _subparsers(parser):
        lines += [*heading("actions"), *_actions(inner)]
    return [*lines, *_exits(), *_files(), *_see_also(["gateway(1)"])]


def _actions(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> Iterator[str]:
    told = {choice.dest: choice.help or "" for choice in actions._choices_actions}  # noqa: SLF001  # nowhere else
    for name, parser in actions.choices.items():
        yield from subheading(parser.prog)
        yield paragraph(_sentence(told.get(name, "")))
        for action in _shown(parser):
            yield from _argument(action)
        if inner := _subparsers(parser):
            yield from _actions(inner)


def _usages(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield a line for the verb, or one for each of its actions."""
    if inner := _subparsers(parser):
        for one in inner.choices.values():
            yield from _usages(one)
        return
    words = parser.format_usage().removeprefix("usage:").split()
    rest = " ".join(words).removeprefix(parser.prog)
    yield f"{bold(parser.prog)}{' ' if rest else ''}{text(rest)}"


def _argument(action: argparse.Action) -> list[str]:
    value = _value(action)
    named = ", ".join(bold(one) for one in action.option_strings)
    term = f"{named} {value}" if named and value else named or value
    told = action.help % {**vars(action), "prog": "gateway"} if action.help else ""
    return item(term, paragraph(_sentence(told)))


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    if action.choices and action.metavar is None:
        return "|".join(bold(str(choice)) for choice in action.choices)
    words = action.metavar if action.metavar is not None else action.dest.upper()
    return italic(words if isinstance(words, str) else " ".join(words))


def _shown(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001  # argparse offers no list of them
        is_told = action.help != argparse.SUPPRESS and not isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
        if is_told and (action.dest != "help" or parser.prog == "gateway"):
            yield action


def _subparsers(parser: argparse.ArgumentParser) -> argparse._SubParsersAction[argparse.ArgumentParser] | None:
    found = (one for one in parser._actions if isinstance(one, argparse._SubParsersAction))  # noqa: SLF001
    return next(found, None)


def _exits() -> list[str]:
    lines = heading("exit status")
    rows = _EXIT.findall(cli.__doc__ or "")
    assert rows, "gateway.cli tells no exit codes"
    for code, why in rows:
        lines += item(bold(code), paragraph(_sentence(why)))
    return lines


def _files() -> list[str]:
    lines = heading("files")
    for path, what in _FILES.items():
        lines += item(italic(path), paragraph(_sentence(what)))
    return lines


def _see_also(names: Iterator[str] | list[str]) -> list[str]:
    shown = [
        rf"{bold(name.partition('(')[0])}({name[-2]})" for name in [*names, "gateway.toml(5)", "mosquitto.conf(5)"]
    ]
    return [*heading("see also"), ",\n".join(shown)]


def _options_page(version: str, day: str) -> list[str]:
    lines = [*title("gateway.toml", 5, version, day), *heading("name")]
    lines += [r"gateway.toml \- configuration of the edge gateway and of its receivers", *heading("description")]
    lines += [paragraph(_ABOUT_OPTIONS), ".PP", paragraph(_ABOUT_VALUES)]
    lines += example(["[node]", 'id = "site-17"', "", "[[spool.lanes]]", 'name = "telemetry"', ""])
    lines += heading("options")
    for path, table in tables():
        assert table.section is not None
        lines += [*subheading(header(path, table)), paragraph(table.section.__doc__ or "")]
        for option in options(table.section, path):
            if option.section is None:
                lines += item(bold(option.key), paragraph(option.sentence), paragraph(_bounds(option)))
    return [*lines, *_files(), *_see_also(["gateway(1)", "gateway-check(1)", "gateway-config(1)"])]


def _bounds(option: Option) -> str:
    kind = (
        "path" if option.path in schema.PATH_OPTIONS else "name" if option.path in schema.NAME_OPTIONS else option.kind
    )
    parts = [f"one of {', '.join(option.choices)}" if option.choices else kind, option.bounds()]
    parts.append("required" if option.required else f"default {option.text(option.default)}")
    return _sentence("; ".join(part for part in parts if part))


def _sentence(words: str) -> str:
    first = words.partition(" ")[0]
    start = words[:1] if first.endswith(":") else words[:1].upper()  # a word to be typed keeps its letters
    return f"{start}{words[1:].rstrip('.')}." if words else ""


def _lowered(words: str) -> str:
    return f"{words[:1].lower()}{words[1:].rstrip('.')}"
