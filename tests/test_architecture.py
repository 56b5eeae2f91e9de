"""Who may import whom: the table, and a walk over every import that compares the code with it.

The table in docs/architecture.md is generated from `TABLE` by docs/generate.py (make docs).
"""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "unbroken"


class Row(NamedTuple):
    """Modules, and what they may import besides their own row: rows by their name, modules by theirs.

    A name covers what is inside it; `=name` does not.
    """

    name: str
    modules: str
    may_import: str
    third_party: str = ""
    pure: bool = False


FACES = "assembly config engine wire vocabulary"
TABLE = (
    Row("vocabulary", "records work price types failures policy facts telemetry ports", "", "msgspec", pure=True),
    Row("core", "core", "vocabulary", pure=True),
    Row("wire", "wire", "vocabulary", "msgspec", pure=True),
    Row("catalog", "catalog models model_names price_lists", "vocabulary wire", "msgspec"),
    Row("edges", "transport stores sinks", "vocabulary", "httptools"),
    Row("ledger", "ledger", "vocabulary", "alembic msgspec pyarrow sqlalchemy"),
    Row("credentials", "credentials", "vocabulary wire references", "azure botocore google hvac requests"),
    Row("references", "credentials.references", "", pure=True),
    Row("keys", "keys", "vocabulary", "msgspec"),
    Row(
        "config",
        "accounts config config_budgets config_file config_ledger config_schema config_server config_shape"
        " config_store config_telemetry profiles",
        "vocabulary catalog =wire references keys",
        "msgspec yaml",
    ),
    Row("imports", "imports", "vocabulary config catalog", "yaml"),
    Row(
        "engine",
        "engine leg inquiry probes secrecy soundness bus monitor admission drives counting",
        "vocabulary core =wire =wire.allowance =wire.fixes =wire.media catalog",
        "jsonschema",
    ),
    Row("cache", "cache", "vocabulary core engine keeping", "numpy wordllama"),
    Row("keeping", "cache.keys cache.entries cache.shelf", "vocabulary core", "msgspec", pure=True),
    Row("replicas", "replicas", "vocabulary core engine edges cache keeping sharing", "msgspec redis"),
    Row(
        "sharing",
        "replicas.backplane replicas.words replicas.leases replicas.commons",
        "vocabulary core",
        "msgspec",
        pure=True,
    ),
    Row("sim", "sim", "vocabulary core", pure=True),
    Row("sim program", "sim.__main__", "vocabulary core sim"),
    Row("ordeal", "sim.ordeal", "vocabulary core =wire sim engine replicas sharing"),
    Row("testing", "testing", "vocabulary core wire", "httptools msgspec"),
    Row(
        "assembly",
        "assemble",
        "vocabulary core wire catalog edges ledger credentials config engine cache replicas sharing sim testing"
        " package",
    ),
    Row("status", "status tally chronicle", "vocabulary core config engine ledger", "msgspec"),
    Row("reload", "reload", f"{FACES} cache keys"),
    Row("client", "faces.client", f"{FACES} =tally"),
    Row("sdk", "faces.sdk", f"{FACES} gateway"),
    Row("bench", "bench", f"{FACES} core client intervals ledger", "matplotlib"),
    Row("intervals", "bench.intervals", "", pure=True),
    Row(
        "gateway",
        "faces.gateway faces.steering faces.pages faces.visitor faces.lists faces.counts faces.films faces.film_store"
        " faces.openapi",
        f"{FACES} measures admin dashboard keys package",
        "msgspec",
    ),
    Row("measures", "faces.measures", f"{FACES} core edges gateway replicas package"),
    Row(
        "admin",
        "faces.admin",
        f"{FACES} status reload replicas =faces.pages =faces.visitor =ledger =ledger.record package",
        "msgspec",
    ),
    Row("dashboard", "faces.dashboard", "=faces.pages =faces.visitor config", "msgspec"),
    Row("asgi", "faces.asgi", f"{FACES} gateway admin dashboard reload"),
    Row("server", "faces.server", f"{FACES} gateway", "httptools"),
    Row("cli", "faces.cli", "everything", "click httptools matplotlib msgspec openai rich typer uvloop yaml"),
    Row("package", "=__init__ =__main__ =faces", "everything"),
)
MARKERS = {"mypy_extensions"}
"""What may be imported anywhere: it does nothing but say something to the compiler."""
IMPURE = {
    *("asyncio", "concurrent", "ctypes", "http.client", "http.server", "logging", "multiprocessing", "os", "pathlib"),
    *("queue", "sched", "secrets", "select", "selectors", "shutil", "signal", "socket", "socketserver", "sqlite3"),
    *("ssl", "subprocess", "tempfile", "threading", "time", "urllib.request", "uuid"),
}
"""Forbidden where `pure`: what does I/O, reads a clock, draws at random, or logs."""


