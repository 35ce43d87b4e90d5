"""`keep` expressions: text → a function of a row, as fast as Python itself and able to do nothing else.

The text is parsed as Python and every node of the tree is looked at: what is not listed in `_Translator` does not
compile. The tree is rewritten (a name becomes a field of the row, a call becomes one of the functions below), compiled
and run with nothing in its scope but those functions. So an expression can neither reach an object it was not given nor
take long: there are no loops, no powers, no attributes, and `+ * %` are functions that take numbers only, because on
text they would repeat and format, which needs memory without bound.

A row for which the expression is not true is filtered. A field that is missing where the evaluation needs it, values
that cannot be compared and divisions by zero all mean "not true", for the whole expression: see
docs/reference/expressions.md.
"""

from __future__ import annotations

import ast
import warnings
from typing import TYPE_CHECKING, Any, Final, cast

from gateway.errors import ExpressionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.model import Row

CHARACTERS_MAX: Final = 1000
DEPTH_MAX: Final = 32

_NUMBERS: Final = frozenset({int, float, bool})


def compile_expression(text: str) -> Callable[[Row], bool]:
    """Return the function that says whether a row is kept. Raises `ExpressionError` with the fault and its column."""
    if len(text) > CHARACTERS_MAX:
        raise ExpressionError(f"the expression is longer than {CHARACTERS_MAX} characters", CHARACTERS_MAX + 1)
    line = text.replace("\n", " ").replace("\r", " ")
    start = len(line) - len(line.lstrip())
    line = line.strip()
    if not line:
        raise ExpressionError("the expression is empty", 1)
    tree = ast.parse("lambda row: None", mode="eval")
    assert isinstance(tree.body, ast.Lambda)
    tree.body.body = _Translator(line, start).translated(_parsed(line, start), 1)
    ast.fix_missing_locations(tree)
    scope: dict[str, Any] = {"__builtins__": {}, **_SCOPE}
    evaluate = cast("Callable[[Row], object]", eval(compile(tree, "<keep>", "eval"), scope))  # noqa: S307  # rewritten

    def keep(row: Row) -> bool:
        try:
            return bool(evaluate(row))
        except (KeyError, TypeError, ValueError, ArithmeticError):
            return False

    return keep


def _parsed(line: str, start: int) -> ast.expr:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what Python only warns of (`"\d"`) is refused
            return ast.parse(line, mode="eval").body
    except SyntaxError as error:
        fault = f"this is no expression: {error.msg}"
        raise ExpressionError(fault, start + (error.offset or 1)) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"this is no expression: {error}", start + 1) from None


