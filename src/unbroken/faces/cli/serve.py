"""`unbroken serve`: the gateway on a socket, and on stderr what it serves and how to use it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from unbroken import __version__
from unbroken.config import Config, ConfigError, Problem, Server, find, load
from unbroken.faces.cli.ending import fail
from unbroken.faces.cli.ledger import ledger_line, ledger_problem, with_ledger
from unbroken.faces.cli.workers import RETIRE, Crew, Post
from unbroken.policy import Route
from unbroken.replicas.line import Line

if TYPE_CHECKING:
    from unbroken.faces.server import Server as HttpServer

__all__ = ["announcement", "configured", "listen", "loop_factory", "serve"]

DEFAULT_PORT = Server().port
BACKLOG = 2048
"""Connections that wait to be taken."""
TARGETS_SHOWN = 6
"""Of a route, in the announcement."""
IDLE_S = 5.0
"""How long a caller's idle connection is kept that leads to a worker whose place another one has taken."""
GC_YOUNG = 10_000
"""Objects between two rounds of the garbage collector; requests leave no cycles, so there is little to find."""
KEPT_BYTES = 16 * 1024 * 1024
"""Of free memory, for the next large body: else the system takes it back and has to clear every page of it anew."""
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("critical", "error", "warning", "info", "debug")


def serve(
    path: Path | None, *, host: str | None, port: int | None, log_level: str, log_format: str = "text",
    watch: bool = True, workers: int | None = None,
) -> None:  # fmt: skip
    """Serve until told to stop.  Ends with code 2 for a wrong configuration, 1 where it cannot listen.

    The file is read anew on SIGHUP and, unless `watch` is off, when it has changed.
    """
    post = Post.taken(os.environ)
    if log_level not in LOG_LEVELS:
        fail(f"--log-level {log_level}: one of {', '.join(LOG_LEVELS)}", code=2)
    if log_format not in LOG_FORMATS:
        fail(f"--log-format {log_format}: one of {', '.join(LOG_FORMATS)}", code=2)
    source = _Source(file=find(path, os.environ), host=host, port=port)
    try:
        config = source.read()
    except ConfigError as error:
        fail(str(error), code=2)
    _log_as(log_format, log_level)
    number = config.server.workers if workers is None else workers
    if number > 1 and post is None:
        if sys.platform == "win32":
            fail("several workers share a socket that they inherit, which Windows does not let them", code=2)
        listening = listen(config.server)
        crew = Crew(number, listening, command=_again(source, log_level=log_level, log_format=log_format, watch=watch))
        code = asyncio.run(crew.run(lambda: _announce(config, listening, more=f"  workers: {number}")))
        if code:
            raise SystemExit(code)
        return
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(config, post, source=source, watch=watch))


def _again(source: _Source, *, log_level: str, log_format: str, watch: bool) -> list[str]:
    """The command of a worker, which does the same with a socket that it inherits."""
    said = {"--config": source.file, "--host": source.host, "--port": source.port}
    given = [word for name, value in said.items() if value is not None for word in (name, str(value))]
    more = ["--log-level", log_level, "--log-format", log_format, "--watch" if watch else "--no-watch"]
    return [sys.executable, "-m", "unbroken", "serve", *given, *more]


def store_problem(config: Config) -> str:
    """Why a gateway cannot reach the store that is configured; empty where it can."""
    missing = config.store is not None and find_spec("redis") is None
    return "`store` needs redis-py, which is not installed: pip install 'unbroken[redis]'" if missing else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Source:
    """Where the configuration comes from, each time that it is read: the file that was found first, and the options."""

    file: Path | None
    host: str | None
    port: int | None

    def read(self) -> Config:
        """The configuration of this moment; ConfigError where it cannot be served."""
        config = load(self.file, os.environ)
        config = replace(config, server=_overruled(config.server, host=self.host, port=self.port))
        config = with_ledger(config, os.environ)
        if problem := config.server.problem() or ledger_problem(config, os.environ) or store_problem(config):
            raise ConfigError([Problem(file="", line=0, key="", message=problem)])
        return config


async def _serve(config: Config, post: Post | None, *, source: _Source, watch: bool) -> None:
    """Until told to stop; answers under way may finish, unless a second signal comes."""
    listening = listen(config.server) if post is None else post.listening
    from unbroken.assemble import engine  # after the socket, so that callers wait meanwhile and are not refused
    from unbroken.faces.gateway import Gateway
    from unbroken.faces.server import Server as HttpServer
    from unbroken.reload import Reloader

    signals = _Signals()
    line = Line(post.line, ended=signals.orphaned) if post is not None else None
    gateway = Gateway(config, engine(config, siblings=line))
    gateway.admin.reloader = reloader = Reloader(gateway, source.read, file=source.file)
    server = HttpServer(gateway)
    signals.on_hangup(lambda: reloader.soon("SIGHUP"))
    await server.start(listening)
    if watch:
        reloader.watch()
    _settle()
    if line is None:
        _announce(config, listening)
    else:
        line.ready()
    await _stop(server, signals, settings=config.server)


