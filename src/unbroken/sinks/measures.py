"""The histograms of OpenTelemetry's conventions for generative AI, sent from time to time.

They are the same counts as Prometheus is told, under the conventions' names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping

from unbroken.facts import Fact
from unbroken.sinks.exposition import Buckets
from unbroken.sinks.genai import DURATION, FIRST_TOKEN, TOKENS, operation, provider, server
from unbroken.sinks.metrics import ANSWERED, DURATION_BOUNDS, FIRST_BOUNDS, OTHER, TOKEN_BOUNDS, Metrics
from unbroken.sinks.otlp import Histogram, Point, Scalar, metrics_message
from unbroken.sinks.sender import Sender
from unbroken.telemetry import Exporting
from unbroken.types import Task

__all__ = ["Measures"]


class Measures:
    """Sends the counts of a `Metrics`; as a sink it only learns that there is something to send."""

    def __init__(
        self, settings: Exporting, sender: Sender, *, metrics: Metrics, wall: Callable[[], float], version: str
    ) -> None:  # fmt: skip
        self._settings, self._sender, self._metrics = settings, sender, metrics
        self._wall, self._version = wall, version
        self._start_ns = int(wall() * 1e9)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def dropped(self) -> int:
        """Messages that never arrived; the next one makes up for them."""
        return self._sender.dropped

    def write(self, facts: list[Fact]) -> None:
        """Something happened: send the counts when it is time."""
        if self._timer is None and facts:
            self._timer = asyncio.get_running_loop().call_later(self._settings.metrics_every_s, self._send)

    async def drain(self, grace_s: float = 2.0) -> None:
        """Send the last counts."""
        if self._timer is not None:
            self._send()
        await self._sender.close(grace_s)

    def _send(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        message = metrics_message(
            self._histograms(), start_ns=self._start_ns, now_ns=int(self._wall() * 1e9),
            resource=self._settings.resource, version=self._version,
        )  # fmt: skip
        self._sender.send(message, weight=1)

    def _histograms(self) -> Iterable[Histogram]:
        metrics = self._metrics
        durations = [
            _point(self._said(label, task) | ({} if outcome == ANSWERED else {"error.type": outcome}), buckets)
            for (label, task, outcome), buckets in metrics.attempt_s.items()
        ]
        firsts = [_point(self._said(label, task), buckets) for (label, task), buckets in metrics.first_s.items()]
        tokens = [
            _point(self._said(label, task) | {"gen_ai.token.type": kind}, buckets)
            for (label, task, kind), buckets in metrics.tokens.items()
        ]
        told = (
            (DURATION, DURATION_BOUNDS, durations), (FIRST_TOKEN, FIRST_BOUNDS, firsts), (TOKENS, TOKEN_BOUNDS, tokens),
        )  # fmt: skip
        return [Histogram(*name, bounds, points) for name, bounds, points in told if points]

    def _said(self, label: str, task: str) -> dict[str, Scalar]:
        """Who is meant, in the conventions' words."""
        done: dict[str, Scalar] = {"gen_ai.operation.name": operation(Task(task))}
        target = self._metrics.targets.get(label)
        if target is None:
            return done | {"gen_ai.provider.name": OTHER}
        host, port = server(target.base_url)
        where: dict[str, Scalar] = {"server.address": host, "server.port": port} if host and port else {}
        known: dict[str, Scalar] = {"gen_ai.provider.name": provider(target), "gen_ai.request.model": target.model}
        return done | known | where


def _point(said: Mapping[str, Scalar], buckets: Buckets) -> Point:
    return Point(attributes=said, counts=buckets.counts, total=buckets.total)
