"""ASGI to the gateway and back: the only file that knows ASGI.

For mounting the gateway in an application of one's own; `unbroken serve` uses `faces.server`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from unbroken.assemble import engine
from unbroken.config import Config, load
from unbroken.faces.gateway import WANTED_HEADERS, Gateway, Reply, Visitor
from unbroken.reload import Reloader

__all__ = ["App", "app"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

WATCH_S = 0.1
"""Only requests that take longer pay for a task that notices a caller who hangs up."""


class App:
    """The gateway as an ASGI application, to be served or mounted."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            raise NotImplementedError(f"no {scope['type']} here")

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = scope.get("query_string", b"").decode("latin-1")
        path = scope["path"] + (f"?{query}" if query else "")
        body = await self._body(receive)
        if body is None:
            await _answer(send, self.gateway.too_large(path))
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in WANTED_HEADERS
        }
        reply = self.gateway.receive(scope["method"], path, headers=headers, body=body)
        if isinstance(reply, Reply):
            await _answer(send, reply)
            return
        watch = Watch(receive, reply)
        try:
            await _relay(send, reply)
        finally:
            watch.stop()
            reply.leave()

    async def _body(self, receive: Receive) -> bytes | None:
        """The request's body; None if it is too large (the rest is not read)."""
        message = await receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            return body if len(body) <= self.gateway.body_bytes_max else None
        chunks, size = [body], len(body)
        while message.get("more_body"):
            message = await receive()
            chunks.append(message.get("body", b""))
            size += len(chunks[-1])
            if size > self.gateway.body_bytes_max:
                return None
        return b"".join(chunks)

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.gateway.engine.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self.gateway.close()
                await self.gateway.engine.close()
                await send({"type": "lifespan.shutdown.complete"})
                return


class Watch:
    """Notices that a caller hung up, for requests that last long enough to matter."""

    __slots__ = ("_receive", "_task", "_timer", "_visitor")

    def __init__(self, receive: Receive, visitor: Visitor) -> None:
        self._receive, self._visitor = receive, visitor
        self._task: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(WATCH_S, self._start)

    def stop(self) -> None:
        """The answer is complete."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        message = await self._receive()
        while message["type"] != "http.disconnect":
            message = await self._receive()
        self._visitor.leave()


async def _relay(send: Send, visitor: Visitor) -> None:
    """The answer as it forms: one message for a plain one, one for each batch of a stream's events."""
    news = asyncio.Event()
    visitor.notify = news.set
    if not visitor.status:
        await news.wait()
    last, body = visitor.over, visitor.take()
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in visitor.headers]
    if last:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": visitor.status, "headers": headers})
    while not last:
        news.clear()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        if not visitor.over:
            await news.wait()
        last, body = visitor.over, visitor.take()
    await send({"type": "http.response.body", "body": body})


async def _answer(send: Send, reply: Reply) -> None:
    headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in reply.headers]
    headers.append((b"content-length", b"%d" % len(reply.body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def app(config: Config) -> App:
    """The gateway for this configuration, ready to be served or mounted.

    Where it came from a file, an operator may have that read anew; it is not watched.
    """
    gateway, file = Gateway(config, engine(config)), Path(config.source)
    if file.is_file():
        gateway.admin.reloader = Reloader(gateway, lambda: load(file, os.environ), file=file)
    return App(gateway)
