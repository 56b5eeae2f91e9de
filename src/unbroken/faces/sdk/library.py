"""httpx2 or httpx: which of them an SDK is built on, and transports in the types of either.

The two are alike but share no class, and an SDK takes only its own.  So what is done stands
here once, in classes without a base, and `transport_for` gives them the bases of one library
when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from functools import cache, partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from unbroken.faces.gateway import WANTED_HEADERS
from unbroken.faces.sdk.line import Asked, Line

if TYPE_CHECKING:
    from unbroken.faces.sdk.shared import SharedEngine

__all__ = ["LIBRARIES", "chosen", "transport_for"]

LIBRARIES = ("httpx2", "httpx")
"""The HTTP libraries of SDKs, the newer one first."""
SDKS = ("openai", "anthropic", "google-genai")
"""By whose requirements the library is chosen."""

# --------------------------------------------------------------------- which library


def chosen(library: str | None) -> str:
    """The library of this name, or the one that the installed SDKs want.

    ValueError for another name and where SDKs want different ones, ModuleNotFoundError where
    there is none.
    """
    if library is not None:
        if library not in LIBRARIES:
            raise ValueError(f"library is {' or '.join(map(repr, LIBRARIES))}, not {library!r}")
        return library
    wanted = {sdk: found for sdk in SDKS if (found := _wanted_by(sdk))}
    if len(set(wanted.values())) > 1:
        said = ", ".join(f"{sdk} wants {found}" for sdk, found in wanted.items())
        raise ValueError(f"{said}: say which with library='httpx' or library='httpx2'")
    there = [*wanted.values(), *(name for name in LIBRARIES if find_spec(name) is not None)]
    if not there:
        raise ModuleNotFoundError("an SDK's client needs httpx2 or httpx, which come with the SDK: none is installed")
    return there[0]


def _wanted_by(sdk: str) -> str | None:
    """The library that an SDK asks for; None where it is not installed, or asks for none."""
    try:
        wanted = [line for line in requires(sdk) or () if "extra ==" not in line]
    except PackageNotFoundError:
        return None
    names = {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in wanted}
    return next((name for name in LIBRARIES if name in names), None)


@cache
def transport_for(library: str) -> type[Any]:
    """A class of transports for this library's clients, blocking and asynchronous ones; made of a `SharedEngine`."""
    module = import_module(library)
    return type(
        "UnbrokenTransport",
        (_Transport, module.BaseTransport, module.AsyncBaseTransport),
        {
            "library": module,
            "body": type("Body", (_Body, module.SyncByteStream), {}),
            "async_body": type("AsyncBody", (_AsyncBody, module.AsyncByteStream), {}),
        },
    )


# --------------------------------------------------------------------- transports


class _Transport:
    """What an SDK's client sends its requests with, instead of the network."""

    library: Any
    body: Any
    async_body: Any

    def __init__(self, shared: SharedEngine, *, owned: bool = False) -> None:
        self._shared, self._owned = shared, owned

    def handle_request(self, request: Any) -> Any:
        """The answer, as soon as its status is known."""
        news = _News(self.library, request)
        line = self._shared.ask(_asked(request, request.read()), news.wake)
        try:
            while not line.status:
                news.wait()
            return self._response(request, line, body=partial(self.body, self, line, news=news))
        except BaseException:  # a time limit, or somebody pressed Ctrl-C
            line.leave()
            raise

    async def handle_async_request(self, request: Any) -> Any:
        """The answer, as soon as its status is known; in any event loop of asyncio's."""
        news = _AsyncNews(self.library, request)
        line = self._shared.ask(_asked(request, await request.aread()), news.wake)
        try:
            while not line.status:
                await news.wait()
            return self._response(request, line, body=partial(self.async_body, self, line, news=news))
        except BaseException:  # a time limit, or the task was cancelled
            line.leave()
            raise

    def close(self) -> None:
        """Close the engine, if it was made for this transport."""
        if self._owned:
            self._shared.close()

    async def aclose(self) -> None:
        """The same, without holding up an event loop."""
        await asyncio.to_thread(self.close)

    def _response(self, request: Any, line: Line, *, body: partial[Any]) -> Any:
        """A whole answer with its body, a stream with what reads it."""
        whole = line.over
        content = {"content": line.take() or b""} if whole else {"stream": body()}
        headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in line.headers]
        return self.library.Response(line.status, headers=headers, request=request, **content)


