"""`unbroken status`: how a gateway that runs stands, once or as a picture that is drawn anew.

The functions return what rich can print; only `status` prints.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.remote import Gateway, Unanswered

__all__ = ["exit_code", "picture", "status", "targets_table", "turns"]

Told = dict[str, Any]
"""What the gateway tells of itself or of something in it, see docs/operations.md."""

EVERY_S = 1.0
"""Between two pictures, unless told otherwise."""
WIDTH = 160
"""Of what is printed where there is no terminal whose width could be asked."""
COLOURS = {
    "healthy": "green", "unknown": "dim", "forced_closed": "cyan", "degraded": "yellow", "recovering": "yellow",
    "half_open": "yellow", "cooling_down": "yellow", "open": "bold red", "forced_open": "bold magenta",
    "ok": "green", "down": "bold red",
}  # fmt: skip
WORDS = {"forced_open": "disabled", "forced_closed": "forced", "cooling_down": "cooling down", "half_open": "half open"}
"""States whose name people read more easily than programs do."""


def status(
    gateway: Gateway, *, watch: bool = False, as_json: bool = False, every_s: float = EVERY_S,
    console: Console | None = None, times: int = 0,
) -> int:  # fmt: skip
    """Print how it stands; the exit code.  `times` ends watching after so many looks; 0 never does."""
    console = console or _console()
    if watch:
        return _watch(gateway, console, every_s=every_s, times=times)
    told = _ask(gateway)
    if as_json:
        console.print_json(msgspec.json.encode(told).decode())
    else:
        console.print(picture(told))
    return exit_code(told)


def exit_code(told: Told) -> int:
    """0 where every route has somebody who can answer, else 1."""
    return int(any(not route["usable"] for route in told["routes"]))


def _ask(gateway: Gateway) -> Told:
    try:
        told: Told = gateway.get("status")
    except Unanswered as why:
        fail(str(why), code=2)
    return told


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


# -------------------------------------------------------------------------------- watching


def _watch(gateway: Gateway, console: Console, *, every_s: float, times: int) -> int:
    """Look again and again: a picture on a terminal, elsewhere a line for whatever has changed."""
    looks = _looks(gateway, every_s=every_s, times=times)
    if console.is_terminal:
        return _show(looks, console)
    before: Told = {}
    code = 0
    for told in looks:
        if "problem" in told:
            console.print(f"{_clock(time.time())} {told['problem']}", markup=False, highlight=False, soft_wrap=True)
            continue
        for line in turns(before, told):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        before, code = told, exit_code(told)
    return code


def _looks(gateway: Gateway, *, every_s: float, times: int) -> Iterator[Told]:
    """How it stands, at each look; `{"problem": ...}` where it does not answer.  The first has to be answered."""
    yield _ask(gateway)
    looked = 1
    while not times or looked < times:
        time.sleep(every_s)
        looked += 1
        try:
            yield gateway.get("status")
        except Unanswered as why:
            yield {"problem": str(why)}


def _show(looks: Iterator[Told], console: Console) -> int:
    shown: RenderableType = ""
    code = 0
    with Live(console=console, auto_refresh=False, screen=False) as live:
        for told in looks:
            if "problem" in told:
                live.update(Group(Text(told["problem"], "bold red"), shown), refresh=True)
                continue
            shown, code = picture(told), exit_code(told)
            live.update(shown, refresh=True)
    return code


def turns(before: Told, told: Told) -> Iterator[str]:
    """A line for each target whose state is another one, and for each route that nobody answers any more or again."""
    states = {target["name"]: target["state"] for target in before.get("targets", ())}
    for target in told["targets"]:
        if states.get(target["name"]) != target["state"]:
            yield f"{_clock(told['now'])} {target['name']} {_state(target)} {_why(target)}".rstrip()
    usable = {route["name"]: route["usable"] for route in before.get("routes", ())}
    for route in told["routes"]:
        if bool(usable.get(route["name"], 1)) != bool(route["usable"]):
            yield f"{_clock(told['now'])} route {route['name']}: {_usable(route)}"


# ------------------------------------------------------------------------------ the picture


def picture(told: Told) -> RenderableType:
    """Everything."""
    parts: list[RenderableType] = [_head(told), targets_table(told), _routes_table(told)]
    if told["budgets"]:
        parts.append(_budgets_table(told))
    return Group(*parts, *(Text(note, "yellow") for note in _notes(told)))


def targets_table(told: Told) -> Table:
    """A row for each target: its state and why, what is under way, how fast it answers."""
    table = _table("Targets", "target", "state", "", "under way", "p50", "p95", "p99", "answers", "why")
    for column in table.columns[3:8]:
        column.justify = "right"
    for target in told["targets"]:
        pace = max(target["latency"].values(), key=lambda one: one["answers"])
        seconds = [_seconds(pace[name]) if pace["answers"] else "" for name in ("p50_s", "p95_s", "p99_s")]
        table.add_row(
            Text(target["name"]), Text(_state(target), COLOURS.get(target["state"], "")),
            Text(_when(target, told["now"]), "dim"), str(target["in_flight"] or ""), *seconds,
            str(pace["answers"] or ""), Text(_why(target)),
        )  # fmt: skip
    return table


def _routes_table(told: Told) -> Table:
    table = _table("Routes", "route", "strategy", "usable", "targets")
    for route in told["routes"]:
        style = COLOURS.get(route["state"], "yellow")
        names = [route["name"], *(f"also {alias}" for alias in route["aliases"])]
        table.add_row(
            Text("\n".join(names)), Text(route["strategy"]), Text(_usable(route), style),
            Text(", ".join(route["targets"])),
        )  # fmt: skip
    return table


def _budgets_table(told: Told) -> Table:
    table = _table("Budgets", "budget", "spent today", "of", "then")
    for budget in told["budgets"]:
        spent = budget["spent_usd"] + budget["held_usd"]
        style = "bold red" if spent >= budget["usd_per_day"] else ""
        table.add_row(
            Text(budget["name"]), Text(f"${spent:.2f}", style), f"${budget['usd_per_day']:.2f}", Text(budget["then"])
        )
    return table


def _head(told: Told) -> Text:
    config, requests = told["config"], told["requests"]
    return Text.assemble(
        (f"unbroken {told['version']}", "bold"),
        f"  up {_span(told['uptime_s'])}  {config['source']} ({config['digest']})",
        f"  {requests['attempts']} under way, {requests['waiting']} waiting",
    )


def _notes(told: Told) -> Iterator[str]:
    """What an operator should know of besides."""
    config, sinks = told["config"], told["sinks"]
    last = config["last_reload"]
    if last is not None and not last["ok"]:
        yield f"the configuration of {_clock(last['at'])} was refused, the one before stays:\n{last['problem']}"
    if last is not None and last["restart"]:
        yield f"only after a restart: {', '.join(last['restart'])}"
    yield from (f"note: {warning}" for warning in config["warnings"])
    yield from (f"{name} has missed {count} facts" for name, count in sinks["dropped"].items() if count)
    ledger = sinks["ledger"]
    if ledger is not None and (ledger.get("dropped") or ledger.get("error")):
        yield f"ledger: {ledger.get('dropped', 0)} requests not recorded; {ledger.get('error') or 'it is well now'}"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


# -------------------------------------------------------------------------------- in words


def _state(target: Told) -> str:
    state: str = target["state"]
    words = WORDS.get(state, state)
    return f"{words} {target['share']:.0%}" if state == "recovering" else words


def _when(target: Told, now: float) -> str:
    if target["until"] is not None and target["until"] > now:
        return f"{_span(target['until'] - now)} more"
    return f"for {_span(now - target['since'])}" if target["since"] is not None else ""


def _why(target: Told) -> str:
    """What is held against it; of one that is well nothing."""
    cause = target["cause"]
    if target["state"] in {"healthy", "unknown"}:
        return target["obstacle"] or ""
    if target["state"] in {"forced_open", "forced_closed"}:
        return "by an operator"
    return f"{cause['kind']}: {cause['message']}" if cause else target["obstacle"] or ""


def _usable(route: Told) -> str:
    return f"{route['usable']} of {len(route['targets'])}" if route["usable"] else "nobody"


_UNITS: tuple[tuple[str, float, Callable[[float], str]], ...] = (
    ("s", 60.0, lambda s: f"{s:.0f} s"),
    ("m", 3_600.0, lambda s: f"{s / 60:.0f} m"),
    ("h", 86_400.0, lambda s: f"{s // 3600:.0f} h {s % 3600 / 60:.0f} m"),
    ("d", float("inf"), lambda s: f"{s // 86_400:.0f} d {s % 86_400 / 3600:.0f} h"),
)


def _seconds(seconds: float) -> str:
    """How long an answer takes."""
    return f"{seconds:.2f} s" if seconds >= 1.0 else f"{1000 * seconds:.0f} ms"


def _span(seconds: float) -> str:
    """A duration as people say it."""
    return next(said(seconds) for _, below, said in _UNITS if seconds < below)


def _clock(at: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(at))
