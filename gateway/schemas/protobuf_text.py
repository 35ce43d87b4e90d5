"""The text of `.proto` files → a descriptor set, as `protoc --include_imports` makes it.

Only what the comparison needs is read out: names, numbers, types, labels, oneofs, maps, groups, extensions, what is
reserved, defaults, and the options that change what is on the wire or whether a field has presence. Services, other
options and comments are passed over. Names of types stay as they are written: the package protobuf, which the set is
given to, finds what they mean, and refuses what does not fit together.

Invariant: every token is taken once, and nothing is nested deeper than `_DEPTH_MAX`.

Sources: https://protobuf.dev/reference/protobuf/proto2-spec/, .../proto3-spec/, .../edition-2023-spec/.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from gateway.errors import ConfigError
from gateway.schemas.protobuf_files import KINDS, WHOSE_COMPARISON, package_of
from gateway.schemas.protobuf_tokens import HINT, Tokens

if TYPE_CHECKING:
    from collections.abc import Callable

_DEPTH_MAX: Final = 32
_FILES_MAX: Final = 200
_FIELD_NUMBER_MAX: Final = 2**29 - 1
_ENUM_NUMBER_MAX: Final = 2**31 - 1
_SCALARS: Final = {name: number for number, name in KINDS.items() if name not in {"group", "message", "enum"}}
_LABELS: Final = {"optional": 1, "required": 2, "repeated": 3}
_GROUP, _OPTIONAL, _REPEATED = 10, 1, 3
_FEATURES: Final = ("field_presence", "enum_type", "repeated_field_encoding", "utf8_validation", "message_encoding")
_OWN: Final = re.compile(r"google/protobuf/[a-z_]+\.proto")


def descriptor_set_of(name: str, read: Callable[[str], bytes], whose: str = WHOSE_COMPARISON) -> bytes:
    """Return the descriptor set of the file `name` with all that it imports.

    `read` returns the bytes of a file by the name that an import has for it, and raises `ConfigError` when there is
    none. Files of google/protobuf are the package's own. `whose` says who needs the package.
    """
    descriptor_pb2, _, _ = package_of(whose)
    made: dict[str, Any] = {}
    waiting = [name]
    while waiting:
        each = waiting[-1]
        if each not in made:
            if len(made) >= _FILES_MAX:
                raise ConfigError(f"the schema imports more than {_FILES_MAX} files", hint=HINT)
            made[each] = _own(each, descriptor_pb2) or _Parser(descriptor_pb2, each, read(each)).file()
            waiting += [other for other in made[each].dependency if other not in made]
        else:
            waiting.pop()
    return bytes(descriptor_pb2.FileDescriptorSet(file=_in_order(name, made)).SerializeToString())


def _in_order(name: str, made: dict[str, Any]) -> list[Any]:
    """Return the files so that each comes after those it imports. Raises `ConfigError` for a circle."""
    done: dict[str, Any] = {}
    path: list[str] = [name]
    while path:
        each = path[-1]
        missing = [other for other in made[each].dependency if other not in done]
        if not missing:
            done[each] = made[each]
            path.pop()
        elif missing[0] in path:
            raise ConfigError(f"{missing[0]} imports itself by way of others", hint=HINT)
        else:
            path.append(missing[0])
    return list(done.values())


def _own(name: str, package: Any) -> Any:  # noqa: ANN401  # the package has no types of its own
    """Return one of the package's own files, None when it is none."""
    if not _OWN.fullmatch(name):
        return None
    from importlib import import_module  # noqa: PLC0415  # of an extra

    try:
        module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
    except ImportError:
        return None
    return package.FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb)


