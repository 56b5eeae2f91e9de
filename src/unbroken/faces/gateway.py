"""The gateway, apart from how bytes reach it: a caller's HTTP request in, an answer out.

`Gateway.receive` either knows the answer at once (a `Reply`: errors, lists) or starts a
drive and returns the `Visitor` whose answer forms.  Whoever speaks to the caller (ASGI, an
SDK's transport) reads the visitor.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hmac import compare_digest
from itertools import count
from urllib.parse import parse_qsl

import msgspec

from unbroken.config import Config
from unbroken.engine import Drive, Engine, Finished
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route
from unbroken.types import Delta, Request
from unbroken.wire import FORMATS, Format, Mounts, Outcome, Writer, format_named

__all__ = ["WANTED_HEADERS", "Gateway", "Headers", "Reply", "Visitor"]

FIRST_FACE = "openai_chat"
"""In whose words we speak to whoever asks for nothing that is served."""
KEY_HEADERS = ("x-api-key", "x-goog-api-key", "api-key")
"""Where clients put a key that is no bearer token: Anthropic's, Google's, Azure's."""
OVERRIDES = {
    f"x-unbroken-{name.replace('_', '-')}": name
    for name in ("connect_s", "first_byte_s", "first_content_s", "total_s", "gap_s")
}
"""Request headers with which a caller sets limits of its own."""
WANTED_HEADERS = frozenset(name.encode() for name in ("authorization", *KEY_HEADERS, "expect", *OVERRIDES))
"""The request headers that matter here; no other is even decoded, and none reaches a provider."""
Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that was known at once."""

    status: int
    headers: Headers
    body: bytes


class Visitor:
    """A caller whose answer is forming.

    `notify` is called whenever there is more: `status` and `headers` hold once `status` is
    not 0, `take` gives what has come since the last time, until `over`.
    """

    __slots__ = ("_buffer", "_drive", "_format", "_held", "_id", "_stream", "_writer", "headers", "notify", "over",
                 "status")  # fmt: skip

    def __init__(self, spoken: Format, writer: Writer, *, request_id: str, stream: bool) -> None:
        self._format, self._writer, self._id, self._stream = spoken, writer, request_id, stream
        self._buffer: list[bytes] = []
        self._held: list[Delta] = []
        self._drive: Drive | None = None
        self.notify: Callable[[], None] | None = None
        self.status = 0
        self.headers: Headers = []
        self.over = False

    # -- told by the drive

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer: a stream's is written at once, a plain one's at the end."""
        if not self._stream:
            self._held += deltas
            return
        if not self.status:
            self._open()
        self._put(self._writer.write(deltas))

    def finish(self, end: Finished) -> None:
        """The end, good or bad."""
        outcome = self._outcome(end)
        if end.failure is not None and not self.status:
            self.status, headers, body = self._fail(end.failure, outcome)
            self.headers = list({**dict(outcome.headers()), **dict(headers)}.items())
        elif end.failure is not None:
            body = self._writer.broken(end.failure, outcome)
        elif self._stream:
            if not self.status:
                self._open()
            body = self._writer.end(outcome)
        else:
            body = self._writer.whole(self._held, outcome)
            self.status = 200
            self.headers = [("content-type", self._writer.content_type), *outcome.headers()]
        self.over = True
        self._drive = None  # no cycle is left for the garbage collector
        self._put(body)

    # -- read by a face

    def fly(self, drive: Drive) -> None:
        """Take hold of the drive, to pause and to cancel it."""
        self._drive = drive

    def take(self) -> bytes:
        """What has come since the last time."""
        chunks, self._buffer = self._buffer, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def pause(self) -> None:
        """The caller reads more slowly than the provider writes."""
        if not self.over and self._drive is not None:
            self._drive.pause()

    def resume(self) -> None:
        """The caller has caught up."""
        if not self.over and self._drive is not None:
            self._drive.resume()

    def leave(self) -> None:
        """The caller is gone: stop whatever is done for it."""
        if not self.over and self._drive is not None:
            self._drive.cancel()

    # -- inside

    def _open(self) -> None:
        self.status = 200
        outcome = self._outcome(self._drive.flight.so_far()) if self._drive is not None else None
        told = outcome.headers() if outcome is not None else []
        self.headers = [("content-type", self._writer.content_type), ("cache-control", "no-cache"), *told]

    def _put(self, data: bytes) -> None:
        if data:
            self._buffer.append(data)
        if self.notify is not None:
            self.notify()

    def _outcome(self, end: Finished) -> Outcome:
        name = end.target.name if end.target is not None else "none"
        left_out = self._drive.left_out.get(name, ()) if self._drive is not None else ()
        return Outcome(
            request_id=self._id, target=name, attempts=end.attempts, failover=end.failover, rescued=end.rescued,
            left_out=left_out,
        )  # fmt: skip

    def _fail(self, failure: Failure, outcome: Outcome) -> tuple[int, Headers, bytes]:
        assert self._format.write_failure is not None
        status, headers, body = self._format.write_failure(failure, outcome.request_id)
        return status, list(headers.items()), body


