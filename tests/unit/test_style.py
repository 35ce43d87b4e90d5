"""The style of the code, as far as a machine can tell: direction of imports, purity, sizes, docstrings, names."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(
    path for folder in ("gateway", "tests", "benchmarks", "images") for path in (ROOT / folder).rglob("*.py")
)
MODULES = [path for path in FILES if path.is_relative_to(ROOT / "gateway")]

LINES_MAX = 500
FUNCTION_LINES_MAX = 70

LAYERS = (
    {
        "model",
        "errors",
        "ledger",
        "clock",
        "collector",
        "disk",
        "flash",
        "medium",
        "memory",
        "pressure",
        "redaction",
        "repeats",
        "frame",
        "lock",
        "hangup",
        "channel",
        "workers",
        "config.schema",
        "config.section",
    },
    {"audit", "trace", "decode", "schemas", "process", "batch", "events", "transport"},
    {"ingest", "journal", "spool", "mirror", "health", "quarantine", "region", "config"},
    {"checkpointing", "recovery", "redrive", "relief", "sealing", "upkeep"},
    {"trial", "survey", "toll", "plan", "obstacles", "vitals", "console"},
    {"flow"},
    {"daemon", "demo"},
    {"cli", "__main__"},
)
"""What a part may import lies in its own layer, without a circle, or in one before it."""

REGION_NEVER = {"ingest", "journal", "spool"}
"""The central side must run where there is no node."""

PURE = re.compile(
    r"(model|errors|ledger|redaction|repeats|frame|medium|memory|pressure|plan|toll|decode(\..+)?|process(\..+)?|schemas(\..+)?|batch(\..+)?|(journal|spool)\.format|spool\.shares"
    r"|config\.(schema|section|options|units|positions|values|checks|render|json_schema)|mirror\.(session|turns|weights|failover|budget|refusals|shipment)|events(\..+)?|audit\.(entry|proof)|trace\.(context|spans)|region\.(receiver|reconcile|audit)"
    r"|ingest\.pace|transport\.(wire|packets|backoff|address|windows|contract|http_signatures|webhook_requests|webhook_answers|webhook_options)|health\.(rates|listen|contract|histogram|ages|growth|topics|metric|of_node|of_mirrors|of_receiver|catalogue|facts|region_facts|attention|picture|sentence|standstill)|cli\.quantities)"
)
IMPURE_MODULES = {"asyncio", "os", "socket", "ssl", "time", "random", "threading", "logging"}
NAMES_NEVER = re.compile(r"(^|_)(utils?|common|helpers?|base|core|manager)(_|$)")
BANNER = re.compile(r"^\s*#\s*[-=*#~]{3,}")
UNFINISHED = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")


def name_of(path: Path) -> str:
    """Return the module's name inside the package, e.g. `spool.ring`."""
    parts = path.relative_to(ROOT / "gateway").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def place_of(module: str) -> tuple[str, int]:
    """Return the part that a module belongs to, and its layer."""
    words = module.split(".")
    for part in (".".join(words[:end]) for end in range(len(words), 0, -1)):
        for number, parts in enumerate(LAYERS):
            if part in parts:
                return part, number
    raise AssertionError(f"gateway.{module} has no place among the layers")


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of everything that is imported, names of `from` imports appended."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def own_imports(path: Path) -> set[str]:
    """Return the modules of the package that a file imports."""
    found = set()
    for name in imported(tree_of(path)):
        if not name.startswith("gateway."):
            continue
        inner = name.removeprefix("gateway.")
        file = ROOT / "gateway" / inner.replace(".", "/")
        if file.is_dir() or file.with_suffix(".py").exists():
            found.add(inner)
        elif "." in inner:
            found.add(inner.rpartition(".")[0])
    return found


def running_imports(tree: ast.Module) -> set[str]:
    """Return the top-level names of what is imported when the module runs, type checking left out."""
    kept = [node for node in tree.body if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test))]
    return {name.split(".")[0] for node in kept for name in imported(node)}


def definitions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Yield what a module or class offers: names without a leading underscore."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield prefix + node.name, node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{prefix}{node.name}.")


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_imports_run_one_way(path) -> None:
    if path == ROOT / "gateway" / "__init__.py":
        assert own_imports(path) == set()
        return
    name = name_of(path)
    part, layer = place_of(name)
    wrong = {other for other in own_imports(path) if place_of(other)[1] > layer}
    if part == "region":
        wrong |= {other for other in own_imports(path) if place_of(other)[0] in REGION_NEVER}
    assert not wrong, f"{name} must not import {sorted(wrong)}"


def test_parts_import_each_other_without_a_circle() -> None:
    graph: dict[str, set[str]] = {}
    for path in MODULES:
        if name_of(path):
            part = place_of(name_of(path))[0]
            graph.setdefault(part, set()).update({place_of(other)[0] for other in own_imports(path)} - {part})
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"a circle of imports: {error.args[1]}") from None


@pytest.mark.parametrize("path", [path for path in MODULES if PURE.fullmatch(name_of(path))], ids=short)
def test_pure_modules_touch_nothing_outside(path) -> None:
    assert not running_imports(tree_of(path)) & IMPURE_MODULES


@pytest.mark.parametrize("path", FILES, ids=short)
def test_files_and_functions_are_small_enough_to_see_whole(path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= LINES_MAX
    for node in definitions(tree_of(path)):
        if not isinstance(node, ast.ClassDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", MODULES, ids=short)
def test_everything_public_has_a_docstring(path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree), "the module says nothing of itself"
    silent = [name for name, node in public(tree.body) if not ast.get_docstring(node)]
    assert not silent


@pytest.mark.parametrize("path", FILES, ids=short)
def test_no_file_has_a_name_that_says_nothing(path) -> None:
    for part in path.relative_to(ROOT).with_suffix("").parts:
        assert not NAMES_NEVER.search(part)


@pytest.mark.parametrize("path", FILES, ids=short)
def test_nothing_is_left_unfinished_or_decorated(path) -> None:
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        assert not UNFINISHED.search(line), f"line {number}: {line}"
        assert not BANNER.match(line), f"line {number}: {line}"


@pytest.mark.parametrize("path", [path for path in MODULES if not name_of(path).startswith("cli")], ids=short)
def test_only_the_command_line_prints_and_exits(path) -> None:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            is_entry = name_of(path) == "__main__"
            assert called not in {"print", "exit", "quit", "os._exit"}, f"line {node.lineno}"
            assert is_entry or called != "sys.exit", f"line {node.lineno}"


def test_names_of_test_files_are_unique() -> None:
    names = [path.name for path in FILES if path.name.startswith("test_")]
    assert sorted(set(names)) == sorted(names)
