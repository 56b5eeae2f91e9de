"""The server's section of a configuration: where the gateway listens, and who may use it."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from unbroken.config_file import Document
from unbroken.config_shape import Secret, ServerSection
from unbroken.keys import KeyEntry, KeyFile, KeyFileError

__all__ = ["Server", "key_file_of", "server_of", "with_issued"]

KEYS_VARIABLE, ADMIN_VARIABLE = "UNBROKEN_KEYS", "UNBROKEN_ADMIN_KEY"
"""Where callers' and operators' keys are looked for that the file does not give, with commas between several."""
FILE_VARIABLE = "UNBROKEN_KEY_FILE"
"""Where the path of the file of keys is looked for that the file does not give."""
ADMIN_CHARS_MIN = 12
"""A shorter key can be guessed by whoever can reach the gateway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Where the gateway listens, who may use it, the largest bodies that it takes and the room for kept answers.

    `keys` are callers', `admin_keys` operators'.  `issued` is what the file of keys, `key_file`, holds.
    """

    host: str = "127.0.0.1"
    port: int = 4100
    keys: tuple[str, ...] = field(default=(), repr=False)
    admin_keys: tuple[Secret, ...] = ()
    body_limit_mb: float = 20.0
    response_limit_mb: float = 32.0
    cache_mb: float = 64.0
    workers: int = 1
    drain_s: float = 0.0
    grace_s: float = 30.0
    key_file: str = ""
    issued: tuple[KeyEntry, ...] = field(default=(), repr=False)

    @property
    def guarded(self) -> bool:
        """Whether callers have to show a key; an empty file of keys lets nobody in, and not everybody."""
        return bool(self.keys or self.key_file)

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
        if self.loopback or self.guarded:
            return None
        return (
            "listening beyond this machine without keys would let anybody in: give `server.keys` "
            "(or UNBROKEN_KEYS in the environment) or `server.key_file`, or listen on 127.0.0.1"
        )


def server_of(section: ServerSection, document: Document, *, environ: Mapping[str, str]) -> Server:
    """The server as its section says, with the environment's keys where it gives none; problems are reported."""
    keys = tuple(key.value for key in section.keys) or _listed(environ, KEYS_VARIABLE)
    if not all(key.strip() for key in keys):
        document.problem(("server", "keys"), "a key is empty: that would let anybody in")
    server = Server(
        host=section.host, port=section.port, keys=keys, key_file=_path(section, document, environ=environ),
        admin_keys=_admin_keys(section.admin_keys, keys, document=document, environ=environ),
        body_limit_mb=section.body_limit_mb, response_limit_mb=section.response_limit_mb,
        cache_mb=section.cache_mb, workers=section.workers, drain_s=section.drain_s, grace_s=section.grace_s,
    )  # fmt: skip
    if problem := server.problem():
        document.problem(("server", "host"), problem)
    try:
        return with_issued(server)
    except KeyFileError as error:
        document.problem(("server", "key_file"), str(error))
        return server


def with_issued(server: Server) -> Server:
    """The server with the keys that its file holds at this moment; KeyFileError where that cannot be read."""
    return replace(server, issued=KeyFile(Path(server.key_file)).read()) if server.key_file else server


def key_file_of(server: Server) -> Iterator[str]:
    """Warnings of a file of keys that lets nobody in, or that others could write."""
    if not server.key_file:
        return
    if not server.issued and not server.keys:
        yield f"{server.key_file} holds no key yet, so nobody is let in: `unbroken keys create NAME` makes one"
    if KeyFile(Path(server.key_file)).exposed:
        yield f"{server.key_file} can be written by others than its owner, who could let themselves in: chmod 600"


def _path(section: ServerSection, document: Document, *, environ: Mapping[str, str]) -> str:
    """Where the file of keys is; empty where there is none."""
    if section.key_file:
        return str(Path(document.file).parent / Path(section.key_file).expanduser())
    return environ.get(FILE_VARIABLE, "").strip()


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
