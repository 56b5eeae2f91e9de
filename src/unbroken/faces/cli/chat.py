"""`unbroken chat`: words to the terminal as they come, then who answered and after what."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, MutableMapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from unbroken.config import Config
from unbroken.faces.asgi import App, app
from unbroken.faces.cli.caller import Call, Exchange
from unbroken.faces.cli.ending import fail

__all__ = ["chat", "chat_url", "in_process", "told"]

_SCOPE = {
    "type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": (),
}  # fmt: skip
"""What is asked of a gateway in this process, as ASGI puts it."""


def chat(
    message: str | None, *, model: str = "auto", config: Path | None = None, url: str = "", key: str = "",
    system: str = "",
) -> int:  # fmt: skip
    """Ask once, or converse until the end of input; the exit code: 0 if every answer was whole, else 1."""
    if url and config is not None:
        fail("give --url or --config, not both: a gateway that runs has its own configuration", code=2)
    loaded = None if url else _loaded(config)
    address = chat_url(url) if url else ""
    first = Call(url=address, model=model, messages=_begin(system), key=key)
    try:
        return asyncio.run(_converse(message, loaded, first=first))
    except KeyboardInterrupt:
        print()
        return 130


def chat_url(url: str) -> str:
    """Where a gateway takes chats, from any of the ways in which people write its address."""
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        fail(f"--url {url}: expected an address such as http://127.0.0.1:4100", code=2)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") or "/v1"
    return f"{parts.scheme}://{parts.netloc}{path}/chat/completions"


def _loaded(path: Path | None) -> Config:
    from unbroken.faces.cli.serve import configured

    config = configured(path)
    if not config.routes:
        fail("there is no target: set a provider's key (OPENAI_API_KEY, ...) or give --config", code=2)
    return replace(config, server=replace(config.server, keys=(), key_file=""))  # who has the file needs no key


def _begin(system: str) -> list[dict[str, str]]:
    return [{"role": "system", "content": system}] if system else []


async def _converse(message: str | None, config: Config | None, *, first: Call) -> int:
    exchange, close = None, None
    if config is not None:
        served = app(config)
        exchange, close = in_process(served), served.gateway.engine.close
    try:
        if message is not None:
            return await _ask(first, message, exchange=exchange)
        return await _until_the_end(first, exchange)
    finally:
        if close is not None:
            await close()


async def _until_the_end(first: Call, exchange: Exchange | None) -> int:
    if sys.stdin.isatty():
        print("An empty line or Ctrl-D ends the conversation.", file=sys.stderr)
    worst, messages = 0, first.messages
    while message := await asyncio.to_thread(_read_line):
        turn = Call(url=first.url, model=first.model, messages=messages, key=first.key)
        worst = max(worst, await _ask(turn, message, exchange=exchange))
        messages = turn.messages
    return worst


def _read_line() -> str:
    try:
        return input("> " if sys.stdin.isatty() else "").strip()
    except EOFError:
        return ""


async def _ask(call: Call, message: str, *, exchange: Exchange | None) -> int:
    """One turn; the answer becomes part of the conversation."""
    call.messages.append({"role": "user", "content": message})
    text = ""
    async for word in call.words(exchange):
        text += word
        sys.stdout.write(word)
        sys.stdout.flush()
    if text:
        print()
    call.messages.append({"role": "assistant", "content": text})
    print(told(call), file=sys.stderr)
    return 0 if call.error is None else 1


def told(call: Call) -> str:
    """One line: who answered, after how many attempts, and whether it was rescued."""
    if call.error is not None:
        return f"unbroken: {call.error}"
    parts = [f"answered by {call.target or 'somebody unnamed'}"]
    if call.attempts:
        parts.append(f"{call.attempts} attempt" + ("s" if call.attempts > 1 else ""))
    if call.rescued:
        parts.append("rescued in mid-answer")
    elif call.headers.get("x-unbroken-failover") == "true":
        parts.append("after a failover")
    return f"({', '.join(parts)})"


def in_process(gateway: App) -> Exchange:
    """An exchange with a gateway in this process, by ASGI: no socket, the same answer."""

    async def exchange(call: Call, body: bytes) -> AsyncIterator[bytes]:
        said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()
        asked = iter([{"type": "http.request", "body": body}])

        async def receive() -> MutableMapping[str, Any]:
            return next(asked, None) or await asyncio.get_running_loop().create_future()

        answering = asyncio.create_task(gateway(dict(_SCOPE), receive, said.put))
        answering.add_done_callback(lambda _: said.put_nowait({"type": "http.response.body"}))
        more = True
        try:
            while more:
                message = await said.get()
                if message["type"] == "http.response.start":
                    call.status = message["status"]
                    call.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
                else:
                    more = message.get("more_body", False)
                    yield message.get("body", b"")
        finally:
            answering.cancel()

    return exchange
