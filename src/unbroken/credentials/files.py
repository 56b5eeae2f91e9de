"""Keys in files: a mounted secret, or what `hf auth login` left."""

from __future__ import annotations

import os
from pathlib import Path

from unbroken.credentials.references import TOKEN_FILE, Reference, hugging_face_file
from unbroken.credentials.source import KEY_CHARS_MAX, Held, Unreadable, held

__all__ = ["File", "source"]


class File:
    """A file that holds nothing but a key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, *, anew: bool) -> Held:
        """What it says now."""
        try:
            with self.path.open("rb") as file:
                data = file.read(KEY_CHARS_MAX + 2)
        except OSError as error:
            raise Unreadable(f"{self.path} cannot be read: {error.strerror}") from None
        try:
            return held(data.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise Unreadable(f"{self.path} is no text") from None


def source(reference: Reference) -> File:
    """The file that is meant."""
    if reference.scheme == TOKEN_FILE:
        return File(Path(hugging_face_file(os.environ)))
    return File(Path(reference.place).expanduser())
