"""What fuzzing begins with: payloads of each format, words to put into them, and what is hard on a parser."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import cbor2
import msgspec

from gateway.config import schema

CATALOGUE = Path(__file__).resolve().parents[1] / "fixtures" / "messages"
NO_MESSAGES = (".expected.json", ".desc", ".proto", ".avsc", ".md")

CONTRACT_FILE = "contract.json"
FILES = {
    CONTRACT_FILE: b"""{
        "type": "object",
        "required": ["a"],
        "additionalProperties": true,
        "properties": {"a": {"type": "number", "maximum": 100}, "s": {"type": "string", "pattern": "^[a-z]*$"}}
    }""",
    "kinds.desc": (CATALOGUE / "protobuf" / "kinds.desc").read_bytes(),
    "climate.avsc": (CATALOGUE / "avro" / "climate.avsc").read_bytes(),
    "kinds.avsc": (CATALOGUE / "avro" / "kinds.avsc").read_bytes(),
}
"""What routes name. The schemas called kinds hold every type, and themselves."""

OPTIONS: dict[str, dict[str, object]] = {
    "protobuf": {"protobuf": schema.Protobuf(descriptor_file="kinds.desc", message="kinds.Kinds")},
    "avro": {"avro": schema.Avro(schema_file="kinds.avsc")},
}
"""What a route of a format needs besides its decoder's name."""

ROWS = (
    {"a": 2**63 - 1, "b": -(2**63), "t": 1.5, "q": "good", "raw": b"\x01", "ok": True, "s": "a" * 5000, "x.y": 0},
    {"a": 1e308, "b": 5e-324, "t": -0.0, "q": "", "raw": b"", "ok": False, "s": "\u00e9\U0001f600"},
    {"z": 1},
)
"""What expressions are computed of."""


def _part(number: int, value: bytes | int) -> bytes:
    """Return one field of a Protobuf message: a varint below 128, or bytes that are fewer than 128."""
    tag = number << 3 if isinstance(value, int) else number << 3 | 2
    head = bytes([tag]) if tag < 128 else bytes([tag & 0x7F | 0x80, tag >> 7])
    return head + (bytes([value]) if isinstance(value, int) else bytes([len(value)]) + value)


def _metric(*parts: tuple[int, bytes | int], float_value: bytes = b"") -> bytes:
    return _part(2, b"".join(_part(*part) for part in parts) + (b"\x65" + float_value if float_value else b""))


NAME, ALIAS, DATATYPE, INT_VALUE, LONG_VALUE, BOOLEAN_VALUE, BYTES_VALUE, DATASET, TEMPLATE = (
    1,
    2,
    4,
    10,
    11,
    14,
    16,
    17,
    18,
)
BIRTH = b"".join(
    (
        _metric((NAME, b"bdSeq"), (DATATYPE, 4), (LONG_VALUE, 1)),
        _metric((NAME, b"temperature"), (ALIAS, 1), (DATATYPE, 9), float_value=b"\x00\x00\x28\x42"),
        _metric((NAME, b"switch"), (ALIAS, 2), (DATATYPE, 11), (BOOLEAN_VALUE, 1)),
        _metric((NAME, b"count"), (ALIAS, 3), (DATATYPE, 3), (INT_VALUE, 7)),
        _part(3, 0),
    )
)
_ROW = _part(4, _part(1, _part(1, 5)) + _part(1, _part(1, 6)))
_TABLE = _part(1, 2) + _part(2, b"a") + _part(2, b"b") + _part(3, 3) + _part(3, 3) + _ROW + _ROW

