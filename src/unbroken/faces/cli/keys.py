"""`unbroken keys`: the keys of callers, made, listed and revoked in the file that the gateway reads.

    create   a key, told once
    list     which there are, and what each is good for
    revoke   let one in no more

A gateway that runs takes up a change of the file within a few seconds.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.options import taking

if TYPE_CHECKING:
    from rich.table import Table

    from unbroken.keys import KeyEntry, KeyFile

__all__ = ["Wanted", "app", "create", "list_keys", "revoke"]

FILE_NAME = "keys.json"
"""What the file is called where nobody says."""
_AGES = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

app = typer.Typer(no_args_is_help=True, help="Keys for callers, with scopes, budgets and limits of their own.")

ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="Whose server.key_file; without one, what `serve` would find."),
]
File = Annotated[Path | None, typer.Option("--file", metavar="FILE", help="The file of keys, whatever is configured.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a new key should be."""

    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, or what for.")]
    expires: Annotated[str, typer.Option(metavar="TIME", help="30d, 12h, or 2027-01-31 (UTC); never unless given.")] = (
        ""
    )
    model: Annotated[
        list[str] | None,
        typer.Option("--model", "-m", metavar="PATTERN", help="Only these routes and targets, such as chat or groq/*."),
    ] = None
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only chat, embedding, image, video, speech, transcription.")
    ] = None
    usd_per_day: Annotated[float | None, typer.Option(help="Dollars on a day (UTC).")] = None
    usd_per_month: Annotated[float | None, typer.Option(help="Dollars in a calendar month.")] = None
    requests_per_min: Annotated[int | None, typer.Option(help="Requests in any minute.")] = None
    tokens_per_min: Annotated[int | None, typer.Option(help="Tokens in any minute, in and out.")] = None
    requests_per_day: Annotated[int | None, typer.Option(help="Requests in any 24 hours.")] = None
    concurrent_max: Annotated[int | None, typer.Option(help="Requests at the same time.")] = None
    config: ConfigFile = None
    file: File = None
    json: AsJson = False

    @property
    def about(self) -> dict[str, Any]:
        """As fields of an entry."""
        given = {name: getattr(self, name) for name in _LIMITS if getattr(self, name) is not None}
        return given | {"expires": _moment(self.expires), "models": tuple(self.model or ()), "tasks": _tasks(self.task)}


_LIMITS = (
    "usd_per_day", "usd_per_month", "requests_per_min", "tokens_per_min", "requests_per_day", "concurrent_max",
)  # fmt: skip


@app.command("create")
@taking(Wanted)
def create(wanted: Wanted) -> None:
    """Make a key and show it, once: only its hash is kept.

    `unbroken keys create alice --model 'chat*' --usd-per-month 50 --expires 90d`

    For a script: `KEY=$(unbroken keys create ci --task embedding --requests-per-min 60)`
    """
    from unbroken.keys import KeyFileError

    about, kept = wanted.about, _key_file(wanted.file, wanted.config)
    try:
        entry, key = kept.create(wanted.name, **about)
    except ValueError as error:
        fail(str(error), code=2)
    except KeyFileError as error:
        fail(str(error))
    if wanted.json:
        _print_json(_told(entry) | {"key": key})
        return
    print(key)
    said = f"{entry.id} ({entry.name}): this is the only time that the key is shown; {kept.path} has its hash"
    print(said, file=sys.stderr)


@app.command("list")
def list_keys(*, config: ConfigFile = None, file: File = None, json: AsJson = False) -> None:
    """Show which keys there are: whose, whether they are good, and what for.

    `unbroken keys list`
    """
    from unbroken.keys import KeyFileError

    kept = _key_file(file, config)
    try:
        entries = kept.read()
    except KeyFileError as error:
        fail(str(error))
    if json:
        _print_json([_told(entry) for entry in entries])
        return
    from rich.console import Console

    Console().print(_table(entries) if entries else f"{kept.path} holds no key; `unbroken keys create NAME` makes one")


