"""A PostgreSQL of our own: Debian's program in a temporary folder, on a socket, for the length of a test session."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

__all__ = ["PostgreSQL", "postgresql"]

USERS = ("postgres", "nobody")
"""Who may run it where the tests run as root, which PostgreSQL refuses."""


def programs() -> Path | None:
    """Where `initdb` and `postgres` are; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


class PostgreSQL:
    """A server that can be stopped, killed and started again."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin, self._folder = bin_folder, folder
        self._user = next((name for name in USERS if _exists(name)), "") if os.geteuid() == 0 else ""
        if self._user:
            shutil.chown(folder, self._user)
        self._databases = 0
        self._run("initdb", "--auth=trust", "--username=test", "--encoding=UTF8", "--no-sync", f"{folder}/data")

    def start(self) -> None:
        """Serve, on a socket in the folder and nowhere else."""
        options = f"-c listen_addresses='' -k {self._folder} -c fsync=off -c max_connections=30"
        self._run(
            "pg_ctl", "start", "--wait", f"--pgdata={self._folder}/data", f"--log={self._folder}/log", "-o", options
        )

    @contextlib.contextmanager
    def gone(self) -> Iterator[None]:
        """Without it, as if it had been killed; then it is there again, with what was committed."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def stop(self) -> None:
        """Stop at once."""
        self._run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={self._folder}/data")

    def url(self, database: str) -> str:
        return f"postgresql://test@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """The URL of an empty one."""
        self._databases += 1
        name = f"ledger{self._databases}"
        self._run("createdb", f"--host={self._folder}", "--username=test", name)
        return self.url(name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), *arguments]
        if self._user:
            command = ["setpriv", f"--reuid={self._user}", f"--regid={self._user}", "--clear-groups", *command]
        environ = {**os.environ, "HOME": str(self._folder)}
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
            cwd=self._folder, env=environ, timeout=60,
        )  # fmt: skip
        if ended.returncode:
            raise RuntimeError(f"{program}: {ended.stderr.decode()}")


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL; without Debian's package `postgresql` (or another one) the test is skipped."""
    found = programs()
    if found is None:
        pytest.skip("needs PostgreSQL: the Debian package `postgresql`")
    folder = Path(tempfile.mkdtemp(prefix="unbroken-pg-"))
    server = PostgreSQL(found, folder)
    try:
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