def module_of(path: Path) -> str:
    """`src/unbroken/core/flight.py` is `core.flight`, a folder's `__init__.py` is the folder."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module_of(path): path for path in sorted(SOURCE.rglob("*.py"))}


def row_of(module: str) -> Row | None:
    """The row with the longest name that covers this module."""
    covers = [
        (len(n), row)
        for row in TABLE
        for n in row.modules.split()
        if f"{module}.".startswith(f"{n}.") or n == f"={module}"
    ]
    return max(covers, key=lambda cover: cover[0])[1] if covers else None


def imports(path: Path) -> list[tuple[int, str]]:
    """Line and full name of everything that a file imports; for `from x import y`, y where it is a module."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            inner = [f"{base}.{alias.name}" for alias in node.names]
            found += [(node.lineno, n if n.removeprefix("unbroken.") in MODULES else base) for n in inner]
    return found


def is_allowed(module: str, row: Row, name: str) -> bool:
    """Whether this module may import this name."""
    top, _, inside = name.partition(".")
    if top != "unbroken":
        standard = top in sys.stdlib_module_names or top in MARKERS
        return not (row.pure and {top, name} & IMPURE) if standard else top in row.third_party.split()
    other = row_of(inside or "__init__")
    if other is None or other.name == row.name == "vocabulary":
        order = TABLE[0].modules.split()
        return other is not None and order.index(inside) < order.index(module)
    return bool({other.name, f"={inside}", "everything"} & {row.name, *row.may_import.split()})


def table() -> str:
    """The table as Markdown, for docs/architecture.md."""
    lines = ["| Row | Modules | May import, besides its own row | Third party |", "|---|---|---|---|"]
    for row in TABLE:
        own = [f"`{name.removeprefix('=')}` itself" if name[0] == "=" else name for name in row.may_import.split()]
        rule = ", ".join(own) or "each what stands before it"
        packages = ", ".join(f"`{name}`" for name in row.third_party.split()) or "none"
        name = f"{row.name} (pure)" if row.pure else row.name
        lines.append(
            f"| {name} | {', '.join(f'`{m}`' for m in row.modules.replace('=', '').split())} | {rule} | {packages} |"
        )
    return "\n".join(lines)


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_table(module: str) -> None:
    """A module imports only what its row allows, and what must be pure imports nothing impure."""
    row, path = row_of(module), MODULES[module]
    assert row is not None, f"{path.relative_to(ROOT)} is in no row of TABLE in tests/test_architecture.py"
    wrong = [(line, name) for line, name in imports(path) if not is_allowed(module, row, name)]
    assert not wrong, "\n".join(f"{path.relative_to(ROOT)}:{n}: {row.name} imports {name}" for n, name in wrong)


def test_the_document_is_up_to_date() -> None:
    """The tables in docs/architecture.md say what the code says."""
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    current = generate["DOCUMENT"].read_text(encoding="utf-8")
    assert current == generate["renewed"](current), "make docs, and commit what it changes"
