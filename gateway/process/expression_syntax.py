"""The text of an expression → the tree of the Python code that computes it.

The text is parsed as Python and every node of the tree is looked at: what is not listed in `Translator` does not
compile. The tree is made anew: a name becomes a field of the row, a call one of `expression_functions`, a result of
arithmetic is held within bounds. Nothing of the text's own tree is taken over but constants and operators.

Python's `*` and `%` also repeat and format text, which needs memory without bound. The code made here keeps them to
numbers without a call: `a * b` becomes `(-a) * (-b)` and `a % b` becomes `(-(-a)) % b`. For numbers these are the same
to the last bit (negation is exact, IEEE 754, section 5.5.1), and what is no number has no negation. Text that `+` has
joined is refused by the bounds of its result, so no longer text is ever made of it.
"""

from __future__ import annotations

import ast
import warnings
from math import isfinite
from typing import TYPE_CHECKING, Final, TypeGuard

from gateway.decode.contract import INTEGER_MAX, INTEGER_MIN
from gateway.errors import ExpressionError
from gateway.process.expression_functions import DIGITS_MAX, FUNCTIONS, matcher

if TYPE_CHECKING:
    from collections.abc import Callable

CHARACTERS_MAX: Final = 1000
DEPTH_MAX: Final = 32
LEVEL_MAX: Final = 63

SURROUNDINGS: Final = ("topic", "time", "clock")
"""Names of what a row came with; a field of such a name is reached by `field('…')`."""

_SHOWN_CHARACTERS: Final = 40
_TUPLE_MAX: Final = 3
"""Up to so many literals after `in` are compared one by one, more are looked up."""


