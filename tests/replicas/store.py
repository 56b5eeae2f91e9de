"""A Valkey or Redis of our own: Debian's program on a loopback port, without a file, for the length of a test."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

__all__ = ["PASSWORD", "Store", "store"]

PROGRAMS = ("valkey-server", "redis-server")
PASSWORD = "store-planted-51cc"
START_S = 20.0


class Store:
    """A server that can be killed, stopped in its tracks, and started again, empty, at the same address."""

    def __init__(self, program: str) -> None:
        self._program = program
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    @property
    def bare_url(self) -> str:
        """Without the password."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Serve, until killed."""
        options = [
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--requirepass",
            PASSWORD,
            "--rdbcompression",
            "no",
        ]
        self._process = subprocess.Popen(
            [self._program, "--port", str(self.port), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as here:
                here.sendall(b"PING\r\n")
                if here.recv(1):
                    return
            time.sleep(0.02)
        raise RuntimeError(f"{self._program} does not serve")

    def kill(self) -> None:
        """SIGKILL: everything that it knew is gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """It takes connections, and says nothing any more."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It says something again."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@pytest.fixture
def store() -> Iterator[Store]:
    """A store; without Debian's package `valkey-server` or `redis-server` the test is skipped."""
    program = next((name for name in PROGRAMS if shutil.which(name)), None)
    if program is None:
        pytest.skip("needs Valkey or Redis: the Debian package `valkey-server` or `redis-server`")
    server = Store(program)
    server.start()
    try:
        yield server
    finally:
        server.kill()