class _Translator:
    """Rewrites a tree node by node; what it does not know, it refuses."""

    def __init__(self, line: str, start: int) -> None:
        self._line = line
        self._start = start

    def translated(self, node: ast.expr, depth: int) -> ast.expr:
        if depth > DEPTH_MAX:
            raise self._fault(node, f"the expression is nested deeper than {DEPTH_MAX}")
        match node:
            case ast.Constant() | ast.Name(id="true" | "false"):
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return _field(ast.Constant(self._dotted(node)))
            case ast.Call(func=ast.Name(id="field")):
                return _field(ast.Constant(self._literal_name(node)))
            case ast.Call(func=ast.Name(id="has")):
                return ast.Compare(ast.Constant(self._literal_name(node)), [ast.In()], [_name("row")])
            case _:
                return self._operation(node, depth)

    def _operation(self, node: ast.expr, depth: int) -> ast.expr:
        match node:
            case ast.BoolOp():
                return ast.BoolOp(node.op, [self.translated(value, depth + 1) for value in node.values])
            case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd()):
                return ast.UnaryOp(node.op, self.translated(node.operand, depth + 1))
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
            case ast.Sub() | ast.Div() | ast.FloorDiv():
                return ast.BinOp(left, node.op, right)
            case ast.Add() | ast.Mult() | ast.Mod():
                return ast.Call(_name(f"_{type(node.op).__name__.lower()}"), [left, right], [])
            case _:
                raise self._fault(node, "of arithmetic there is + - * / // %")

    def _comparison(self, node: ast.Compare, depth: int) -> ast.expr:
        comparators = []
        for operator, right in zip(node.ops, node.comparators, strict=True):
            if isinstance(operator, ast.Is | ast.IsNot):
                raise self._fault(node, "compare with == or !=, not with `is`")
            if isinstance(operator, ast.In | ast.NotIn) and isinstance(right, ast.List | ast.Tuple | ast.Set):
                comparators.append(self._literals(right))
            else:
                comparators.append(self.translated(right, depth + 1))
        return ast.Compare(self.translated(node.left, depth + 1), node.ops, comparators)

    def _literals(self, node: ast.List | ast.Tuple | ast.Set) -> ast.expr:
        values = [_literal(element) for element in node.elts]
        if None in values:
            raise self._fault(node, "what stands after `in` holds numbers, text, true and false only")
        return ast.Tuple([ast.Constant(value) for value in values], ast.Load())

    def _call(self, node: ast.Call, depth: int) -> ast.expr:
        if not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS:
            raise self._fault(node, f"there are these functions: {', '.join([*_FUNCTIONS, 'field', 'has'])}")
        name = node.func.id
        low, high = _FUNCTIONS[name]
        if node.keywords or not low <= len(node.args) <= high:
            wanted = f"{low} arguments" if low == high else f"{low} to {high} arguments"
            raise self._fault(node, f"{name}() takes {wanted.replace('1 arguments', 'one argument')}")
        return ast.Call(_name(name), [self.translated(argument, depth + 1) for argument in node.args], [])

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
        if name != ast.get_source_segment(self._line, node):
            # Python reads some letters as others (µ as μ) and blanks between names: say exactly which field is meant.
            raise self._fault(node, "write this name as field('…')")
        return name

    def _constant(self, node: ast.expr) -> ast.expr:
        value = _literal(node)
        if value is None:
            raise self._fault(node, "of literals there are numbers, text in quotes, true and false")
        return ast.Constant(value)

    def _fault(self, node: ast.expr, fault: str) -> ExpressionError:
        before = self._line.encode()[: node.col_offset].decode(errors="replace")
        return ExpressionError(fault, self._start + len(before) + 1)


def _name(name: str) -> ast.Name:
    return ast.Name(name, ast.Load())


def _field(name: ast.Constant) -> ast.expr:
    return ast.Subscript(_name("row"), name, ast.Load())


def _literal(node: ast.expr) -> float | bool | str | None:
    """Return the value of a literal, None when it is none that an expression may hold."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _literal(node.operand)
        return -inner if isinstance(inner, int | float) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | bool | str):
        return node.value
    if isinstance(node, ast.Name) and node.id in {"true", "false"}:
        return node.id == "true"
    return None


def _add(left: Any, right: Any) -> float:  # noqa: ANN401  # whatever a row holds
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return left + right  # type: ignore[operator,no-any-return]  # both are numbers
    raise TypeError


def _mult(left: Any, right: Any) -> float:  # noqa: ANN401  # whatever a row holds
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return left * right  # type: ignore[operator,no-any-return]  # both are numbers
    raise TypeError


def _mod(left: Any, right: Any) -> float:  # noqa: ANN401  # whatever a row holds
    if left.__class__ in _NUMBERS and right.__class__ in _NUMBERS:
        return left % right  # type: ignore[operator,no-any-return]  # both are numbers
    raise TypeError


def _is_number(value: object) -> bool:
    return value.__class__ is float or value.__class__ is int


_FUNCTIONS: Final[dict[str, tuple[int, int]]] = {
    "abs": (1, 1),
    "min": (2, 8),
    "max": (2, 8),
    "len": (1, 1),
    "lower": (1, 1),
    "upper": (1, 1),
    "startswith": (2, 2),
    "endswith": (2, 2),
    "isnum": (1, 1),
    "istext": (1, 1),
    "isbool": (1, 1),
}
"""The functions and how many arguments they take."""

_SCOPE: Final[dict[str, object]] = {
    "abs": abs,
    "min": min,
    "max": max,
    "len": len,
    "lower": str.lower,
    "upper": str.upper,
    "startswith": str.startswith,
    "endswith": str.endswith,
    "isnum": _is_number,
    "istext": lambda value: value.__class__ is str,
    "isbool": lambda value: value.__class__ is bool,
    "_add": _add,
    "_mult": _mult,
    "_mod": _mod,
}