def parsed(text: str) -> tuple[str, int, ast.expr]:
    """Return the text on one line, how many blanks stood before it, and its tree. Raises `ExpressionError`."""
    if len(text) > CHARACTERS_MAX:
        raise ExpressionError(f"the expression is longer than {CHARACTERS_MAX} characters", CHARACTERS_MAX + 1)
    line = text.replace("\n", " ").replace("\r", " ")
    start = len(line) - len(line.lstrip())
    line = line.strip()
    if not line:
        raise ExpressionError("the expression is empty", 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns of (`"\d"`) is refused
            tree = ast.parse(line, mode="eval").body
    except SyntaxError as error:
        offset = error.offset or 0
        if error.msg == "invalid syntax" and not 0 < offset <= len(line):
            raise ExpressionError("the expression ends where more must follow", start + len(line) + 1) from None
        fault = f"this is no expression: {error.msg}: {_shown(line[max(offset - 1, 0) :])!r}"
        raise ExpressionError(fault, start + max(offset, 1)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"this is no expression: {error}", start + 1) from None
    after = line.encode()[tree.end_col_offset :].decode()
    if "#" in after:  # it would silently take away the lines below it
        column = start + len(line) - len(after) + after.index("#") + 1
        raise ExpressionError("a comment has no place in an expression", column)
    return line, start, tree


class Translator:
    """Makes code of one tree, node by node; what it does not know, it refuses.

    `scope` collects what the code needs besides the functions: the compiled patterns.
    """

    def __init__(self, line: str, start: int) -> None:
        self.scope: dict[str, Callable[[object], bool]] = {}
        self._line = line
        self._start = start
        self._temporaries = 0

    def translated(self, node: ast.expr, depth: int = 1) -> ast.expr:
        """Return the code for a node. Raises `ExpressionError`."""
        if depth > DEPTH_MAX:
            raise self._fault(node, f"the expression is nested deeper than {DEPTH_MAX}")
        match node:
            case (
                ast.Constant()
                | ast.Name(id="true" | "false")
                | ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float()))
            ):
                return self._constant(node)
            case ast.Name(id=name) if name in SURROUNDINGS:
                return self._surrounding(node)
            case ast.Subscript(value=ast.Name(id="topic")):
                return self._level(node)
            case ast.Name() | ast.Attribute():
                return _field(self._dotted(node))
            case ast.Call(func=ast.Name(id="field" | "has" | "matches")):
                return self._named_call(node, depth)
            case _:
                return self._operation(node, depth)

    def _operation(self, node: ast.expr, depth: int) -> ast.expr:
        match node:
            case ast.BoolOp():
                return ast.BoolOp(node.op, [self.translated(value, depth + 1) for value in node.values])
            case ast.UnaryOp(op=ast.Not()):
                return ast.UnaryOp(node.op, self.translated(node.operand, depth + 1))
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                return self._bounded(ast.UnaryOp(node.op, self.translated(node.operand, depth + 1)))
            case ast.BinOp():
                return self._arithmetic(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case _:
                raise self._fault(node, "this is not allowed in an expression")

    def _arithmetic(self, node: ast.BinOp, depth: int) -> ast.expr:
        left, right = self.translated(node.left, depth + 1), self.translated(node.right, depth + 1)
        match node.op:
            case ast.Add() | ast.Sub() | ast.Div() | ast.FloorDiv():
                return self._bounded(ast.BinOp(left, node.op, right))
            case ast.Mult():
                return self._bounded(ast.BinOp(_negated(left), node.op, _negated(right)))
            case ast.Mod():
                return self._bounded(ast.BinOp(_negated(_negated(left)), node.op, right))
            case _:
                raise self._fault(node, "of arithmetic there is + - * / // %")

    def _bounded(self, result: ast.expr) -> ast.expr:
        """Hold a result within bounds, as `t if -2**63 <= (t := result) < 2**63 else …` does.

        The bounds are written as floats, which are exact here and quicker to compare with than large integers.
        """
        name = f"_{self._temporaries}"
        self._temporaries += 1
        bound = ast.NamedExpr(ast.Name(name, ast.Store()), result)
        low, high = ast.Constant(float(INTEGER_MIN)), ast.Constant(float(INTEGER_MAX + 1))
        is_plain = ast.Compare(low, [ast.LtE(), ast.Lt()], [bound, high])
        return ast.IfExp(is_plain, _name(name), ast.Call(_name("_bounded"), [_name(name)], []))

    def _comparison(self, node: ast.Compare, depth: int) -> ast.expr:
        if any(isinstance(operator, ast.In | ast.NotIn) for operator in node.ops):
            return self._membership(node, depth)
        if any(isinstance(operator, ast.Is | ast.IsNot) for operator in node.ops):
            raise self._fault(node, "compare with == or !=, not with `is`")
        comparators = [self.translated(right, depth + 1) for right in node.comparators]
        return ast.Compare(self.translated(node.left, depth + 1), node.ops, comparators)

    def _membership(self, node: ast.Compare, depth: int) -> ast.expr:
        if len(node.ops) > 1:
            raise self._fault(node, "`in` stands in no chain of comparisons: join them with `and`")
        left, right = self.translated(node.left, depth + 1), node.comparators[0]
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            return ast.Compare(left, node.ops, [self._literals(right)])
        is_within = ast.Call(_name("_is_within"), [left, self.translated(right, depth + 1)], [])
        return ast.UnaryOp(ast.Not(), is_within) if isinstance(node.ops[0], ast.NotIn) else is_within

    def _literals(self, node: ast.List | ast.Tuple | ast.Set) -> ast.expr:
        values: list[ast.expr] = []
        for element in node.elts:
            value = self._literal(element)
            if value is None:
                raise self._fault(node, "what stands after `in` holds numbers, text, true and false only")
            values.append(ast.Constant(value))
        return ast.Set(values) if len(values) > _TUPLE_MAX else ast.Tuple(values, ast.Load())

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or not self._is_as_written(node.func):
            raise self._fault(node, f"there are these functions: {', '.join([*FUNCTIONS, 'field', 'has'])}")
        name = node.func.id
        self._count_arguments(node, name)
        if name == "round" and len(node.args) > 1:
            return ast.Call(_name(name), [self.translated(node.args[0], depth + 1), self._digits(node.args[1])], [])
        call = ast.Call(_name(name), [self.translated(argument, depth + 1) for argument in node.args], [])
        return self._bounded(call) if name == "abs" else call

    def _count_arguments(self, node: ast.Call, name: str) -> None:
        low, high = FUNCTIONS[name]
        if node.keywords or not low <= len(node.args) <= high:
            wanted = f"{low} arguments" if low == high else f"{low} to {high} arguments"
            raise self._fault(node, f"{name}() takes {wanted.replace('1 arguments', 'one argument')}")

    def _named_call(self, node: ast.Call, depth: int) -> ast.expr:
        """Translate a call of which one argument is no value but a name or a pattern."""
        assert isinstance(node.func, ast.Name)
        if not self._is_as_written(node.func):
            return self._call(node, depth)
        if node.func.id == "matches":
            self._count_arguments(node, "matches")
            return ast.Call(self._pattern(node.args[1]), [self.translated(node.args[0], depth + 1)], [])
        name = self._literal_name(node)
        return _field(name) if node.func.id == "field" else ast.Compare(ast.Constant(name), [ast.In()], [_name("row")])

    def _pattern(self, node: ast.expr) -> ast.Name:
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
            raise self._fault(node, "the pattern is needed here, as text in quotes")
        try:
            matches = matcher(node.value)
        except ImportError:
            fault = "matches() needs the package jsonschema-rs: pip install 'edge-gateway[schema]'"
            raise self._fault(node, fault) from None
        except ValueError:
            fault = "this is no regular expression, or one too large; look-around and back-references are not there"
            raise self._fault(node, fault) from None
        name = f"_matches_{len(self.scope)}"
        self.scope[name] = matches
        return _name(name)

    def _digits(self, node: ast.expr) -> ast.expr:
        digits = self._literal(node)
        if not _is_integer(digits) or abs(digits) > DIGITS_MAX:
            raise self._fault(node, f"round() takes a whole number from -{DIGITS_MAX} to {DIGITS_MAX} here")
        return ast.Constant(digits)

    def _surrounding(self, node: ast.Name) -> ast.expr:
        if not self._is_as_written(node):
            raise self._fault(node, "write this name as field('…')")
        match node.id:
            case "time":
                return ast.BinOp(_name("time_ns"), ast.Div(), ast.Constant(10**9))
            case "clock":
                return ast.Subscript(_name("_CLOCKS"), _name("clock"), ast.Load())
            case _:
                return _name("topic")

    def _level(self, node: ast.Subscript) -> ast.expr:
        """Return `topic.split("/", n + 1)[n]`, or the like from the end: no more is split than is needed."""
        assert isinstance(node.value, ast.Name)
        if not self._is_as_written(node.value):
            raise self._fault(node, "this is not allowed in an expression")
        level = self._literal(node.slice)
        if not _is_integer(level) or not -LEVEL_MAX - 1 <= level <= LEVEL_MAX:
            raise self._fault(node, f"a level of the topic is a whole number from -{LEVEL_MAX + 1} to {LEVEL_MAX}")
        method, splits = ("split", level + 1) if level >= 0 else ("rsplit", -level)
        split = ast.Attribute(_name("topic"), method, ast.Load())
        levels = ast.Call(split, [ast.Constant("/"), ast.Constant(splits)], [])
        return ast.Subscript(levels, ast.Constant(level), ast.Load())

    def _literal_name(self, node: ast.Call) -> str:
        match node:
            case ast.Call(func=ast.Name("has"), args=[ast.Name() | ast.Attribute() as name], keywords=[]):
                return self._dotted(name)
            case ast.Call(args=[ast.Constant(value=str() as name)], keywords=[]):
                return name
            case _:
                raise self._fault(node, "the name of the field is needed here, as text in quotes")

    def _dotted(self, node: ast.expr) -> str:
        parts: list[str] = []
        inner = node
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name):
            raise self._fault(node, "a dot joins the names of a path, nothing else")
        name = ".".join([inner.id, *reversed(parts)])
        if name != self._written(node):
            # Python reads some letters as others (µ as μ) and blanks between names: say exactly which field is meant.
            raise self._fault(node, "write this name as field('…')")
        return name

    def _constant(self, node: ast.expr) -> ast.expr:
        value = self._literal(node)
        if value is None:
            raise self._fault(node, "of literals there are numbers, text in quotes, true and false")
        return ast.Constant(value)

    def _literal(self, node: ast.expr) -> float | bool | str | None:
        """Return the value of a literal, None when it is none that an expression may hold."""
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                value = -number
            case ast.Constant(value=int() | float() as number):
                value = number  # a boolean, too
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id="true" | "false" as word) if self._is_as_written(node):
                return word == "true"
            case _:
                return None
        is_held = isfinite(value) if isinstance(value, float) else INTEGER_MIN <= value <= INTEGER_MAX
        if not is_held:
            raise self._fault(node, "a number is finite and, without a point, fits 64 signed bits")
        return value

    def _is_as_written(self, node: ast.Name) -> bool:
        """Return whether the text says the name itself, not other letters that Python reads as it (NFKC)."""
        return node.id == self._written(node)

    def _written(self, node: ast.expr) -> str:
        assert node.end_col_offset is not None
        return self._line.encode()[node.col_offset : node.end_col_offset].decode()

    def _fault(self, node: ast.expr, fault: str) -> ExpressionError:
        before = self._line.encode()[: node.col_offset].decode()
        return ExpressionError(f"{fault}: {_shown(self._written(node))!r}", self._start + len(before) + 1)


def _shown(written: str) -> str:
    return written if len(written) <= _SHOWN_CHARACTERS else f"{written[:_SHOWN_CHARACTERS]}…"


def _is_integer(value: object) -> TypeGuard[int]:
    return value.__class__ is int


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _field(name: str) -> ast.expr:
    return ast.Subscript(_name("row"), ast.Constant(name), ast.Load())


def _negated(node: ast.expr) -> ast.expr:
    return ast.UnaryOp(ast.USub(), node)
