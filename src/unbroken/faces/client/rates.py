"""So many requests a minute to each provider, and no more: a transport that counts before the next one sends.

What is too much is answered at once with the RATE_LIMIT failure that the provider itself
would have given, with the time until there is room: so the request goes on elsewhere, and
the board leaves the provider alone for so long.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Iterable, Mapping

from unbroken.failures import Failure, FailureKind
from unbroken.ports import Clock, Exchange, Listener, Transport
from unbroken.types import HttpRequest, Target

__all__ = ["Limited", "Window"]

SPAN_S = 60.0
TEXT, IMAGE = "text", "image"
_OF_IMAGES = re.compile(r"/(?:image|images|prompt)/")
_OF_TEXTS = re.compile(r"/(?:completions|responses|messages|chat|converse)\b|:generateContent|:streamGenerateContent")


class Window:
    """The times of the last minute's requests."""

    __slots__ = ("_limit", "_times")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._times: deque[float] = deque()

    def enter(self, now: float) -> float:
        """Take a place; 0 where there was one, else how many seconds until there is."""
        while self._times and self._times[0] <= now - SPAN_S:
            self._times.popleft()
        if len(self._times) >= self._limit:
            return self._times[0] + SPAN_S - now
        self._times.append(now)
        return 0.0


class Limited:
    """A transport with a window for each provider's texts and one for its pictures.

    `limits` has requests per minute under `text` and `image`, where they are limited.
    """

    def __init__(
        self, beyond: Transport, clock: Clock, *, limits: Mapping[str, int], targets: Iterable[Target]
    ) -> None:
        self._beyond, self._clock = beyond, clock
        self._limits = limits
        self._addresses = {target.base_url.partition("{")[0]: target.provider for target in targets if limits}
        self._windows: dict[tuple[str, str], Window] = {}

    def send(self, request: HttpRequest, listener: Listener) -> Exchange:
        """Send it, or refuse it in the provider's place."""
        kind = _kind_of(request.url.partition("?")[0])
        whose = next((name for url, name in self._addresses.items() if request.url.startswith(url)), None)
        if whose is None or kind not in self._limits:
            return self._beyond.send(request, listener)
        window = self._windows.setdefault((whose, kind), Window(self._limits[kind]))
        wait_s = window.enter(self._clock())
        return _Refusal(whose, wait_s, listener=listener) if wait_s else self._beyond.send(request, listener)

    async def close(self) -> None:
        """Close the next one."""
        await self._beyond.close()


def _kind_of(url: str) -> str:
    """What an address makes; empty for everything that is neither limited."""
    if _OF_IMAGES.search(url):
        return IMAGE
    return TEXT if _OF_TEXTS.search(url) else ""


class _Refusal:
    """The exchange of a request that was not sent."""

    __slots__ = ("_handle",)

    def __init__(self, whose: str, wait_s: float, *, listener: Listener) -> None:
        message = f"{whose}: our own limit is reached; there is room again in {wait_s:.1f} s"
        failure = Failure(kind=FailureKind.RATE_LIMIT, message=message, retry_after_s=wait_s, sent=False)
        self._handle = asyncio.get_running_loop().call_soon(listener.failed, failure)

    def cancel(self) -> None:
        self._handle.cancel()

    release = cancel

    def pause(self) -> None:
        """Nothing is read."""

    def resume(self) -> None:
        """Nor was it."""
