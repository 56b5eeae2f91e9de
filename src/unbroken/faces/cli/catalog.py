"""`unbroken catalog`: what is known of models and prices, and how it is renewed.

    update FILE-or-URL    lay somebody's list over what is there
    show [NAME]           a provider's models, or a model at its providers

What is heavy is imported by the functions that need it: `app` imports this module, and
`serve` must start in less than a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.faces.cli.files import unreadable
from unbroken.price import Price, Rates

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from unbroken.models import Catalog, Model, Models

__all__ = ["app", "count_words", "fetched", "price_words", "show", "update"]

FETCH_S_MAX = 60.0
"""For the whole of a list; it has some megabytes."""
SILENCE_S_MAX = 10.0
"""To connect, and between two pieces."""
CHANGES_SHOWN = 12
"""The largest changes of prices that `update` prints."""
NAME_WIDTH = 24
"""Names are what is looked for in a table: they keep this much of a narrow window."""
MODELS_SHOWN = 60
"""So many models are a readable table when they are of many providers."""

app = typer.Typer(no_args_is_help=True, help="What is known of models and prices: show it, renew it.")


@app.command("update")
def _update(
    source: Annotated[str, typer.Argument(metavar="FILE-or-URL", help="LiteLLM's, models.dev's or our own list.")],
    *,
    to: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to keep it, in place of your own.")] = None,
    date: Annotated[str, typer.Option(metavar="YYYY-MM-DD", help="When it was true: the file's date, or today.")] = "",
) -> None:
    """Lay a newer list of models and prices over what is there.

    From the network: `unbroken catalog update https://models.dev/api.json`

    With `--to FILE`, set `UNBROKEN_CATALOG=FILE` for the gateway to use it.
    """
    raise typer.Exit(update(source, to=to, date=date))


@app.command("show")
def _show(
    name: Annotated[str, typer.Argument(metavar="[PROVIDER | MODEL]", help="`groq`, `gpt-5.4`, `groq/llama...`")] = "",
) -> None:
    """Show models with their prices, limits and sources.

    What a provider has: `unbroken catalog show groq`

    What a model costs, and where: `unbroken catalog show gpt-oss-120b`
    """
    raise typer.Exit(show(name))


# -------------------------------------------------------------------------------- update


def update(
    source: str, *, to: Path | None = None, date: str = "", environ: Mapping[str, str] | None = None,
    console: Console | None = None,
) -> int:  # fmt: skip
    """Renew the catalogue and print what has changed; the exit code: 0, or 1 where nothing was touched."""
    import os

    from rich.console import Console

    from unbroken.models import CatalogError

    environ, console = os.environ if environ is None else environ, console or Console()
    try:
        path, old, new = _renewed(source, to=to, date=date, environ=environ)
    except (CatalogError, OSError, ValueError) as error:
        console.print(f"[bold red]error[/] nothing was changed: {_escaped(unreadable(error))}", soft_wrap=True)
        return 1
    console.print(f"{path}: {_summary(old, new)}", soft_wrap=True, highlight=False, markup=False)
    _print_changes(old, new, console=console)
    return 0


def _renewed(source: str, *, to: Path | None, date: str, environ: Mapping[str, str]) -> tuple[Path, Catalog, Catalog]:
    """Where the catalogue is now, what it was before, and what it is."""
    import datetime as dt

    from unbroken.models import CatalogError, place, read_catalog, unpacked, write_catalog
    from unbroken.price_lists import merged, read_list

    path = to or place(environ)
    if path is None:
        raise CatalogError("there is no home folder to keep it in: say where with --to FILE")
    data, found_on = fetched(source)
    date = dt.date.fromisoformat(date or found_on).isoformat()
    there = _models({"UNBROKEN_CATALOG": str(path)} if path.is_file() else environ)
    old = read_catalog(there.data, file=there.file)
    new = merged(old, read_list(unpacked(data, file=source), file=source, date=date))
    _put(path, write_catalog(new))
    return path, old, new


def fetched(source: str) -> tuple[bytes, str]:
    """The bytes of a file or an address (http and https), and when they were true (ISO 8601).

    Raises ValueError or OSError with words for an operator.
    """
    import datetime as dt

    from unbroken.models import BYTES_MAX

    if "://" in source:
        return _downloaded(source), dt.datetime.now(tz=dt.UTC).date().isoformat()
    path = Path(source)
    with path.open("rb") as file:
        data = file.read(BYTES_MAX + 1)
    changed = dt.datetime.fromtimestamp(path.stat().st_mtime, tz=dt.UTC)
    return data, changed.date().isoformat()


def _downloaded(url: str) -> bytes:
    import time
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    from unbroken.models import BYTES_MAX

    class Followed(HTTPRedirectHandler):
        """An address may lead elsewhere, but not out of HTTP: `ftp:` is what else the library would follow."""

        def redirect_request(self, *args: object) -> Request | None:
            _web(str(args[-1]))
            return super().redirect_request(*args)  # type: ignore[arg-type]

    end = time.monotonic() + FETCH_S_MAX
    pieces, size = [], 0
    try:
        with build_opener(Followed).open(Request(_web(url)), timeout=SILENCE_S_MAX) as reply:  # noqa: S310 - see _web
            while piece := reply.read1(1 << 16):
                pieces.append(piece)
                size += len(piece)
                if size > BYTES_MAX:
                    raise ValueError(f"{url}: larger than {BYTES_MAX // 1_000_000} MB, so hardly a list of models")
                if time.monotonic() > end:
                    raise ValueError(f"{url}: not all of it came in {FETCH_S_MAX:.0f} s")
    except HTTPError as error:
        raise ValueError(f"{url}: answers {error.code} {error.reason}") from None
    except URLError as error:
        raise ValueError(f"{url}: {error.reason}") from None
    except HTTPException as error:
        raise ValueError(f"{url}: {error}") from None
    return b"".join(pieces)


def _web(url: str) -> str:
    if not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"{url.partition('://')[0]}: only http and https addresses are fetched")
    return url


def _put(path: Path, data: bytes) -> None:
    """The new file in the old one's place at once, so that there is always a whole one."""
    import os
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _summary(old: Catalog, new: Catalog) -> str:
    before = {(provider, name): model for provider, models in old.providers.items() for name, model in models.items()}
    after = {(provider, name): model for provider, models in new.providers.items() for name, model in models.items()}
    same = [key for key in after if key in before]
    changed = sum(_facts(before[key]) != _facts(after[key]) for key in same)
    return (
        f"{len(after)} models; {len(after) - len(same)} added, {changed} changed, "
        f"{len(before) - len(same)} removed; of {new.date}"
    )


