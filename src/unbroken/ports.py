"""The seams with the outside world: whoever implements these does I/O, nobody else.

`Transport` is push, not pull: it calls its `Listener` from the event loop as bytes arrive,
so that an attempt needs no task of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

from unbroken.facts import Fact
from unbroken.failures import Failure
from unbroken.types import HttpRequest, Target

__all__ = ["Clock", "Draining", "Exchange", "Keyring", "Listener", "Sink", "Tracing", "Transport"]


class Clock(Protocol):
    """Where `now` comes from."""

    def __call__(self) -> float:
        """Seconds, from any fixed point; never backwards."""
        ...


class Listener(Protocol):
    """Told of everything that happens to one HTTP request, in this order.

    connected? opened data* (ended | failed); failed may come at any point and is the last.
    """

    def connected(self) -> None:
        """There is a connection (new or pooled) and the request is on its way."""
        ...

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        """Status and headers are here; header names are lower case."""
        ...

    def data(self, data: bytes) -> None:
        """Some of the body, with transfer and content encodings undone."""
        ...

    def ended(self) -> None:
        """The body is complete as HTTP counts it."""
        ...

    def failed(self, failure: Failure) -> None:
        """The connection could not be made or broke: CONNECT, BROKEN or MALFORMED."""
        ...


class Exchange(Protocol):
    """One HTTP request under way."""

    def cancel(self) -> None:
        """Hang up; nothing more is heard of it."""
        ...

    def release(self) -> None:
        """Nothing more is wanted of it: read the rest quietly so that the connection can be used again."""
        ...

    def pause(self) -> None:
        """Read no more for now: the caller is slower than the provider."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Transport(Protocol):
    """Sends HTTP requests."""

    def send(self, request: HttpRequest, listener: Listener) -> Exchange:
        """Begin; never blocks and never raises for what the network does."""
        ...

    async def close(self) -> None:
        """Close every connection."""
        ...


class Keyring(Protocol):
    """Has the keys that are fetched when they are needed, and signs what has to be signed."""

    def authorize(
        self, target: Target, write: Callable[[Target], HttpRequest], *, ready: Callable[[HttpRequest | Failure], None]
    ) -> None:
        """Write a request with the target's key of this moment, and hand it over signed.

        `ready` is called at once where the key is known, else from the event loop, with the
        request or with the AUTH failure that says why there is no key.  ValueError of `write`
        passes through when it is called at once, and becomes a REQUEST failure later.
        """
        ...

    def forget(self, credential: str) -> bool:
        """A provider has refused this key: whether fetching it again may bring a newer one."""
        ...


class Sink(Protocol):
    """Somewhere that facts go; slow or broken sinks lose facts, never requests."""

    def write(self, facts: list[Fact]) -> None:
        """Take a batch."""
        ...


@runtime_checkable
class Draining(Protocol):
    """A sink that sends on what it was told, and has to be given time for the last of it."""

    async def drain(self) -> None:
        """Send what there is, for a bounded time."""
        ...


class Tracing(Protocol):
    """Knows which trace a request belongs to."""

    def join(self, flight: str, headers: Mapping[str, str]) -> None:
        """A request came in with these headers; its caller may have a trace of its own."""
        ...

    def marked(self, request: HttpRequest, flight: str, *, number: int) -> HttpRequest:
        """The request of an attempt as its provider is to get it."""
        ...
