"""Films that wait to be fetched: small ones in memory, large ones in files that have no name."""

from __future__ import annotations

import asyncio
import os
import tempfile
import weakref
from pathlib import Path

from unbroken.faces.visitor import Headers, Visitor

__all__ = ["MEMORY_BYTES_MAX", "Film", "Reading", "stored"]

MEMORY_BYTES_MAX = 1024 * 1024
"""A film of some seconds in low resolution; longer ones are read piece by piece from a file."""
PIECE_BYTES = 256 * 1024


class Film:
    """The bytes of one film; what they take is given back when nobody holds it any more."""

    __slots__ = ("__weakref__", "_data", "_fd", "media_type", "size")

    def __init__(self, data: bytes, media_type: str, *, fd: int | None = None, size: int | None = None) -> None:
        self._data, self._fd = data, fd
        self.media_type = media_type
        self.size = len(data) if size is None else size
        if fd is not None:
            weakref.finalize(self, os.close, fd)

    def read(self, at: int, size: int) -> bytes:
        """So many bytes from this place on, fewer at the end."""
        return self._data[at : at + size] if self._fd is None else os.pread(self._fd, size, at)


def stored(data: bytes, media_type: str) -> Film:
    """A film in a file that has no name; blocks while it is written.  OSError where there is no room."""
    fd, path = tempfile.mkstemp(prefix="unbroken-film-")
    try:
        Path(path).unlink()
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    except OSError:
        os.close(fd)
        raise
    return Film(b"", media_type, fd=fd, size=len(data))


class Reading(Visitor):
    """A caller who is read a film, as fast as they take it in."""

    __slots__ = ("_at", "_film", "_paused")

    def __init__(self, film: Film, headers: Headers) -> None:
        super().__init__()
        self.status, self.headers = 200, headers
        self._film, self._at, self._paused = film, 0, False

    def take(self) -> bytes:
        if self.over:
            return b""
        piece = self._film.read(self._at, PIECE_BYTES)
        self._at += len(piece)
        self.over = not piece or self._at >= self._film.size
        self._go_on()
        return piece

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        self._go_on()

    def leave(self) -> None:
        self.over = True

    def _go_on(self) -> None:
        """Say that there is more, once whoever asks has taken this piece."""
        if not self.over and not self._paused:
            asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        if self.notify is not None and not self.over and not self._paused:
            self.notify()