_SPARKPLUG = (
    b"\x00" + BIRTH,
    b"\x01" + _metric((ALIAS, 1), float_value=b"\x00\x00\x28\x42") + _metric((ALIAS, 3), (INT_VALUE, 9)) + _part(3, 1),
    b"\x01" + _metric((ALIAS, 2), (BOOLEAN_VALUE, 0)) + _part(3, 2),
    b"\x01" + _metric((NAME, b"ds"), (DATATYPE, 16), (DATASET, _TABLE)),
    b"\x01" + _metric((NAME, b"t"), (DATATYPE, 19), (TEMPLATE, _metric((NAME, b"in"), (DATATYPE, 3), (INT_VALUE, 1)))),
    b"\x01" + _metric((NAME, b"array"), (DATATYPE, 24), (BYTES_VALUE, b"\x01\x00\x00\x00\xff\xff\xff\xff")),
    b"\x01" + _metric((NAME, b"booleans"), (DATATYPE, 32), (BYTES_VALUE, b"\x0b\x00\x00\x00\xaa\x55")),
    b"\x01" + _metric((NAME, b"texts"), (DATATYPE, 33), (BYTES_VALUE, b"a\x00b\x00")),
    b"\x02" + BIRTH,
    b"\x03" + _metric((ALIAS, 1), (7, 1)),
    b"\x04" + _part(3, 2),
    b"\x05" + _metric((NAME, b"bdSeq"), (DATATYPE, 4), (LONG_VALUE, 1)),
)
"""The first byte says on which topic the others come, see `fuzzing`."""

_TOO_MUCH = (
    {str(number): 1 for number in range(300)},
    {"a": {str(number): 1 for number in range(300)}},
    {"a": 1, "n" * 300: 1},
    {"a": {"n" * 300: 1}, "t": 2},
    {"a": {"b": {"c": 1}}, "t": 2},
    [{"a": {"b": [1, 2, 3, 4, 5]}, "n" * 300: 1}],
)
"""Documents that are only a little beyond limits."""

SEEDS: dict[str, tuple[bytes, ...]] = {
    "json": (
        b'{"a":1,"temperature":21.5,"ok":true,"s":"good","n":null,"deep":{"x":[1,2,{"y":3}]}}',
        b'{"e":{"a":[{"t":1,"value":2},{"t":2,"value":-3.5e-7}]}}',
        b'[{"t":1,"value":2},{"t":2,"value":3}]',
        b'{"a":1,"a":2}',
        b'{"a:b":"c:d","\\u0061":1,"a":2}',
        b'{"a":"\\ud83d\\ude00","b":"\\ud800"}',
        b"\xef\xbb\xbf{}",
        *(json.dumps(document).encode() for document in _TOO_MUCH),
    ),
    "cbor": (
        bytes.fromhex("a3616101617411626f6bf5"),
        bytes.fromhex("a1616583f93c00fb3ff8000000000000fa3fc00000"),
        bytes.fromhex("bf6161 9f01 02ff 6162 5f4101 4102ff 6163 7f6161ffff".replace(" ", "")),
        bytes.fromhex("a16165a1616181a2617401 65" + "76616c7565" + "02"),
        bytes.fromhex("81a1616101"),
        bytes.fromhex("d9d9f7a16161c24101"),
        bytes.fromhex("d81ca16161d81d00"),
        *map(cbor2.dumps, _TOO_MUCH),
    ),
    "msgpack": (
        bytes.fromhex("83a16101a17411a26f6bc3"),
        bytes.fromhex("81a16581a16192 81a17401 81a17402".replace(" ", "")),
        bytes.fromhex("92 81a16101 81a16102".replace(" ", "")),
        bytes.fromhex("81a161cb7ff0000000000000"),
        bytes.fromhex("81a161d6ff00000000"),
        *map(msgspec.msgpack.encode, _TOO_MUCH),
    ),
    "scalar": (b"21.5", b"-7", b"true", b"null", b"nan", b" 1e5 ", b"\xff", b"9223372036854775807", b"1" * 5000, b"on"),
    "senml-json": (b'[{"bn":"urn:dev:ow:1/","bt":1e9,"bv":2,"bs":1},{"n":"a","v":1,"t":-5},{"n":"d","vd":"AQI"}]',),
    "senml-cbor": (
        bytes.fromhex("81a200616102c482197fff01"),
        bytes.fromhex("81a200616102f97e00"),
        bytes.fromhex("83a2216161228101a20061620201a2 0061630201".replace(" ", "")),
    ),
    "sparkplug": _SPARKPLUG,
    "line": (
        b"m " + b"n" * 300 + b"=1",
        b"weather,location=us-midwest temperature=82,ok=t 1465839830100400200",
        b'a\\ b,t\\,g=v\\=1 f="te\\"xt",i=5i,u=6u,b=false\n# comment\n\nm x=1',
    ),
    "csv": (
        b"n" * 300 + b"\n1",
        b"time,temperature,ok\n1,21.5,true\n2,,false\n",
        b'a;b\r\n"x ""y""\n z";1\r\n',
        b"\xef\xbb\xbf1,2,3",
    ),
    "raw": (b"abc", b"\x00\xff"),
    "expression": (
        b"temperature > -40 and q == 'good'",
        b"abs(a - b) / 2 >= 1e3 or not ok",
        b"topic[1] == 'line1' and time > 0 and clock == 'synchronised'",
        b"has('x.y') and field('x.y') in (0, 1, 'a', true)",
        b"matches(s, '(a|b)*c{2,5}') or startswith(lower(q), 'go')",
        b"min(a, b, t) < max(1, 2.5) <= round(t, 2) != len(s)",
        b"-a * b % 7 // 3 + x.y",
        b"istext(q) and isnum(t) and isbool(ok) and 'oo' in q",
        b"matches(q, '\\\\w{100}(\\\\d|[^a-f]|\\\\p{Greek})+?$')",
    ),
}

