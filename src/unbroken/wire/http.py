"""Requests to providers as HTTP: the address, the key, the target's own headers; and names of content types."""

from __future__ import annotations

from unbroken.types import HttpRequest, Target

__all__ = ["JSON_TYPE", "STREAM_TYPE", "get", "post"]

JSON_TYPE = "application/json"
STREAM_TYPE = "text/event-stream; charset=utf-8"


def post(
    target: Target,
    path: str,
    *,
    body: bytes,
    unsaid: tuple[str, ...] = (),
    key_in: str = "bearer",
    content_type: str = JSON_TYPE,
) -> HttpRequest:
    """A POST to a path below the target's address.

    The address' own query stays behind the path.  The key is shown as the target says
    (`Target.auth`), else as `key_in` says: as a bearer token, or in the header of that name.
    A target that signs shows no key.
    """
    headers = {"content-type": content_type, "accept-encoding": "identity", **_key(target, key_in)}
    for name, value in target.headers.items():
        headers[name.lower()] = value
    return HttpRequest(method="POST", url=_address(target, path), headers=headers, body=body, unsaid=unsaid)


def get(target: Target, path: str, *, unsaid: tuple[str, ...] = (), key_in: str = "bearer") -> HttpRequest:
    """A GET of a path below the target's address, with the key as in `post`."""
    headers = {"accept-encoding": "identity", **_key(target, key_in)}
    for name, value in target.headers.items():
        headers[name.lower()] = value
    return HttpRequest(method="GET", url=_address(target, path), headers=headers, unsaid=unsaid)


def _key(target: Target, key_in: str) -> dict[str, str]:
    where = target.auth or key_in
    if not target.key or where == "sigv4":
        return {}
    return {"authorization": f"Bearer {target.key}"} if where == "bearer" else {where: target.key}


def _address(target: Target, path: str) -> str:
    base, _, query = target.base_url.partition("?")
    if not query:
        return base.rstrip("/") + path
    path, _, own = path.partition("?")
    return f"{base.rstrip('/')}{path}?{own}{'&' if own else ''}{query}"