class Gateway:
    """Every face of the gateway on one engine."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self.config, self.engine = config, engine
        self._keys = [key.encode() for key in config.server.keys]
        self._faces = Mounts(spoken for spoken in map(format_named, FORMATS) if spoken.read_request is not None)
        self._id_head = f"req_{os.urandom(5).hex()}"
        self._numbers = count(1)

    @property
    def body_bytes_max(self) -> int:
        """The largest request body that is taken in."""
        return int(self.config.server.body_limit_mb * 1024 * 1024)

    def receive(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> Reply | Visitor:
        """Answer at once, or start to.  Header names are lower case; headers of no concern may be left out."""
        request_id = f"{self._id_head}{next(self._numbers):06x}"
        spoken = self._faces.at(path)
        if spoken is None and not path.startswith(("/v1/", "/health")):  # a base URL without /v1 is a common slip
            path = f"/v1{path}"
            spoken = self._faces.at(path)
        refused = self._refusal(method, path, spoken=spoken, headers=headers, request_id=request_id)
        if refused is not None or spoken is None:
            return refused or self._other(method, path.partition("?")[0], request_id=request_id)
        assert spoken.read_request is not None
        request = spoken.read_request(path, body)
        if isinstance(request, Failure):
            return self._reply(spoken, request, request_id=request_id)
        route = self._route(request, headers)
        if isinstance(route, Failure):
            return self._reply(spoken, route, request_id=request_id)
        return self._start(request, route, spoken=spoken, request_id=request_id)

    def too_large(self, path: str) -> Reply:
        """The answer to a body beyond the limit."""
        limit_mb = self.config.server.body_limit_mb
        message = f"the request body is larger than {limit_mb:g} MB"
        failure = Failure(kind=FailureKind.REQUEST, message=message, status=413, code="request_too_large")
        return self._reply(self._faces.at(path) or format_named(FIRST_FACE), failure, request_id="")

    def refused(self, status: int, message: str) -> Reply:
        """The answer to what is no request."""
        return _error(status, message, request_id="")

    # -- inside

    def _start(self, request: Request, route: Route, *, spoken: Format, request_id: str) -> Visitor:
        assert spoken.writer is not None
        visitor = Visitor(spoken, spoken.writer(request), request_id=request_id, stream=request.stream)
        drive = self.engine.fly(request, route, caller=visitor, flight_id=request_id)
        if not visitor.over:
            visitor.fly(drive)
        return visitor

    def _refusal(
        self, method: str, path: str, *, spoken: Format | None, headers: Mapping[str, str], request_id: str
    ) -> Reply | None:
        """What is wrong before the body is looked at."""
        if self._keys and path.partition("?")[0] != "/health" and not self._known(headers, path):
            message = "Incorrect API key provided: this gateway does not know it."
            failure = Failure(kind=FailureKind.REQUEST, message=message, status=401, code="invalid_api_key")
            return self._reply(spoken or format_named(FIRST_FACE), failure, request_id=request_id)
        if spoken is not None and method not in spoken.methods:
            return _error(405, f"{path} takes {' and '.join(spoken.methods)}, not {method}", request_id=request_id)
        return None

    def _known(self, headers: Mapping[str, str], path: str) -> bool:
        """Whether the caller has one of our keys, in a header or (Google's clients) as `?key=`; in constant time."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        others = (headers[name] for name in KEY_HEADERS if name in headers)
        shown = key if scheme.lower() == "bearer" else next(others, None) or _query_value(path, "key")
        secret = shown.strip().encode()
        return any([compare_digest(secret, known) for known in self._keys])  # noqa: C419 - all of them, always

    def _route(self, request: Request, headers: Mapping[str, str]) -> Route | Failure:
        route = self.config.resolve(request.model)
        if route is None:
            message = (
                f"The model {request.model[:100]!r} is no route or target of this gateway; GET /v1/models lists them."
            )
            return Failure(
                kind=FailureKind.REQUEST, message=message, status=404, code="model_not_found", param="model",
                type="invalid_request_error",
            )  # fmt: skip
        try:
            own = {name: _seconds(headers[header]) for header, name in OVERRIDES.items() if header in headers}
        except ValueError as error:
            return Failure(kind=FailureKind.REQUEST, message=f"a limit in the headers is wrong: {error}", status=400)
        return _hurried(route, own) if own else route

    def _other(self, method: str, path: str, *, request_id: str) -> Reply:
        """What is neither a model's work nor refused."""
        if path == "/v1/models" and method == "GET":
            return _json(200, {"object": "list", "data": list(self._models())}, request_id=request_id)
        if path.startswith("/v1/models/") and method == "GET":
            found = [model for model in self._models() if model["id"] == path.removeprefix("/v1/models/")]
            return (
                _json(200, found[0], request_id=request_id)
                if found
                else _error(404, f"no model {path[11:]!r}", request_id=request_id)
            )
        if path == "/health":
            return _json(200, {"status": "ok"}, request_id=request_id)
        return _error(404, f"{method} {path} is not served here", request_id=request_id)

    def _models(self) -> Iterable[dict[str, object]]:
        """Routes first, then each target's own name."""
        for name in self.config.routes:
            yield {"id": name, "object": "model", "created": 0, "owned_by": "unbroken"}
        for name in sorted({f"{target.provider}/{target.model}" for target in self.config.targets}):
            yield {"id": name, "object": "model", "created": 0, "owned_by": name.partition("/")[0]}

    def _reply(self, spoken: Format, failure: Failure, *, request_id: str) -> Reply:
        assert spoken.write_failure is not None
        status, headers, body = spoken.write_failure(failure, request_id)
        return Reply(status, list(headers.items()), body)


def _query_value(path: str, name: str) -> str:
    """What a path's query says of this; empty where it says nothing."""
    _, _, query = path.partition("?")
    return next((value for field, value in parse_qsl(query) if field == name), "")


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError(f"{text[:20]!r} is no number of seconds")
    return seconds


def _hurried(route: Route, own: Mapping[str, float]) -> Route:
    """The route with a caller's own limits, which win over those of its targets."""
    deadlines = route.policy.deadlines.merged(own)
    targets = tuple(replace(target, deadlines={**target.deadlines, **own}) for target in route.targets)
    return replace(route, targets=targets, policy=replace(route.policy, deadlines=deadlines))


def _error(status: int, message: str, *, request_id: str, code: str | None = None) -> Reply:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return _json(status, {"error": error}, request_id=request_id)


def _json(status: int, value: object, *, request_id: str) -> Reply:
    headers = [("content-type", "application/json"), ("x-request-id", request_id)]
    return Reply(status, headers, msgspec.json.encode(value))
