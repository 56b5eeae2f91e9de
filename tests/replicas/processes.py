"""`unbroken serve` as processes of their own, and callers of them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import unbroken
from faces.admin_world import ADMIN_KEY

__all__ = ["PATIENCE_S", "Caller", "Process", "children", "serving"]

SOURCE = str(Path(unbroken.__file__).parent.parent)
PATIENCE_S = 30.0


class Process:
    """A gateway that runs by itself."""

    def __init__(self, process: asyncio.subprocess.Process, url: str, *, lines: list[str]) -> None:
        self.process, self.lines = process, lines
        host, _, port = url.removeprefix("http://").removesuffix("/v1").partition(":")
        self.address = host, int(port)
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def said(self) -> str:
        return "".join(self.lines)

    async def end(self) -> int:
        """Its code, when it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            code = await self.process.wait()
            await self._reading
        return code

    async def get(self, path: str, *, key: str = ADMIN_KEY) -> Any:
        """The JSON at this path, over a connection of its own."""
        async with Caller(self) as caller:
            return json.loads((await caller.ask("GET", path, key=key))[1])

    async def post(self, path: str, body: object = None) -> Any:
        """What an operator is told for this."""
        async with Caller(self) as caller:
            status, told = await caller.ask("POST", path, key=ADMIN_KEY, body=body)
            assert status == 200, told
            return json.loads(told)

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode())


class Caller:
    """One connection, which is kept as long as the gateway keeps it; `worker` is who takes it."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self.connections = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self._hang_up()

    async def chat(self, *, words: int = 0) -> str:
        """A question; the target that answered."""
        body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Why do bridges sing?"}]}
        status, told = await self.ask(
            "POST", "/v1/chat/completions", body=body | ({"max_tokens": words} if words else {})
        )
        assert status == 200, told
        return self.headers["x-unbroken-target"]

    async def ask(self, method: str, path: str, *, key: str = "any", body: object = None) -> tuple[int, bytes]:
        """Status and body of the answer; the connection is kept where that is not forbidden."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(*self._process.address)
            self.connections += 1
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-length: {len(data)}\r\n\r\n"
        )
        self._writer.write(head.encode() + data)
        async with asyncio.timeout(PATIENCE_S):
            return await self._answer()

    async def _answer(self) -> tuple[int, bytes]:
        assert self._reader is not None
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        self.headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(await self._reader.readline(), 16):
                body += await self._reader.readexactly(size)
                await self._reader.readline()
            await self._reader.readline()
        else:
            body = await self._reader.readexactly(int(self.headers["content-length"]))
        if self.headers.get("connection") == "close":
            self._hang_up()
        return int(head[0].split()[1]), body

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


@asynccontextmanager
async def serving(file: Path, *options: str) -> AsyncIterator[Process]:
    """A gateway by this configuration on a free port; killed in the end, if it still runs."""
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": SOURCE, "HOME": str(file.parent)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unbroken", "serve", "--port", "0", "--config", str(file), *options,
        stderr=asyncio.subprocess.PIPE, env=environ,
    )  # fmt: skip
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not lines or "clients:" not in lines[-1]:
                line = await process.stderr.readline()
                assert line, f"it ended: {''.join(lines)}"
                lines.append(line.decode())
        yield Process(process, next(word for word in lines[0].split() if word.startswith("http://")), lines=lines)
    finally:
        for number in [*children(process.pid), process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        await process.wait()


def children(parent: int) -> list[int]:
    """The processes that this one has started; only Linux tells."""
    with contextlib.suppress(OSError):
        told = Path(f"/proc/{parent}/task/{parent}/children").read_text(encoding="ascii")
        return [int(number) for number in told.split()]
    return []
