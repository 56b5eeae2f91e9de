"""What commands with many options take: a record each, whose fields are the options.

    @app.command()
    @taking(SimulateOptions)
    def simulate(asked: SimulateOptions) -> None: ...

Nothing heavy is imported here, since the command line is read before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, TypeVar, get_type_hints

import typer

__all__ = ["BenchOptions", "ConfigFile", "SimulateOptions", "taking"]

Record = TypeVar("Record")

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", "-c", metavar="FILE",
        help="Targets, routes and policies in YAML. Without one: a target for each API key in the environment.",
    ),
]  # fmt: skip


def taking(kind: type[Record]) -> Callable[[Callable[[Record], None]], Callable[..., None]]:
    """Have Typer see a parameter for each field of this dataclass, and the command the record made of them."""
    hints = get_type_hints(kind, include_extras=True)
    shown = Signature([
        Parameter(
            field.name, Parameter.KEYWORD_ONLY, annotation=hints[field.name],
            default=Parameter.empty if field.default is MISSING else field.default,
        )
        for field in fields(kind)  # type: ignore[arg-type]  # it is a dataclass, which Python's types cannot say
    ])  # fmt: skip

    def made(command: Callable[[Record], None]) -> Callable[..., None]:
        @wraps(command)
        def told(**given: object) -> None:
            command(kind(**given))

        told.__signature__ = shown  # type: ignore[attr-defined]  # what `inspect` looks for first
        return told

    return made


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulateOptions:
    """What `unbroken simulate` is asked for."""

    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="Your configuration; without one, four made-up providers."),
    ] = None
    route: Annotated[str, typer.Option(metavar="NAME", help="Which of its routes; the first unless given.")] = ""
    scenario: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML: how providers answer, what befalls them, the traffic.")
    ] = None
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Who asks when: CSV with arrival_s,input_tokens,output_tokens, or rates."),
    ] = None
    incidents: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Outages from a status page: CSV, see docs/simulation.md.")
    ] = None
    outage: Annotated[
        list[str] | None,
        typer.Option("--outage", "-o", metavar="NAME[:TARGET][@START_S]",
                     help="A bad day, such as brown-out, flapping or all-down; several times for several; `all`."),
    ] = None  # fmt: skip
    strategies: Annotated[str, typer.Option("--strategies", metavar="A,B", help="Only these; all unless given.")] = ""
    requests: Annotated[int | None, typer.Option(min=1, help="How many. [default: all of the trace, or 10,000]")] = None
    rate: Annotated[float, typer.Option(min=0.001, help="The trace, so many times as dense.")] = 1.0
    seed: Annotated[int, typer.Option(help="The same seed gives the same digest.")] = 1
    baselines: Annotated[bool, typer.Option(help="Also play what simple routers do.")] = True
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="The numbers, a row each.")] = None
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="The numbers, and more.")] = None
    picture: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A picture: .svg, .png, or .html for a page that holds all.")
    ] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """What `unbroken bench` is asked for."""

    provider: Annotated[
        list[str], typer.Option("--provider", "-p", metavar="NAME", help="`provider/model`, a provider, or a route.")
    ]
    prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A prompt a line, JSONL, or a folder; else a few of our own.")
    ] = None
    config: ConfigFile = None
    task: Annotated[str, typer.Option(help="chat, embedding or image.")] = "chat"
    rounds: Annotated[
        int | None, typer.Option(min=1, help="How often each prompt is asked. [default: 5; 1 for images]")
    ] = None
    warm_up: Annotated[int, typer.Option(min=0, help="Requests of each that do not count.")] = 1
    concurrency: Annotated[
        int,
        typer.Option(min=0, max=1000, show_default=False, help="Requests under way at a time: 1, or 64 with --rate."),
    ] = 0
    rate: Annotated[float | None, typer.Option(min=0.001, help="At most so many requests begin in a second.")] = None
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an answer.")] = 256
    timeout_s: Annotated[float, typer.Option(min=0.1, help="For a whole answer.")] = 120.0
    stop_at_usd: Annotated[float | None, typer.Option(min=0.0, help="Stop before more than this is spent.")] = None
    seed: Annotated[int, typer.Option(help="The same seed asks in the same order.")] = 1
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="A picture: .svg, .png, or .html.")] = None
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Every request, a row each.")] = None
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="All numbers.")] = None
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="A page that holds all of it.")] = None
