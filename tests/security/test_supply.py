"""What we depend on is pinned, with hashes; and what we serve is described."""

from __future__ import annotations

import asyncio
import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from security.key_world import world
from unbroken.config import Config
from unbroken.faces.gateway import Gateway

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audit() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "audit.py"))


def test_every_dependency_is_pinned_with_hashes(audit: dict[str, Any]) -> None:
    """The locks hold what pyproject.toml names, in the versions that are tested, and no file without its hash."""
    assert list(audit["wrong"]()) == [], "make locks, and commit what it changes"


def test_a_pin_without_a_hash_is_found(audit: dict[str, Any], tmp_path: Path) -> None:
    """The look at the locks is one that can fail."""
    lock = tmp_path / "x.lock"
    lock.write_text("a==1 \\\n    --hash=sha256:00\nb==2\nc @ https://x.invalid/c.whl\n", encoding="utf-8")
    assert list(audit["unhashed"](lock)) == ["b==2", "c"]


def test_the_makefile_installs_by_hashes() -> None:
    """What a fresh clone is built from is what the locks say."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "--require-hashes" in makefile
    for lock in ("core", "dev", "tools"):
        assert f"$(LOCKED) constraints/{lock}.lock" in makefile


def test_the_image_installs_by_hashes() -> None:
    """What the container is made of, and made with, is locked too; nothing else is fetched for it."""
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    kept, made_with, own = re.findall(r"pip install (.+?)(?: &&|$)", dockerfile, re.MULTILINE)
    for one, lock in ((kept, "image"), (made_with, "build")):
        assert one.endswith(f"--require-hashes --no-deps --requirement constraints/{lock}.lock")
    assert "--no-deps --no-index" in own
    assert "--no-deps --no-build-isolation" in dockerfile


def test_the_openapi_document_is_up_to_date(tmp_path: Path) -> None:
    """What is committed is what the gateway says of itself, which it does to everybody."""

    async def test() -> tuple[int, Any]:
        async with world(tmp_path) as here:
            answer = await here.ask("", "/openapi.json", method="GET")
            return answer.status_code, answer.json()

    status, served = asyncio.run(test())
    committed = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))
    assert status == 200
    assert served == committed, "make openapi, and commit what it changes"


def test_what_is_described_is_what_is_open(tmp_path: Path) -> None:
    """A path that is described as open wants no key, and every other one does."""

    async def test() -> list[str]:
        wrong = []
        async with world(tmp_path, server={"admin_keys": ["an-operators-key"]}) as here:
            told = (await here.ask("", "/openapi.json", method="GET")).json()
            for path, methods in told["paths"].items():
                for method, about in methods.items():
                    answer = await here.ask("", path.replace("{", "").replace("}", ""), {}, method=method.upper())
                    if (answer.status_code == 401) != bool(about["security"]):
                        wrong.append(f"{method} {path}: {answer.status_code}")
        return wrong

    assert asyncio.run(test()) == []


def test_every_door_is_described() -> None:
    """No format and no page is left out, and an operation has one name of its own."""
    described = json.loads((ROOT / "docs" / "openapi.json").read_text(encoding="utf-8"))["paths"]

    async def doors() -> set[tuple[str, str]]:
        config = Config.from_env({})
        assemble = pytest.importorskip("unbroken.assemble")
        return {(path, method.lower()) for method, path, _ in Gateway(config, assemble.engine(config)).doors()}

    assert asyncio.run(doors()) == {(path, method) for path, methods in described.items() for method in methods}
    names = [about["operationId"] for methods in described.values() for about in methods.values()]
    assert len(set(names)) == len(names)
