"""Two fake providers of which the first breaks every answer, and a gateway process before them.

async with stage(folder, speaks="anthropic", trouble=Cut()) as standing:
    ...  # point a client at standing.url
    standing.broken, standing.rescued  # what became of the answers
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import unbroken
from clients.deeds import MODEL
from clients.words import answer
from unbroken.testing import FakeProvider, Speed, Trouble

__all__ = ["KEY", "Standing", "clean_environment", "stage"]

KEY = "gateway-key"
START_LIMIT_S, STOP_LIMIT_S = 20.0, 10.0
WAYS = {"anthropic": "", "gemini": "/v1beta"}
"""What follows the address of a provider's server in its base URL, where it is not `/v1`."""
SPEED = Speed(tokens_per_s=500)
"""Slow enough that words are on their way to the client before the answer breaks, as in life."""
POLICY: Mapping[str, Any] = {"breaking": {"consecutive": 1000, "calls_min": 1000}, "retries": {"base_s": 0.01}}
"""No breaker spares later requests what the first ones met: every single answer breaks.  And no back-off is long."""
NOBODY = "http://127.0.0.1:9"
"""A proxy that refuses everything: what is not for this machine goes nowhere."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A gateway that runs, its providers, and its log."""

    url: str
    first: FakeProvider
    second: FakeProvider
    log: Path

    @property
    def broken(self) -> int:
        """Answers that the first provider began and broke."""
        return sum(seen.trouble is not None for seen in self.first.seen)

    @property
    def rescued(self) -> int:
        """Streams that had shown words, and were gone on with by the second provider."""
        return len(_in_log(self.log, " goes on for "))

    @property
    def unanswered(self) -> list[str]:
        """What the gateway says of requests that nobody answered."""
        return _in_log(self.log, ".* not answered: .*")


@contextlib.asynccontextmanager
async def stage(
    folder: Path, *, speaks: str, trouble: Trouble, may_drop: Sequence[str] = ()
) -> AsyncIterator[Standing]:
    """Everything that a client needs, in this folder, for as long as the block lasts.

    The first provider speaks the format that is named, as the client's own usually does, and
    the second OpenAI's chat format: what breaks in one is gone on with in the other.  What
    that one has no words for makes it no choice, unless it is in `may_drop`.
    """
    first, second = (FakeProvider(name, speed=SPEED, answer=answer) for name in ("first", "second"))
    first.fail_with(trouble)
    log = folder / "gateway.log"
    async with first, second:
        file = folder / "unbroken.yaml"
        file.write_text(_configuration({first: speaks, second: "openai_chat"}, may_drop), encoding="utf-8")
        gateway = await _started(file, log)
        try:
            yield Standing(url=await _address(gateway, log), first=first, second=second, log=log)
        finally:
            await _ended(gateway)


def _configuration(providers: Mapping[FakeProvider, str], may_drop: Sequence[str]) -> str:
    """One route over these providers, each in its format."""
    document = {
        "server": {"keys": [KEY], "port": 0},
        "providers": {
            fake.name: {
                "base_url": f"http://127.0.0.1:{fake.port}{WAYS.get(spoken, '/v1')}",
                "format": spoken,
                "key": f"sk-{fake.name}",
                "model": "word-model",
                "may_drop": list(may_drop),
            }
            for fake, spoken in providers.items()
        },
        "routes": {MODEL: {"targets": [fake.name for fake in providers]}},
        "defaults": dict(POLICY),
    }
    return json.dumps(document, indent=2)  # JSON is YAML


async def _started(file: Path, log: Path) -> asyncio.subprocess.Process:
    with log.open("wb") as output:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "unbroken", "serve", "--config", str(file), "--port", "0", "--log-level", "info",
            stdout=output, stderr=output,
            env=clean_environment(file.parent) | {"PYTHONPATH": str(Path(unbroken.__file__).parents[1])},
        )  # fmt: skip


async def _address(gateway: asyncio.subprocess.Process, log: Path) -> str:
    """Where it listens, once it does; RuntimeError where it never does."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(START_LIMIT_S):
            while gateway.returncode is None:
                if found := _in_log(log, r"(http://[\d.:]+)/v1"):
                    return found[0]
                await asyncio.sleep(0.02)
    raise RuntimeError(f"the gateway did not start: {_in_log(log, '.+')}")


def _in_log(log: Path, pattern: str) -> list[str]:
    return re.findall(pattern, log.read_text(encoding="utf-8"))


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Tell our own process to stop, and make it if it does not."""
    for end in (process.terminate, process.kill):
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            end()
            await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
            return


def clean_environment(home: Path) -> dict[str, str]:
    """Nothing of ours reaches a client: no key, no setting, no way off this machine."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1,localhost",
        **{f"{scheme}_PROXY": NOBODY for scheme in ("HTTP", "HTTPS", "ALL")},
    }
