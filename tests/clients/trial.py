"""One client before the gateway, and the verdict on what came of it.

result = await tried(client, home, folder=...)
result.problem      empty where every deed came to what it should, over answers that broke
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from clients.catalogue import Client
from clients.deeds import ADA, ERRAND, MODEL, QUESTION, TEXTS
from clients.homes import HERE, Home
from clients.stage import KEY, Standing, clean_environment, stage
from clients.words import EXPECTED
from unbroken.testing import Trouble

__all__ = ["Result", "tried"]

WORDS_COME = frozenset(("stream", "responses_stream", "edit"))
"""Deeds in which a client sees words before they break; calls of tools are held until they are whole."""
SHOWN_CHARS = 1500
"""Of what a client complained, and of the gateway's log, the end."""
DEEDS = json.dumps({"model": MODEL, "question": QUESTION, "errand": ERRAND, "ada": ADA, "texts": TEXTS})
"""For scripts that are not in Python."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What came of a client: answers that broke, those of them that were gone on with in mid-stream."""

    client: Client
    version: str = ""
    broken: int = 0
    rescued: int = 0
    seconds: float = 0.0
    problem: str = ""
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class _Ending:
    """How a script ended: its code (None: it did not within its time), and what it wrote."""

    code: int | None
    said: str
    complained: str


async def tried(client: Client, home: Home, *, folder: Path, trouble: Trouble) -> Result:
    """Let a client do its deeds, in an empty folder, before providers of which the first has this trouble."""
    began = time.monotonic()
    async with stage(folder, speaks=client.speaks, trouble=trouble, may_drop=client.may_drop) as standing:
        ending = await _run(client, home, folder=folder, url=standing.url)
    return Result(
        client=client, version=home.version, broken=standing.broken, rescued=standing.rescued,
        seconds=time.monotonic() - began, problem="; ".join(_problems(client, ending, standing=standing)),
    )  # fmt: skip


async def _run(client: Client, home: Home, *, folder: Path, url: str) -> _Ending:
    settings = {name: value.format(url=url, key=KEY) for name, value in client.settings.items()}
    ours = {"PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": "1", "DEEDS": DEEDS}
    process = await asyncio.create_subprocess_exec(
        *home.command, cwd=folder, env=clean_environment(folder) | ours | dict(home.settings) | settings,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    talk = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait({talk}, timeout=client.limit_s)
    if not done:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)  # its own session: the script and the programs that it started
    said, complained = (text.decode(errors="replace") for text in await talk)
    return _Ending(code=process.returncode if done else None, said=said, complained=complained)


def _problems(client: Client, ending: _Ending, *, standing: Standing) -> Iterator[str]:
    if ending.code != 0:
        how = f"not done after {client.limit_s:g} s" if ending.code is None else f"ended with code {ending.code}"
        yield f"{how}: {ending.complained[-SHOWN_CHARS:].strip()}"
        yield f"the gateway's log ends with: {standing.log.read_text(encoding='utf-8')[-SHOWN_CHARS:].strip()}"
    told = dict(_told(ending.said))
    for deed in client.deeds:
        if deed not in told:
            yield f"{deed} was not done"
        elif told[deed] != EXPECTED[deed]:
            yield f"{deed} came to {told[deed]!r}"
    if standing.broken < len(client.deeds):
        yield f"{len(client.deeds)} deeds, but only {standing.broken} answers broke"
    words_come = hasattr(standing.first.trouble, "after_tokens") and WORDS_COME & set(client.deeds)
    if words_come and not standing.rescued:
        yield "no stream was rescued"
    yield from standing.unanswered


def _told(said: str) -> Iterator[tuple[str, object]]:
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            row = json.loads(line)
            if isinstance(row, dict) and "deed" in row:
                yield row["deed"], row["said"]
