"""`unbroken import`: a configuration of another gateway as one of ours.

The YAML goes to stdout or a file, the report to stderr or a file, so that both can be
piped.  What differs and what has no counterpart is in the YAML too, as comments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from unbroken.faces.cli.ending import fail

if TYPE_CHECKING:
    from unbroken.imports import Imported

__all__ = ["app"]

BYTES_MAX = 4_000_000
"""More than any configuration has."""

app = typer.Typer(
    no_args_is_help=True,
    help="Turn another gateway's configuration into ours, with a report on each line of it.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)

Source = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration to read.")]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where the YAML goes; stdout without it.")
]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Where the report goes; stderr without it.")
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")]


@app.command()
def litellm(
    file: Source,
    *,
    output: Output = None,
    report: ReportFile = None,
    force: Force = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Leave out models of providers that are not known here, and say so.")
    ] = False,
) -> None:
    """From the `config.yaml` of the LiteLLM proxy.

    `unbroken import litellm config.yaml -o unbroken.yaml && unbroken check unbroken.yaml`
    """
    from unbroken.imports import import_litellm

    def included(name: str) -> str:
        return _text(file.parent / name)

    imported = _imported(
        lambda: import_litellm(_text_of(file), file=str(file), read=included, partial=partial),
    )
    _deliver(imported, output, report=report, force=force)


@app.command()
def portkey(
    file: Source,
    *,
    output: Output = None,
    report: ReportFile = None,
    force: Force = False,
    model: Annotated[str, typer.Option("--model", "-m", help="The model of targets that name none.")] = "",
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", metavar="KEY=PROVIDER", help="Whose a stored key is, such as prod-1=openai."),
    ] = None,
) -> None:
    """From a config object of Portkey's gateway, as JSON.

    `unbroken import portkey config.json --model gpt-5.6-luna -o unbroken.yaml`
    """
    from unbroken.imports import import_portkey

    whose = _whose(provider or [])
    imported = _imported(lambda: import_portkey(_text_of(file), file=str(file), model=model, whose=whose))
    _deliver(imported, output, report=report, force=force)


def _whose(given: list[str]) -> Mapping[str, str]:
    """`prod-1=openai` as a mapping."""
    pairs = [text.partition("=") for text in given]
    if not all(key and provider for key, _, provider in pairs):
        fail("--provider wants KEY=PROVIDER, such as prod-1=openai", code=2)
    return {key: provider for key, _, provider in pairs}


def _imported(work: Callable[[], Imported]) -> Imported:
    from unbroken.config_file import ConfigError

    try:
        return work()
    except ConfigError as error:
        fail(f"{error}\nnothing was written")


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(BYTES_MAX).decode("utf-8-sig")


def _text_of(path: Path) -> str:
    try:
        return _text(path)
    except OSError as error:
        fail(f"{path}: cannot be read: {error.strerror}")
    except UnicodeDecodeError as error:
        fail(f"{path}: not UTF-8 text (byte {error.start})")


def _deliver(imported: Imported, output: Path | None, *, report: Path | None, force: bool) -> None:
    """Write both, or neither where a file is in the way."""
    for path in (output, report):
        if path is not None and path.exists() and not force:
            fail(f"{path} is there already; --force overwrites it")
    _write(report, f"{imported.report}\n", err=True)
    _write(output, imported.yaml, err=False)
    if output is not None:
        typer.echo(f"{output} is written; see what it comes to: unbroken check {output}", err=True)


def _write(path: Path | None, text: str, *, err: bool) -> None:
    if path is None:
        typer.echo(text, nl=False, err=err)
        return
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror}")