class _Parser:
    """One file. `_pb` is the module of descriptor.proto."""

    def __init__(self, package: Any, name: str, data: bytes) -> None:  # noqa: ANN401  # as above
        self._pb = package
        self._name = name
        try:
            self._tokens = Tokens(data)
        except ConfigError as error:
            raise self._named(error) from None
        self._is_proto3 = False
        self._depth = 0

    def file(self) -> Any:  # noqa: ANN401  # as above
        """Return the file. Raises `ConfigError`."""
        file = self._pb.FileDescriptorProto(name=self._name)
        try:
            self._head(file)
            while self._tokens.next.kind != "end":
                self._statement(file)
        except ConfigError as error:
            raise self._named(error) from None
        except (TypeError, ValueError) as error:  # numbers that descriptor.proto does not hold
            raise self._named(self._tokens.fault(str(error)[:200])) from None
        return file

    def _named(self, error: ConfigError) -> ConfigError:
        return ConfigError(f"{self._name}: {error.fault}", hint=error.hint)

    def _head(self, file: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        if tokens.takes("syntax"):
            tokens.expect("=")
            file.syntax = tokens.string().decode(errors="replace")
            if file.syntax not in {"proto2", "proto3"}:
                raise tokens.fault(f"the syntax {file.syntax[:40]!r} is not known")
            self._is_proto3 = file.syntax == "proto3"
            tokens.expect(";")
        elif tokens.takes("edition"):
            tokens.expect("=")
            file.syntax = "editions"
            name = f"EDITION_{tokens.string().decode(errors='replace')}"
            if name not in self._pb.Edition.keys():  # noqa: SIM118  # it is no mapping
                raise tokens.fault(f"{name[:40]!r} is not known")
            file.edition = self._pb.Edition.Value(name)
            tokens.expect(";")

    def _statement(self, file: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        word = tokens.take()
        match word:
            case ";":
                return
            case "package":
                file.package = tokens.full_name()
            case "import":
                if tokens.takes("public"):
                    file.public_dependency.append(len(file.dependency))
                elif tokens.next.kind == "name":
                    tokens.take()
                file.dependency.append(tokens.string().decode(errors="replace"))
            case "service":
                tokens.take("name")
                tokens.skip_block()
                return
            case _ if self._definition(word, file.message_type, file.enum_type, file.extension, file.message_type):
                return
            case "option":
                self._option(file.options)
            case _:
                raise tokens.fault(f"{word[:40]!r} begins nothing that a file may hold")
        tokens.expect(";")

    def _definition(self, word: str, messages: Any, enums: Any, extensions: Any, groups: Any) -> bool:  # noqa: ANN401
        """Read what files and messages may both hold; return whether it was that."""
        tokens = self._tokens
        if word not in {"message", "enum", "extend"}:
            return False
        if word == "message":
            self._message(messages.add(name=tokens.take("name")))
        elif word == "enum":
            self._enum(enums.add(name=tokens.take("name")))
        else:
            extendee = tokens.full_name()
            tokens.expect("{")
            while not tokens.takes("}"):
                if not tokens.takes(";"):
                    self._field(extensions.add(extendee=extendee), groups)
        return True

    def _message(self, message: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise tokens.fault(f"messages are nested deeper than {_DEPTH_MAX}")
        tokens.expect("{")
        while not tokens.takes("}"):
            self._member(message)
        self._depth -= 1
        for field in message.field:
            if field.proto3_optional:
                field.oneof_index = len(message.oneof_decl)
                message.oneof_decl.add(name=f"_{field.name}")

    def _member(self, message: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        word = tokens.next.text
        if tokens.takes(";"):
            return
        if word in {"message", "enum", "extend"}:
            tokens.take()
            self._definition(word, message.nested_type, message.enum_type, message.extension, message.nested_type)
        elif tokens.takes("option"):
            self._option(message.options)
            tokens.expect(";")
        elif tokens.takes("oneof"):
            self._oneof(message)
        elif tokens.takes("reserved"):
            self._reserved(message, _FIELD_NUMBER_MAX, 1)
        elif tokens.takes("extensions"):
            for first, last in self._ranges(_FIELD_NUMBER_MAX):
                message.extension_range.add(start=first, end=last + 1)
            self._options(None)
            tokens.expect(";")
        else:
            self._field(message.field.add(), message.nested_type)

    def _oneof(self, message: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        index = len(message.oneof_decl)
        message.oneof_decl.add(name=tokens.take("name"))
        tokens.expect("{")
        while not tokens.takes("}"):
            if tokens.takes("option"):
                self._option(None)
                tokens.expect(";")
            elif not tokens.takes(";"):
                self._field(message.field.add(oneof_index=index), message.nested_type)

    def _field(self, field: Any, groups: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        label = tokens.take() if tokens.next.text in _LABELS and tokens.next.kind == "name" else ""
        field.label = _LABELS.get(label, _OPTIONAL)
        if self._is_proto3 and label == "optional" and not field.extendee:
            field.proto3_optional = True
        is_map, is_group = tokens.next.text == "map", tokens.next.text == "group"
        type_name = tokens.full_name()
        if is_map and tokens.next.text == "<":
            entry = self._map(groups)
        field.name = tokens.take("name")
        tokens.expect("=")
        field.number = tokens.integer()
        if is_group:
            field.type, field.type_name = _GROUP, field.name
            field.name = field.name.lower()
            self._options(field)
            self._message(groups.add(name=field.type_name))
            return
        if is_map and type_name == "map":
            entry.name = re.sub(r"(?:^|_)(.?)", lambda found: found[1].upper(), field.name) + "Entry"
            field.label, field.type_name = _REPEATED, entry.name
        elif type_name in _SCALARS:
            field.type = _SCALARS[type_name]
        else:
            field.type_name = type_name
        self._options(field)
        tokens.expect(";")

    def _map(self, messages: Any) -> Any:  # noqa: ANN401  # as above
        """Return the message of a map's entries, still without a name."""
        tokens = self._tokens
        entry = messages.add()
        entry.options.map_entry = True
        tokens.expect("<")
        for number, name in ((1, "key"), (2, "value")):
            type_name = tokens.full_name()
            field = entry.field.add(name=name, number=number, label=_OPTIONAL)
            if type_name in _SCALARS:
                field.type = _SCALARS[type_name]
            else:
                field.type_name = type_name
            tokens.expect("," if number == 1 else ">")
        return entry

    def _enum(self, enum: Any) -> None:  # noqa: ANN401  # as above
        tokens = self._tokens
        tokens.expect("{")
        while not tokens.takes("}"):
            if tokens.takes(";"):
                continue
            if tokens.takes("option"):
                self._option(enum.options)
            elif tokens.takes("reserved"):
                self._reserved(enum, _ENUM_NUMBER_MAX, 0)
                continue
            else:
                name = tokens.take("name")
                tokens.expect("=")
                enum.value.add(name=name, number=tokens.integer())
                self._options(None)
            tokens.expect(";")

    def _reserved(self, definition: Any, number_max: int, beyond: int) -> None:  # noqa: ANN401  # as above
        """Read names or numbers; a range ends `beyond` its last number, which messages and enums do differently."""
        tokens = self._tokens
        if tokens.next.kind in {"text", "name"}:
            is_text = tokens.next.kind == "text"
            while True:
                name = tokens.string().decode(errors="replace") if is_text else tokens.take("name")
                definition.reserved_name.append(name)
                if not tokens.takes(","):
                    break
        else:
            for first, last in self._ranges(number_max):
                definition.reserved_range.add(start=first, end=last + beyond)
        tokens.expect(";")

    def _ranges(self, number_max: int) -> list[tuple[int, int]]:
        tokens = self._tokens
        found: list[tuple[int, int]] = []
        while True:
            first = last = tokens.integer()
            if tokens.takes("to"):
                last = number_max if tokens.takes("max") else tokens.integer()
            found.append((first, last))
            if not tokens.takes(","):
                return found

    def _options(self, field: Any) -> None:  # noqa: ANN401  # a field, or None for what only has options to pass over
        tokens = self._tokens
        if not tokens.takes("["):
            return
        while True:
            if field is not None and tokens.takes("default"):
                tokens.expect("=")
                field.default_value = self._default(_kind_of(field))
            else:
                self._option(None if field is None else field.options)
            if tokens.takes("]"):
                return
            tokens.expect(",")

    def _option(self, options: Any) -> None:  # noqa: ANN401  # the options of anything, None to pass over it
        """Read `name = value` of one option, and keep it when it changes what is on the wire."""
        tokens = self._tokens
        path: list[str] = []
        while True:
            if tokens.takes("("):
                path.append(f"({tokens.full_name()})")
                tokens.expect(")")
            else:
                path.append(tokens.take("name"))
            if not tokens.takes("."):
                break
        tokens.expect("=")
        if tokens.next.text == "{":
            tokens.skip_block()
            return
        value = self._constant()
        match path:
            case [("packed" | "allow_alias" | "message_set_wire_format") as name] if name in _names_of(options):
                setattr(options, name, value == "true")
            case ["features", name] if name in _FEATURES and options is not None:
                self._feature(options.features, name, value)

    def _feature(self, features: Any, name: str, value: str) -> None:  # noqa: ANN401  # as above
        known = features.DESCRIPTOR.fields_by_name[name].enum_type.values_by_name
        if value not in known:
            raise self._tokens.fault(f"the feature {name} cannot be {value[:40]!r}")
        setattr(features, name, known[value].number)

    def _constant(self) -> str:
        tokens = self._tokens
        if tokens.next.kind == "text":
            return tokens.string().decode(errors="replace")
        sign = "-" if tokens.takes("-") else ""
        tokens.takes("+")
        if tokens.next.kind == "number":
            return sign + tokens.take()
        return sign + tokens.full_name()

    def _default(self, kind: str) -> str:
        """Return a default as descriptor.proto writes it."""
        tokens = self._tokens
        if tokens.next.kind == "text":
            value = tokens.string()
            if kind == "bytes":
                return "".join(f"\\{each:03o}" for each in value)
            return value.decode(errors="replace")
        if "int" in kind or "fixed" in kind:
            return str(tokens.integer())
        return self._constant()


def _kind_of(field: Any) -> str:  # noqa: ANN401  # as above
    return KINDS.get(field.type, "") if field.HasField("type") else ""


def _names_of(options: Any) -> Any:  # noqa: ANN401  # as above
    return () if options is None else options.DESCRIPTOR.fields_by_name