class _Body:
    """A stream, read by blocking code.  Holds its transport: a client may be dropped while its stream is read."""

    def __init__(self, transport: _Transport, line: Line, *, news: _News) -> None:
        self._transport, self._line, self._news = transport, line, news

    def __iter__(self) -> Iterator[bytes]:
        try:
            while (data := self._line.take()) is not None:
                if data:
                    yield data
                else:
                    self._news.wait()
        finally:  # not every SDK closes what it has stopped to read
            self._line.leave()

    def close(self) -> None:
        """Stop what is done for it."""
        self._line.leave()


class _AsyncBody:
    """A stream, read in an event loop; see `_Body`."""

    def __init__(self, transport: _Transport, line: Line, *, news: _AsyncNews) -> None:
        self._transport, self._line, self._news = transport, line, news

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (data := self._line.take()) is not None:
                if data:
                    yield data
                else:
                    await self._news.wait()
        finally:
            self._line.leave()

    async def aclose(self) -> None:
        """Stop what is done for it."""
        self._line.leave()


# --------------------------------------------------------------------- waiting


class _News:
    """Waits on a line in a thread, within the SDK's limit for reading; take from the line after each wait."""

    def __init__(self, library: Any, request: Any) -> None:
        self._library, self._request = library, request
        self._limit_s: float | None = request.extensions.get("timeout", {}).get("read")
        self._event = threading.Event()
        self.wake = self._event.set

    def wait(self) -> None:
        """Until there is more; the library's ReadTimeout when that takes too long."""
        if not self._event.wait(self._limit_s):
            raise _too_late(self._library, self._request, limit_s=self._limit_s)
        self._event.clear()


class _AsyncNews:
    """Waits on a line in an event loop; see `_News`."""

    def __init__(self, library: Any, request: Any) -> None:
        self._library, self._request = library, request
        self._limit_s: float | None = request.extensions.get("timeout", {}).get("read")
        self._event = asyncio.Event()
        self.wake = partial(asyncio.get_running_loop().call_soon_threadsafe, self._event.set)

    async def wait(self) -> None:
        """Until there is more; the library's ReadTimeout when that takes too long."""
        try:
            async with asyncio.timeout(self._limit_s):
                await self._event.wait()
        except TimeoutError:
            raise _too_late(self._library, self._request, limit_s=self._limit_s) from None
        self._event.clear()


def _too_late(library: Any, request: Any, *, limit_s: float | None) -> Exception:
    error: Exception = library.ReadTimeout(f"nothing came for {limit_s:g} s, the client's limit", request=request)
    return error


# --------------------------------------------------------------------- what is asked


def _asked(request: Any, body: bytes) -> Asked:
    headers = {
        name.lower().decode("latin-1"): value.decode("latin-1")
        for name, value in request.headers.raw
        if name.lower() in WANTED_HEADERS
    }
    path = _BASE_PATH.sub("", request.url.raw_path.decode("ascii"), count=1)
    return Asked(request.method, path, headers, body)


_BASE_PATH = re.compile(
    r"^(?:/openai/deployments/[^/?]+(?=/)|/v1beta/openai(?=/)|[^?]*?(?=/v\d+(?:(?:alpha|beta)\d*)?/))"
)
"""What a base URL puts before the paths that a gateway has: Azure's, Google's, a prefix like `/api` or `/openai`."""
