"""The client for programs without an event loop: the other one, in an event loop of its own in a thread of its own.

Every call waits in the caller's thread, whichever that is, also one whose own event loop runs.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Self, TypeAlias, TypeVar, Unpack

from unbroken.config import Config
from unbroken.faces.client.asynchronous import Given, Unbroken
from unbroken.faces.client.building import Source, Values, from_environment
from unbroken.faces.client.choice import AUTO
from unbroken.faces.client.results import Answer, Chunk
from unbroken.faces.client.streams import Stream
from unbroken.faces.client.wishes import (
    ChatOptions,
    Messages,
)

__all__ = ["SyncStream", "SyncUnbroken"]

Got = TypeVar("Got")
Took = ParamSpec("Took")
Blocking: TypeAlias = "Callable[Concatenate[SyncUnbroken, Took], Got]"
"""A method of the client below."""


class _Loop:
    """An event loop that runs in a thread until it is stopped."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._lock = threading.RLock()  # the garbage collector may call `stop` at any moment
        self._stopped = False
        self._runs = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="unbroken", daemon=True)
        self._thread.start()
        self._runs.wait()

    def run(self, work: Coroutine[Any, Any, Got]) -> Got:
        """What comes of this work, which is given up when the waiting is interrupted."""
        if self._process != os.getpid():
            work.close()
            raise RuntimeError("this client belongs to the process that was forked: make one in each")
        with self._lock:
            if self._stopped or threading.current_thread() is self._thread:
                work.close()
                raise RuntimeError(
                    "this client is closed" if self._stopped else "a provider of a client cannot wait for that client"
                )
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        finally:
            future.cancel()

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this last, then stop; a second time does nothing."""
        if self._process != os.getpid():  # a fork has the thread's object, and no thread
            return
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            asyncio.run_coroutine_threadsafe(self._end(last), self._loop)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        self._runs.set()
        await self._over.wait()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await last()
        finally:
            self._over.set()


class SyncStream:
    """The chunks of an answer as they come; `text` is what has come so far, `answer` all of it after the last one."""

    def __init__(self, loop: _Loop, stream: Stream) -> None:
        self._loop, self._stream = loop, stream

    def __iter__(self) -> Iterator[Chunk]:
        return self

    def __next__(self) -> Chunk:
        chunk = self._loop.run(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def text(self) -> str:
        """What has come so far."""
        return self._stream.text

    @property
    def answer(self) -> Answer:
        """The whole answer; RuntimeError before its end."""
        return self._stream.answer

    def whole(self) -> Answer:
        """Read the rest; the whole answer."""
        return self._loop.run(self._stream.whole())

    def close(self) -> None:
        """Read no further; the provider is hung up on."""
        self._loop.run(self._stream.close())

    async def _next(self) -> Chunk | None:
        return await anext(self._stream, None)


def _waits(call: Callable[Concatenate[Unbroken, Took], Coroutine[Any, Any, Got]]) -> Blocking[Took, Got]:
    """A call of the other client, which returns when it is done."""

    @wraps(call)
    def blocking(self: SyncUnbroken, /, *args: Took.args, **kwargs: Took.kwargs) -> Got:
        return self._loop.run(call(self._client, *args, **kwargs))

    return blocking


def _does(call: Callable[Concatenate[Unbroken, Took], Got]) -> Blocking[Took, Got]:
    """What happens between two requests happens in their thread."""

    @wraps(call)
    def blocking(self: SyncUnbroken, /, *args: Took.args, **kwargs: Took.kwargs) -> Got:
        async def done() -> Got:
            return call(self._client, *args, **kwargs)

        return self._loop.run(done())

    return blocking


class SyncUnbroken:
    """`Unbroken` for programs without an event loop: the same calls, which return when they are done.

    It may be used from any number of threads at once.
    """

    def __init__(self, source: Source = None, **values: Unpack[Values]) -> None:
        """Takes what `Unbroken` takes."""
        self._client = Unbroken(source, **values)
        self._loop = _Loop()
        self._close = weakref.finalize(self, self._loop.stop, self._client.close)

    @classmethod
    def from_file(cls, path: str | Path, *, environ: Mapping[str, str] | None = None) -> Self:
        """A client for this configuration file."""
        return cls(path, environ=environ)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A client for every provider whose key is in the environment, whatever files there are."""
        return cls(from_environment(environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, close every connection, and end the thread."""
        self._close()

    @property
    def config(self) -> Config:
        """What is configured at this moment."""
        return self._client.config

    # -------------------------------------------------------------------------- calls

    chat = _waits(Unbroken.chat)
    complete = _waits(Unbroken.complete)
    embed = _waits(Unbroken.embed)
    image = _waits(Unbroken.image)
    video = _waits(Unbroken.video)
    models = _does(Unbroken.models)
    estimate_cost = _does(Unbroken.estimate_cost)
    check_health = _waits(Unbroken.check_health)

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> SyncStream:
        """The same as it comes: `for chunk in client.stream(...)`; one that breaks is gone on with elsewhere."""
        return SyncStream(self._loop, self._client.stream(messages, **options))

    # ------------------------------------------------------------- providers of one's own

    register = _does(Unbroken.register)

    def provider(self, name: str, *, route: str | None = AUTO, first: bool = False) -> Callable[[Given], Given]:
        """As `register`, for an async function or a class below it: `@client.provider("own")`."""

        def taken(given: Given) -> Given:
            self.register(name, given() if isinstance(given, type) else given, route=route, first=first)
            return given

        return taken

    # --------------------------------------------------- the operations of a provider manager

    generate_text = _waits(Unbroken.generate_text)
    generate_image = _waits(Unbroken.generate_image)
    health_check_all = _waits(Unbroken.health_check_all)
    force_health_check = _waits(Unbroken.force_health_check)
    get_provider_status = _does(Unbroken.get_provider_status)
    get_statistics = _does(Unbroken.get_statistics)
    reset_statistics = _does(Unbroken.reset_statistics)
    enable_provider = _does(Unbroken.enable_provider)
    disable_provider = _does(Unbroken.disable_provider)
    set_failover_strategy = _does(Unbroken.set_failover_strategy)
