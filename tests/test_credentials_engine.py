"""The keyring in a real engine, before a real provider."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.credentials import Credentials, keyring
from unbroken.engine import Engine, Finished
from unbroken.failures import FailureKind
from unbroken.policy import Route
from unbroken.testing import FakeProvider, ManualClock
from unbroken.transport import Connections
from unbroken.types import Request, Target
from unbroken.wire import format_named

PATIENCE_S = 30.0


class Listener:
    def __init__(self) -> None:
        self.end: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()

    def show(self, deltas: object) -> None:
        """It is the end that matters."""

    def finish(self, end: Finished) -> None:
        self.end.set_result(end)


CHAT = b'{"model":"m","messages":[{"role":"user","content":"Hi"}]}'


async def fly(engine: Engine, route: Route) -> Finished:
    """One chat request through an engine, to its end."""
    read_request = format_named("openai_chat").read_request
    request = read_request("/v1/chat/completions", CHAT) if read_request else None
    assert isinstance(request, Request)
    listener = Listener()
    engine.fly(request, route, caller=listener, flight_id="f")
    return await asyncio.wait_for(listener.end, PATIENCE_S)


def put(file: Path, text: str) -> None:
    """What a rotation does."""
    file.write_text(text, encoding="utf-8")


def test_a_rotated_key_costs_no_request(tmp_path: Path) -> None:
    """A real engine and provider: the key changes at both, and a request that is refused is asked again with it."""

    async def run() -> None:
        clock, file = ManualClock(1e9), tmp_path / "key"
        put(file, "key-one")
        credentials = Credentials(clock=clock)
        engine = Engine(
            board=Board(Random(1)), transport=Connections(), clock=time.monotonic, draw=Random(1), bus=Bus(),
            keyring=credentials,
        )  # fmt: skip
        async with FakeProvider(keys={"key-one"}) as provider:
            at = Target(name="p/m", provider="p", model="m", credential=f"file:{file}", base_url=provider.base_url)
            route = Route(name="r", targets=(at,))
            assert (await fly(engine, route)).failure is None
            clock.advance(keyring.DOUBT_S)
            provider.keys = {"key-two"}
            put(file, "key-two")
            ends = await asyncio.gather(*(fly(engine, route) for _ in range(20)))
            assert [end.failure for end in ends] == [None] * 20
            assert {seen.key for seen in provider.seen if seen.status == 200} == {"key-one", "key-two"}

            clock.advance(keyring.DOUBT_S)
            provider.keys = {"key-three"}
            provider.seen.clear()
            refused = await fly(engine, route)
            assert refused.failure is not None and refused.failure.kind is FailureKind.AUTH
            assert {seen.key for seen in provider.seen} == {"key-two"}
            assert len(provider.seen) <= 2, "the same key is tried once more at most"
            assert "key-" not in str(refused)
        await engine.close()

    asyncio.run(run())
