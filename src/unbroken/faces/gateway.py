"""The gateway, apart from how bytes reach it: a caller's HTTP request in, an answer out.

`Gateway.receive` either knows the answer at once (a `Reply`: errors, lists) or starts a
drive and returns the `Visitor` whose answer forms.  Whoever speaks to the caller (ASGI, an
SDK's transport) reads the visitor.  A format's own door is looked for first; what else there
is lies on pages (`faces.pages`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import count

import msgspec

from unbroken import records
from unbroken.config import Config
from unbroken.engine import Engine
from unbroken.faces.admin import LAST_EVENT, Admin
from unbroken.faces.counts import Counts
from unbroken.faces.dashboard import PATH as DASHBOARD
from unbroken.faces.dashboard import pages as dashboard
from unbroken.faces.films import Films
from unbroken.faces.lists import Lists, no_model
from unbroken.faces.measures import Measured
from unbroken.faces.pages import Call, Page, Pages, face_of, json_reply, nothing_here, query_of
from unbroken.faces.steering import STEERING, steered
from unbroken.faces.visitor import Answer, Headers, Reply, Visitor, reply_of
from unbroken.failures import Failure, FailureKind
from unbroken.keys import ANYBODY, Holder, Holders, digest_of, out_of_scope
from unbroken.policy import Route
from unbroken.types import Json, Request
from unbroken.wire import FORMATS, Format, Mounts, format_named

__all__ = ["WANTED_HEADERS", "Gateway", "Headers", "Reply", "Visitor"]

_LOGGER = logging.getLogger("unbroken")

KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
"""Where clients put a key that is no bearer token: Anthropic's, Google's, Azure's."""
CACHE_CONTROL = "cache-control"
"""With which a caller says that only a fresh answer will do, or that nothing may be kept of it."""
CALLER = "x-unbroken-caller"
"""With which a program behind one key says for whom it asks: limits are shared fairly among these."""
CALLER_CHARS_MAX = 100
SIGNS = ("anthropic-version",)
"""Headers by which we know whose client is asking, where paths do not tell."""
TRACE = ("traceparent", "tracestate")
"""By which a caller says which trace a request belongs to (W3C)."""
WANTED_HEADERS = frozenset(
    name.encode()
    for name in ("authorization", *KEY_HEADERS, CACHE_CONTROL, "expect", CALLER, *STEERING, *SIGNS, *TRACE, LAST_EVENT)
)
"""The request headers that matter here; no other is even decoded, and only `steering.CARRIED` reach a provider."""
_ON_PAGES = frozenset(("openai_videos",))
"""Formats whose work takes longer than a caller waits: they are asked by pages of their own."""
METRICS = "/metrics"
OPENAPI = "/openapi.json"
ADMIN = "/admin/"
Door = tuple[str, str, str]
_OPEN_TO_ALL = ("/health", "/healthz", "/readyz", "/", OPENAPI, DASHBOARD)
_OPEN_BELOW = (ADMIN, f"{DASHBOARD}/")
"""Operators have keys of their own, and the dashboard's files are no secret."""


