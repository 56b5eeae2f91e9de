"""What holds for every test: no network beyond loopback, and one place to find shared data."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

# A shared machine is slow now and then: no deadline on a single example.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", settings.get_profile("default"), max_examples=10_000)
settings.load_profile("default")


class NetworkOff(RuntimeError):  # no OSError, which the code under test would take for an unreachable provider
    """A test tried to reach something beyond this machine."""

    def __init__(self, where: object) -> None:
        super().__init__(f"tests stay on loopback, and this one tried to reach {where!r}: use unbroken.testing")


def is_loopback(host: object) -> bool:
    """Whether this host, as sockets and resolvers take it, is this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture(scope="session", autouse=True)
def network_off() -> Iterator[None]:
    """Connections and look-ups beyond loopback raise, in this process, for the whole session."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address: Any) -> None:
        if isinstance(address, tuple) and not is_loopback(address[0]):  # a path is a Unix socket
            raise NetworkOff(address)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        refuse(address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        refuse(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if not is_loopback(host):
            raise NetworkOff(host)
        return getaddrinfo(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of recorded interactions, traces and batteries; without it, the test is skipped."""
    folder = Path(os.environ.get("UNBROKEN_SHARED") or ROOT.parent / "shared")
    if not folder.is_dir():
        pytest.skip("needs the shared data: a folder `shared` beside the repository, or UNBROKEN_SHARED")
    return folder
