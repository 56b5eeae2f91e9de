"""A provider to fail over from: the server side of a wire format behind a real socket.

What it says comes from an answer source, how fast from its `Speed`, and what is wrong with
it from `fail_with`, which may be called at any time.  It binds to loopback only.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Self

import msgspec

from unbroken import records
from unbroken.failures import Failure
from unbroken.testing.essay import Answer, answer, begun, prompt_of, tokens
from unbroken.testing.jobs import Desk, Page
from unbroken.testing.line import Line
from unbroken.testing.play import INSTANT, Play, Seen, Speed, never, send
from unbroken.testing.quota import Quota, tokens_of
from unbroken.testing.samples import made_of
from unbroken.testing.troubles import Hang, Html, Refused, Reset, Status, Trouble
from unbroken.types import Delta, Finish, HttpRequest, Output, Request, Response, Task, ToolFragment, Usage
from unbroken.wire import FORMATS, Format, Mounts, Outcome, format_named
from unbroken.work import Picture

__all__ = ["FakeProvider"]

_HTML = b"<!doctype html><html><head><title>Welcome</title></head><body><h1>It works!</h1></body></html>"
_ARGUMENT_CHARS = 12
"""Of a tool call's arguments, in one step of a stream."""


class FakeProvider:
    """An HTTP server that answers as a provider of OpenAI's formats does.

    name            what it is called where it is shown
    speed           how fast it answers
    answer          Request -> words or Response; by default `essay` of the prompt, and tool
                    calls or JSON where those are asked for
    models          the models that it has; where none is named it has all
    keys            the keys that it accepts; None for any
    accepts_prefix  carries on a last assistant message; otherwise it begins anew
    overlap_tokens  how much of the begun answer it repeats when a user turn asks for the rest

    `seen` holds the requests in their order, and may be cleared.  `quota` is what it takes, which it
    enforces by 429 and tells in its headers; None for any number.  `listed` counts how often its list of models
    was asked for.  On the `desk` lie jobs, results and pages of one's own.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        speed: Speed = INSTANT,
        answer: Answer = answer,
        models: Collection[str] = (),
        keys: Collection[str] | None = None,
        accepts_prefix: bool = True,
        overlap_tokens: int = 12,
    ) -> None:
        self.name = name
        self.speed = speed
        self.answer = answer
        self.models = tuple(models)
        self.keys = keys
        self.accepts_prefix = accepts_prefix
        self.overlap_tokens = overlap_tokens
        self.quota: Quota | None = None
        self.seen: list[Seen] = []
        self.listed = 0
        self.desk = Desk(name)
        self.trouble: Trouble | None = None
        self._times: int | None = None
        self._lines: set[Line] = set()
        self._arrivals: set[asyncio.Task[object]] = set()
        self._listener: socket.socket | None = None
        self._reserve: socket.socket | None = None

    # ------------------------------------------------------------------ its life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Take a free port on loopback and listen.  OSError where there is none."""
        self._reserve = _bound(0)  # keeps the port ours while nobody listens there
        self._listen()

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._stop_listening()
        while self._lines or self._arrivals:
            await asyncio.sleep(0)
        if self._reserve is not None:
            self._reserve.close()
            self._reserve = None

    @property
    def port(self) -> int:
        """Where it listens; RuntimeError before `start`."""
        if self._reserve is None:
            raise RuntimeError("the provider is not started")
        return int(self._reserve.getsockname()[1])

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    # --------------------------------------------------------------- its troubles

    def fail_with(self, trouble: Trouble, *, times: int | None = None) -> None:
        """From now on requests meet this trouble: all of them, or only the next `times`."""
        self.heal()
        self.trouble, self._times = trouble, times
        if isinstance(trouble, Refused):
            self._stop_listening()

    def heal(self) -> None:
        """From now on requests are answered well; what hangs already goes on hanging."""
        self.trouble = self._times = None
        if self._listener is None and self._reserve is not None:
            self._listen()

    def hang_up(self) -> None:
        """Reset every open connection, with whatever answer is under way on it; new ones are welcome."""
        for line in list(self._lines):
            line.reset()

    def _trouble_now(self) -> Trouble | None:
        trouble = self.trouble
        if self._times is not None:
            self._times -= 1
            if self._times <= 0:
                self.trouble = self._times = None
        return trouble

    # ------------------------------------------------------------ its connections

    def _listen(self) -> None:
        # A plain socket and not a server of asyncio's, which could not be opened and closed at a stroke.
        self._listener = _bound(self.port)
        self._listener.listen(128)
        asyncio.get_running_loop().add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        if self._listener is None:
            return
        try:
            connection, _ = self._listener.accept()
        except OSError:  # the peer thought better of it
            return
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        loop = asyncio.get_running_loop()
        arrival: asyncio.Task[object] = loop.create_task(loop.connect_accepted_socket(self._line, connection))
        self._arrivals.add(arrival)
        arrival.add_done_callback(self._arrivals.discard)

    def _line(self) -> Line:
        return Line(self._serve, on_open=self._opened, on_close=self._lines.discard)

    def _opened(self, line: Line) -> None:
        self._lines.add(line)
        if self._listener is None:  # accepted in the moment before we stopped
            line.reset()

    def _stop_listening(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self.hang_up()

    # ----------------------------------------------------------------- its answers

    async def _serve(self, line: Line, http: HttpRequest) -> None:
        if http.method == "GET" and http.url.partition("?")[0] in _LISTS:
            return self._list_models(line, key=_key(http))
        seen = Seen(path=http.url, key=_key(http), headers=dict(http.headers), body=http.body,
                    started=time.monotonic(), trouble=self._trouble_now())  # fmt: skip
        self.seen.append(seen)
        try:
            await self._reply(line, http, seen=seen)
        except asyncio.CancelledError:
            seen.hung_up = True
            raise
        return None

    async def _reply(self, line: Line, http: HttpRequest, *, seen: Seen) -> None:
        wire = _MOUNTS.at(http.url)
        request = wire.read_request(http.url, http.body) if wire and wire.read_request else None
        if isinstance(request, Request):
            _note(seen, request)
        match seen.trouble:
            case Hang():
                await never()
            case Reset():
                line.reset()
            case Status() as trouble:
                self._refuse(line, trouble, seen=seen)
            case Html():
                send(line, 200, headers={"content-type": "text/html"}, body=_HTML)
            case _ if page := self._page(http, seen):
                self._show(line, page, seen=seen)
            case _ if refusal := self._refusal(http, request, seen=seen):
                self._refuse(line, refusal, seen=seen)
            case _:
                assert wire is not None
                assert isinstance(request, Request)
                await self._measured(line, wire, seen=seen, request=request)

    def _page(self, http: HttpRequest, seen: Seen) -> Page | None:
        """What lies at this address; jobs only for those who have a key."""
        known = self.keys is None or seen.key in self.keys
        return self.desk.free_page(http.method, http.url) or (
            self.desk.job_page(http.method, http.url) if known else None
        )

    def _refusal(self, http: HttpRequest, request: Request | Failure | None, *, seen: Seen) -> Status | None:
        """What is wrong with a request; None where it is answered."""
        if self.keys is not None and seen.key not in self.keys:
            return Status(401)
        if request is None:
            return Status(404, code="unknown_url", message=f"Unknown request URL: {http.url}")
        if isinstance(request, Failure):
            return Status(400, message=request.message)
        return Status(404) if self.models and request.model not in self.models else None

    def _show(self, line: Line, page: Page, *, seen: Seen) -> None:
        seen.status, seen.finished = page.status, time.monotonic()
        send(line, page.status, headers={"content-type": page.content_type, **page.headers}, body=page.body)

    def _refuse(self, line: Line, trouble: Status, *, seen: Seen) -> None:
        seen.status, seen.finished = trouble.status, time.monotonic()
        send(line, trouble.status, headers=trouble.fields(), body=trouble.content())

    def _list_models(self, line: Line, *, key: str) -> None:
        """Which models there are, for whoever has a key, whatever troubles their work."""
        self.listed += 1
        if self.keys is not None and key not in self.keys:
            refusal = Status(401)
            return send(line, refusal.status, headers=refusal.fields(), body=refusal.content())
        rows = [{"id": model, "object": "model", "created": 0, "owned_by": self.name}
                for model in self.models or ("fake-model",)]  # fmt: skip
        body = msgspec.json.encode({"object": "list", "data": rows})
        return send(line, 200, headers={"content-type": "application/json"}, body=body)

    async def _measured(self, line: Line, wire: Format, *, seen: Seen, request: Request) -> None:
        """Answer within the quota."""
        if (quota := self.quota) is None:
            return await self._answer(line, wire, seen=seen, request=request)
        refusal = quota.enter(seen.key, seen.started, tokens=tokens_of(request))
        line.extra = quota.told(seen.key, seen.started)
        if refusal is not None:
            return self._refuse(line, refusal, seen=seen)
        try:
            await self._answer(line, wire, seen=seen, request=request)
        finally:
            quota.leave(seen.key)
        return None

    async def _answer(self, line: Line, wire: Format, *, seen: Seen, request: Request) -> None:
        assert wire.writer is not None
        writer, seen.status = wire.writer(request), 200
        outcome = Outcome(request_id=f"req_{len(self.seen)}", target=self.name, attempts=1, failover=False)
        if wire.name == "openai_videos":
            return self._show(line, self.desk.accept(request, seen.trouble), seen=seen)
        if request.task is Task.CHAT:
            deltas = list(self._deltas(request, number=len(self.seen)))
        else:
            deltas = self._laid_out(request, made_of(request, seen.trouble))
        play = Play(line=line, writer=writer, outcome=outcome, deltas=deltas, seen=seen, speed=self.speed)
        await (play.stream() if request.stream else play.whole())
        return None

    def _laid_out(self, request: Request, deltas: list[Delta]) -> list[Delta]:
        """The same with addresses in place of pictures, where addresses are given or wanted."""
        work = request.work
        if not isinstance(work, Picture) or not (self.desk.gives_urls or work.as_url):
            return deltas
        host = self.base_url.removesuffix("/v1")
        return [
            records.replace(delta, outputs=tuple(
                Output(kind="image", url=host + self.desk.keep(output.data, output.media_type))
                for output in delta.outputs
            ))
            for delta in deltas
        ]  # fmt: skip

    def _deltas(self, request: Request, *, number: int) -> Iterator[Delta]:
        """The steps of an answer, the last of which says how it ended."""
        said = self._response(request)
        steps = list(_call_steps(said)) if said.tool_calls else [Delta(text=word) for word in tokens(said.text)]
        finish = Finish.TOOL_CALLS if said.tool_calls else Finish.STOP
        if request.max_tokens is not None and len(steps) > request.max_tokens and not said.tool_calls:
            steps, finish = steps[: request.max_tokens], Finish.LENGTH
        usage = Usage(input_tokens=max(1, request.prompt_chars // 4), output_tokens=len(steps))
        for step in [*steps, Delta(finish=finish, raw_finish=finish.value, usage=usage)]:
            yield records.replace(step, id=f"chatcmpl-{self.name}-{number}", model=request.model)

    def _response(self, request: Request) -> Response:
        """What is said to this request: without what the caller says was said already."""
        said = self.answer(request)
        response = Response(text=said) if isinstance(said, str) else said
        messages = request.chat.messages
        _, prefix = begun(messages)
        by_prefix = bool(prefix) and messages[-1].role == "assistant"
        if not prefix or (by_prefix and not self.accepts_prefix):
            return response
        whole, already = tokens(response.text), len(tokens(prefix))
        if response.text.startswith(prefix) and (by_prefix or not self.overlap_tokens):
            return replace(response, text=response.text[len(prefix) :])
        overlap = 0 if by_prefix else self.overlap_tokens
        return replace(response, text="".join(whole[max(0, already - overlap) :]))


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setblocking(False)  # noqa: FBT003 - the name says it
    sock.bind(("127.0.0.1", port))
    return sock


def _key(http: HttpRequest) -> str:
    """The key of a request, wherever its provider's clients put it."""
    shown = next((http.headers[name] for name in _KEY_HEADERS if name in http.headers), "")
    return shown.removeprefix("Bearer ")


_KEY_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "api-key")


def _mounts() -> Mounts:
    """Every format that has a server side."""
    found = []
    for name in FORMATS:
        with contextlib.suppress(KeyError):
            found.append(format_named(name))
    return Mounts(found)


_MOUNTS = _mounts()
_LISTS = ("/v1/models", "/models")


def _note(seen: Seen, request: Request) -> None:
    seen.model, seen.stream = request.model, request.stream
    if request.task is Task.CHAT:
        seen.prompt = prompt_of(request.chat)
        _, seen.prefix = begun(request.chat.messages)


def _call_steps(said: Response) -> Iterator[Delta]:
    for index, call in enumerate(said.tool_calls):
        yield Delta(tool_calls=(ToolFragment(index=index, id=call.id, name=call.name),))
        for start in range(0, len(call.arguments), _ARGUMENT_CHARS):
            piece = call.arguments[start : start + _ARGUMENT_CHARS]
            yield Delta(tool_calls=(ToolFragment(index=index, arguments=piece),))