class Gateway:
    """Every face of the gateway on one engine."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.config, self.engine = config, engine
        formats = [format_named(name) for name in FORMATS if name not in _ON_PAGES]
        self._faces = Mounts(spoken for spoken in formats if spoken.read_request is not None)
        self.admin = Admin(self)
        self._fixed = [
            *self.admin.pages(),
            *dashboard(),
            *Counts(engine, self._route_of).pages(),
            *Films(engine, self._route_of).pages(),
            Page(method="POST", path="/api/generate", answer=self._generate),
            Page(method="POST", path="/api/embeddings", answer=partial(self._visit, name="ollama_embedding")),
            Page(method="GET", path="/health", answer=partial(json_reply, value={"status": "ok"})),
            Page(method="GET", path="/healthz", answer=partial(json_reply, value={"status": "ok"})),
            Page(method="GET", path="/readyz", answer=self._readiness),
            Page(method="GET", path="/", answer=_here),
            Page(method="GET", path=OPENAPI, answer=self._describe),
        ]
        self._measured: Measured | None = None
        self.ready = True
        self.adopt(config)
        self._id_head = f"req_{os.urandom(5).hex()}"
        self._numbers = count(1)

    def adopt(self, config: Config) -> None:
        """Go by this configuration from now on; what is under way goes on by the one that it began with."""
        self.config = config
        server = config.server
        self.body_bytes_max = int(server.body_limit_mb * 1024 * 1024)
        """The largest request body that is taken in."""
        self._holders = Holders(server.keys, server.issued) if server.guarded else None
        self._open = (*_OPEN_TO_ALL, METRICS) if config.metrics.open else _OPEN_TO_ALL
        if config.metrics.on:
            self._measured = self._measured or Measured(config, self.engine)
            self._measured.follow(config)
        measured = self._measured.pages() if self._measured is not None and config.metrics.on else []
        self._pages = Pages([*Lists(config).pages(), *measured, *self._fixed])
        self.admin.adopt(config)

    def doors(self) -> Iterator[Door]:
        """Where anything is answered: method, path, and the format that has its door there, if it is one."""
        spoken = [format_named(name) for name in FORMATS if name not in _ON_PAGES]
        for one in spoken:
            yield from ((method, path, one.name) for path in one.paths if one.read_request for method in one.methods)
        yield from ((page.method, page.path, "") for page in self._pages if not page.path.startswith(ADMIN))
        yield from ((method, path, "") for method, path in self.admin.doors())

    def close(self) -> None:
        """Let those go who only listen: the gateway is about to stop."""
        self.admin.close()

    def receive(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> Reply | Visitor:
        """Answer at once, or start to.  Header names are lower case; headers of no concern may be left out.

        Whatever goes wrong in here is an answer too: who calls this is told by a socket, and nobody above
        would tell the caller.
        """
        try:
            return self._received(method, path, headers=headers, body=body)
        except Exception:
            _LOGGER.exception("a request to %a could not be taken in", path.partition("?")[0][:200])
            failure = Failure(kind=FailureKind.INTERNAL, message="the gateway has a defect; its log says more")
            return reply_of(face_of(path, headers), failure, request_id="")

    def _received(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> Reply | Visitor:
        spoken = self._faces.at(path)
        if spoken is None:
            path = self._meant(path)
            spoken = self._faces.at(path)
        request_id = f"{self._id_head}{next(self._numbers):06x}"
        if spoken is None:
            return self._elsewhere(
                Call(method=method, path=path, headers=headers, body=body, request_id=request_id,
                     spoken=face_of(path, headers), key=_key_shown(headers, path))
            )  # fmt: skip
        holder = self._holder(_key_shown(headers, path)) if self._holders is not None else ANYBODY
        if isinstance(holder, Failure):
            return _without_body(method, reply_of(spoken, holder, request_id=request_id))
        if method not in spoken.methods:
            wrong = nothing_here(method, path, allowed=spoken.methods)
            return _without_body(method, reply_of(spoken, wrong, request_id=request_id))
        assert spoken.read_request is not None
        request = spoken.read_request(path, body)
        if isinstance(request, Failure):
            return reply_of(spoken, request, request_id=request_id)
        route = self._route(request, headers, spoken=spoken, holder=holder)
        if isinstance(route, Failure):
            return reply_of(spoken, route, request_id=request_id)
        if route.policy.cache.on or self.engine.admission is not None:
            request = _marked(request, headers, key=_key_shown(headers, path))
        elif self.engine.counting is not None:
            request = request.asked_by(digest_of(_key_shown(headers, path)))
        self._join(request_id, headers)
        return self._start(request, route, spoken=spoken, request_id=request_id)

    def too_large(self, path: str) -> Reply:
        """The answer to a body beyond the limit."""
        limit_mb = self.config.server.body_limit_mb
        message = f"the request body is larger than {limit_mb:g} MB"
        return self.refused(path, 413, message=message, code="request_too_large")

    def refused(self, path: str, status: int, *, message: str, code: str | None = None) -> Reply:
        """The answer to what cannot be taken in as a request; `path` as far as it is known."""
        failure = Failure(kind=FailureKind.REQUEST, message=message, status=status, code=code)
        return reply_of(self._faces.at(path) or face_of(path, {}), failure, request_id="")

    def _readiness(self, call: Call) -> Reply:
        """Whether new requests should be sent here; not any more once it is about to stop."""
        said, status = ("ready", 200) if self.ready else ("stopping", 503)
        return json_reply(call, {"status": said}, status=status)

    # -- a format's own door

    def _start(self, request: Request, route: Route, *, spoken: Format, request_id: str) -> Visitor:
        assert spoken.writer is not None
        visitor = Answer(spoken, spoken.writer(request), request_id=request_id, stream=request.stream)
        drive = self.engine.fly(request, route, caller=visitor, flight_id=request_id)
        if not visitor.over:
            visitor.fly(drive)
        return visitor

    def _join(self, request_id: str, headers: Mapping[str, str]) -> None:
        """A caller may have a trace of its own, which the request is then part of."""
        if self.engine.tracing is not None and TRACE[0] in headers:
            self.engine.tracing.join(request_id, headers)

    def _holder(self, key: str) -> Holder | Failure:
        """Whose key this is, or why it is refused."""
        return ANYBODY if self._holders is None else self._holders.of(key)

    def _route(
        self, request: Request, headers: Mapping[str, str], *, spoken: Format, holder: Holder
    ) -> Route | Failure:  # fmt: skip
        resolve = self.config.resolve
        route = resolve(request.model) or resolve(request.model.removesuffix(":latest"))  # Ollama's tools add it
        if holder.limited:
            names = (request.model, route.name) if route is not None else (request.model,)
            if (refused := holder.refusal(*names, task=request.task)) is not None:
                return refused
        if route is None:
            return no_model(request.model)
        return route if STEERING.isdisjoint(headers) else steered(route, headers, spoken=spoken.name)

    # -- pages

    def _describe(self, call: Call) -> Reply:
        """What all of this looks like to programs; made when it is asked for, which is seldom."""
        from unbroken.faces.openapi import described  # noqa: PLC0415 - see above

        return json_reply(call, described(self.doors()))

    def _meant(self, path: str) -> str:
        """The path that is meant: a base URL without `/v1`, or with one too many, is a common slip."""
        for meant in (path, f"/v1{path}", path.removeprefix("/v1")):
            if self._faces.at(meant) is not None or self._pages.methods(meant):
                return meant
        return path

    def _elsewhere(self, call: Call) -> Reply | Visitor:
        """What lies on a page, or nowhere."""
        answer = self._turned(call)
        if isinstance(answer, Failure):
            answer = reply_of(call.spoken, answer, request_id=call.request_id)
        return _without_body(call.method, answer)

    def _turned(self, call: Call) -> Reply | Visitor | Failure:
        holder = ANYBODY if self._is_open(call.path.partition("?")[0]) else self._holder(call.key)
        if isinstance(holder, Failure):
            return holder
        found = self._pages.at(call.method, call.path)
        if found is None:
            where, _, _ = call.path.partition("?")
            methods = [] if ":" in where else self._pages.methods(where)  # a method of Google's is no page of its model
            return nothing_here(call.method, where, allowed=methods)
        page, values = found
        if holder.limited and page.path == METRICS:
            return out_of_scope("the figures of the whole gateway")
        return page.answer(replace(call, values=values, holder=holder))

    def _is_open(self, where: str) -> bool:
        """Whether no caller's key is wanted there."""
        return where in self._open or where.startswith(_OPEN_BELOW)

    def _route_of(self, request: Request, call: Call) -> Route | Failure:
        """The route of what was asked on a page, which is put on the account of the caller's key."""
        request.asked_by(digest_of(call.key))
        return self._route(request, call.headers, spoken=call.spoken, holder=call.holder)

    def _visit(self, call: Call, *, name: str) -> Reply | Visitor | Failure:
        """A format that is no door of its own: for callers only, and written to providers as another one."""
        spoken = format_named(name)
        assert spoken.read_request is not None
        request = spoken.read_request(call.path, call.body)
        if isinstance(request, Failure):
            return request
        route = self._route_of(request, call)
        if isinstance(route, Failure):
            return route
        if route.policy.cache.on or self.engine.admission is not None:
            request = _marked(request, call.headers, key=call.key)
        self._join(call.request_id, call.headers)
        return self._start(request, route, spoken=spoken, request_id=call.request_id)

    def _generate(self, call: Call) -> Reply | Visitor | Failure:
        """Without a prompt Ollama's tools only want the model loaded, or unloaded, which is no work here."""
        try:
            asked = msgspec.json.decode(call.body, type=_Loading)
        except (msgspec.DecodeError, ValueError, RecursionError):
            asked = _Loading(prompt="?")
        if asked.prompt or asked.images:
            return self._visit(call, name="ollama_generate")
        name = asked.model.removesuffix(":latest")
        if self.config.resolve(name) is None or not call.holder.may_name(name):
            return no_model(asked.model)
        reason = "unload" if asked.keep_alive in (0, "0") else "load"
        told = {"model": asked.model, "created_at": "1970-01-01T00:00:00Z", "response": "", "done": True}
        return json_reply(call, told | {"done_reason": reason})


