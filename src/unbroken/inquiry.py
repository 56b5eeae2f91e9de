"""One question to a provider, past the engine: is it well?

    free(...)    costs nothing: the list of models, or what else is known to say how it is
    word(...)    one word of the model's, which is billed

A question is made of the request for one word in the target's own format, so that address, key
and signature are those of real work.  No breaker counts it and no statistics do; whoever asks
says what follows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

from unbroken.engine import Engine
from unbroken.failures import Failure, FailureKind, Fault
from unbroken.policy import NOTHING_FREE, Deadlines
from unbroken.records import Record, replace
from unbroken.secrecy import without_secrets
from unbroken.types import Chat, Delta, HttpReply, HttpRequest, Message, Request, Target, Task, Text, Usage
from unbroken.wire import Format, Next, format_for

__all__ = ["Told", "free", "word"]

REPLY_BYTES_MAX = 64 * 1024
"""As much of an answer as is kept: enough for a word or an error, and to see that a list begins."""
_LISTS = (
    (re.compile(r"/v2/chat(?=\?|$)"), "/v1/models"),
    (re.compile(r"/api/chat(?=\?|$)"), "/api/tags"),
    (re.compile(r"/(?:chat/completions|completions|responses|messages)(?=\?|$)"), "/models"),
    (re.compile(r"/models/[^/]+:generateContent(?=\?|$)"), "/models"),
)
"""How the address of a chat ends, and what stands there for the list of models."""
_NO_LIST = frozenset((400, 403, 404, 405, 501))
"""Statuses that say that there is no such page, or not for us: then it is not known how the provider is."""
_RIGHTS = re.compile(r"scope|permission", re.IGNORECASE)
"""A key that is good for work may have no right to see lists, and OpenAI says so with a 401."""

_WORD = Chat(messages=(Message(role="user", parts=(Text("Hi"),)),), max_tokens=1)
_REQUEST = Request(model="", prompt_chars=2, max_tokens=1, read=lambda: _WORD)


class Told(Record):
    """What a question told: `failure` is None where all is well; `usage` is what a word took."""

    failure: Failure | None = None
    usage: Usage | None = None


async def free(engine: Engine, target: Target, *, path: str = "", timeout_s: float) -> Told | None:
    """What the free question tells; None where nothing is free there, or what came tells nothing.

    `path` is where it is asked, from the root of the host, in place of the list of models.
    """
    if path == NOTHING_FREE:
        return None
    try:
        reply = await _asked(engine, target, change=lambda said: _free_instead(said, path), timeout_s=timeout_s)
    except (KeyError, ValueError):
        return None
    if isinstance(reply, Failure):
        return Told(reply)
    if 200 <= reply.status < 300:
        return Told() if path or reply.body.lstrip()[:1] in {b"{", b"["} else None
    if reply.status < 400 or reply.status in _NO_LIST:
        return None
    failure = without_secrets(format_for(target.format, Task.CHAT).classify(reply), target)
    return None if reply.status == 401 and _RIGHTS.search(failure.message) else Told(failure)


async def word(engine: Engine, target: Target, *, timeout_s: float | None = None) -> Told:
    """What the answer of one word tells; finding fault with our request is an answer too.

    It may take as long as short requests to this target do, unless `timeout_s` is given.
    """
    limit_s = Deadlines().limits(_REQUEST, target).total_s if timeout_s is None else timeout_s
    try:
        reply = await _asked(engine, target, change=lambda said: said, timeout_s=limit_s)
    except (KeyError, ValueError) as error:
        return Told(Failure(kind=FailureKind.UNSUPPORTED, message=f"it cannot be asked: {error}", sent=False))
    if isinstance(reply, Failure):
        return Told(reply)
    told = _heard(format_for(target.format, Task.CHAT), reply, target=target)
    blameless = told.failure is not None and told.failure.verdict.fault is Fault.CALLER
    if blameless or told.failure is None:
        return Told() if blameless else told
    return Told(without_secrets(told.failure, target))


def _heard(spoken: Format, reply: HttpReply, *, target: Target) -> Told:
    """What an answer of one word tells."""
    if reply.status not in spoken.good:
        return Told(spoken.classify(reply))
    decoder = spoken.decoder(_REQUEST, target)
    if (head := getattr(decoder, "head", None)) is not None:
        head(reply.status, reply.headers)
    found = decoder.feed(reply.body)
    if isinstance(found, Failure):
        return Told(found)
    last = [] if decoder.done else decoder.close()
    if isinstance(last, Failure):
        return Told(last)
    return Told(usage=_usage([*found, *([] if isinstance(last, Next) else last)]))


def _usage(deltas: list[Delta]) -> Usage | None:
    return next((delta.usage for delta in reversed(deltas) if delta.usage is not None), None)


# -------------------------------------------------------------------------- one exchange


async def _asked(
    engine: Engine, target: Target, *, change: Callable[[HttpRequest], HttpRequest], timeout_s: float
) -> HttpReply | Failure:
    """The answer to one question with the target's key; ValueError or KeyError where there is no such question."""

    def write(keyed: Target) -> HttpRequest:
        request = replace(_REQUEST, model=keyed.model)
        return change(format_for(keyed.format, Task.CHAT).write_request(request, keyed))

    try:
        async with asyncio.timeout(timeout_s):
            written = await _authorized(engine, target, write=write)
            return written if isinstance(written, Failure) else await _exchanged(engine, written)
    except TimeoutError:
        return Failure(kind=FailureKind.SILENT, message=f"no answer within {timeout_s:g} s")


