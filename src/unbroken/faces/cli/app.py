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
from unbroken.faces.cli.control import breaker, targets
from unbroken.faces.cli.imports import app as imports
from unbroken.faces.cli.keys import app as keys
from unbroken.faces.cli.ledger import app as ledger
from unbroken.faces.cli.options import BenchOptions, ConfigFile, SimulateOptions, taking
from unbroken.faces.cli.remote import AdminKey, Url

__all__ = ["app", "main"]

PORT = 4100
"""Where the gateway listens unless told otherwise; next to nothing else uses it."""
PORT_MAX = 65_535

app = typer.Typer(
    name="unbroken",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(catalog, name="catalog")
app.add_typer(imports, name="import")
app.add_typer(keys, name="keys")
app.add_typer(ledger, name="ledger")
app.add_typer(targets, name="targets")
app.add_typer(breaker, name="breaker")


def _version(wanted: bool) -> None:
    if wanted:
        from unbroken import __version__
        from unbroken.core import flight

        how = "" if str(flight.__file__).endswith(".py") else ", compiled"
        typer.echo(f"unbroken {__version__}{how}")
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
    *,
    config: ConfigFile = None,
    host: Annotated[
        str | None, typer.Option(help="Where to listen; other than loopback only with a key configured.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=PORT_MAX, help=f"Port; 0 for any free one. [default: {PORT}]")
    ] = None,
    log_level: Annotated[str, typer.Option(help="critical, error, warning, info or debug.")] = "warning",
    log_format: Annotated[str, typer.Option(help="text, or json for a line of fields each.")] = "text",
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Read FILE anew when it has changed.")] = True,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, metavar="N", help="Processes on the port. [default: 1]")
    ] = None,
) -> None:
    """Serve the gateway.

    With API keys in the environment: `OPENAI_API_KEY=... GROQ_API_KEY=... unbroken serve`

    With a file: `unbroken serve --config unbroken.yaml --port 8080`
    """
    from unbroken.faces.cli.serve import serve as run

    run(
        config, host=host, port=port, log_level=log_level, log_format=log_format, watch=watch, workers=workers
    )  # fmt: skip


