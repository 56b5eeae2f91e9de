"""The server's section of a configuration: where the gateway listens, and who may use it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from unbroken.config_file import Document
from unbroken.config_shape import Secret, ServerSection

__all__ = ["Server", "server_of"]

KEYS_VARIABLE, ADMIN_VARIABLE = "UNBROKEN_KEYS", "UNBROKEN_ADMIN_KEY"
"""Where callers' and operators' keys are looked for that the file does not give, with commas between several."""
ADMIN_CHARS_MIN = 12
"""A shorter key can be guessed by whoever can reach the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the gateway listens, who may use it, the largest bodies that it takes and the room for kept answers.

    `keys` are callers', `admin_keys` operators'.
    """

    host: str = "127.0.0.1"
    port: int = 4100
    keys: tuple[str, ...] = field(default=(), repr=False)
    admin_keys: tuple[Secret, ...] = ()
    body_limit_mb: float = 20.0
    response_limit_mb: float = 32.0
    cache_mb: float = 64.0

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host.lower() == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False

    def problem(self) -> str | None:
        """Why it must not listen like this, and what to do about it; None where it may."""
        if self.loopback or self.keys:
            return None
        return (
            "listening beyond this machine without keys would let anybody in: give `server.keys` "
            "(or UNBROKEN_KEYS in the environment), or listen on 127.0.0.1"
        )


def server_of(section: ServerSection, document: Document, *, environ: Mapping[str, str]) -> Server:
    """The server as its section says, with the environment's keys where it gives none; problems are reported."""
    keys = tuple(key.value for key in section.keys) or _listed(environ, KEYS_VARIABLE)
    if not all(key.strip() for key in keys):
        document.problem(("server", "keys"), "a key is empty: that would let anybody in")
    server = Server(
        host=section.host, port=section.port, keys=keys,
        admin_keys=_admin_keys(section.admin_keys, keys, document=document, environ=environ),
        body_limit_mb=section.body_limit_mb, response_limit_mb=section.response_limit_mb,
        cache_mb=section.cache_mb,
    )  # fmt: skip
    if problem := server.problem():
        document.problem(("server", "host"), problem)
    return server


def _admin_keys(
    given: Sequence[Secret], keys: Sequence[str], *, document: Document, environ: Mapping[str, str]
) -> tuple[Secret, ...]:
    """The operators' keys; one that callers have too, or that is easily guessed, is reported."""
    path: tuple[str, ...] = ("server", "admin_keys")
    if not given:
        path, given = (ADMIN_VARIABLE,), [Secret(key, ADMIN_VARIABLE) for key in _listed(environ, ADMIN_VARIABLE)]
    for key in given:
        if key.value in keys:
            document.problem(path, "an operator's key is a caller's too: every caller could switch everything")
        elif len(key.value) < ADMIN_CHARS_MIN:
            document.problem(path, f"an operator's key has {ADMIN_CHARS_MIN} characters at least")
    return tuple(given)


def _listed(environ: Mapping[str, str], variable: str) -> tuple[str, ...]:
    return tuple(filter(None, (key.strip() for key in environ.get(variable, "").split(","))))
