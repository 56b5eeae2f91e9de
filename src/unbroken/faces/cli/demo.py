"""`unbroken demo`: providers, gateway and callers in one process, and what happens shown as it happens."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Sequence

from rich.console import Console
from rich.table import Table

from unbroken.assemble import engine
from unbroken.config import Config, Server
from unbroken.core.breaker import State
from unbroken.engine import Engine
from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.scene import Health, Notes, Play, Tally, providers
from unbroken.faces.cli.serve import listen, loop_factory
from unbroken.faces.cli.view import LiveView, PlainView, summary
from unbroken.faces.gateway import Gateway
from unbroken.faces.server import Server as HttpServer
from unbroken.testing import FakeProvider

__all__ = ["configuration", "demo", "gateway_at", "health_of", "shown"]

_PROLOGUE = "Three providers, a gateway before them at {url}/v1, and callers.  Nothing leaves this machine.\n"
SILENCE_S = 1.5
"""How long the demo's gateway waits for a first word: nobody wants to watch the default of 10 to 30 s.

At any `--speed`: a busy machine must not be taken for a silent provider.
"""
GRACE_S = 0.5
"""For answers under way when the demo ends."""
GAP_S = 3.0
"""How long it waits for the next word."""


def demo(*, local: bool, stay: bool, seed: int, speed: float, port: int) -> int:
    """Run the demo; the exit code: 0 unless it could not be run at all."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):  # a stand-in for a stream, as tests have
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    console = Console()
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            if local:
                return runner.run(_local(console, stay=stay, port=port))
            return runner.run(_demo(console, stay=stay, seed=seed, speed=speed, port=port))
    except KeyboardInterrupt:
        return 130


async def _local(console: Console, *, stay: bool, port: int) -> int:
    from unbroken.faces.cli.local import LocalServerError, demo_local

    try:
        return await demo_local(console, stay=stay, port=port)
    except LocalServerError as error:
        fail(str(error))


async def _demo(console: Console, *, stay: bool, seed: int, speed: float, port: int) -> int:
    async with contextlib.AsyncExitStack() as stack:
        cast = [await stack.enter_async_context(provider) for provider in providers(speed)]
        entries = {provider.name: (provider.base_url, "essayist", provider.accepts_prefix) for provider in cast}
        config = configuration(entries, patience=(SILENCE_S, GAP_S))
        served, url = await stack.enter_async_context(gateway_at(config, port))
        console.print(_PROLOGUE.format(url=url), highlight=False, soft_wrap=True)
        notes = Notes(served.gateway.engine.bus)
        async with shown(console) as view:
            play = Play(
                f"{url}/v1/chat/completions", cast, notes=notes, view=view,
                health=health_of(served.gateway.engine, config), seed=seed, speed=speed,
            )  # fmt: skip
            await play.run()
        _print_summary(console, play.tally())
        if stay:
            await _stay(console, url, cast=cast)
    return 0


def configuration(cast: dict[str, tuple[str, str, bool]], *, patience: tuple[float, float]) -> Config:
    """An ordinary configuration: name -> base URL, model, whether it takes a prefix; in order of preference.

    `patience`: seconds to the first word, and between two words.
    """
    first_s, gap_s = patience
    providers = {
        name: {"base_url": base_url, "prefix": "assistant" if prefix else "none"}
        for name, (base_url, _, prefix) in cast.items()
    }
    auto = {
        "targets": [f"{name}/{model}" for name, (_, model, _) in cast.items()],
        "policy": {"deadlines": {"first_content_s": first_s, "gap_s": gap_s}},
    }
    return Config.from_values({"providers": providers, "routes": {"auto": auto}}, {})


@contextlib.asynccontextmanager
async def gateway_at(config: Config, port: int) -> AsyncIterator[tuple[HttpServer, str]]:
    """The gateway served on loopback in this event loop, and its address."""
    listening = listen(Server(port=port))
    server = HttpServer(Gateway(config, engine(config)))
    await server.start(listening)
    try:
        yield server, f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        await server.stop(GRACE_S)


def health_of(running: Engine, config: Config) -> Health:
    """What the gateway thinks of a provider, in words."""
    targets = {target.provider: target for target in config.targets}

    def health(name: str) -> str:
        standing, now = running.board.standing(targets[name]), running.clock()
        for scope in standing.scopes:
            if scope.breaker.state is not State.CLOSED or scope.obstacle(now, 0.0):
                return _words(scope.obstacle(now, 0.0), scope.breaker.state)
        return ""

    return health


def _words(obstacle: str | None, state: State) -> str:
    if obstacle:
        return obstacle
    return {State.OPEN: "about to be tried again", State.RAMPING: "well again, traffic returns"}.get(state, str(state))


@contextlib.asynccontextmanager
async def shown(console: Console) -> AsyncIterator[LiveView | PlainView]:
    """A live picture in a terminal, plain lines elsewhere."""
    if not console.is_terminal:
        yield PlainView(console)
        return
    view = LiveView(console)
    with view.live:
        drawing = asyncio.create_task(view.draw())
        try:
            yield view
        finally:
            drawing.cancel()


def _print_summary(console: Console, tally: Tally) -> None:
    console.print()
    if not console.is_terminal:
        for what, number in summary(tally):
            console.print(f"{what}: {number}", markup=False, highlight=False, soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2))
    for what, number in summary(tally):
        table.add_row(what, number, style="bold" if what.startswith("answered") else "")
    console.print(table)


async def _stay(console: Console, url: str, *, cast: Sequence[FakeProvider]) -> None:
    body = '{"model": "auto", "stream": true, "messages": [{"role": "user", "content": "What is a harbour for?"}]}'
    names = ", ".join(provider.name for provider in cast)
    console.print(f"\nStill up: {names} and the gateway.  Try it (Ctrl-C ends it):\n", highlight=False)
    print(f"  curl -N {url}/v1/chat/completions -H 'content-type: application/json' -d '{body}'\n", flush=True)
    print(f'  unbroken chat "What is a harbour for?" --url {url}\n', flush=True)
    await asyncio.get_running_loop().create_future()
