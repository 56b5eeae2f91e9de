"""Providers of one's own: a function or a `Provider`, which takes part in routes as any other does.

To the engine it is a target at an address.  `InProcess` stands before the real transport,
answers for those addresses, and speaks the target's format with the server side that every
format has: so failover, breakers, limits and statistics need to know nothing of it.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import cache
from itertools import count
from typing import Any, ClassVar, cast
from urllib.parse import urlsplit

from unbroken.failures import Failure, FailureKind, UnbrokenError
from unbroken.ports import Exchange, Listener, Transport
from unbroken.types import Delta, Finish, HttpRequest, Output, Request, Response, Task, ToolFragment
from unbroken.wire import FORMATS, Mounts, Outcome, Writer, format_named

__all__ = ["Chatting", "InProcess", "Piece", "Provider", "Said", "provider_of", "section_of"]

Piece = str | Delta
"""A step of an answer: some words, or anything else."""
Said = str | Response
"""An answer: the words, or a `Response` where there is more to it (tool calls, usage)."""
Chatting = Callable[[Request], Awaitable[Said] | AsyncIterator[Piece]]
"""An async function, or an async generator, of a request; `request.chat` is the conversation."""


class Provider:
    """A provider in this process.  Subclass it, and write what it can do; what is not written, it cannot.

    Each method is given the `Request`: `request.model`, and the work in no provider's words
    (`request.chat`, or `request.work`).  An exception is a failure of this provider; an
    `UnbrokenError` says which.  `settings` are those of a provider in a configuration file
    (`price`, `capabilities`, `context_tokens`, ...), `model` is what its model is called.
    """

    model: str = "default"
    settings: ClassVar[Mapping[str, Any]] = {}

    def chat(self, request: Request) -> Awaitable[Said] | AsyncIterator[Piece]:
        """The answer, at once or in pieces."""
        raise NotImplementedError

    async def check(self) -> None:
        """Whether all is well, without work that costs anything; an exception says that it is not."""

    def embed(self, request: Request) -> Awaitable[Sequence[Sequence[float]]]:
        """A vector for each text."""
        raise NotImplementedError

    def image(self, request: Request) -> Awaitable[bytes | Sequence[Output]]:
        """One picture as bytes, or as many as are wanted."""
        raise NotImplementedError


_METHODS = {Task.CHAT: "chat", Task.EMBEDDING: "embed", Task.IMAGE: "image"}


class _Function(Provider):
    """A function that chats."""

    def __init__(self, function: Chatting) -> None:
        self._function = function

    def chat(self, request: Request) -> Awaitable[Said] | AsyncIterator[Piece]:
        return self._function(request)


def provider_of(given: object) -> Provider:
    """A provider from what somebody registers; TypeError where it is none."""
    if isinstance(given, Provider):
        return given
    if inspect.isclass(given) or not callable(given):
        raise TypeError(f"a provider is an async function or an instance of Provider, not {given!r}")
    return _Function(cast("Chatting", given))


def section_of(name: str, provider: Provider) -> dict[str, Any]:
    """What a configuration file would say of it."""
    tasks = [task.value for task, method in _METHODS.items() if _is_written(provider, method)]
    return {"base_url": _address(name), "model": provider.model, "tasks": tasks, **provider.settings}


def _address(name: str) -> str:
    """Where the engine sends what is for it; nobody beyond this process can be there."""
    return f"http://{name}.in-process.invalid/v1"


def _is_written(provider: Provider, method: str) -> bool:
    return getattr(type(provider), method) is not getattr(Provider, method)


# -------------------------------------------------------------------------- transport


class InProcess:
    """A transport that answers for some addresses itself, and leaves the others to the next one."""

    def __init__(self, beyond: Transport) -> None:
        self._beyond = beyond
        self._providers: dict[str, Provider] = {}
        self._under_way: set[_Reply] = set()
        self._numbers = count(1)

    def serve(self, base_url: str, provider: Provider) -> None:
        """From now on what is sent below this address goes to the provider."""
        self._providers[base_url.rstrip("/") + "/"] = provider

    def has(self, name: str) -> bool:
        """Whether a provider of this name answers in this process."""
        return f"{_address(name)}/" in self._providers

    def send(self, request: HttpRequest, listener: Listener) -> Exchange:
        """Begin."""
        for base_url, provider in self._providers.items():
            if request.url.startswith(base_url):
                return self._reply(provider, request, listener=listener)
        return self._beyond.send(request, listener)

    async def close(self) -> None:
        """Stop what is under way, and close the next one."""
        for reply in list(self._under_way):
            reply.cancel()
        await self._beyond.close()

    def _reply(self, provider: Provider, request: HttpRequest, *, listener: Listener) -> Exchange:
        reply = _Reply(provider, listener, reply_id=f"in-process-{next(self._numbers)}")
        self._under_way.add(reply)
        reply.start(request, self._under_way.discard)
        return reply


class _Deaf:
    """Whom an answer is told to that nobody waits for any more."""

    def connected(self) -> None: ...

    def opened(self, status: int, headers: Mapping[str, str]) -> None: ...

    def data(self, data: bytes) -> None: ...

    def ended(self) -> None: ...

    def failed(self, failure: Failure) -> None: ...


_DEAF = _Deaf()


class _Reply:
    """One answer of a provider in this process, and the exchange that the engine holds of it."""

    __slots__ = ("_id", "_listener", "_opened", "_provider", "_reading", "_task")

    def __init__(self, provider: Provider, listener: Listener, *, reply_id: str) -> None:
        self._provider, self._id = provider, reply_id
        self._listener = listener
        self._reading = asyncio.Event()
        self._reading.set()
        self._opened = False
        self._task: asyncio.Task[None] | None = None

    def start(self, request: HttpRequest, over: Callable[[_Reply], None]) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(request))
        self._task.add_done_callback(lambda _: over(self))

    # -- Exchange

    def cancel(self) -> None:
        self._listener = _DEAF
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    release = cancel

    def pause(self) -> None:
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()

    # -- inside

    async def _run(self, http: HttpRequest) -> None:
        try:
            self._listener.connected()
            await self._answer(http)
        except UnbrokenError as error:
            self._listener.failed(error.failure)
        except OSError as error:
            self._listener.failed(Failure(kind=FailureKind.CONNECT, message=_words(error)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on elsewhere
            self._listener.failed(Failure(kind=FailureKind.SERVER, message=_words(error)))

    async def _answer(self, http: HttpRequest) -> None:
        if http.method == "GET":
            await self._provider.check()
            self._say(b"[]", "application/json")
            self._listener.ended()
            return
        request, writer = _read(http)
        outcome = Outcome(request_id=self._id, target="", attempts=1, failover=False)
        async with aclosing(_steps(self._provider, request)) as steps:
            if request.stream:
                await self._stream(steps, writer)
                last = writer.end(outcome)
            else:
                last = writer.whole([step async for step in steps], outcome)
        self._say(last, writer.content_type)
        self._listener.ended()

    async def _stream(self, steps: AsyncIterator[Delta], writer: Writer) -> None:
        async for step in steps:
            await self._reading.wait()
            self._say(writer.write([step]), writer.content_type)
            if self._listener is _DEAF:
                return

    def _say(self, data: bytes, content_type: str) -> None:
        if not self._opened:
            self._opened = True
            self._listener.opened(200, {"content-type": content_type})
        self._listener.data(data)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


@cache
def _mounts() -> Mounts:
    """Every format that has a server side."""
    return Mounts(spoken for spoken in map(format_named, FORMATS) if spoken.read_request is not None)


def _read(http: HttpRequest) -> tuple[Request, Writer]:
    """The request, and who writes the answer to it; an UnbrokenError where nobody can."""
    parts = urlsplit(http.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    spoken = _mounts().at(path)
    if spoken is None or spoken.read_request is None or spoken.writer is None:
        raise UnbrokenError(Failure(kind=FailureKind.UNSUPPORTED, message=f"there is nothing at {parts.path}"))
    request = spoken.read_request(path, http.body)
    if isinstance(request, Failure):
        raise UnbrokenError(request)
    return request, spoken.writer(request)


# ------------------------------------------------------------------------------ answers


async def _steps(provider: Provider, request: Request) -> AsyncGenerator[Delta, None]:
    """What a provider says, as deltas."""
    if request.task not in _METHODS:
        raise UnbrokenError(Failure(kind=FailureKind.UNSUPPORTED, message=f"no {request.task} work is done here"))
    answer = getattr(provider, _METHODS[request.task])(request)
    if hasattr(answer, "__aiter__"):
        async for step in _pieces(answer):
            yield step
        return
    made = await answer if inspect.isawaitable(answer) else answer
    for delta in _deltas(made, request):
        yield delta


async def _pieces(pieces: AsyncIterator[Piece]) -> AsyncIterator[Delta]:
    """The steps, and an end where they have none."""
    finish: Finish | None = None
    async for piece in pieces:
        delta = Delta(text=piece) if isinstance(piece, str) else piece
        finish = delta.finish or finish
        yield delta
    if finish is None:
        yield Delta(finish=Finish.STOP, raw_finish="stop")


def _deltas(made: object, request: Request) -> Iterator[Delta]:
    """A whole answer as the steps of one."""
    if request.task is Task.CHAT:
        response = Response(text=made) if isinstance(made, str) else made
        if not isinstance(response, Response):
            raise TypeError(f"an answer is a text or a Response, not {type(made).__name__}")
        yield from _response_steps(response)
    else:
        outputs = tuple(_outputs(made, request.task))
        yield Delta(media=len(outputs), outputs=outputs, model=request.model)


def _response_steps(said: Response) -> Iterator[Delta]:
    yield Delta(text=said.text, reasoning=said.reasoning, refusal=said.refusal, model=said.model, id=said.id)
    for index, call in enumerate(said.tool_calls):
        fragment = ToolFragment(index=index, id=call.id, name=call.name, arguments=call.arguments)
        yield Delta(tool_calls=(fragment,))
    finish = said.finish or (Finish.TOOL_CALLS if said.tool_calls else Finish.STOP)
    yield Delta(finish=finish, raw_finish=said.raw_finish or finish.value, usage=said.usage)


def _outputs(made: Any, task: Task) -> Iterator[Output]:
    if task is Task.EMBEDDING:
        yield from (Output(kind="embedding", vector=tuple(map(float, vector))) for vector in made)
    elif isinstance(made, bytes):
        yield Output(kind="image", data=made)
    else:
        yield from made
