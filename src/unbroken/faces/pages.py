"""What the gateway serves beside the plain doors of its formats: which page lies where, and in whose words it speaks.

    Call       a caller's request, whole
    Page       a method, a path and what answers there
    Pages      all of them, and the page for a call
    face_of    the format in whose words a caller is told what went wrong

None of it is on the way of a request that a format's own door takes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import msgspec

from unbroken.faces.visitor import Reply, Visitor
from unbroken.failures import Failure, FailureKind, WrongMethod
from unbroken.keys import ANYBODY, Holder
from unbroken.policy import Route
from unbroken.types import Json, Request
from unbroken.wire import Format, format_named, path_values

__all__ = ["Call", "Page", "Pages", "Routing", "face_of", "json_reply", "nothing_here", "query_of"]

FIRST_FACE = "openai_chat"
"""In whose words we speak to whoever gives no sign."""
_PLACES = (
    ("/v1beta", "gemini"),
    ("/v1/projects/", "gemini"),
    ("/v1/publishers/", "gemini"),
    ("/v1/messages", "anthropic"),
    ("/api/", "ollama"),
    ("/v2/", "cohere"),
    ("/model/", "bedrock"),
)
"""Whose clients ask below which path."""
_SIGNS = (("anthropic-version", "anthropic"), ("x-goog-api-key", "gemini"))
"""Headers that one kind of client alone sends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A caller's request.  `path` has its query; `values` is what stands where the page's path has `{names}`.

    `holder` is what its key lets it ask for.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    request_id: str
    spoken: Format
    key: str = ""
    holder: Holder = ANYBODY
    values: Mapping[str, str] = field(default_factory=dict)

    @property
    def query(self) -> dict[str, str]:
        """What the path's query says."""
        return query_of(self.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What answers there; a Failure is told in the words of the caller's face."""

    method: str
    path: str
    answer: Callable[[Call], Reply | Visitor | Failure]


Routing = Callable[[Request, Call], Route | Failure]
"""Which route a request of this caller's takes."""


class Pages:
    """Pages by method and path; of several that match the first counts."""

    def __init__(self, pages: Iterable[Page]) -> None:
        self._pages = tuple(pages)

    def __iter__(self) -> Iterator[Page]:
        return iter(self._pages)

    def methods(self, path: str) -> list[str]:
        """With which methods something answers at this path; none where nothing does."""
        found = [page.method for page in self._pages if path_values(page.path, path) is not None]
        return [*found, "HEAD"] if "GET" in found else found

    def at(self, method: str, path: str) -> tuple[Page, Mapping[str, str]] | None:
        """The page that answers, and the values in its path; a HEAD is asked as a GET."""
        asked = "GET" if method == "HEAD" else method
        for page in self._pages:
            if page.method == asked and (values := path_values(page.path, path)) is not None:
                return page, values
        return None


def face_of(path: str, headers: Mapping[str, str]) -> Format:
    """The format that whoever asks there speaks, told by the path, else by the headers, else OpenAI's."""
    names = [name for place, name in _PLACES if path.startswith(place)]
    names += [name for header, name in _SIGNS if header in headers]
    return format_named(next(iter(names), FIRST_FACE))


def nothing_here(method: str, path: str, *, allowed: Iterable[str]) -> Failure:
    """The failure of asking for what is not served: 404, or 405 where another method would be answered."""
    where, known = path.partition("?")[0][:200], tuple(dict.fromkeys(allowed))
    if not known:
        message = f"{method} {where} is not served here"
        return Failure(kind=FailureKind.REQUEST, message=message, status=404, code="unknown_url")
    return WrongMethod(
        kind=FailureKind.REQUEST, message=f"{where} takes {' and '.join(known)}, not {method}", status=405,
        code="method_not_allowed", allowed=known,
    )  # fmt: skip


def query_of(path: str) -> dict[str, str]:
    """What a path's query says, the last value of each name."""
    return dict(parse_qsl(path.partition("?")[2], keep_blank_values=True))


def json_reply(call: Call, value: Json, *, status: int = 200) -> Reply:
    """A value as the answer to this call."""
    headers = [("content-type", "application/json"), ("x-request-id", call.request_id)]
    return Reply(status, headers, msgspec.json.encode(value))
