"""An engine in this process, and clients of httpx2 or httpx for SDKs that ask it."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from unbroken.config import Config, load
from unbroken.faces.sdk.library import chosen, transport_for
from unbroken.faces.sdk.line import Asked, Line
from unbroken.faces.sdk.room import Room

__all__ = ["SharedEngine", "Source", "async_sdk_client", "sdk_client", "sdk_transport"]

Source = Config | Mapping[str, Any] | Path | str | None
"""A configuration; the same in the shape of a file; a file's path; or what is found (file, then environment)."""


class SharedEngine:
    """One engine that any number of SDK clients ask, from any thread and any event loop.

    What one of them learns (who fails, who is slow, whose quota is spent) serves all.  Its
    thread starts with the first request, and again in a process that was forked.  Close it, or
    use it in a `with`; what is still being answered then fails with status 499.  ConfigError
    where the configuration is wrong.
    """

    def __init__(self, source: Source = None) -> None:
        config = _config(source)
        self.config = replace(config, server=replace(config.server, keys=()))  # nobody comes in from outside
        self._lock = threading.Lock()
        self._room: Room | None = None
        self._before: Room | None = None
        self._closed = False
        _ENGINES.add(self)

    def client(self, library: str | None = None) -> Any:
        """A `Client` of `httpx2` or `httpx` (the one that the installed SDKs want) that asks this engine."""
        return _client(self.transport(library), "Client")

    def async_client(self, library: str | None = None) -> Any:
        """An `AsyncClient`, likewise; it may be used in one event loop after another."""
        return _client(self.transport(library), "AsyncClient")

    def transport(self, library: str | None = None) -> Any:
        """A transport for clients that you make yourself, of either kind."""
        return transport_for(chosen(library))(self)

    def ask(self, asked: Asked, wake: Callable[[], object]) -> Line:
        """Begin to answer, see `Line`; RuntimeError once it is closed."""
        return self._open_room().ask(asked, wake)

    def close(self) -> None:
        """Close every connection and end the thread."""
        with self._lock:
            self._closed, room = True, self._room
        if room is not None:
            room.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open_room(self) -> Room:
        with self._lock:
            if self._closed:
                raise RuntimeError("this engine is closed")
            if self._room is None or self._room.process != os.getpid():
                self._before = self._room  # threads stay behind in a fork; what is its parent's is left alone
                self._room = Room(self.config)
                weakref.finalize(self, self._room.stop).atexit = False
            return self._room

    def renew(self) -> None:
        """After a fork: whoever held the lock stayed behind, and nobody would ever let it go."""
        self._lock = threading.Lock()


_ENGINES: weakref.WeakSet[SharedEngine] = weakref.WeakSet()


def _forked() -> None:
    for engine in _ENGINES:
        engine.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def sdk_client(source: Source | SharedEngine = None, *, library: str | None = None) -> Any:
    """What `OpenAI(http_client=...)`, `Anthropic(http_client=...)` and `HttpOptions(httpx_client=...)` take.

    source   whom to ask: see `Source`, or an engine that several clients share
    library  `httpx2` or `httpx`; by default the one that the installed SDKs want

    Closing the client closes its engine, unless that is a shared one.  ConfigError where the
    configuration is wrong; ValueError and ModuleNotFoundError for libraries.
    """
    return _client(sdk_transport(source, library=library), "Client")


def async_sdk_client(source: Source | SharedEngine = None, *, library: str | None = None) -> Any:
    """The same for `AsyncOpenAI`, `AsyncAnthropic` and `HttpOptions(httpx_async_client=...)`."""
    return _client(sdk_transport(source, library=library), "AsyncClient")


def sdk_transport(source: Source | SharedEngine = None, *, library: str | None = None) -> Any:
    """The transport alone, for an `httpx2.Client`, `httpx.AsyncClient` or subclass with settings of your own."""
    if isinstance(source, SharedEngine):
        return source.transport(library)
    make = transport_for(chosen(library))
    return make(SharedEngine(source), owned=True)


def _client(transport: Any, kind: str) -> Any:
    return getattr(transport.library, kind)(transport=transport)


def _config(source: Source) -> Config:
    if isinstance(source, Config):
        return source
    if isinstance(source, Mapping):
        return Config.from_values(source, os.environ)
    return load(None if source is None else Path(source), os.environ)
