"""How commands speak to a gateway that runs: JSON over HTTP, with an operator's key."""

from __future__ import annotations

import http.client
import ssl
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import msgspec
import typer

from unbroken.faces.cli.ending import fail

__all__ = ["AdminKey", "Gateway", "Unanswered", "Url", "asked", "gateway"]

URL = "http://127.0.0.1:4100"
TIMEOUT_S = 60.0
"""A model that is asked for one word may have to think first."""

Url = Annotated[str, typer.Option(metavar="URL", envvar="UNBROKEN_URL", help="Where the gateway is.")]
AdminKey = Annotated[
    str, typer.Option(metavar="KEY", envvar="UNBROKEN_ADMIN_KEY", help="An operator's key, see server.admin_keys.")
]


class Unanswered(Exception):
    """The gateway could not be asked, or did not do what was asked; the message says why."""


class Gateway:
    """A gateway at an address; a `/v1` at its end, as clients have it, is not minded."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._key = key.partition(",")[0].strip()

    def get(self, *path: str) -> Any:
        """What it tells there; Unanswered where it does not."""
        return self._ask("GET", path)

    def post(self, *path: str, body: object = None) -> Any:
        """What it says to this; Unanswered where it does not do it."""
        return self._ask("POST", path, body=msgspec.json.encode({} if body is None else body))

    def _ask(self, method: str, path: tuple[str, ...], *, body: bytes = b"") -> Any:
        parts = urlsplit(self.url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise Unanswered(f"--url {self.url}: expected an address that begins with http:// or https://")
        where = "/".join((parts.path.rstrip("/"), "admin", *(quote(part, safe="") for part in path)))
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json"}
        connection = _connection(parts.hostname, parts.port, secure=parts.scheme == "https")
        try:
            connection.request(method, where, body=body or None, headers=headers)
            answer = connection.getresponse()
            return _said(answer.status, answer.read())
        except ConnectionRefusedError:
            raise Unanswered(f"nobody listens at {parts.netloc}; `unbroken serve` starts a gateway") from None
        except (OSError, http.client.HTTPException) as error:
            raise Unanswered(f"{parts.netloc} cannot be asked: {str(error) or type(error).__name__}") from None
        finally:
            connection.close()


def _connection(host: str, port: int | None, *, secure: bool) -> http.client.HTTPConnection:
    if secure:
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)


def _said(status: int, body: bytes) -> Any:
    try:
        value = msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Unanswered(f"what answers there is no gateway of ours (status {status})") from None
    if status < 400:
        return value
    error = value.get("error") if isinstance(value, dict) else None
    raise Unanswered(str(error.get("message")) if isinstance(error, dict) else f"status {status}")


def gateway(url: str, key: str) -> Gateway:
    """The gateway that is meant; without a key the command ends."""
    if not key:
        fail("an operator's key is needed: --admin-key, or UNBROKEN_ADMIN_KEY in the environment", code=2)
    return Gateway(url or URL, key)


def asked(url: str, key: str, *path: str, body: object = None) -> Any:
    """What a gateway says to this; the command ends where it does not do it."""
    try:
        return gateway(url, key).post(*path, body=body)
    except Unanswered as why:
        fail(str(why))
