"""What all workers of a machine know together: each tells its own, and whoever is asked adds up.

Counts are added, also those of workers that are gone.  How targets, limits and budgets stand all
of them know alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from unbroken.replicas.replica import Replica
from unbroken.replicas.sums import STATISTICS, STATUS, statistics_of
from unbroken.types import Json

__all__ = ["Whole"]

Object = dict[str, Json]


class Whole:
    """The gateway as one, as far as its workers can be asked."""

    def __init__(self, replica: object, *, statistics: Callable[[], Object], status: Callable[[], Object]) -> None:
        """`replica` is the engine's, if it has one; `statistics` and `status` are what this worker has to tell."""
        self.replica = replica if isinstance(replica, Replica) else None
        self._told = {STATISTICS: statistics, STATUS: status}
        if self.replica is not None:
            for what, tell in self._told.items():
                self.replica.answers[what] = lambda tell=tell: msgspec.json.encode(tell())  # type: ignore[misc]

    async def statistics(self) -> Object:
        """What was counted by all."""
        return statistics_of([self._told[STATISTICS](), *await self._others(STATISTICS)])

    async def status(self) -> Object:
        """How everything stands, with what is under way and was lost at any of them."""
        own, others = self._told[STATUS](), await self._others(STATUS)
        assert self.replica is not None
        named = {target["name"]: target for target in _list(own["targets"])}
        for other in others:
            for target in _list(other["targets"]):
                if (mine := named.get(target["name"])) is not None:
                    mine["in_flight"] += target["in_flight"]
                    mine["last_failure"] = _latest(mine["last_failure"], target["last_failure"])
        requests = _added(one["requests"] for one in (own, *others))
        sinks: Any = own["sinks"]
        dropped = _added(one["sinks"]["dropped"] for one in (own, *others))
        told = {"requests": requests, "sinks": {**sinks, "dropped": dropped}}
        return {**own, **told, "replica": {**self.replica.state(), "workers": 1 + len(others)}}

    async def _others(self, what: str) -> list[Object]:
        assert self.replica is not None
        told = await self.replica.ask(what) or []
        return [msgspec.json.decode(one) for one in told]


def _list(value: Any) -> Sequence[dict[str, Any]]:
    return value if isinstance(value, list) else []


def _latest(*failures: Any) -> Any:
    return max(filter(None, failures), key=lambda failure: failure["at"] or 0.0, default=None)


def _added(counts: Iterable[Any]) -> Object:
    """Numbers by name, added up."""
    total: dict[str, Any] = {}
    for one in counts:
        names: Mapping[str, Any] = one
        for name, number in names.items():
            total[name] = total.get(name, 0) + number
    return total
