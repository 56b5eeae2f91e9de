"""`unbroken health`: asks every configured provider how it is, once, and shows what they say.

What is asked costs nothing, unless words are wanted too: an address and a key can be good while a
model behind them is not, and only a word shows that.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from unbroken.config import Config
from unbroken.engine import Engine
from unbroken.failures import Failure, FailureKind
from unbroken.inquiry import Told, free, word
from unbroken.types import Target, Task

__all__ = ["Finding", "ask_all", "health", "report"]

AT_ONCE = 16
"""Questions under way at a time."""
COLOURS = {"healthy": "bold green", "reachable": "green", "unknown": "yellow", "failing": "bold red"}
WELL = frozenset(("healthy", "reachable"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How the way to a provider with one key is.

    `state` is healthy (a word came), reachable (a free question was answered), failing, or unknown;
    `key` is where the key comes from, never the key; `asked` what was asked.
    """

    provider: str
    key: str
    state: str
    asked: str = ""
    seconds: float | None = None
    failure: Failure | None = None

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        failure = self.failure
        cause = failure and {"kind": failure.kind, "status": failure.status, "message": failure.message}
        seconds = None if self.seconds is None else round(self.seconds, 4)
        return {"provider": self.provider, "key": self.key, "state": self.state, "asked": self.asked,
                "seconds": seconds, "cause": cause}  # fmt: skip


def health(
    path: Path | None, *, as_json: bool = False, words: bool = False, console: Console | None = None
) -> int:  # fmt: skip
    """Ask, and print; the exit code: 0 where anybody is well, 1 where nobody is, 2 for a wrong configuration."""
    from unbroken.faces.cli.serve import configured

    config, console = configured(path), console or Console()
    findings = asyncio.run(_watched(config, words=words))
    if as_json:
        console.print_json(json.dumps([finding.plain() for finding in findings]))
    else:
        console.print(report(findings))
    return 0 if any(finding.state in WELL for finding in findings) else 1


async def _watched(config: Config, *, words: bool) -> list[Finding]:
    """Ask, with a bar on stderr that shows how far it is."""
    from unbroken.assemble import engine

    stderr = Console(stderr=True)
    columns = (TextColumn("asking"), BarColumn(), MofNCompleteColumn())
    asking = engine(config)
    try:
        with Progress(*columns, console=stderr, transient=True, disable=not stderr.is_terminal) as progress:
            bar = progress.add_task("asking", total=None)

            def moved(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)

            return await ask_all(config, asking, words=words, moved=moved)
    finally:
        await asking.close()


async def ask_all(
    config: Config, engine: Engine, *, words: bool = False, moved: Callable[[int, int], None] = lambda *_: None
) -> list[Finding]:  # fmt: skip
    """What each key's way to each provider says; `words` asks each for a word, `moved` is told of each that is done."""
    ways, room, done = _ways(config), asyncio.Semaphore(AT_ONCE), 0

    async def ask(target: Target) -> Finding:
        nonlocal done
        async with room:
            found = await _ask(config, engine, target=target, words=words)
        done += 1
        moved(done, len(ways))
        return found

    return list(await asyncio.gather(*map(ask, ways)))


def _ways(config: Config) -> list[Target]:
    """A target for each key, one that chats where any does."""
    by_key: dict[str, Target] = {}
    for target in config.targets:
        known = by_key.get(target.key_scope)
        if known is None or (_chats(target) and not _chats(known)):
            by_key[target.key_scope] = target
    return list(by_key.values())


def _chats(target: Target) -> bool:
    return Task.CHAT in target.tasks


async def _ask(config: Config, engine: Engine, *, target: Target, words: bool) -> Finding:
    account = config.accounts[target.provider]
    if account.key_missing:
        failure = Failure(kind=FailureKind.AUTH, message=f"no key: set {' or '.join(account.row.key_env)}", sent=False)
        return Finding(provider=target.provider, key="missing", state="failing", failure=failure)
    began, probing = engine.clock(), account.probe
    if words and _chats(target):
        told: Told | None = await word(engine, target)
        asked, good = f"a word of {target.model}", "healthy"
    else:
        told = await free(engine, target, path=probing.path, timeout_s=probing.timeout_s)
        asked, good = probing.path if probing.path.startswith("/") else "its list of models", "reachable"
    return _finding(target, told, asked=asked, seconds=engine.clock() - began, good=good)


def _finding(target: Target, told: Told | None, *, asked: str, seconds: float, good: str) -> Finding:
    key = f"key {target.key_name}" if target.key_name.isdecimal() else target.credential or target.key_name or "none"
    if told is None:
        return Finding(provider=target.provider, key=key, state="unknown", asked="nothing that is free")
    state = good if told.failure is None else "failing"
    return Finding(provider=target.provider, key=key, state=state, asked=asked, seconds=seconds, failure=told.failure)


# ---------------------------------------------------------------------------- what is shown


def report(findings: list[Finding]) -> RenderableType:
    """A row for each, and what the states mean that are there."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("provider", "key", "state"):
        table.add_column(column, overflow="fold")
    table.add_column("seconds", justify="right")
    table.add_column("asked", overflow="fold")
    table.add_column("cause", overflow="fold")
    for finding in findings:
        seconds = "" if finding.seconds is None else f"{finding.seconds:.3f}"
        cause = "" if finding.failure is None else str(finding.failure)
        table.add_row(
            Text(finding.provider), Text(finding.key), Text(finding.state, COLOURS[finding.state]),
            Text(seconds), Text(finding.asked), Text(cause),
        )  # fmt: skip
    return Group(table, *(Text(line, "dim") for line in _notes({finding.state for finding in findings})))


def _notes(states: set[str]) -> list[str]:
    if not states:
        return ["there is no target: set a provider's key in the environment (OPENAI_API_KEY, ...) or give --config"]
    notes = {
        "reachable": "reachable: somebody answers there; of the models that says nothing",
        "unknown": "unknown: nothing is known that costs nothing to ask there",
    }
    said = [note for state, note in notes.items() if state in states]
    return [*said, "--words asks each for one word, which is billed"] if said else []
