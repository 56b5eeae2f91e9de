"""The client for programs without an event loop: the other one, in an event loop of its own in a thread of its own.

Every call waits in the caller's thread, whichever that is, also one whose own event loop runs.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

from unbroken.config import Config
from unbroken.faces.client.asynchronous import Given, Unbroken
from unbroken.faces.client.building import Source, from_environment
from unbroken.faces.client.choice import AUTO
from unbroken.faces.client.custom import Chatting, Provider
from unbroken.faces.client.operations import Generated, ProviderStatus
from unbroken.faces.client.results import Answer, Chunk, Embeddings, Estimate, Health, Made, Model
from unbroken.faces.client.streams import Stream
from unbroken.faces.client.tally import Statistics
from unbroken.faces.client.wishes import (
    ChatOptions,
    CompleteOptions,
    EmbedOptions,
    ImageOptions,
    Messages,
    VideoOptions,
)

__all__ = ["SyncStream", "SyncUnbroken"]

Got = TypeVar("Got")


class _Loop:
    """An event loop that runs in a thread until it is stopped."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # the garbage collector may call `stop` at any moment
        self._stopped = False
        self._runs = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="unbroken", daemon=True)
        self._thread.start()
        self._runs.wait()

    def run(self, work: Coroutine[Any, Any, Got]) -> Got:
        """What comes of this work, which is given up when the waiting is interrupted."""
        with self._lock:
            if self._stopped or threading.current_thread() is self._thread:
                work.close()
                raise RuntimeError(
                    "this client is closed" if self._stopped else "a provider of a client cannot wait for that client"
                )
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this last, then stop; a second time does nothing."""
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


class SyncUnbroken:
    """`Unbroken` for programs without an event loop: the same calls, which return when they are done.

    It may be used from any number of threads at once.
    """

    def __init__(
        self,
        source: Source = None,
        *,
        providers: Mapping[str, Any] | None = None,
        routes: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Takes what `Unbroken` takes."""
        self._client = Unbroken(source, providers=providers, routes=routes, defaults=defaults, environ=environ)
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

    def chat(self, messages: Messages, **options: Unpack[ChatOptions]) -> Answer:
        """As `Unbroken.chat`."""
        return self._loop.run(self._client.chat(messages, **options))

    def stream(self, messages: Messages, **options: Unpack[ChatOptions]) -> SyncStream:
        """As `Unbroken.stream`: `for chunk in client.stream(...)`."""
        return SyncStream(self._loop, self._client.stream(messages, **options))

    def complete(self, prompt: str, **options: Unpack[CompleteOptions]) -> Answer:
        """As `Unbroken.complete`."""
        return self._loop.run(self._client.complete(prompt, **options))

    def embed(self, texts: str | Sequence[str], **options: Unpack[EmbedOptions]) -> Embeddings:
        """As `Unbroken.embed`."""
        return self._loop.run(self._client.embed(texts, **options))

    def image(self, prompt: str, **options: Unpack[ImageOptions]) -> Made:
        """As `Unbroken.image`."""
        return self._loop.run(self._client.image(prompt, **options))

    def video(self, prompt: str, **options: Unpack[VideoOptions]) -> Made:
        """As `Unbroken.video`."""
        return self._loop.run(self._client.video(prompt, **options))

    def models(self) -> list[Model]:
        """As `Unbroken.models`."""
        return self._do(self._client.models)

    def estimate_cost(self, messages: Messages, **options: Unpack[ChatOptions]) -> Estimate:
        """As `Unbroken.estimate_cost`."""
        return self._do(lambda: self._client.estimate_cost(messages, **options))

    def check_health(self, *providers: str) -> dict[str, Health]:
        """As `Unbroken.check_health`."""
        return self._loop.run(self._client.check_health(*providers))

    # ------------------------------------------------------------- providers of one's own

    def register(
        self, name: str, provider: Provider | Chatting, *, route: str | None = AUTO, first: bool = False
    ) -> None:
        """As `Unbroken.register`; the function is async here too."""
        self._do(lambda: self._client.register(name, provider, route=route, first=first))

    def provider(self, name: str, *, route: str | None = AUTO, first: bool = False) -> Callable[[Given], Given]:
        """As `Unbroken.provider`."""
        return lambda given: self._do(lambda: self._client.provider(name, route=route, first=first)(given))

    # --------------------------------------------------- the operations of a provider manager

    def generate_text(
        self,
        messages: Messages,
        preferred_provider: str | None = None,
        *,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | Mapping[str, Any] | None = None,
    ) -> Generated:
        """As `Unbroken.generate_text`."""
        asked = self._client.generate_text(
            messages, preferred_provider, model=model, temperature=temperature, max_tokens=max_tokens, tools=tools,
            tool_choice=tool_choice,
        )  # fmt: skip
        return self._loop.run(asked)

    def generate_image(
        self, prompt: str, preferred_provider: str | None = None, *, size: str = "", as_url: bool = False
    ) -> str | bytes:
        """As `Unbroken.generate_image`."""
        return self._loop.run(self._client.generate_image(prompt, preferred_provider, size=size, as_url=as_url))

    def health_check_all(self) -> dict[str, Health]:
        """As `Unbroken.health_check_all`."""
        return self._loop.run(self._client.health_check_all())

    def force_health_check(self, name: str) -> Health:
        """As `Unbroken.force_health_check`."""
        return self._loop.run(self._client.force_health_check(name))

    def get_provider_status(self) -> dict[str, ProviderStatus]:
        """As `Unbroken.get_provider_status`."""
        return self._do(self._client.get_provider_status)

    def get_statistics(self) -> Statistics:
        """As `Unbroken.get_statistics`."""
        return self._do(self._client.get_statistics)

    def reset_statistics(self) -> None:
        """As `Unbroken.reset_statistics`."""
        self._do(self._client.reset_statistics)

    def enable_provider(self, name: str) -> None:
        """As `Unbroken.enable_provider`."""
        self._do(lambda: self._client.enable_provider(name))

    def disable_provider(self, name: str) -> None:
        """As `Unbroken.disable_provider`."""
        self._do(lambda: self._client.disable_provider(name))

    def set_failover_strategy(self, strategy: str, route: str | None = None) -> None:
        """As `Unbroken.set_failover_strategy`."""
        self._do(lambda: self._client.set_failover_strategy(strategy, route))

    def _do(self, work: Callable[[], Got]) -> Got:
        """What has to happen between two requests happens in their thread."""

        async def done() -> Got:
            return work()

        return self._loop.run(done())
