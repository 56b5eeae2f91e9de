"""Files that commands read and write, and how it reads where that cannot be done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from unbroken.faces.cli.ending import fail

__all__ = ["check_outputs", "unreadable", "written"]

PICTURES = (".svg", ".png", ".html")


def check_outputs(*paths: Path | None, picture: Path | None = None) -> None:
    """End the command where one of these could never be written: hours of work should not end with that."""
    if picture is not None and picture.suffix not in PICTURES:
        fail(f"--picture: a picture ends in {', '.join(PICTURES)}, not in {picture.suffix or 'nothing'}", code=2)
    if picture is not None and find_spec("matplotlib") is None:
        fail("--picture needs matplotlib: pip install 'unbroken[pictures]'", code=2)
    for path in (*paths, picture):
        if path is not None and not path.parent.is_dir():
            fail(f"{path}: there is no folder {path.parent}", code=2)


@contextmanager
def written() -> Iterator[None]:
    """While files are written; the command ends where one cannot be."""
    try:
        yield
    except OSError as error:
        fail(f"{error.filename or 'stdout'} cannot be written: {error.strerror or error}")


def unreadable(error: Exception) -> str:
    """What is wrong with a file, with its name where the error knows it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: cannot be read: {error.strerror}"
    return str(error)
