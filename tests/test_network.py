"""The guard of conftest.py, tested: a suite that reaches out by accident must say so."""

from __future__ import annotations

import asyncio
import socket

import pytest


@pytest.mark.parametrize("address", [("192.0.2.1", 80), ("2001:db8::1", 80, 0, 0)])
def test_connections_beyond_loopback_raise(address: tuple[object, ...]) -> None:
    """A test that connects to another machine fails with a message that says why."""
    family = socket.AF_INET6 if len(address) > 2 else socket.AF_INET
    with socket.socket(family) as line, pytest.raises(RuntimeError, match="tests stay on loopback"):
        line.connect(address)


def test_names_are_not_looked_up() -> None:
    """A test that resolves a foreign name fails before anything is sent."""
    with pytest.raises(RuntimeError, match=r"provider\.example"):
        asyncio.run(asyncio.open_connection("provider.example", 443))


def test_loopback_works() -> None:
    """Fakes on this machine can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as line:
        assert line.getpeername() == server.getsockname()
