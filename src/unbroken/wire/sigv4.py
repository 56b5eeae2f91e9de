"""AWS Signature Version 4: a request, signed with a secret that is not sent.

    sign(request, key_id=..., secret=..., token=..., region=..., service=..., at=...) -> HttpRequest

What is signed is a canonical text of the request: its method, path, query, headers and the
hash of its body.  The path is quoted once more than it stands in the URL (as every service but
S3 wants it), the parts of the query are sorted, the headers are in lower case and sorted.  The key that
signs is made from the secret, the day, the region and the service, so a leaked one is of little use.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from urllib.parse import quote, urlsplit

from unbroken.records import replace
from unbroken.types import HttpRequest

__all__ = ["sign"]

_ALGORITHM = "AWS4-HMAC-SHA256"
_PORTS = {"http": 80, "https": 443}
_CHANGED_ON_THE_WAY = frozenset((
    "baggage", "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "traceparent",
    "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
))  # fmt: skip
"""Headers that proxies and tracers touch are not signed."""
_REPLACED = frozenset(("authorization", "date", "x-amz-date", "x-amz-security-token"))


def sign(
    request: HttpRequest, *, key_id: str, secret: str, token: str = "", region: str, service: str, at: datetime
) -> HttpRequest:
    """The request with `authorization`, `x-amz-date` and, for a session's `token`, `x-amz-security-token`.

    `at` is the time of signing; without a time zone it is taken for UTC.  AWS refuses a
    signature that is more than five minutes old.
    """
    moment = (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {name: value for name, value in request.headers.items() if name.lower() not in _REPLACED}
    headers["x-amz-date"] = moment
    if token:
        headers["x-amz-security-token"] = token
    signed = _signed_headers(request.url, headers)
    names = ";".join(signed)
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    digest = sha256(_canonical(request, signed).encode()).hexdigest()
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = _mac(key, part)
    signature = _mac(key, f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}").hex()
    headers["authorization"] = f"{_ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}"
    return replace(request, headers=headers)


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


def _signed_headers(url: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that are signed, in lower case and sorted, with runs of blanks made one."""
    named = {"host": _host(url), **{name.lower(): value for name, value in headers.items()}}
    return {name: " ".join(named[name].split()) for name in sorted(named) if name not in _CHANGED_ON_THE_WAY}


def _canonical(request: HttpRequest, signed: Mapping[str, str]) -> str:
    """The text whose hash is signed."""
    parts = urlsplit(request.url)
    lines = [
        request.method.upper(),
        quote(_straight(parts.path), safe="/~"),
        _sorted_query(parts.query),
        *(f"{name}:{value}" for name, value in signed.items()),
        "",
        ";".join(signed),
        sha256(request.body).hexdigest(),
    ]
    return "\n".join(lines)


def _host(url: str) -> str:
    """As clients send it: lower case, with a port only where it is not the usual one."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    name = f"[{name}]" if ":" in name else name
    return name if parts.port in (None, _PORTS.get(parts.scheme)) else f"{name}:{parts.port}"


def _straight(path: str) -> str:
    """A path without `.`, `..` and empty segments."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    return "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")


def _sorted_query(query: str) -> str:
    """The pairs of a query, sorted by name and value; a name alone gets an equals sign."""
    pairs = sorted(pair.partition("=")[::2] for pair in query.split("&")) if query else []
    return "&".join(f"{name}={value}" for name, value in pairs)