@app.command()
def demo(
    *,
    local: Annotated[
        bool, typer.Option("--local", help="Two real llama.cpp servers; one is killed in mid-answer.")
    ] = False,
    stay: Annotated[bool, typer.Option("--stay", help="Stay up afterwards, for your own requests.")] = False,
    seed: Annotated[int, typer.Option(help="Which questions are asked.")] = 7,
    speed: Annotated[float, typer.Option(min=0.1, max=50.0, help="So many times as fast.")] = 1.0,
    port: Annotated[int, typer.Option(min=0, max=PORT_MAX, help="Where the gateway listens; 0 for any free port.")] = 0,
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
def health(
    *,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object for each.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Ask each for one word, which is billed.")] = False,
) -> None:
    """Ask every provider how it is, which costs nothing.

    With the keys in the environment: `unbroken health`

    For a script, which ends with 1 where nobody is well: `unbroken health -c unbroken.yaml --json`
    """
    from unbroken.faces.cli.health import health as run

    raise typer.Exit(run(config, as_json=as_json, words=words))


@app.command()
def status(
    *,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Again and again, until interrupted.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, once.")] = False,
    every: Annotated[float, typer.Option(min=0.2, metavar="SECONDS", help="Between two looks.")] = 1.0,
    url: Url = "",
    admin_key: AdminKey = "",
) -> None:
    """See how a gateway that runs stands: targets, routes, budgets.

    Ends with 1 where some route has nobody left, with 2 where the gateway cannot be asked.

    As a picture that is drawn anew: `UNBROKEN_ADMIN_KEY=... unbroken status --watch`

    Elsewhere: `unbroken status --url https://gateway.example.com`
    """
    from unbroken.faces.cli.remote import gateway
    from unbroken.faces.cli.status import status as run

    raise typer.Exit(run(gateway(url, admin_key), watch=watch, as_json=as_json, every_s=every))


@app.command()
def strategy(
    route: Annotated[str, typer.Argument(metavar="ROUTE", help="A route's name.")],
    name: Annotated[str, typer.Argument(metavar="STRATEGY", help="best, learned, ..: see docs/strategies.md")],
    *,
    url: Url = "",
    admin_key: AdminKey = "",
) -> None:
    """Have a gateway that runs choose among a route's targets by another strategy, until its next reload.

    `unbroken strategy chat best`
    """
    from unbroken.faces.cli.control import strategy as run

    run(route, name, url=url, admin_key=admin_key)


@app.command()
def reload(url: Url = "", admin_key: AdminKey = "") -> None:
    """Have a gateway that runs read its configuration anew; what is under way goes on.

    It does so by itself when its file changes, and on SIGHUP. A file with anything wrong in it is refused, with
    what is wrong: `unbroken reload`
    """
    from unbroken.faces.cli.control import reload as run

    run(url=url, admin_key=admin_key)


@app.command()
def chat(
    message: Annotated[str | None, typer.Argument(help="What to say; without it, a conversation.")] = None,
    *,
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


@app.command()
def explain(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="Its id, as in the header x-unbroken-request-id.")],
    *,
    config: ConfigFile = None,
    ledger: Annotated[str, typer.Option("--ledger", metavar="URL", help="A ledger's file or its PostgreSQL.")] = "",
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show what happened to a request: who was asked when, why, and what came of it.

    `unbroken explain req_1f0c2d3e4a000001`
    """
    from unbroken.faces.cli.explain import explain as run

    raise typer.Exit(run(request, config=config, ledger=ledger, json=json))


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
    *,
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
    *,
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


@app.command()
@taking(SimulateOptions)
def simulate(asked: SimulateOptions) -> None:
    """Live through an outage before it comes: every strategy through the same day, side by side.

    A bad day for the first provider: `unbroken simulate --outage brown-out`

    Every kind of bad day, as a page: `unbroken simulate --outage all --picture bad-days.html`

    Your own configuration and traffic: `unbroken simulate -c unbroken.yaml --trace yesterday.csv --outage all-down@600`
    """
    from unbroken.faces.cli.simulate import simulate as run

    raise typer.Exit(run(asked))


@app.command()
def replay(
    ledger: Annotated[Path, typer.Argument(metavar="LEDGER", help="What happened: CSV, see docs/simulation.md.")],
    *,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration to try out.")
    ] = None,
    route: Annotated[
        str, typer.Option(metavar="NAME", help="Play all requests by this route; each by its own unless given.")
    ] = "",
    strategy: Annotated[str, typer.Option(metavar="NAME", help="In place of what the routes say.")] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same digest.")] = 1,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="What changed, request by request.")
    ] = None,
) -> None:
    """What yesterday's requests would have met under another configuration.

    Which would be answered now, how fast, by whom, for how much: `unbroken replay ledger.csv --config candidate.yaml`
    """
    from unbroken.faces.cli.replay import replay as run

    raise typer.Exit(run(ledger, config=config, route=route, strategy=strategy, seed=seed, json_out=json))


@app.command()
@taking(BenchOptions)
def bench(asked: BenchOptions) -> None:
    """Compare providers on the same prompts: speed, success and cost, and how sure that is.

    Two of them, for at most a dollar: `unbroken bench -p groq -p openai/gpt-5.6-luna --stop-at-usd 1`

    Your own prompts, as a page: `unbroken bench -p north -p south --prompts prompts.txt --html bench.html`
    """
    from unbroken.faces.cli.bench import bench as run

    raise typer.Exit(run(asked))


def main() -> None:
    """The entry point; an interrupted command ends with 130, as shells expect."""
    try:
        app(prog_name="unbroken")
    except KeyboardInterrupt:
        sys.exit(130)