def _facts(model: Model) -> tuple[object, ...]:
    """All but who says it."""
    return (model.context_tokens, model.output_tokens, model.task, model.can, model.cannot, model.price)


def _print_changes(old: Catalog, new: Catalog, *, console: Console) -> None:
    from unbroken.price_lists import changed_rates

    changes = changed_rates(old, new)
    if not changes:
        return
    table = _table("Largest changes of prices", "model", "rate", "before", "now")
    for model, rate, before, after in changes[:CHANGES_SHOWN]:
        table.add_row(_escaped(model), rate.removesuffix("_usd"), _dollars(before), _dollars(after))
    console.print(table)
    if len(changes) > CHANGES_SHOWN:
        console.print(f"and {len(changes) - CHANGES_SHOWN} more", highlight=False)


# ---------------------------------------------------------------------------------- show


def show(name: str = "", *, environ: Mapping[str, str] | None = None, console: Console | None = None) -> int:
    """Print a part of the catalogue; the exit code: 0, or 1 where there is no such name."""
    import os

    from rich.console import Console

    from unbroken.models import CatalogError

    console = console or Console()
    try:
        models = _models(os.environ if environ is None else environ)
    except CatalogError as error:
        console.print(f"[bold red]error[/] {_escaped(str(error))}", soft_wrap=True)
        return 1
    if not name:
        console.print(_providers_table(models))
    elif name in models.providers:
        console.print(_models_table(name, _of_provider(models, name)))
    elif found := list(_named(models, name)):
        console.print(_models_table(name, found[:MODELS_SHOWN]))
        if len(found) > MODELS_SHOWN:
            console.print(f"and {len(found) - MODELS_SHOWN} more", highlight=False)
    else:
        console.print(_unknown(models, name), highlight=False, markup=False)
        return 1
    console.print(_provenance(models), highlight=False, soft_wrap=True, markup=False)
    return 0


