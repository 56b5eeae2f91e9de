"""Where a ledger is kept: URLs as people write them, and the file where nobody says one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

__all__ = ["OFF", "default_url", "shown", "url_of"]

OFF = "off"
FILE_NAME = "ledger.db"
_POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")
_SQLITE = "sqlite:///"


def url_of(said: str) -> str:
    """The URL of a ledger as the database layer takes it, from a URL or a file's path; ValueError for any other."""
    for scheme in _POSTGRESQL:
        if said.startswith(scheme):
            return "postgresql+psycopg://" + said.removeprefix(scheme)
    if said.startswith(_SQLITE):
        return said
    if "://" in said or not said:
        raise ValueError("a ledger is kept in a file, or in PostgreSQL: give a path or postgresql://USER@HOST/DATABASE")
    return _SQLITE + str(Path(said).expanduser().absolute())


def default_url(environ: Mapping[str, str]) -> str | None:
    """The file in the user's data directory; None where there is no home to keep it in."""
    data = environ.get("XDG_DATA_HOME") or ""
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    if not data and not home:
        return None
    folder = (Path(data) if data else Path(home) / ".local" / "share") / "unbroken"
    return _SQLITE + str(folder / FILE_NAME)


def shown(url: str) -> str:
    """A URL for people: the path of a file, or host and database without who has access to them."""
    if url.startswith(_SQLITE):
        return url.removeprefix(_SQLITE)
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"postgresql://{host}{parts.path}"
