"""`unbroken health`: what it asks, what it prints, and with which exit code."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import typer
from rich.console import Console

from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.faces.cli.health import Finding, ask_all, health
from unbroken.testing import FakeProvider, Status

PLANTED = "planted4Secret7Value"


@contextmanager
def standing(*fakes: FakeProvider) -> Iterator[None]:
    """These providers, in a loop and a thread of their own: the command has a loop of its own."""
    ready, over = Event(), Event()

    async def stand() -> None:
        for fake in fakes:
            await fake.start()
        ready.set()
        await asyncio.to_thread(over.wait)
        for fake in fakes:
            await fake.close()

    thread = Thread(target=asyncio.run, args=(stand(),))
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        over.set()
        thread.join()


def values(*fakes: FakeProvider, **more: Any) -> dict[str, Any]:
    """A configuration with these providers, the first key of each good."""
    return {
        "providers": {
            **{fake.name: {"base_url": fake.base_url, "key": f"sk-{fake.name}", "model": "m"} for fake in fakes},
            **more,
        }
    }


def run(tmp_path: Path, document: dict[str, Any], **options: Any) -> tuple[int, str]:
    file = tmp_path / "unbroken.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    out = io.StringIO()
    code = health(file, console=Console(file=out, width=140), **options)
    return code, out.getvalue()


def test_every_provider_is_asked_and_shown(tmp_path: Path) -> None:
    """A row for each key, aligned, with what was asked and why one is not well; nothing that costs anything."""
    north, south = FakeProvider("north", keys=["sk-north"]), FakeProvider("south", keys=["another"])
    with standing(north, south):
        document = values(north, south, bedrock={"key": PLANTED, "model": "m", "options": {"region": "eu-west-1"}})
        document["providers"]["north"]["keys"] = [document["providers"]["north"].pop("key"), PLANTED]
        code, out = run(tmp_path, document)
    rows = [line.split() for line in out.splitlines() if line.startswith((" north", " south", " bedrock"))]
    assert code == 0
    assert [row[:4] for row in rows] == [
        ["north", "key", "1", "reachable"], ["north", "key", "2", "failing"],
        ["south", "key", "1", "failing"], ["bedrock", "key", "1", "unknown"],
    ]  # fmt: skip
    assert "its list of models" in out and "auth 401: Incorrect API key" in out and "--words" in out
    assert PLANTED not in out and "sk-north" not in out
    assert north.seen == south.seen == [] and (north.listed, south.listed) == (2, 1)


def test_where_nobody_is_well_the_exit_code_is_one(tmp_path: Path) -> None:
    """A script learns it; a key that is missing is said without asking anybody."""
    document = {"providers": {"openai": {"model": "m"}, "down": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}}
    code, out = run(tmp_path, document)
    assert code == 1
    assert "no key: set OPENAI_API_KEY" in out and "connect: cannot connect" in out and "--words" not in out


def test_without_targets_there_is_nobody(tmp_path: Path) -> None:
    """A configuration without a provider says so."""
    code, out = run(tmp_path, {})
    assert code == 1 and "there is no target" in out


def test_words_are_asked_for_where_that_is_wanted(tmp_path: Path) -> None:
    """`--words` finds a model that fails behind a list that does not."""
    north, south = FakeProvider("north"), FakeProvider("south")
    with standing(north, south):
        south.fail_with(Status(503))
        document = values(north, south)
        document["providers"]["north"]["tasks"] = ["image", "chat"]
        code, out = run(tmp_path, document, words=True)
    assert code == 0 and "healthy" in out and "a word of m" in out
    assert "overloaded 503" in out and len(north.seen) == len(south.seen) == 1


def test_json_is_for_programs(tmp_path: Path) -> None:
    """The same as JSON, without colours, in the order of the configuration."""
    north = FakeProvider("north")
    with standing(north):
        away = {"base_url": "http://127.0.0.1:9/v1", "key": "k", "model": "m", "probe": {"path": "/up"}}
        code, out = run(tmp_path, values(north, away=away), as_json=True)
    first, second = json.loads(out)
    assert code == 0 and first.pop("seconds") >= 0.0
    assert first == {"provider": "north", "key": "key 1", "state": "reachable", "asked": "its list of models",
                     "cause": None}  # fmt: skip
    assert (second["state"], second["asked"], second["cause"]["kind"]) == ("failing", "/up", "connect")


def test_it_says_how_far_it_is() -> None:
    """Each answer is told as it comes, and who does other work than chats is asked for nothing that costs."""
    told: list[tuple[int, int]] = []

    async def ask() -> list[Finding]:
        async with FakeProvider("north") as north, FakeProvider("south") as south:
            document = values(north, south)
            document["providers"]["south"]["tasks"] = ["image"]
            config = Config.from_values(document, {})
            flying = engine(config)
            moved: Callable[[int, int], None] = lambda done, total: told.append((done, total))  # noqa: E731
            found = await ask_all(config, flying, words=True, moved=moved)
            await flying.close()
            assert south.seen == []
            return found

    states = [finding.state for finding in asyncio.run(ask())]
    assert states == ["healthy", "reachable"] and told == [(1, 2), (2, 2)]


def test_a_wrong_configuration_ends_it(tmp_path: Path) -> None:
    """What is wrong with the file is said, with the code for what was asked wrongly."""
    with pytest.raises(typer.Exit) as ended:
        run(tmp_path, {"providers": {"a": {"base_url": "http://x/v1", "probe": {"every_s": 1, "path": "up"}}}})
    assert ended.value.exit_code == 2
