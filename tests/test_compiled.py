"""What can be compiled (`HOT` in setup.py) keeps to what the compiler asks: docs/decisions/0014-compiled.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def hot() -> list[str]:
    """The names of the modules, as they are imported."""
    (names,) = (
        node.value
        for node in ast.walk(tree_of(ROOT / "setup.py"))
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOT"
    )
    return ["unbroken." + name.replace("/", ".") for name in ast.literal_eval(names)]


def file_of(module: str) -> Path:
    path = SOURCE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def classes(path: Path) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.ClassDef))


def origins(path: Path) -> dict[str, str]:
    """Where each name comes from that a file takes from a module of ours."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("unbroken")
        for alias in node.names
    }


def defined(name: str) -> str:
    """A class by the module that defines it, whichever module it was taken from."""
    module, _, own = name.rpartition(".")
    path = file_of(module)
    further = origins(path).get(own) if path.exists() else None
    return name if further is None else defined(further)


def is_open(node: ast.ClassDef) -> bool:
    """Whether it says that whatever is not compiled may derive from it."""
    return any("allow_interpreted_subclasses=True" in ast.unparse(each) for each in node.decorator_list)


def test_every_one_of_them_is_there() -> None:
    """No name in the list is stale."""
    assert [module for module in hot() if not file_of(module).is_file()] == []


def test_all_of_them_are_compiled_or_none() -> None:
    """An installation is one or the other: what is tested as compiled is compiled."""
    specs = [find_spec(module) for module in hot()]
    assert len({Path(spec.origin or "").suffix for spec in specs if spec is not None}) == 1


def test_what_others_derive_from_says_so() -> None:
    """A compiled class refuses subclasses that are not compiled, unless it is marked; those here and in tests are."""
    compiled = {module: file_of(module) for module in hot()}
    closed = {
        f"{module}.{node.name}" for module, path in compiled.items() for node in classes(path) if not is_open(node)
    }
    everything = [path for top in ("src", "tests", "benchmarks", "docs") for path in (ROOT / top).rglob("*.py")]
    wrong = []
    for path in sorted(set(everything) - set(compiled.values())):
        taken = origins(path)
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {node.name} derives from {ast.unparse(base)}"
            for node in classes(path)
            for base in node.bases
            if ast.unparse(base) in taken and defined(taken[ast.unparse(base)]) in closed
        ]
    assert not wrong, "\n".join(wrong)


def test_shapes_that_are_decoded_are_not_compiled() -> None:
    """Msgspec reads a shape's annotations, of which a compiled module keeps too little: shapes stand elsewhere."""
    compiled = set(hot())
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        module = path.relative_to(SOURCE).with_suffix("").as_posix().replace("/", ".")
        places = {node.name: f"{module}.{node.name}" for node in classes(path)} | origins(path)
        calls = [node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)]
        shapes = [node.args[0] for node in calls if ast.unparse(node.func).endswith("Decoder") and node.args]
        shapes += [given.value for node in calls for given in node.keywords if given.arg == "type"]
        wrong += [
            f"{path.relative_to(ROOT)}:{name.lineno}: {name.id}"
            for shape in shapes
            for name in ast.walk(shape)
            if isinstance(name, ast.Name) and defined(places.get(name.id, "")).rpartition(".")[0] in compiled
        ]
    assert not wrong, "\n".join(wrong)


def test_nothing_is_cut_from_behind_its_end() -> None:
    """Where Python answers no bytes, compiled code raises: a beginning that may be less than 0 is held above it."""
    wrong = [
        f"{path.relative_to(ROOT)}:{cut.lineno}: [{ast.unparse(cut)}]"
        for path in map(file_of, hot())
        for cut in ast.walk(tree_of(path))
        if isinstance(cut, ast.Slice) and cut.lower is not None and cut.upper is not None
        if (isinstance(cut.lower, ast.BinOp) and isinstance(cut.lower.op, ast.Sub)) or "find(" in ast.unparse(cut.lower)
    ]
    assert not wrong, "\n".join(wrong)