async def _stop(server: HttpServer, signals: _Signals, *, settings: Server) -> None:
    """Wait for the signal to stop, and go as it says; with the next one at once."""
    number = await signals.next()
    retired = number == RETIRE
    drain_s = IDLE_S if retired else settings.drain_s if number == signal.SIGTERM else 0.0
    stopping = asyncio.create_task(server.stop(settings.grace_s, drain_s=drain_s, taking=not retired))
    impatience = asyncio.create_task(signals.next())
    await asyncio.wait({stopping, impatience}, return_when=asyncio.FIRST_COMPLETED)
    impatience.cancel()
    if not stopping.done():
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        await server.stop(0.0)


def _announce(config: Config, listening: socket.socket, *, more: str = "") -> None:
    print("\n".join(filter(None, (announcement(config, listening), more))), file=sys.stderr, flush=True)


def _log_as(log_format: str, log_level: str) -> None:
    """The log on stderr, as words or as a line of JSON each."""
    from unbroken.sinks.logs import JsonLines

    logging.basicConfig(level=log_level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if log_format == "json":
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonLines())


def _settle() -> None:
    """Everything that was made so far stays: the garbage collector need not look at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_YOUNG)
    bytes(KEPT_BYTES)  # glibc keeps as much as the largest piece that was ever freed; no page of this one is touched


class _Signals:
    """Requests to stop, one after another; where the loop takes no signals, KeyboardInterrupt does it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[int] = asyncio.Queue()
        for number in (signal.SIGINT, signal.SIGTERM, RETIRE):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, self._queue.put_nowait, number)

    def on_hangup(self, act: Callable[[], None]) -> None:
        """Do this on SIGHUP, which means to stop where it came because the terminal is gone."""
        number = getattr(signal, "SIGHUP", None)
        if number is None:
            return
        attended = os.isatty(0)

        def heard() -> None:
            if attended and not os.isatty(0):
                self._queue.put_nowait(number)
            else:
                act()

        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, heard)

    def orphaned(self) -> None:
        """Whoever would tell us is gone."""
        self._queue.put_nowait(RETIRE)

    async def next(self) -> int:
        """The next one."""
        return await self._queue.get()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop's, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


def configured(path: Path | None) -> Config:
    """The configuration, or the end of the process with all that is wrong with it."""
    try:
        return load(path, os.environ)
    except ConfigError as error:
        fail(str(error), code=2)


def _overruled(server: Server, *, host: str | None, port: int | None) -> Server:
    return replace(server, host=server.host if host is None else host, port=server.port if port is None else port)


def listen(server: Server) -> socket.socket:
    """A listening socket, or the end of the process with the reason."""
    host = server.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, server.port), family=family, backlog=BACKLOG)
    except OSError as error:
        _cannot_listen(server, os.strerror(error.errno) if error.errno and error.errno > 0 else str(error))


def _cannot_listen(server: Server, why: str) -> NoReturn:
    fail(f"cannot listen on {server.host}:{server.port}: {why}; another port: --port 0")


def announcement(config: Config, listening: socket.socket) -> str:
    """What is served, from where, and the line that points a client at it."""
    host, port = listening.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{port}/v1"
    return "\n".join(_lines(config, url))


def _lines(config: Config, url: str) -> Iterator[str]:
    yield f"unbroken {__version__}  {url}  (configuration: {config.source})"
    width = max((len(name) for name in config.routes), default=0)
    for route in config.routes.values():
        yield f"  {route.name:{width}}  {_targets(route)}"
    for warning in config.warnings:
        yield f"  note: {warning}"
    yield f"  ledger: {ledger_line(config, os.environ)}"
    key = "a key of the gateway" if config.server.guarded else "any"
    yield f"  {_admin_line(config, url)}"
    yield f"  clients: OPENAI_BASE_URL={url} OPENAI_API_KEY=<{key}>, model: {', '.join(config.routes) or 'none yet'}"


def _admin_line(config: Config, url: str) -> str:
    """Where operators look, or how to let them in."""
    if not config.server.admin_keys:
        return "admin: off; UNBROKEN_ADMIN_KEY=<a key of your own> or server.admin_keys switches `unbroken status` on"
    root = url.removesuffix("/v1")
    at = f" --url {root}" if config.server.port != DEFAULT_PORT else ""
    return f"admin: {root}/dashboard, or: unbroken status{at} --admin-key <one of server.admin_keys>"


def _targets(route: Route) -> str:
    names = [target.name for target in route.targets[:TARGETS_SHOWN]]
    if len(route.targets) > TARGETS_SHOWN:
        names.append(f"{len(route.targets) - TARGETS_SHOWN} more")
    joint = " > " if route.strategy == "priority" else ", "
    return joint.join(names) + ("" if route.strategy == "priority" else f"  ({route.strategy})")
