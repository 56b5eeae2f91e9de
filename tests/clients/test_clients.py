"""Clients that people already use, unmodified and in processes of their own, over a provider that breaks each answer.

Here those that the tests have installed anyway; `make clients` runs all of them.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clients.catalogue import CLIENTS, Client
from clients.deeds import MODEL
from clients.homes import HERE, ready
from clients.trial import tried
from clients.words import EXPECTED
from unbroken.testing import Cut

ROOT = HERE.parents[1]
FAST = [client for client in CLIENTS if not client.home]


@pytest.mark.parametrize("client", FAST, ids=lambda client: client.name)
def test_a_client_gets_whole_answers(client: Client, tmp_path: Path) -> None:
    """Every answer is cut off after twelve words, and the client gets all of them, word for word."""

    async def go() -> str:
        result = await tried(client, await ready(client), folder=tmp_path, trouble=Cut(after_tokens=12))
        return result.problem

    assert not asyncio.run(go())


def test_a_trial_can_fail(tmp_path: Path) -> None:
    """A client that says something else than it should, or whose answers nobody broke, is found out."""
    script = tmp_path / "script.py"
    script.write_text('print(\'{"deed": "chat", "said": "nonsense"}\')\nraise SystemExit(3)\n', encoding="utf-8")
    client = Client(name="odd", package="openai", script=str(script), deeds=("chat", "stream"), settings={})

    async def go() -> str:
        return (await tried(client, await ready(client), folder=tmp_path, trouble=Cut())).problem

    problem = asyncio.run(go())
    for found in ("code 3", "chat came to 'nonsense'", "stream was not done", "only 0 answers broke", "no stream was"):
        assert found in problem


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_the_catalogue_holds_together(client: Client) -> None:
    """Each client has a script and pins, and each of its deeds has an outcome to be held to."""
    assert (HERE / "scripts" / client.script).is_file()
    assert not client.home or (HERE / client.home).exists()
    assert set(client.deeds) <= set(EXPECTED)


def test_the_documents_name_every_client() -> None:
    """The README has a row for each in its table, and docs/clients.md says how each is pointed at the gateway."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    guide = (ROOT / "docs" / "clients.md").read_text(encoding="utf-8")
    for client in CLIENTS:
        assert f"| {client.name} |" in readme
        assert f"`{client.package}`" in guide
    assert MODEL in guide
