"""What the tests of the client share: providers on loopback, and a client over them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from unbroken import Unbroken
from unbroken.testing import FakeProvider, Trouble

PRICE = {"input_usd": 1.0, "output_usd": 2.0}
LIMITS = {"deadlines": {"connect_s": 5, "first_content_s": 8, "total_s": 60, "gap_s": 2}}
"""Far above what a slow machine needs, so that silence is noticed and work is not cut off."""


def section(fake: FakeProvider, **more: Any) -> dict[str, Any]:
    """A provider as a user would write it."""
    return {"base_url": fake.base_url, "key": f"sk-{fake.name}", "model": "word-model", "price": PRICE, **more}


@asynccontextmanager
async def over(*fakes: FakeProvider, **values: Any) -> AsyncIterator[Unbroken]:
    """A client over these providers, in order."""
    for fake in fakes:
        await fake.start()
    given = {name: value for name, value in values.items() if name != "providers"}
    providers = {**{fake.name: section(fake) for fake in fakes}, **values.get("providers", {})}
    try:
        async with Unbroken(**{"defaults": LIMITS, "environ": {}, **given, "providers": providers}) as client:
            yield client
    finally:
        for fake in fakes:
            await fake.close()


class Town:
    """Providers in a thread of their own, for clients that block theirs."""

    def __init__(self, *names: str) -> None:
        self.fakes = {name: FakeProvider(name) for name in names}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def start(self) -> None:
        """Open all."""
        self._thread.start()
        for fake in self.fakes.values():
            asyncio.run_coroutine_threadsafe(fake.start(), self._loop).result()

    def stop(self) -> None:
        """Close all."""
        for fake in self.fakes.values():
            asyncio.run_coroutine_threadsafe(fake.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def breaks(self, name: str, trouble: Trouble | None) -> None:
        """From now on this one has this trouble; None heals it."""

        async def act() -> None:
            if trouble is None:
                self.fakes[name].heal()
            else:
                self.fakes[name].fail_with(trouble)

        asyncio.run_coroutine_threadsafe(act(), self._loop).result()


@contextmanager
def town(*names: str) -> Iterator[Town]:
    """Providers of these names, running."""
    made = Town(*names)
    made.start()
    try:
        yield made
    finally:
        made.stop()
