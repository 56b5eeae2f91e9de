"""docs/client.md teaches by example, and every example does what the page says."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import re
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import yaml

from faces.client_world import Town, town
from unbroken.testing import Cut, Status, Trouble
from unbroken.testing.samples import PIXEL

PAGE = Path(__file__).resolve().parents[2] / "docs" / "client.md"
BLOCK = re.compile(r"(?:<!-- broken: (?P<broken>.+?) -->\n)?```python\n(?P<code>.+?)```", re.DOTALL)
SAID = re.compile(r"print\(.*\)  # (.+)$", re.MULTILINE)
NAMES = ("groq", "openai")


def prepare(folder: Path, there: Town, patch: pytest.MonkeyPatch) -> None:
    """A folder in which somebody follows the page: its file, with the providers' addresses, and an environment."""
    found = re.search(r"```yaml\n(.+?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    values = yaml.safe_load(found[1])
    for name, fake in there.fakes.items():
        values["providers"][name] = {"base_url": fake.base_url, "key": "k"}
    (folder / "unbroken.yaml").write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")
    (folder / "pixel.png").write_bytes(PIXEL)
    patch.chdir(folder)
    patch.setenv("OPENAI_API_KEY", "k")
    patch.setenv("GROQ_API_KEY", "k")


def trouble(broken: str | None, there: Town) -> None:
    """Break whom the page says, and heal the others."""
    who, _, when = (broken or "").partition(", in ")
    kind: Trouble = Cut(after_tokens=12) if when else Status(500)
    for name in there.fakes:
        there.breaks(name, kind if name in who.split(", ") else None)


async def run(code: str, names: dict[str, Any]) -> str:
    """What an example prints."""
    compiled = compile(code, str(PAGE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(compiled, CodeType)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        result = eval(compiled, names)  # noqa: S307 - our own page
        if inspect.isawaitable(result):
            await result
    return told.getvalue()


def test_the_examples_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each example runs as it stands, and prints what stands beside it."""

    async def follow() -> None:
        names: dict[str, Any] = {}
        for block in BLOCK.finditer(PAGE.read_text(encoding="utf-8")):
            trouble(block["broken"], there)
            if "from_env" in block["code"]:
                for key in ("OPENAI_API_KEY", "GROQ_API_KEY"):
                    monkeypatch.delenv(key)
                monkeypatch.setenv("POLLINATIONS_API_TOKEN", "k")
                monkeypatch.setenv("OPENROUTER_API_KEY", "k")
            told = (await run(block["code"], names)).splitlines()
            for expected in SAID.findall(block["code"]):
                assert expected in told, f"{block['code']}\nprinted {told}"

    with town(*NAMES) as there:
        prepare(tmp_path, there, monkeypatch)
        asyncio.run(follow())
