"""The dashboard: one page for operators under `/dashboard`, live from `/admin`.

    page.html, style.css     what is there, and how it looks
    app.js                   begins; asks for the key; controls
    gateway.js               `/admin` over HTTP: questions, acts, and the stream of events, which reconnects by itself
    model.js                 facts folded into what the page shows; knows nothing of the page
    dom.js, marks.js         elements written only where they change; a shape and a word for each state
    targets.js, lists.js     the table of targets; failovers, requests, routes, budgets, changes
    charts.js, timeline.js   traffic, latency and cost over time; one request from its first attempt to its last

These files hold no secret and are served to everybody; what they show comes from `/admin`, for
an operator's key in a header.  Nothing comes from anywhere else, and the browser is told to see to that.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec

from unbroken.config_shape import CHOICES
from unbroken.faces.pages import Call, Page
from unbroken.faces.visitor import Headers, Reply

__all__ = ["PATH", "pages"]

PATH = "/dashboard"

_HTML, _CSS, _SCRIPT, _JSON = "text/html", "text/css", "text/javascript", "application/json"
_FILES = {"style.css": _CSS} | {
    f"{name}.js": _SCRIPT
    for name in ("app", "charts", "dom", "gateway", "lists", "marks", "model", "targets", "timeline")
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing from elsewhere, nothing in line, no text that becomes markup: a name of a model stays a name."""
_HEADERS: Headers = [
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-cache"),
]


def pages() -> list[Page]:
    """The page, its files, and the names of the strategies that a route can have."""
    answers = {PATH: (_HTML, "page.html")} | {f"{PATH}/{name}": (kind, name) for name, kind in _FILES.items()}
    return [
        *(_page(path, kind, name=name) for path, (kind, name) in answers.items()),
        Page(method="GET", path=f"{PATH}/", answer=_elsewhere),
        Page(method="GET", path=f"{PATH}/strategies.json", answer=_strategies),
    ]


def _page(path: str, kind: str, *, name: str) -> Page:
    return Page(method="GET", path=path, answer=lambda _: _reply(kind, _content(name)))


def _reply(kind: str, body: bytes) -> Reply:
    return Reply(200, [("content-type", f"{kind}; charset=utf-8"), *_HEADERS], body)


def _elsewhere(_call: Call) -> Reply:
    """The page's addresses are relative, so that it works behind any prefix: it has one address only."""
    return Reply(308, [("location", "../dashboard"), *_HEADERS], b"")


def _strategies(_call: Call) -> Reply:
    return _reply(_JSON, msgspec.json.encode(CHOICES["strategy"]))


@cache
def _content(name: str) -> bytes:
    return resources.files(__name__).joinpath(name).read_bytes()
