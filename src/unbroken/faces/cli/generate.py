"""`unbroken generate`: a picture or a film into a file, whoever is able to make it.

It flies in this process, with the same routes, breakers and limits as everything else.  What
happens on the way is told on stderr: who works at it and for how long, who failed and why.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from unbroken.config import Config
from unbroken.engine import Finished
from unbroken.faces.cli.ending import fail
from unbroken.facts import AttemptFailed, AttemptStarted, Fact, LeftOut, Progressed
from unbroken.policy import Route
from unbroken.types import Delta, Output, Request, Task
from unbroken.wire.media import FILM_BYTES_MAX, ending_of, media_type_of, png_size, size_of
from unbroken.work import Film, Picture

__all__ = ["generate_image", "generate_video"]

STDOUT = "-"
TICK_S = 1.0
"""How often the line that shows the time is written anew."""
NAMES_MAX = 10_000
"""How many files of the same name are looked past for a free one."""


def generate_image(
    prompt: str, *, model: str, config: Path | None, size: str = "", count: int = 1, out: str = ""
) -> int:
    """Draw; the exit code: 0 when every picture was written, else 1."""
    work = Picture(prompt=_some(prompt), size=_size(size), count=count)
    if count > 1 and out == STDOUT:
        fail("--out -: only one picture can go to stdout, and --n asks for more", code=2)
    return _run(work, model=model, config=config, out=out)


def generate_video(
    prompt: str, *, model: str, config: Path | None, seconds: float | None = None, size: str = "", out: str = ""
) -> int:
    """Make a film; the exit code: 0 when it was written, else 1."""
    return _run(Film(prompt=_some(prompt), size=_size(size), seconds=seconds), model=model, config=config, out=out)


def _some(prompt: str) -> str:
    if not prompt.strip():
        fail("the prompt is empty: say what should be seen", code=2)
    return prompt


def _size(size: str) -> str:
    if size and size_of(size) is None:
        fail(f"--size {size}: expected WIDTHxHEIGHT in pixels, such as 1024x1024", code=2)
    return size


def _run(work: Picture | Film, *, model: str, config: Path | None, out: str) -> int:
    loaded = _loaded(config)
    route = loaded.resolve(model)
    if route is None:
        fail(f"--model {model}: no route or target of that name; there is {', '.join(loaded.routes)}", code=2)
    try:
        end, outputs = asyncio.run(_fly(work, loaded, route=route))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    if end.failure is not None:
        print(f"unbroken: {end.failure.message}", file=sys.stderr)
        return 1
    return _write_all(outputs, out, task=_task(work), told=_told(end))


def _loaded(path: Path | None) -> Config:
    from unbroken.faces.cli.serve import configured

    config = configured(path)
    if not config.routes:
        fail("there is no target: set a provider's key (OPENAI_API_KEY, ...) or give --config", code=2)
    room_mb = max(config.server.response_limit_mb, FILM_BYTES_MAX / 1024 / 1024)
    return replace(config, server=replace(config.server, response_limit_mb=room_mb))


def _task(work: Picture | Film) -> Task:
    return Task.IMAGE if isinstance(work, Picture) else Task.VIDEO


# --------------------------------------------------------------------------- the flight


async def _fly(work: Picture | Film, config: Config, *, route: Route) -> tuple[Finished, list[Output]]:
    """Ask, and show what happens until it is over."""
    from unbroken.assemble import engine

    flying = engine(config)
    watcher = _Watcher(_task(work))
    flying.bus.add(watcher)
    request = Request(
        model=route.name,
        task=_task(work),
        prompt_chars=len(work.prompt),
        choices=work.count if isinstance(work, Picture) else 1,
        read=lambda: work,
    )
    drive = flying.fly(request, route, caller=watcher, flight_id="generate")
    try:
        while not watcher.over.done():
            await asyncio.wait((watcher.over,), timeout=TICK_S)
            watcher.tick()
        return watcher.over.result(), watcher.outputs
    finally:
        if not watcher.over.done():
            drive.cancel()
        await flying.close()
        watcher.wipe()


@dataclass(slots=True)
class _Watcher:
    """The caller, and a sink of facts: keeps what was made, and tells on stderr what happens."""

    task: Task
    outputs: list[Output] = field(default_factory=list)
    over: asyncio.Future[Finished] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _at_work: str = ""
    _share: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _shown: int = 0

    # -- as the caller

    def show(self, deltas: Sequence[Delta]) -> None:
        """What was made."""
        self.outputs += [output for delta in deltas for output in delta.outputs]

    def finish(self, end: Finished) -> None:
        """The end."""
        self.over.set_result(end)

    # -- as a sink

    def write(self, facts: list[Fact]) -> None:
        """What happened on the way."""
        for fact in facts:
            match fact:
                case AttemptStarted():
                    self._at_work, self._since, self._share = fact.target.name, time.monotonic(), 0.0
                    self.tick()
                case Progressed():
                    self._share = fact.share
                    self.tick()
                case AttemptFailed():
                    self._say(f"{fact.target.name} failed after {fact.elapsed_s:.1f} s: {fact.failure.message}")
                case LeftOut():
                    self._say(f"{fact.target.name} is not told: {', '.join(fact.names)}")

    # -- on the terminal

    def tick(self) -> None:
        """Who works at it, and for how long; only where somebody watches."""
        if not sys.stderr.isatty() or not self._at_work or self.over.done():
            return
        verb = "draws" if self.task is Task.IMAGE else "makes the film"
        come = f"{self._share:.0%}, " if self._share else ""
        line = f"{self._at_work} {verb} ({come}{time.monotonic() - self._since:.0f} s)"
        self.wipe()
        sys.stderr.write(line)
        sys.stderr.flush()
        self._shown = len(line)

    def wipe(self) -> None:
        """Take the line away again."""
        if self._shown:
            sys.stderr.write("\r" + " " * self._shown + "\r")
            self._shown = 0

    def _say(self, line: str) -> None:
        self.wipe()
        print(line, file=sys.stderr, flush=True)


def _told(end: Finished) -> str:
    """Who made it, and after what."""
    parts = [f"made by {end.target.name if end.target is not None else 'somebody unnamed'}"]
    if end.attempts > 1:
        parts.append(f"{end.attempts} attempts")
    if end.failover:
        parts.append("after a failover")
    return ", ".join(parts)


# ---------------------------------------------------------------------------- the files


def _write_all(outputs: Sequence[Output], out: str, *, task: Task, told: str) -> int:
    found = [output for output in outputs if output.data]
    if not found:
        print("unbroken: nothing came that could be written", file=sys.stderr)
        return 1
    if out == STDOUT:
        sys.stdout.buffer.write(found[0].data)
        sys.stdout.buffer.flush()
        print(f"({told})", file=sys.stderr)
        return 0
    name = partial(_path, out, task=task, several=len(found) > 1)
    for number, output in enumerate(found, start=1):
        path = name(number=number, ending=ending_of(output.media_type))
        try:
            path.write_bytes(output.data)
        except OSError as error:
            fail(f"{path} cannot be written: {error.strerror or error}")
        print(path)
        print(f"({told}; {_described(output, path)})", file=sys.stderr)
    return 0


def _path(out: str, *, task: Task, several: bool, number: int, ending: str) -> Path:
    """Where the next one goes: as asked, numbered where there are several; else the first name that is free."""
    if out:
        path = Path(out)
        path = path if path.suffix else path.with_name(f"{path.name}.{ending}")
        return path.with_name(f"{path.stem}-{number}{path.suffix}") if several else path
    names = (Path(f"{task}-{n}.{ending}") for n in range(1, NAMES_MAX))
    return next((path for path in names if not path.exists()), Path(f"{task}.{ending}"))


def _described(output: Output, path: Path) -> str:
    """What it is, and how large; where its name says something else, that is told too."""
    size = png_size(output.data)
    parts = [media_type_of(output.data) or output.media_type]
    if size is not None:
        parts.append(f"{size[0]}x{size[1]}")
    parts.append(f"{len(output.data) / 1024:.1f} KB")
    ending = path.suffix.lstrip(".").lower()
    if ending not in (ending_of(output.media_type), "jpeg" if output.media_type == "image/jpeg" else ""):
        parts.append(f"although it is called .{ending}")
    return ", ".join(parts)