@app.command("revoke")
def revoke(
    which: Annotated[str, typer.Argument(metavar="KEY", help="Its id or its name, as `unbroken keys list` has them.")],
    *,
    config: ConfigFile = None,
    file: File = None,
) -> None:
    """Let a key in no more; what it has under way may finish.

    `unbroken keys revoke alice`
    """
    from unbroken.keys import KeyFileError

    kept = _key_file(file, config)
    try:
        gone = kept.revoke(which)
    except KeyFileError as error:
        fail(str(error))
    except KeyError:
        fail(f"no key in {kept.path} that is not revoked has the id or the name {which!r}")
    print(f"revoked {gone.id} ({gone.name}); a gateway that runs refuses it within a few seconds")


def _key_file(file: Path | None, config: Path | None) -> KeyFile:
    """The file that is named, else the configuration's; the end of the command where there is none."""
    from unbroken.config import ConfigError, load
    from unbroken.keys import KeyFile

    if file is not None:
        return KeyFile(file)
    try:
        path = load(config, os.environ).server.key_file
    except ConfigError as error:
        fail(str(error), code=2)
    if not path:
        fail(
            f"no file of keys is configured: say `server: {{key_file: {FILE_NAME}}}` in the configuration, "
            f"or UNBROKEN_KEY_FILE in the environment, or --file {FILE_NAME}", code=2,
        )  # fmt: skip
    return KeyFile(Path(path))


def _tasks(words: list[str] | None) -> tuple[str, ...]:
    """Kinds of work; the end of the command where one of them is none."""
    from unbroken.types import Task

    known = [one.value for one in Task]
    if wrong := [word for word in words or () if word not in known]:
        fail(f"--task {wrong[0]}: one of {', '.join(known)}", code=2)
    return tuple(map(Task, words or ()))


def _moment(said: str) -> datetime | None:
    """A time from now (`30d`), a day, or a moment; the end of the command where it is none, or is over."""
    if not said:
        return None
    now = datetime.now(UTC).replace(microsecond=0)
    try:
        if found := re.fullmatch(r"(\d{1,6})([mhdw])", said):
            return now + timedelta(**{_AGES[found[2]]: int(found[1])})
        at = datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        fail(f"--expires {said}: 30d, 12h, 2027-01-31 or 2027-01-31T08:00", code=2)
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    if at <= now:
        fail(f"--expires {said}: that is over", code=2)
    return at


def _told(entry: KeyEntry) -> dict[str, Any]:
    """What may be told of a key; its `caller` is what the ledger and logs call it."""
    import msgspec

    told: dict[str, Any] = msgspec.to_builtins(entry)
    del told["hash"]
    return told | {"state": str(entry.state(datetime.now(UTC))), "caller": entry.hash[:12]}


def _print_json(value: object) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value)).decode())


def _table(entries: tuple[KeyEntry, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    now, styles = datetime.now(UTC), {"active": "green", "expired": "yellow", "revoked": "red"}
    table = Table(box=None, header_style="bold", pad_edge=False)
    for head in ("id", "name", "state", "caller", "created", "expires", "good for"):
        table.add_column(head)
    for entry in entries:
        state = str(entry.state(now))
        table.add_row(
            Text(entry.id), Text(entry.name), Text(state, styles[state]), Text(entry.hash[:12]),
            f"{entry.created:%Y-%m-%d}", f"{entry.expires:%Y-%m-%d %H:%M}" if entry.expires else "never",
            Text("; ".join(_good_for(entry)) or "everything"),
        )  # fmt: skip
    return table


def _good_for(entry: KeyEntry) -> Iterator[str]:
    yield from (", ".join(words) for words in entry.scopes.values())
    for unit, usd in (("day", entry.usd_per_day), ("month", entry.usd_per_month)):
        if usd is not None:
            yield f"${usd:g} a {unit}"
    allowance = entry.allowance
    for words, number in (
        ("requests a minute", allowance and allowance.requests_per_min),
        ("tokens a minute", allowance and allowance.tokens_per_min),
        ("requests a day", allowance and allowance.requests_per_day),
        ("at once", allowance and allowance.concurrent_max),
    ):
        if number:
            yield f"{number:,} {words}"
