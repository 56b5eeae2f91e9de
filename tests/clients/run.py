"""Every client that people already use, unmodified, over a provider that breaks each answer in the middle.

    python -m clients.run [--only NAME ...] [--trouble cut] [--out build/clients/table.md]

Prints a table and writes it down; ends with code 1 if a client did not get whole answers.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from clients.catalogue import CLIENTS, Client
from clients.homes import BUILD, Missing, ready
from clients.trial import Result, tried
from unbroken.testing import Cut, ErrorEvent, Malformed, Reset, Status, Trouble

TROUBLES: Mapping[str, Trouble] = {
    "cut": Cut(after_tokens=12),
    "clean-cut": Cut(after_tokens=12, clean=True),
    "error-event": ErrorEvent(after_tokens=12),
    "malformed": Malformed(after_tokens=12),
    "reset": Reset(),
    "500": Status(500),
}
HEAD = ("client", "version", "what was run", "answers broken", "rescued in mid-stream", "seconds", "answers")


def main() -> int:
    """Run the clients that are asked for, and say what came of them."""
    arguments = _arguments().parse_args()
    clients = [client for client in CLIENTS if not arguments.only or client.name in arguments.only]
    console = Console()
    results = asyncio.run(_all(clients, console, trouble=TROUBLES[arguments.trouble]))
    console.print(_shown(results))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(_written(results), encoding="utf-8")
    console.print(f"written to {arguments.out}")
    for result in results:
        if result.missing:
            console.print(f"NOT RUN: {result.client.name}: {result.missing}", style="bold yellow", markup=False)
        if result.problem:
            console.print(f"FAILED: {result.client.name}: {result.problem}", style="bold red", markup=False)
    return int(any(result.problem for result in results))


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    names = [client.name for client in CLIENTS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--trouble", choices=TROUBLES, default="cut", help="what the first provider has")
    parser.add_argument("--out", type=Path, default=BUILD / "table.md")
    return parser


async def _all(clients: Sequence[Client], console: Console, *, trouble: Trouble) -> list[Result]:
    """One after another: each has the machine for itself."""
    results = []
    for client in clients:
        with console.status(f"{client.name} ..."):
            results.append(await _one(client, trouble))
        console.print(f"{client.name}: {_verdict(results[-1])}", highlight=False)
    return results


async def _one(client: Client, trouble: Trouble) -> Result:
    try:
        home = await ready(client)
    except Missing as missing:
        return Result(client=client, missing=str(missing))
    with tempfile.TemporaryDirectory(prefix="unbroken-", ignore_cleanup_errors=True) as folder:
        return await tried(client, home, folder=Path(folder), trouble=trouble)


def _verdict(result: Result) -> str:
    return "FAILED" if result.problem else "NOT RUN" if result.missing else "whole"


def _rows(results: Sequence[Result]) -> Iterator[tuple[str, ...]]:
    for result in results:
        deeds = ", ".join(deed.replace("_", " ") for deed in result.client.deeds)
        counts = (str(result.broken), str(result.rescued), f"{result.seconds:.1f}")
        yield result.client.name, result.version, deeds, *counts, _verdict(result)


def _shown(results: Sequence[Result]) -> Table:
    """As it fits on a screen: what was run is in the one that is written down."""
    table = Table(*(head for head in HEAD if head != HEAD[2]))
    for name, version, _, *rest in _rows(results):
        table.add_row(name, version, *rest)
    return table


def _written(results: Sequence[Result]) -> str:
    """As Markdown."""
    rows = [HEAD, ("---",) * len(HEAD), *_rows(results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    sys.exit(main())
