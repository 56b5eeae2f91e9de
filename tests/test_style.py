"""The house rules of style, each a function from the files to what breaks it, as `file:line: what`."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYTHON = [path for top in ("src", "tests", "benchmarks", "docs") for path in sorted((ROOT / top).rglob("*.py"))]
SOURCE = [path for path in PYTHON if path.is_relative_to(ROOT / "src")]
PURE = [
    path for path in SOURCE if path.parts[len(ROOT.parts) + 2] in {"core", "wire", "sim"} and path.stem != "__main__"
]
TESTS = [path for path in PYTHON if path.is_relative_to(ROOT / "tests")]
TEXTS = [
    path
    for path in sorted(ROOT.rglob("*"))
    if path.suffix in {".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"} or path.name in {"Makefile", "run"}
    if not {"recordings", "build", "dist", "node_modules"} & set(path.parts[len(ROOT.parts) :])
    if not any(part.startswith(".") and part != ".ci" for part in path.parts[len(ROOT.parts) :])
]

FUNCTION_LINES_MAX = 60
FUNCTION_LINES_MEDIAN = 10
FILE_LINES_MAX = 600
PARAMETERS_MAX = 7
POSITIONAL_MAX = 2

MIRRORED = {
    ("scope", "receive", "send"): "an ASGI application is called with these three",
    ("event_type", "value", "traceback"): "a context manager is called with these three",
}
"""Positional parameters that somebody else's interface asks for, and whose."""

Function = ast.FunctionDef | ast.AsyncFunctionDef
Problems = Iterator[tuple[Path, int, str]]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(paths: list[Path]) -> Iterator[tuple[Path, Function]]:
    for path in paths:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, Function):
                yield path, node


def length(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def no_long_function() -> Problems:
    """A function is read at one glance."""
    for path, node in functions(PYTHON):
        if length(node) > FUNCTION_LINES_MAX:
            yield path, node.lineno, f"{node.name} has {length(node)} lines, more than {FUNCTION_LINES_MAX}"


def short_functions_as_a_rule() -> Problems:
    """The typical function of a package does one thing."""
    lengths: dict[Path, list[int]] = {}
    for path, node in functions(SOURCE):
        lengths.setdefault(path.parent, []).append(length(node))
    for package, found in lengths.items():
        if (median := statistics.median(found)) >= FUNCTION_LINES_MEDIAN:
            yield package, 1, f"the median function has {median:g} lines: keep it below {FUNCTION_LINES_MEDIAN}"


def no_long_file() -> Problems:
    """A file has one clear job."""
    for path in PYTHON:
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > FILE_LINES_MAX:
            yield path, FILE_LINES_MAX, f"{lines} lines, more than {FILE_LINES_MAX}"


def few_parameters() -> Problems:
    """More than a few parameters want a record; beyond the first two a call names them."""
    for path, node in functions(SOURCE):
        if node.name.startswith("__") and node.name != "__init__":
            continue
        positional = [a.arg for a in node.args.posonlyargs + node.args.args if a.arg not in {"self", "cls"}]
        count = len(positional) + len(node.args.kwonlyargs)
        if count > PARAMETERS_MAX:
            yield path, node.lineno, f"{node.name} takes {count} parameters, more than {PARAMETERS_MAX}"
        if len(positional) > POSITIONAL_MAX and tuple(positional) not in MIRRORED:
            yield path, node.lineno, f"{node.name} takes {', '.join(positional[POSITIONAL_MAX:])} by position"


def no_empty_names() -> Problems:
    """A name says what a thing is: Manager, Helper and utils say nothing."""
    empty = re.compile(r"Manager|Helper|Utils?(?![a-z])|(?:^|_)(?:manager|helper|util)s?(?:_|$)")
    for path in PYTHON:
        if empty.search(path.stem):
            yield path, 1, f"the file is called {path.stem}"
        for node in ast.walk(tree_of(path)):
            stored = node.id if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) else ""
            name = node.name if isinstance(node, Function | ast.ClassDef) else stored
            if empty.search(name):
                yield path, getattr(node, "lineno", 1), f"the name {name}"


def public_names_are_listed() -> Problems:
    """Each public module with anything in it says in `__all__` what is for others."""
    for path in SOURCE:
        body = [node for node in tree_of(path).body if not isinstance(node, ast.Expr | ast.ImportFrom | ast.Import)]
        listed = any(getattr(t, "id", "") == "__all__" for n in body if isinstance(n, ast.Assign) for t in n.targets)
        if body and not listed and not path.stem.startswith("_") | (path.name == "__init__.py"):
            yield path, 1, "no __all__"
        if path.name == "__init__.py" and len(tree_of(path).body) > 1 and not listed:
            yield path, 1, "no __all__"


def promises_are_named() -> Problems:
    """Each test says in one line which promise it keeps."""
    for path, node in functions(TESTS):
        said = ast.get_docstring(node) or ""
        if node.name.startswith("test_") and (not said.strip() or "\n" in said):
            yield path, node.lineno, f"{node.name} has no docstring of one line"


def nothing_is_mocked() -> Problems:
    """Fakes are real code that users get too."""
    mocking = {"mock", "pytest_mock", "responses", "respx", "httpretty", "vcr", "flexmock"}
    for path in PYTHON:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Import | ast.ImportFrom):
                continue
            base = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for name in (f"{base}{alias.name}" for alias in node.names):
                if name.split(".")[0] in mocking or name.startswith("unittest.mock"):
                    yield path, node.lineno, f"imports {name}"


def time_and_chance_are_arguments() -> Problems:
    """What is pure reads no clock and draws from no source but the one it was given."""
    impure = re.compile(r"(?:time|os|secrets|uuid)\.\w+|.*\b(?:now|utcnow|today)|random\.(?!Random$)\w+")
    for path in PURE:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                if impure.fullmatch(called) or (called in {"Random", "random.Random"} and not node.args):
                    yield path, node.lineno, f"calls {called}"
            if isinstance(node, ast.ImportFrom) and node.module == "random":
                wrong = [alias.name for alias in node.names if alias.name != "Random"]
                if wrong:
                    yield path, node.lineno, f"imports {', '.join(wrong)} from random"


def nobody_elses_machine() -> Problems:
    """No file names a folder of one machine or the address of a package registry."""
    place = re.compile(r"(?<![\w.~<>*])/(?:home|root|work|Users)/\w|(?:pypi|pythonhosted)\.org|registry\.npmjs")
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if found := place.search(line):
                yield path, number, f"mentions {found[0]}"


RULES: list[Callable[[], Problems]] = [
    no_long_function,
    short_functions_as_a_rule,
    no_long_file,
    few_parameters,
    no_empty_names,
    public_names_are_listed,
    promises_are_named,
    nothing_is_mocked,
    time_and_chance_are_arguments,
    nobody_elses_machine,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_style(rule: Callable[[], Problems]) -> None:
    """Every file keeps the house rules."""
    found = [f"{path.relative_to(ROOT)}:{line}: {what}" for path, line, what in rule()]
    assert not found, "\n".join([str(rule.__doc__), *found])