def price_words(price: Price) -> str:
    """A price in a few words: `$2.5 in, $15 out` for a million tokens; empty where it is not known."""
    if not price.known:
        return ""
    tokens = [(price.input_usd, "in"), (price.output_usd, "out")]
    words = [f"{_dollars(rate)} {of}" for rate, of in tokens if rate]
    return ", ".join(filter(None, [*words, _besides(price)])) or "free"


def _besides(price: Price) -> str:
    """What is charged by something else than tokens, and what a subscription includes."""
    units = [
        (price.request_usd, "a request"), (price.image_usd, "a picture"), (price.second_usd, "a second"),
        (price.character_usd, "a million characters"),
    ]  # fmt: skip
    words = [f"{_dollars(rate)} {of}" for rate, of in units if rate]
    return ", ".join([*words, *(["some included"] if price.included else [])])


def count_words(tokens: int | None) -> str:
    """A number of tokens as people say it: `200k`, `1.05M`; empty where it is not known."""
    if tokens is None:
        return ""
    if tokens >= 1_000_000:
        return f"{tokens / 1e6:.3g}M"
    return f"{tokens / 1000:.3g}k" if tokens >= 1000 else str(tokens)


def _providers_table(models: Models) -> Table:
    table = _table("Providers", "provider", "models", "with a price")
    for provider in models.providers:
        known = models.of(provider)
        table.add_row(_escaped(provider), str(len(known)), str(sum(model.price.known for model in known.values())))
    return table


def _models_table(title: str, found: list[tuple[str, Model]]) -> Table:
    """A row for each model, and one for each of its variants; dollars for a million tokens."""
    table = _table(_escaped(title), "model", "context", "$/M in", "out", "cached", "besides", "can", "source")
    for name, model in found:
        can = ", ".join([*sorted(model.can), *(f"no {ability}" for ability in sorted(model.cannot))])
        context = count_words(model.context_tokens)
        table.add_row(_escaped(name), context, *_cells(model.price), _besides(model.price), can, model.source)
        for variant in model.price.variants:
            when = [variant.service] if variant.service else []
            when += [f"above {count_words(variant.above_tokens)}"] if variant.above_tokens else []
            table.add_row("  " + " ".join(when), "", *_cells(variant), "", "", "")
    return table


def _cells(rates: Rates) -> list[str]:
    shown = (rates.input_usd, rates.output_usd, rates.cached_usd)
    return ["" if rate is None else _dollars(rate).removeprefix("$") for rate in shown]


def _of_provider(models: Models, provider: str) -> list[tuple[str, Model]]:
    return sorted(models.of(provider).items())


def _named(models: Models, name: str) -> Iterator[tuple[str, Model]]:
    """The model at the provider that is named, or wherever there is one of this name."""
    provider, _, rest = name.partition("/")
    if rest and provider in models.providers and (model := models.find(provider, rest)):
        yield name, model
        return
    for provider in models.providers:
        if model := models.find(provider, name):
            yield f"{provider}/{name}", model
            continue
        for full, other in models.of(provider).items():
            if full.rpartition("/")[2].lower() == name.lower():
                yield f"{provider}/{full}", other


def _unknown(models: Models, name: str) -> str:
    from unbroken.catalog import nearest

    provider, _, rest = name.partition("/")
    known = models.of(provider) if rest else ()
    hint = nearest(rest, known) if rest and known else nearest(name, [*models.providers, *models.of("openai")])
    meant = f"; did you mean {f'{provider}/' if rest and known else ''}{hint}?" if hint else ""
    return f"there is no provider or model called {name}{meant}"


def _provenance(models: Models) -> str:
    sources = "; ".join(f"{key}: {source.name}, {source.date}" for key, source in models.sources.items())
    return f"{models.file or 'as it came with this version'}, of {models.date}\n{sources}"


# ------------------------------------------------------------------------------- shared


def _models(environ: Mapping[str, str]) -> Models:
    from unbroken.models import load

    return load(environ)[0]


def _dollars(rate: float) -> str:
    """Cents and smaller as far as they say something."""
    return f"${rate:.6f}".rstrip("0").rstrip(".") if rate < 0.01 else f"${rate:.4g}"


def _table(title: str, *columns: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for at, column in enumerate(columns):
        table.add_column(column, overflow="fold", min_width=0 if at else NAME_WIDTH)
    return table


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
