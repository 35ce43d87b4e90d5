"""The Sparkplug B payload by Google's own protobuf package, as an encoder that shares nothing with the gateway.

Field numbers and types from Eclipse Tahu, `sparkplug_b/sparkplug_b.proto`, without its extension ranges.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_F = descriptor_pb2.FieldDescriptorProto
_TYPES = {
    "uint32": _F.TYPE_UINT32,
    "uint64": _F.TYPE_UINT64,
    "float": _F.TYPE_FLOAT,
    "double": _F.TYPE_DOUBLE,
    "bool": _F.TYPE_BOOL,
    "string": _F.TYPE_STRING,
    "bytes": _F.TYPE_BYTES,
}
_NUMBERS = {"int_value": "uint32", "long_value": "uint64", "float_value": "float", "double_value": "double"}
_PLAIN = {**_NUMBERS, "boolean_value": "bool", "string_value": "string"}

MESSAGES = {
    "Payload": "timestamp=1:uint64 metrics=2:*Metric seq=3:uint64 uuid=4:string body=5:bytes",
    "Metric": (
        "name=1:string alias=2:uint64 timestamp=3:uint64 datatype=4:uint32 is_historical=5:bool is_transient=6:bool "
        "is_null=7:bool metadata=8:MetaData properties=9:PropertySet "
        + " ".join(f"{name}={10 + number}:|{kind}" for number, (name, kind) in enumerate(_PLAIN.items()))
        + " bytes_value=16:|bytes dataset_value=17:|DataSet template_value=18:|Template"
    ),
    "MetaData": "is_multi_part=1:bool content_type=2:string size=3:uint64 seq=4:uint64 file_name=5:string",
    "PropertySet": "keys=1:*string values=2:*PropertyValue",
    "PropertyValue": "type=1:uint32 is_null=2:bool "
    + " ".join(f"{name}={3 + number}:|{kind}" for number, (name, kind) in enumerate(_PLAIN.items())),
    "DataSet": "num_of_columns=1:uint64 columns=2:*string types=3:*uint32 rows=4:*Row",
    "Row": "elements=1:*DataSetValue",
    "DataSetValue": " ".join(f"{name}={1 + number}:|{kind}" for number, (name, kind) in enumerate(_PLAIN.items())),
    "Template": "version=1:string metrics=2:*Metric parameters=3:*Parameter template_ref=4:string is_definition=5:bool",
    "Parameter": "name=1:string type=2:uint32 "
    + " ".join(f"{name}={3 + number}:|{kind}" for number, (name, kind) in enumerate(_PLAIN.items())),
}
"""Message → fields as name=number:type; `*` is repeated, `|` is one of the value."""


def _file() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug_b.proto", package="tahu", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        if "|" in fields:
            message.oneof_decl.add(name="value")
        for field in fields.split():
            left, kind = field.split(":")
            field_name, number = left.split("=")
            label = _F.LABEL_REPEATED if kind.startswith("*") else _F.LABEL_OPTIONAL
            added = message.field.add(name=field_name, number=int(number), label=label)
            if kind.startswith("|"):
                added.oneof_index = 0
            bare = kind.lstrip("*|")
            if bare in _TYPES:
                added.type = _TYPES[bare]
            else:
                added.type, added.type_name = _F.TYPE_MESSAGE, f".tahu.{bare}"
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_file())
_CLASSES = message_factory.GetMessageClassesForFiles(["sparkplug_b.proto"], _POOL)


def message(kind: str, /, **fields: Any) -> Any:
    """Return a message of a kind; lists and messages in `fields` are taken as they are."""
    return _CLASSES[f"tahu.{kind}"](**fields)


def metric(name: str = "", **fields: Any) -> Any:
    """Return a metric; without a name it has none."""
    return message("Metric", **({"name": name} if name else {}), **fields)


def payload(*metrics: Any, **fields: Any) -> bytes:
    """Return a payload's bytes."""
    return bytes(message("Payload", metrics=list(metrics), **fields).SerializeToString())


def dataset(columns: list[str], types: list[int], rows: list[list[dict[str, Any]]]) -> Any:
    """Return a data set; an element is {} for null, else {field: value}."""
    made = [message("Row", elements=[message("DataSetValue", **element) for element in row]) for row in rows]
    return message("DataSet", num_of_columns=len(columns), columns=columns, types=types, rows=made)


def parsed(data: bytes) -> Any:
    """Return the payload in `data`."""
    return _CLASSES["tahu.Payload"].FromString(data)