TOKENS: tuple[bytes, ...] = (
    *(b'"', b"'", b"{", b"}", b"[", b"]", b"(", b")", b":", b",", b";", b"\\", b"\n", b"\r", b" ", b"\x00", b"=", b"#"),
    *(b"null", b"true", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-0", b"\\u0000", b"\\ud800", b"\\udc00"),
    *(b'{"a":', b'[{"n":"', b'"bt":', b'"bver":', b'"a_":1,', b'"vd":"', b'"":', b'"a":1,', b"e.a", b'"a.b":{}'),
    *(b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x80\xa8", b"\xff", b"\xc2\xb5"),
    *(
        b"\x9f",
        b"\xbf",
        b"\x5f",
        b"\x7f",
        b"\xf7",
        b"\xf6",
        b"\xc1\x1a",
        b"\xc2\x41",
        b"\xc4\x82",
        b"\xd8\x1c",
        b"\xd8\x1d",
    ),
    *(b"\xf9\x7e\x00", b"\xf9\x7c\x00", b"\xfb\x7f\xf0\x00\x00\x00\x00\x00\x00", b"\xbb" + b"\xff" * 8),
    *(
        b"\x9b" + b"\xff" * 8,
        b"\x5b\x7f" + b"\xff" * 7,
        b"\x3b" + b"\xff" * 8,
        b"\x1b" + b"\xff" * 8,
        b"\x9a\xff\xff\xff\xff",
    ),
    *(b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xde\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"),
    *(
        b"\xcf" + b"\xff" * 8,
        b"\xd3\x80" + b"\x00" * 7,
        b"\xca\x7f\xc0\x00\x00",
        b"\xd4\x00\x00",
        b"\xc7\x00\x00",
        b"\x80",
        b"\x90",
    ),
    *(
        b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x80" * 10,
        b"\x12\x00",
        b"\x0a\x00",
        b"\x12\x80\x01",
        b"\x13",
        b"\x14",
    ),
    *(
        b" and ",
        b" or ",
        b"not ",
        b" in ",
        b" not in ",
        b" == ",
        b" < ",
        b" + ",
        b" * ",
        b" ** ",
        b" % ",
        b"//",
        b" := ",
        b"lambda: ",
    ),
    *(
        b"matches(s, '",
        b"field('",
        b"has(",
        b"topic[",
        b"abs(",
        b"round(",
        b"len(",
        b"min(",
        b".__class__",
        b"f'{a}'",
        b"[^a]{9,99}",
    ),
    *(
        b"a",
        b"t",
        b"ok",
        b"q",
        b"(?i)",
        b"(?:",
        b"\\\\b",
        b"\\\\pL{500}",
        b"|",
        b"*",
        b"+",
        b"?",
        b"{1000}",
        b"$",
        b"^",
    ),
)

EXTREMES: tuple[bytes, ...] = (
    *(
        b"0",
        b"-0",
        b"-0.0",
        b"1",
        b"-1",
        b"255",
        b"65536",
        b"4294967296",
        b"9223372036854775807",
        b"9223372036854775808",
    ),
    *(
        b"-9223372036854775808",
        b"-9223372036854775809",
        b"18446744073709551616",
        b"1e308",
        b"1e309",
        b"-1e400",
        b"5e-324",
    ),
    *(
        b"1e-400",
        b"268435455",
        b"268435456",
        b"1e19",
        b"0.1",
        b"00",
        b"1" * 400,
        b"1." + b"0" * 400,
        b"0x10",
        b"1_0",
        b"1e99999",
    ),
)


def _nested(*pairs: tuple[bytes, bytes]) -> tuple[bytes, ...]:
    return tuple(opened * 20_000 + closed * 20_000 for opened, closed in pairs)


HEAVY: tuple[bytes, ...] = (
    b"",
    *_nested((b"[", b"]"), (b'{"a":', b"}"), (b"[[],", b"]"), (b"\x81", b""), (b"\x81\xa1a", b""), (b"\xa1\x61a", b"")),
    *_nested(
        (b"\x9f", b"\xff"),
        (b"\xbf\x61a", b"\xff"),
        (b"\xc1", b""),
        (b"\x91", b""),
        (b"(", b")"),
        (b"-", b""),
        (b"\x13", b"\x14"),
    ),
    b"[" + b"{}," * 20_000 + b"{}]",
    b"[" + b'{"a":1},' * 8_000 + b'{"a":1}]',
    b'{"a":[' + b"1," * 30_000 + b"1]}",
    b"{" + b",".join(b'"k%d":%d' % pair for pair in pairwise(range(4000))) + b"}",
    b"{" + b",".join([b'"a":1'] * 8000) + b"}",
    b'{"a":"' + b":" * 60_000 + b'"}',
    b'{"a":"' + b"\\u0041" * 10_000 + b'"}',
    b'{"a":"' + b"nan " * 15_000 + b'"',
    b'{"a":' + b"9" * 60_000 + b"}",
    b'{"a":0.' + b"9" * 60_000 + b"}",
    b'{"a":1e' + b"9" * 60_000 + b"}",
    b"\xdc\x27\x10" + b"\x81\xa1a\x01" * 10_000,
    b"\xdd\x00\x00\xff\x00" + b"\x80" * 0xFF00,
    b"\xde\x27\x10" + b"".join(b"\xa5%05d\x01" % number for number in range(8000)),
    b"\x99\x27\x10" + b"\xa1aa\x01" * 10_000,
    b"\x9a\x00\x00\xff\x00" + b"\xa0" * 0xFF00,
    b"\x9f" + b"\xa1\x61a\x01" * 15_000 + b"\xff",
    b"\x9f" + b"\xa1\x00\x60" * 20_000 + b"\xff",
    b"\xb9\x27\x10" + b"".join(b"\x65%05d\x01" % number for number in range(8000)),
    b"\x5f" + b"\x41a" * 30_000 + b"\xff",
    b"\x01" + b"\x12\x00" * 30_000,
    b"\x00" + b"\x12\x03\x0a\x01a" * 12_000,
    b"\x01" + b"\x12\x80\x80\x04" + b"\x12\x00" * 30_000,
    b"\n" * 60_000,
    b"," * 60_000,
    b'"' * 60_000,
    b"m x=1\n" * 10_000,
    b"m a=" + b"1" * 20_000 + b"x",
    b"1,2\n" * 15_000,
)
"""Payloads of about 64 KiB that are as deep, as wide or as full of small things as their format allows."""
