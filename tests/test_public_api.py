"""The public names of the package, compared with a list that is changed on purpose (make api)."""

from __future__ import annotations

import ast
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / "tests" / "public_api.txt"
SOURCE = ROOT / "src"


def listed(path: Path) -> list[str]:
    """The `__all__` of a file, read and not run."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            return [str(name) for name in ast.literal_eval(node.value)]
    return []


def public_names() -> dict[str, list[str]]:
    """Module -> its public names, for every module that has some."""
    names = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        if found := listed(path):
            names[".".join(part for part in parts if part != "__init__")] = sorted(found)
    return names


def document() -> str:
    """The list as it is committed: one full name a line."""
    return "".join(f"{module}.{name}\n" for module, names in sorted(public_names().items()) for name in names)


def test_the_public_names_are_as_committed() -> None:
    """Nobody's import breaks by accident: a public name comes and goes on purpose."""
    committed, now = set(LIST.read_text(encoding="utf-8").split()), set(document().split())
    changed = [f"+ {name}" for name in sorted(now - committed)] + [f"- {name}" for name in sorted(committed - now)]
    assert not changed, "\n".join(["public names have changed; if on purpose: make api", *changed])


@pytest.mark.parametrize(("module", "names"), public_names().items(), ids=public_names())
def test_every_public_name_exists(module: str, names: list[str]) -> None:
    """What `__all__` promises can be imported."""
    there = dir(import_module(module))
    assert [name for name in names if name not in there] == []


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        sys.exit(f"usage: {sys.argv[0]} --write")
    LIST.write_text(document(), encoding="utf-8")
    print(LIST.relative_to(ROOT))  # noqa: T201