def _free_instead(said: HttpRequest, path: str) -> HttpRequest:
    """The free question beside a chat; ValueError where none is known."""
    url = _at(said.url, path) if path else _list_beside(said.url)
    headers = {name: value for name, value in said.headers.items() if name != "content-type"}
    return replace(said, method="GET", url=url, headers=headers, body=b"")


def _at(url: str, path: str) -> str:
    """This path at the same host; the address' own query stays unless the path has one."""
    parts = urlsplit(url)
    where, mark, query = path.partition("?")
    return urlunsplit((parts.scheme, parts.netloc, where, query if mark else parts.query, ""))


def _list_beside(url: str) -> str:
    for ending, listed in _LISTS:
        found, times = ending.subn(listed, url)
        if times:
            return found
    raise ValueError("no list of models is known there")


async def _authorized(
    engine: Engine, target: Target, *, write: Callable[[Target], HttpRequest]
) -> HttpRequest | Failure:
    """The request, with a key that may have to be fetched, and signed where that is wanted."""
    if engine.keyring is None or not (target.credential or target.auth == "sigv4"):
        return write(target)
    settled: _Once[HttpRequest] = _Once()
    engine.keyring.authorize(target, write, ready=settled.settle)
    return await settled.found


async def _exchanged(engine: Engine, request: HttpRequest) -> HttpReply | Failure:
    ear = _Ear()
    exchange = engine.transport.send(request, ear)
    try:
        reply = await ear.found
    except asyncio.CancelledError:
        exchange.cancel()
        raise
    exchange.release()
    return reply


Found = TypeVar("Found")


class _Once(Generic[Found]):
    """What is told once, to whoever may have stopped waiting for it."""

    def __init__(self) -> None:
        self.found: asyncio.Future[Found | Failure] = asyncio.get_running_loop().create_future()

    def settle(self, found: Found | Failure) -> None:
        """That is it."""
        if not self.found.done():
            self.found.set_result(found)


class _Ear(_Once[HttpReply]):
    """Hears one answer to its end."""

    def __init__(self) -> None:
        super().__init__()
        self._status, self._body = 0, b""
        self._headers: Mapping[str, str] = {}

    def connected(self) -> None:
        """Nothing is to be said of that."""

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers

    def data(self, data: bytes) -> None:
        if len(self._body) < REPLY_BYTES_MAX:
            self._body += data

    def ended(self) -> None:
        self.settle(HttpReply(status=self._status, headers=self._headers, body=self._body))

    def failed(self, failure: Failure) -> None:
        self.settle(failure)