class _Loading(msgspec.Struct):
    model: str = ""
    prompt: str | None = None
    images: list[Json] | None = None
    keep_alive: Json = None


def _here(call: Call) -> Reply:
    return Reply(200, [("content-type", "text/plain"), ("x-request-id", call.request_id)], b"unbroken is running")


def _without_body(method: str, answer: Reply | Visitor) -> Reply | Visitor:
    """The answer, without its body where only its head was asked for."""
    return Reply(answer.status, answer.headers, b"") if method == "HEAD" else answer


def _key_shown(headers: Mapping[str, str], path: str) -> str:
    """The key that a caller shows, in a header or (Google's clients) as `?key=`; empty where there is none."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    others = (headers[name] for name in KEY_HEADERS if name in headers)
    return (next(others, None) or query_of(path).get("key", "")).strip()


def _marked(request: Request, headers: Mapping[str, str], *, key: str) -> Request:
    """The request with what a cache and limits have to know of its caller."""
    wish = headers.get(CACHE_CONTROL, "").lower()
    found = next((word for word in ("no-store", "no-cache") if word in wish), "")
    return records.replace(request, asker=digest_of(key), caller=_caller(request, headers), cache=found)


def _caller(request: Request, headers: Mapping[str, str]) -> str:
    """Who of those behind one key is asking, as they say themselves: by a header, or as the body's `user`."""
    if CALLER in headers:
        return headers[CALLER][:CALLER_CHARS_MAX]
    user = request.source.fields.get("user", b"") if request.source is not None else b""
    return bytes(user[:CALLER_CHARS_MAX]).decode(errors="replace").strip('"')
