from __future__ import annotations

import tomllib

import pytest

from gateway.config.positions import dotted, lines_of

TEXT = '''\
# a comment with [brackets] and = signs
top = 1
[spool]   # [not.this]
bytes_max = "1GiB # no comment"
lanes = [
  { name = "a", linger = "1s" },  # first

  { name = "b" },
]

[[route]]
name = "one"
keep = """
[fake]
x = 1 \\""" still text
"""
topics = [
  "a/#",
  'b/]',
]
time.field = "t"
[route.sample]
deadband = { "odd \\u0041.key" = 1.5, 'lit"eral' = 2 }

[[ route ]]
name = 'two'
  [ route . "time" ]
  unit = "ms"
'''


def places(value: object, place=()):
    """Return every place of a parsed document."""
    yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(inner, (*place, key))
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from places(inner, (*place, number))


def test_every_place_that_tomllib_knows_has_a_line() -> None:
    assert set(places(tomllib.loads(TEXT))) - {()} == set(lines_of(TEXT))


@pytest.mark.parametrize(
    ("place", "start"),
    [
        (("top",), "top ="),
        (("spool",), "[spool]"),
        (("spool", "lanes", 0, "linger"), '  { name = "a"'),
        (("route", 0), "[[route]]"),
        (("route", 0, "keep"), "keep ="),
        (("route", 0, "topics", 1), "  'b/]'"),
        (("route", 0, "time", "field"), "time.field"),
        (("route", 0, "sample", "deadband", "odd A.key"), "deadband ="),
        (("route", 1, "name"), "name = 'two'"),
        (("route", 1, "time"), '  [ route . "time" ]'),
        (("route", 1, "time", "unit"), "  unit ="),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_place_has_the_line_that_it_begins_on(place, start, line_end) -> None:
    line = lines_of(TEXT.replace("\n", line_end))[place]
    assert TEXT.splitlines()[line - 1].startswith(start)


def test_a_place_is_written_as_people_write_it() -> None:
    assert dotted(("spool", "lanes", 0, "name")) == "spool.lanes[0].name"
