"""The file that holds the gateway's keys: read whole, replaced whole, and readable by its owner alone.

    file = KeyFile(Path("keys.json"))
    entries = file.read()                      () where it is not there yet
    entry, key = file.create(name="alice")     the key is told here, and never again
    file.revoke("alice")

A reader sees the old file or the new one and nothing between, and two writers wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from unbroken.keys.entry import KeyEntry, digest_of, new_key

try:
    import fcntl
except ImportError:  # Windows has other locks; there two commands at the same moment are left to chance
    fcntl = None  # type: ignore[assignment]

__all__ = ["KeyFile", "KeyFileError"]

BYTES_MAX = 64_000_000
"""Some 200,000 keys."""
VERSION = 1


class KeyFileError(Exception):
    """The file cannot be read or written, or it is no file of keys; the message says why and quotes nothing of it."""


class _Shape(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    keys: tuple[KeyEntry, ...] = ()


class KeyFile:
    """A file of keys, which need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[KeyEntry, ...]:
        """All that it holds, the revoked ones too."""
        try:
            with self.path.open("rb") as file:
                data = file.read(BYTES_MAX + 1)
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be read: {error.strerror}") from None
        if len(data) > BYTES_MAX:
            raise KeyFileError(f"{self.path} is larger than {BYTES_MAX // 1_000_000} MB, so hardly a file of keys")
        return self._decoded(data)

    def create(self, name: str, **about: Any) -> tuple[KeyEntry, str]:
        """A new key, and what is kept of it; `about` are fields of `KeyEntry`.

        ValueError where the name is taken by a key that is not revoked, or a field is wrong.
        """
        key = new_key()
        entry = KeyEntry(
            id=f"key_{secrets.token_hex(4)}", name=name, hash=digest_of(key),
            created=datetime.now(UTC).replace(microsecond=0), **about,
        )  # fmt: skip
        try:
            entry = msgspec.convert(msgspec.to_builtins(entry), KeyEntry, strict=False)  # now its bounds are looked at
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None
        with self._alone():
            entries = self.read()
            if any(other.name == name and other.revoked is None for other in entries):
                raise ValueError(f"there is a key {name!r} already; revoke it first, or choose another name")
            self._write((*entries, entry))
        return entry, key

    def revoke(self, which: str) -> KeyEntry:
        """Have this key (its id, or its name) let nobody in any more; KeyError where there is none that does."""
        with self._alone():
            entries = self.read()
            found = next((e for e in entries if which in {e.id, e.name} and e.revoked is None), None)
            if found is None:
                raise KeyError(which)
            gone = msgspec.structs.replace(found, revoked=datetime.now(UTC).replace(microsecond=0))
            self._write([gone if entry is found else entry for entry in entries])
        return gone

    @property
    def exposed(self) -> bool:
        """Whether others than its owner could put keys of their own into it."""
        try:
            return os.name == "posix" and bool(self.path.stat().st_mode & 0o022)
        except OSError:
            return False

    def _decoded(self, data: bytes) -> tuple[KeyEntry, ...]:
        try:
            shape = msgspec.json.decode(data, type=_Shape)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise KeyFileError(f"{self.path} is no file of keys: {error}") from None
        if shape.version != VERSION:
            raise KeyFileError(f"{self.path} is of version {shape.version}, and only version {VERSION} is known here")
        for what in ("id", "hash"):
            values = [getattr(entry, what) for entry in shape.keys]
            if len(set(values)) < len(values):
                raise KeyFileError(f"{self.path} has two keys with the same {what}")
        return shape.keys

    def _write(self, entries: Sequence[KeyEntry]) -> None:
        data = msgspec.json.format(msgspec.json.encode(_Shape(VERSION, tuple(entries))))
        path = self.path.resolve()  # what a link leads to is replaced, not the link
        new = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data + b"\n")
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink()
            raise KeyFileError(f"{self.path} cannot be written: {error.strerror}") from None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else writes meanwhile."""
        if fcntl is None:
            yield
            return
        try:
            folder = os.open(self.path.resolve().parent, os.O_RDONLY)
        except OSError as error:
            raise KeyFileError(f"{self.path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
