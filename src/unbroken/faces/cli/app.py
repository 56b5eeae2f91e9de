"""The command line: what each command takes, and how its errors read.

Each command lives in its own module and is imported when it is called, so that `serve`
listens before anything is loaded that it does not need.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from unbroken.faces.cli.catalog import app as catalog

__all__ = ["app", "main"]

PORT = 4100
"""Where the gateway listens unless told otherwise; next to nothing else uses it."""

app = typer.Typer(
    name="unbroken",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(catalog, name="catalog")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE",
        help="Targets, routes and policies in YAML. Without one: a target for each API key in the environment.",
    ),
]  # fmt: skip


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"unbroken {version('unbroken')}")
        except PackageNotFoundError:  # run from a source tree
            from unbroken import __version__

            typer.echo(f"unbroken {__version__}")
        raise typer.Exit


@app.callback()
def unbroken(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Keep AI calls answered when providers fail.

    See it work, without any key: `unbroken demo`

    Put it in front of your providers: `unbroken serve`, then set your client's base URL to `http://127.0.0.1:4100/v1`
    """


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; other than loopback only with a key configured.")
    ] = None,
    port: Annotated[int | None, typer.Option(help=f"Port; 0 for any free one. [default: {PORT}]")] = None,
    log_level: Annotated[str, typer.Option(help="critical, error, warning, info or debug.")] = "warning",
) -> None:
    """Serve the gateway.

    With API keys in the environment: `OPENAI_API_KEY=... GROQ_API_KEY=... unbroken serve`

    With a file: `unbroken serve --config unbroken.yaml --port 8080`
    """
    from unbroken.faces.cli.serve import serve as run

    run(config, host=host, port=port, log_level=log_level)


@app.command()
def demo(
    local: Annotated[
        bool, typer.Option("--local", help="Two real llama.cpp servers; one is killed in mid-answer.")
    ] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up afterwards, for your own requests.")] = False,
    seed: Annotated[int, typer.Option(help="Which questions are asked.")] = 7,
    speed: Annotated[float, typer.Option(min=0.1, max=50.0, help="So many times as fast.")] = 1.0,
    port: Annotated[int, typer.Option(help="Where the gateway listens; 0 for any free port.")] = 0,
) -> None:
    """Watch requests survive: three providers break one after another.

    Takes some 40 seconds and needs no key and no network: `unbroken demo`

    Then try it yourself: `unbroken demo --stay`
    """
    from unbroken.faces.cli.demo import demo as run

    raise typer.Exit(run(local=local, stay=stay, seed=seed, speed=speed, port=port))


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="The configuration; without one, what `serve` would find.")
    ] = None,
) -> None:
    """Check a configuration and show what it means.

    Names file, line and key of every mistake: `unbroken check unbroken.yaml`
    """
    from unbroken.faces.cli.check import check as run

    raise typer.Exit(run(file))


@app.command()
def chat(
    message: Annotated[str | None, typer.Argument(help="What to say; without it, a conversation.")] = None,
    model: Annotated[str, typer.Option("--model", "-m", help="A route, or provider/model.")] = "auto",
    config: ConfigFile = None,
    url: Annotated[str, typer.Option(metavar="URL", help="Ask a gateway that runs, in place of FILE.")] = "",
    key: Annotated[
        str, typer.Option(envvar="UNBROKEN_KEY", metavar="KEY", help="The key to that gateway, if it wants one.")
    ] = "",
    system: Annotated[str, typer.Option(help="Instructions that come before everything.")] = "",
) -> None:
    """Ask something, and see who answered.

    In this process: `unbroken chat "Why is the sky blue?" --config unbroken.yaml`

    Through a gateway: `unbroken chat --model auto --url http://127.0.0.1:4100`
    """
    from unbroken.faces.cli.chat import chat as run

    raise typer.Exit(run(message, model=model, config=config, url=url, key=key, system=system))


generate = typer.Typer(
    no_args_is_help=True,
    help="Make a picture or a film; when a provider fails, another one makes it.",
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.add_typer(generate, name="generate")

Prompt = Annotated[str, typer.Argument(help="What should be seen.")]
RouteName = Annotated[str, typer.Option("--model", "-m", metavar="ROUTE", help="A route, or provider/model.")]
Out = Annotated[
    str,
    typer.Option("--out", "-o", metavar="FILE", help="Where it goes; `-` for stdout. Without it, the next free name."),
]  # fmt: skip


@generate.command("image")
def generate_image(
    prompt: Prompt,
    model: RouteName = "auto",
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels, such as 1024x1024.")] = "",
    n: Annotated[int, typer.Option("--n", min=1, max=10, help="How many pictures.")] = 1,
    out: Out = "",
    config: ConfigFile = None,
) -> None:
    """Draw a picture.

    Into the next free file: `unbroken generate image "A lighthouse at dusk" --model openai/gpt-image-2.5-flare`

    By whoever is up: `unbroken generate image "A lighthouse at dusk" -m pictures -o dusk.png -c unbroken.yaml`,
    where the file has `routes: {pictures: {targets: [openai/gpt-image-2.5-flare, pollinations/flux]}}`
    """
    from unbroken.faces.cli.generate import generate_image as run

    raise typer.Exit(run(prompt, model=model, config=config, size=size, count=n, out=out))


@generate.command("video")
def generate_video(
    prompt: Prompt,
    model: RouteName = "auto",
    seconds: Annotated[float | None, typer.Option(min=1.0, max=600.0, help="How long it should be.")] = None,
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="In pixels, such as 1280x720.")] = "",
    out: Out = "",
    config: ConfigFile = None,
) -> None:
    """Make a film, which takes minutes.

    A job that was accepted is asked about until it is done, however often the asking fails; only when it fails
    itself is the next provider's begun.

    `unbroken generate video "Waves at sunset" --model xai/grok-imagine-video --seconds 5 --out waves.mp4`
    """
    from unbroken.faces.cli.generate import generate_video as run

    raise typer.Exit(run(prompt, model=model, config=config, seconds=seconds, size=size, out=out))


def main() -> None:
    """The entry point; an interrupted command ends with 130, as shells expect."""
    try:
        app(prog_name="unbroken")
    except KeyboardInterrupt:
        sys.exit(130)
