"""`unbroken check`: is this configuration right, and what does it come to?

The functions return what rich can print; only `check` prints.  Keys are named by where
they come from and never shown.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from unbroken.config import Config, ConfigError, Problem, load
from unbroken.config_file import explained
from unbroken.faces.cli.catalog import count_words, price_words
from unbroken.policy import Policy, Route
from unbroken.profiles import PROFILES
from unbroken.types import Target, Task

__all__ = ["check", "differences", "problems_text", "report", "route_table", "target_table"]

_PROBLEM_STYLES = {
    r"(?m)^error (?=\S)|^\d+ errors?$|(?<=\| ) *\^$": "bold red",
    r"(?m)(?<=^error )\S+?(?=: )": "bold",
    r"(?m)^ +\d+ \| .*$": "dim",
}
Record = Any
"""A policy, or one of its records."""


def check(file: Path | None, *, environ: Mapping[str, str] | None = None, console: Console | None = None) -> int:
    """Print what a configuration comes to, or what is wrong with it; the exit code: 0 or 1.

    Without a file, what `serve` would find is checked: $UNBROKEN_CONFIG, ./unbroken.yaml,
    or the environment alone.
    """
    console = console or Console()
    try:
        config = load(file, os.environ if environ is None else environ)
    except ConfigError as error:
        console.print(problems_text(error.problems), soft_wrap=True)
        return 1
    console.print(report(config))
    return 0


def report(config: Config) -> RenderableType:
    """Everything: where it listens, the targets, the routes, and what is probably not meant."""
    server = config.server
    known = len(server.keys) + sum(entry.revoked is None for entry in server.issued)
    guard = _count(known, "key") if server.guarded else "no key, since only this machine can reach it"
    head = Text.assemble((config.source, "bold"), f": listens on {server.host}:{server.port}, {guard}")
    warnings = [Text.assemble(("warning ", "yellow"), warning) for warning in config.warnings]
    last = Text.assemble(
        ("ok", "bold green"), f": {_count(len(config.routes), 'route')}, {_count(len(config.targets), 'target')}"
    )
    return Group(head, target_table(config), route_table(config), *warnings, last)


def target_table(config: Config) -> Table:
    """A row for each target: its address, where its key comes from, its limits and price, what is particular to it."""
    table = _table("Targets", "target", "address", "key", "context", "price", "notes")
    for target in config.targets:
        table.add_row(
            Text(target.name), Text(target.base_url or "by its options"), _key_source(config, target),
            Text(count_words(target.context_tokens)), Text(price_words(target.price)), Text(_notes(target)),
        )  # fmt: skip
    return table


def route_table(config: Config) -> Table:
    """A row for each route: how it chooses, among whom in which order, and where its policy is not the usual."""
    table = _table("Routes", "route", "strategy", "targets, in order", "differs from the built-in policy")
    for route in config.routes.values():
        names = [route.name, *(f"also {alias}" for alias, name in config.aliases.items() if name == route.name)]
        weighted = route.strategy in {"weighted", "least-busy"}
        order = [t.name + (f"  (weight {t.weight:g})" if weighted else "") for t in route.targets]
        table.add_row(
            Text("\n".join(names)),
            Text("\n".join(_choosing(route))),
            Text("\n".join(order)),
            Text("\n".join(differences(route.policy))),
            end_section=True,
        )
    return table


def _choosing(route: Route) -> list[str]:
    """How a route chooses, a line for each thing that is said of it."""
    lines = [route.strategy + (f", {route.width} at once" if route.width > 1 else "")]
    if route.profile:
        lines.append(f"profile {route.profile}: {PROFILES[route.profile].about}")
    if route.requirements:
        lines.append(", ".join(f"{name} {weight:g}" for name, weight in route.requirements.items()))
    if route.regions:
        lines.append("only in " + ", ".join(route.regions))
    if route.near:
        lines.append("near " + ", ".join(route.near))
    return lines


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _notes(target: Target) -> str:
    notes = [", ".join(sorted(target.capabilities))] if target.capabilities else []
    if target.prefix != "none":
        notes.append(f"prefix {target.prefix}")
    if target.tasks != frozenset(Task):
        notes.append("only " + ", ".join(sorted(target.tasks)))
    if target.regions:
        notes.append("in " + ", ".join(target.regions))
    if target.quota_group:
        notes.append(f"quota group {target.quota_group}")
    return "; ".join([*notes, *(f"{name} {_plain(value)}" for name, value in target.deadlines.items())])


def differences(policy: Policy) -> list[str]:
    """Where a policy is not the built-in one: `hedging.after_s 2`."""
    return list(_differences(policy, Policy(), prefix=""))


def _differences(record: Record, usual: Record, *, prefix: str) -> Iterator[str]:
    for of in fields(record):
        mine, theirs = getattr(record, of.name), getattr(usual, of.name)
        if is_dataclass(mine):
            yield from _differences(mine, theirs, prefix=f"{prefix}{of.name}.")
        elif mine != theirs:
            yield f"{prefix}{of.name} {_plain(mine)}"


def problems_text(problems: list[Problem]) -> Text:
    """Each problem with its place, its line, and a mark under the spot, in colour."""
    text = Text(explained(problems))
    for pattern, style in _PROBLEM_STYLES.items():
        text.highlight_regex(pattern, style)
    return text


def _key_source(config: Config, target: Target) -> Text:
    account = config.accounts[target.provider]
    if account.key_missing:
        return Text("not found: " + " or ".join(account.row.key_env), "yellow")
    if target.credential:
        return Text(target.credential)
    if not target.key:
        return Text("none needed", "dim")
    if target.key_name.isdecimal():
        return Text(f"key {target.key_name} in the file")
    return Text(target.key_name)


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
