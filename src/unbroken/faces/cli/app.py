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
from unbroken.faces.cli.ledger import app as ledger
from unbroken.faces.cli.remote import AdminKey, Url

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
app.add_typer(imports, name="import")
app.add_typer(ledger, name="ledger")
app.add_typer(targets, name="targets")
app.add_typer(breaker, name="breaker")

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
    log_format: Annotated[str, typer.Option(help="text, or json for a line of fields each.")] = "text",
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Read FILE anew when it has changed.")] = True,
) -> None:
    """Serve the gateway.

    With API keys in the environment: `OPENAI_API_KEY=... GROQ_API_KEY=... unbroken serve`

    With a file: `unbroken serve --config unbroken.yaml --port 8080`
    """
    from unbroken.faces.cli.serve import serve as run

    run(config, host=host, port=port, log_level=log_level, log_format=log_format, watch=watch)


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
def health(
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


@app.command()
def simulate(  # noqa: PLR0913 - Typer takes a command's options from its parameters
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Your configuration; without one, four made-up providers."),
    ] = None,
    route: Annotated[str, typer.Option(metavar="NAME", help="Which of its routes; the first unless given.")] = "",
    scenario: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: how providers answer, what befalls them, the traffic.")
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who asks when: CSV with arrival_s,input_tokens,output_tokens, or rates."),
    ] = None,
    incidents: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Outages from a status page: CSV, see docs/simulation.md.")
    ] = None,
    outage: Annotated[
        list[str] | None,
        typer.Option("--outage", "-o", metavar="NAME[:TARGET][@START_S]",
                     help="A bad day, such as brown-out, flapping or all-down; several times for several; `all`."),
    ] = None,
    strategies: Annotated[str, typer.Option("--strategies", metavar="A,B", help="Only these; all unless given.")] = "",
    requests: Annotated[
        int | None, typer.Option(min=1, help="How many. [default: all of the trace, or 10,000]")
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, help="The trace, so many times as dense.")] = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same digest.")] = 1,
    baselines: Annotated[bool, typer.Option(help="Also play what simple routers do.")] = True,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="The numbers, a row each.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="The numbers, and more.")] = None,
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture: .svg, .png, or .html for a page that holds all.")
    ] = None,
) -> None:  # fmt: skip
    """Live through an outage before it comes: every strategy through the same day, side by side.

    A bad day for the first provider: `unbroken simulate --outage brown-out`

    Every kind of bad day, as a page: `unbroken simulate --outage all --picture bad-days.html`

    Your own configuration and traffic: `unbroken simulate -c unbroken.yaml --trace yesterday.csv --outage all-down@600`
    """
    from unbroken.faces.cli.simulate import Asked
    from unbroken.faces.cli.simulate import simulate as run

    asked = Asked(
        config=config, route=route, scenario=scenario, trace=trace, incidents=incidents, outages=tuple(outage or ()),
        strategies=strategies, requests=requests or 0, rate=rate, seed=seed, baselines=baselines,
        csv=csv, json=json, picture=picture,
    )  # fmt: skip
    raise typer.Exit(run(asked))


@app.command()
def replay(
    ledger: Annotated[Path, typer.Argument(metavar="LEDGER", help="What happened: CSV, see docs/simulation.md.")],
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
def bench(  # noqa: PLR0913 - Typer takes a command's options from its parameters
    provider: Annotated[
        list[str], typer.Option("--provider", "-p", metavar="NAME", help="`provider/model`, a provider, or a route.")
    ],
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A prompt a line, JSONL, or a folder; else a few of our own.")
    ] = None,
    config: ConfigFile = None,
    task: Annotated[str, typer.Option(help="chat, embedding or image.")] = "chat",
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each prompt is asked. [default: 5; 1 for images]")
    ] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests of each that do not count.")] = 1,
    concurrency: Annotated[
        int,
        typer.Option(min=0, max=1000, show_default=False, help="Requests under way at a time: 1, or 64 with --rate."),
    ] = 0,
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many requests begin in a second.")] = None,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256,
    timeout_s: Annotated[float, typer.Option(min=0.1, help="For a whole answer.")] = 120.0,
    stop_at_usd: Annotated[float | None, typer.Option(min=0.0, help="Stop before more than this is spent.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed asks in the same order.")] = 1,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: .svg, .png, or .html.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Every request, a row each.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All numbers.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page that holds all of it.")] = None,
) -> None:
    """Compare providers on the same prompts: speed, success and cost, and how sure that is.

    Two of them, for at most a dollar: `unbroken bench -p groq -p openai/gpt-5.6-luna --stop-at-usd 1`

    Your own prompts, as a page: `unbroken bench -p north -p south --prompts prompts.txt --html bench.html`
    """
    from unbroken.bench import Settings
    from unbroken.faces.cli.bench import Asked, rounds_of, task_of
    from unbroken.faces.cli.bench import bench as run

    kind = task_of(task)
    settings = Settings(
        task=kind, rounds=rounds or rounds_of(kind), warm_up=warm_up, concurrency=concurrency, rate=rate,
        max_tokens=max_tokens, timeout_s=timeout_s, stop_at_usd=stop_at_usd, seed=seed,
    )  # fmt: skip
    asked = Asked(
        providers=tuple(provider), settings=settings, prompts=prompts, config=config,
        csv=csv, json=json, html=html, picture=picture,
    )  # fmt: skip
    raise typer.Exit(run(asked))


def main() -> None:
    """The entry point; an interrupted command ends with 130, as shells expect."""
    try:
        app(prog_name="unbroken")
    except KeyboardInterrupt:
        sys.exit(130)
