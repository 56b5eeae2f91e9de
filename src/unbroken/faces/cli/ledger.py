"""`unbroken ledger`: what was asked, what it cost, and the rows of it for other programs.

    summary    by day, route and target
    export     CSV (which `unbroken replay` reads) or Parquet
    prune      forget what is old

The ledger is the one that is named, else the configuration's, else the one that `serve` keeps
by itself.  What is heavy is imported by the functions that need it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.files import check_outputs, written

if TYPE_CHECKING:
    from rich.table import Table

    from unbroken.config import Config
    from unbroken.ledger.store import Store

__all__ = ["app", "export", "ledger_line", "ledger_problem", "opened", "prune", "summary", "with_ledger"]

_UNITS_S = {"m": 60.0, "h": 3_600.0, "d": 86_400.0}
_DAY_MS = 86_400_000

app = typer.Typer(no_args_is_help=True, help="What was asked and what it cost: sum it up, export it, prune it.")

Place = Annotated[
    str,
    typer.Option("--ledger", metavar="URL", help="A ledger's file or its PostgreSQL, in place of the configuration's."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Whose ledger; without one, what `serve` would find."),
]
Since = Annotated[
    str, typer.Option(metavar="TIME", help="From then on: 2026-11-21, 2026-11-21T08:00 (UTC), or 24h, 7d ago.")
]
Until = Annotated[str, typer.Option(metavar="TIME", help="Until then, written in the same ways.")]


@app.command("summary")
def summary(
    *,
    since: Since = "", until: Until = "", config: ConfigFile = None, ledger: Place = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:  # fmt: skip
    """Sum up by day, route and target: requests, failures, tokens, dollars.

    The last week: `unbroken ledger summary --since 7d`
    """
    from unbroken.ledger.exports import summary as rows_of
    from unbroken.ledger.exports import totals

    span = (_moment(since), _moment(until))
    with opened(ledger, config) as store:
        rows, whole = rows_of(store, span), totals(store, span)
    if json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode({"totals": whole, "rows": rows})).decode())
        return
    from rich.console import Console

    console = Console()
    console.print(_table(rows))
    console.print(_words(whole), soft_wrap=True, highlight=False)


@app.command("export")
def export(
    *,
    format: Annotated[str, typer.Option(help="csv or parquet.")] = "csv",  # noqa: A002 - that is what it is called
    out: Annotated[str, typer.Option("--out", "-o", metavar="FILE", help="Where it goes; `-` for stdout.")] = "-",
    since: Since = "",
    until: Until = "",
    requests: Annotated[bool, typer.Option("--requests", help="A row for each request, not for each attempt.")] = False,
    config: ConfigFile = None,
    ledger: Place = "",
) -> None:
    """Write the ledger's rows into a file, one for each attempt.

    For a spreadsheet: `unbroken ledger export --since 30d --out month.csv`

    Yesterday by another configuration: `unbroken ledger export --since 24h -o day.csv`, then
    `unbroken replay day.csv --config candidate.yaml`
    """
    from unbroken.ledger import exports

    if format not in {"csv", "parquet"}:
        fail(f"--format {format}: one of csv, parquet", code=2)
    if format == "parquet" and find_spec("pyarrow") is None:
        fail("Parquet needs pyarrow: pip install 'unbroken[parquet]'")
    check_outputs(Path(out))
    columns = exports.REQUEST_COLUMNS if requests else exports.ATTEMPT_COLUMNS
    span = (_moment(since), _moment(until))
    with opened(ledger, config) as store, written():
        rows = (exports.request_rows if requests else exports.attempt_rows)(store, span)
        if format == "csv":
            with _text_file(out) as text:
                number = exports.write_csv(rows, columns, file=text)
        else:
            with _byte_file(out) as data:
                number = exports.write_parquet(rows, columns, file=data)
    typer.echo(f"{number} rows" + ("" if out == "-" else f" in {out}"), err=True)


@app.command("prune")
def prune(
    *,
    before: Annotated[str, typer.Option(metavar="TIME", help="Forget what is older: 2026-11-21, or 30d.")],
    config: ConfigFile = None,
    ledger: Place = "",
) -> None:
    """Forget requests from before a moment.

    `unbroken ledger prune --before 7d`
    """
    moment = _moment(before)
    if moment is None:
        fail("--before: say when, such as 7d or 2026-11-21", code=2)
    with opened(ledger, config) as store:
        number = 0
        while some := store.prune(moment):
            number += some
    typer.echo(f"{number} requests forgotten")


# ------------------------------------------------------------------- which ledger


@contextmanager
def opened(url: str, config: Path | None) -> Iterator[Store]:
    """The ledger that is meant; ends the command with the reason where it cannot be read."""
    if find_spec("sqlalchemy") is None:
        fail("a ledger needs sqlalchemy: pip install 'unbroken[ledger]'")
    from unbroken.ledger import shown, url_of
    from unbroken.ledger.store import DatabaseError, Store

    try:
        place = url_of(url or _configured_url(config))
    except ValueError as error:
        fail(str(error), code=2)
    if place.startswith("sqlite") and not Path(place.removeprefix("sqlite:///")).exists():
        fail(f"there is no ledger at {shown(place)} yet; `unbroken serve` keeps one")
    try:
        with closing(Store(place)) as store:
            store.migrate()
            yield store
    except (DatabaseError, ImportError) as error:
        why = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        fail(f"the ledger at {shown(place)} cannot be read: {why}")


def _configured_url(path: Path | None) -> str:
    from unbroken.faces.cli.serve import configured

    config = with_ledger(configured(path), os.environ)
    url = _url_of(config, os.environ)
    if not url:
        fail("no ledger is kept: say which with --ledger, or configure one with `ledger:`")
    return url


def with_ledger(config: Config, environ: Mapping[str, str]) -> Config:
    """The configuration of a gateway: it keeps a ledger unless something is said of that, or something is missing."""
    from unbroken.config_ledger import LedgerSection
    from unbroken.ledger import default_url

    if config.ledger is None and find_spec("sqlalchemy") is not None and default_url(environ) is not None:
        return replace(config, ledger=LedgerSection())
    return config


def ledger_problem(config: Config, environ: Mapping[str, str]) -> str:
    """Why a gateway cannot keep the ledger that is configured; empty where it can."""
    from unbroken.ledger import missing_for, url_of

    if config.ledger is None or config.ledger.url == "off":
        return ""
    url = _url_of(config, environ)
    return missing_for(url_of(url)) if url else "there is no home to keep a ledger in: say where with `ledger: PATH`"


def ledger_line(config: Config, environ: Mapping[str, str]) -> str:
    """Where the ledger is, for the announcement of a gateway."""
    from unbroken.ledger import shown, url_of

    url = _url_of(config, environ)
    if url and config.ledger is not None:
        words = ", with prompts and answers" if config.ledger.prompts == "text" else ""
        return f"{shown(url_of(url))}  ({config.ledger.retention_days:g} days{words})"
    missing = config.ledger is None and find_spec("sqlalchemy") is None
    return "none (it needs: pip install 'unbroken[ledger]')" if missing else "none"


def _url_of(config: Config, environ: Mapping[str, str]) -> str:
    from unbroken.ledger import default_url

    if config.ledger is None or config.ledger.url == "off":
        return ""
    return config.ledger.url or default_url(environ) or ""


# ------------------------------------------------------------------- words


def _moment(text: str) -> int | None:
    """Milliseconds since 1970, from a date, an instant (UTC unless it says otherwise), or so long ago."""
    from datetime import UTC, datetime

    text = text.strip()
    if not text:
        return None
    try:
        if text[-1] in _UNITS_S:
            return int((time.time() - float(text[:-1]) * _UNITS_S[text[-1]]) * 1000)
        found = datetime.fromisoformat(text)
    except ValueError:
        fail(f"`{text}` is no time: write 2026-11-21, 2026-11-21T08:00, 24h or 7d", code=2)
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


_COLUMNS = ("day", "route", "target", "attempts", "answered", "failed", "abandoned", "input_tokens", "output_tokens",
            "cost_usd")  # fmt: skip
_HEADINGS = ("day", "route", "target", "attempts", "answered", "failed", "given up", "tokens in", "tokens out", "USD")


def _table(rows: list[dict[str, Any]]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD)
    for place, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if place < 3 else "right", overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[name], name) for name in _COLUMNS))
    return table


def _cell(value: Any, name: str) -> str:
    if name == "cost_usd":
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _words(whole: Mapping[str, Any]) -> str:
    guesses = f"; in {whole['estimated']:,} requests partly our estimate" if whole["estimated"] else ""
    lines = [
        f"{whole['requests']:,} requests, {whole['answered']:,} answered, {whole['from_cache']:,} from the cache",
        f"{whole['failovers']:,} not by the first choice, {whole['rescued']:,} rescued in mid-answer",
        f"{whole['input_tokens']:,} tokens in, {whole['output_tokens']:,} out, {whole['cost_usd']:,.4f} USD{guesses}",
    ]
    if whole["unrecorded"]:
        lines.append(f"{whole['unrecorded']:,} requests are missing: the ledger could not be written fast enough")
    return "\n".join(lines)


@contextmanager
def _text_file(path: str) -> Iterator[IO[str]]:
    if path == "-":
        yield sys.stdout
    else:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            yield file


@contextmanager
def _byte_file(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdout.buffer
    else:
        with Path(path).open("wb") as file:
            yield file
