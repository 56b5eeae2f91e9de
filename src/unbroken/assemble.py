"""From a configuration to a running engine: the only file that knows the concrete classes."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from time import monotonic

from unbroken.bus import Bus
from unbroken.config import Config
from unbroken.core.board import Board
from unbroken.credentials import Credentials
from unbroken.engine import Engine
from unbroken.policy import Breaking
from unbroken.sinks.logs import Logs
from unbroken.transport import Connections

__all__ = ["engine"]


def engine(config: Config, *, seed: int | None = None) -> Engine:
    """An engine for this configuration; `seed` makes its chance repeatable."""
    draw = Random(seed)
    transport = Connections(answer_bytes_max=int(config.server.response_limit_mb * 1024 * 1024))
    board = Board(draw, _breaking(config), default=config.defaults.breaking)
    return Engine(
        board=board, transport=transport, clock=monotonic, bus=Bus([Logs()]), draw=draw, keyring=Credentials()
    )


def _breaking(config: Config) -> Mapping[str, Breaking]:
    """The breaker's policy by target; a target on several routes takes the last one's."""
    return {target.name: route.policy.breaking for route in config.routes.values() for target in route.targets}
