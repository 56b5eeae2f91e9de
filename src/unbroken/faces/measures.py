"""`GET /metrics`: what was counted, and how things stand at this moment, as Prometheus wants it told.

What is counted comes from facts (`sinks.metrics`); how targets, queue, budgets, sinks and the
process stand is looked up when somebody asks.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from unbroken import __version__
from unbroken.config import Config
from unbroken.core.breaker import State
from unbroken.core.scopes import Health
from unbroken.engine import Engine
from unbroken.faces.pages import Call, Page
from unbroken.faces.visitor import Later, Reply, Visitor
from unbroken.replicas.replica import Replica
from unbroken.replicas.sums import METRICS, families_of, summed, words_of
from unbroken.sinks.exposition import CONTENT_TYPE, Family, counter, exposition, gauge
from unbroken.sinks.metrics import Metrics
from unbroken.sinks.traces import Traces

__all__ = ["Measured"]

LAG_S = 1.0
"""How often it is measured how late the event loop is."""
_WORST_FIRST = (
    State.FORCED_OPEN, State.OPEN, State.HALF_OPEN, State.RAMPING, State.FORCED_CLOSED, State.CLOSED,
)  # fmt: skip
"""Four scopes make up a target; the worst of their breakers says how it stands."""
_AVAILABLE = frozenset((State.RAMPING, State.FORCED_CLOSED, State.CLOSED))
_PROC = Path("/proc/self")


class Measured:
    """The page, and the counting sink behind it."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._config, self._engine = config, engine
        metrics = engine.bus.find(Metrics)
        if metrics is None:
            metrics = Metrics()
            engine.bus.add(metrics)
        metrics.know(routes=config.routes, targets=config.targets)
        self._metrics = metrics
        self._lag = _Lag()
        if isinstance(engine.replica, Replica):
            engine.replica.answers[METRICS] = lambda: words_of(self._families())

    def follow(self, config: Config) -> None:
        """Tell of the targets and routes of this configuration from now on."""
        self._config = config
        self._metrics.know(routes=config.routes, targets=config.targets)

    def pages(self) -> list[Page]:
        """`GET /metrics`."""
        return [Page(method="GET", path="/metrics", answer=self._answer)]

    def _answer(self, call: Call) -> Reply | Visitor:
        if isinstance(self._engine.replica, Replica):
            return Later(self._whole(call, self._engine.replica), otherwise=lambda: _page(call, self._families()))
        return _page(call, self._families())

    async def _whole(self, call: Call, replica: Replica) -> Reply:
        """With the counts of all workers of this machine: whoever is asked, and it could be any, tells the same."""
        told = await replica.ask(METRICS) or []
        return _page(call, summed(self._families(), [families_of(words) for words in told]))

    def _families(self) -> list[Family]:
        self._engine.bus.flush()
        self._lag.start()
        return [*self._metrics.families(), *self._standing(), *self._sinks(), *self._process()]

    # -- how things stand

    def _standing(self) -> Iterator[Family]:
        board, now = self._engine.board, self._engine.clock()
        scopes = {target.name: board.standing(target).scopes for target in self._config.targets}
        states = {name: _worst(healths) for name, healths in scopes.items()}
        rests = {name: max(0.0, max(h.cool_until for h in healths) - now) for name, healths in scopes.items()}
        yield gauge(
            "unbroken_target_state", "The worst breaker of a target: 1 for the state that it is in.",
            names=("target", "state"),
            values=[((name, one.value), float(one is state)) for name, state in states.items() for one in _WORST_FIRST],
        )  # fmt: skip
        yield gauge(
            "unbroken_target_available", "Whether requests go to a target; not while it rests.", names=("target",),
            values=[((name,), float(state in _AVAILABLE and not rests[name])) for name, state in states.items()],
        )  # fmt: skip
        yield gauge(
            "unbroken_target_rest_seconds", "How long a target is still set aside.", names=("target",),
            values=[((name,), rest_s) for name, rest_s in rests.items()],
        )  # fmt: skip
        yield from self._room()

    def _room(self) -> Iterator[Family]:
        admission = self._engine.admission
        if admission is None:
            return
        yield gauge(
            "unbroken_queue_waiting", "Requests that wait for room.", names=(), values=[((), admission.gate.waiting)]
        )
        accounts = admission.spending.accounts if admission.spending is not None else ()
        yield gauge(
            "unbroken_budget_spent_usd", "What was spent today.", names=("budget",),
            values=[((account.limit.name,), account.spent_usd + account.elsewhere_usd) for account in accounts],
        )  # fmt: skip
        yield gauge(
            "unbroken_budget_limit_usd", "What may be spent on a day.", names=("budget",),
            values=[((account.limit.name,), account.limit.usd_per_day) for account in accounts],
        )  # fmt: skip

    def _sinks(self) -> Iterator[Family]:
        yield counter(
            "unbroken_facts_dropped_total",
            "Facts that some sink was too slow for.",
            names=(),
            values=[((), self._engine.bus.dropped)],
        )
        ledger, traces = self._engine.ledger, self._engine.bus.find(Traces)
        if ledger is not None:
            state = ledger.state()
            rows = [((name,), _number(state.get(name))) for name in ("written", "dropped")]
            yield counter(
                "unbroken_ledger_requests_total", "Requests, by what the ledger did.", names=("outcome",), values=rows
            )
            queued = [((), _number(state.get("queued")))]
            yield gauge("unbroken_ledger_queued", "Requests that wait to be written.", names=(), values=queued)
        if traces is not None:
            spans = [(("sent",), traces.sent), (("dropped",), traces.dropped)]
            yield counter("unbroken_spans_total", "Spans, by what became of them.", names=("outcome",), values=spans)

    def _process(self) -> Iterator[Family]:
        build = [((__version__,), 1.0)]
        yield gauge("unbroken_build_info", "Which version this is.", names=("version",), values=build)
        times = os.times()
        cpu_s = [((), times.user + times.system)]
        yield counter("process_cpu_seconds_total", "CPU time of the process.", names=(), values=cpu_s)
        memory = [((), value) for value in _resident_bytes()]
        yield gauge("process_resident_memory_bytes", "Memory that the process has.", names=(), values=memory)
        began = [((), _BEGAN)]
        yield gauge("process_start_time_seconds", "When the process began, since 1970.", names=(), values=began)
        files = [((), value) for value in _open_files()]
        yield gauge("process_open_fds", "Files and sockets that are open.", names=(), values=files)
        lag = [((), self._lag.take())]
        yield gauge(
            "unbroken_event_loop_lag_seconds",
            "The latest that the event loop was since the last scrape.",
            names=(),
            values=lag,
        )


def _page(call: Call, families: Iterable[Family]) -> Reply:
    text = exposition(families)
    return Reply(200, [("content-type", CONTENT_TYPE), ("x-request-id", call.request_id)], text.encode())


class _Lag:
    """How late the event loop is: a timer looks at the clock whenever it is called."""

    def __init__(self) -> None:
        self._worst_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on, in the loop that runs, if any does; a second time does nothing."""
        if self._timer is None:
            with contextlib.suppress(RuntimeError):
                self._again(asyncio.get_running_loop())

    def take(self) -> float:
        """The worst since the last time, in seconds."""
        worst_s, self._worst_s = self._worst_s, 0.0
        return worst_s

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + LAG_S
        self._timer = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._worst_s = max(self._worst_s, loop.time() - due)
        self._again(loop)


_BEGAN = time.time()


def _worst(healths: Iterable[Health]) -> State:
    states = {health.breaker.state for health in healths}
    return next(state for state in _WORST_FIRST if state in states)


def _resident_bytes() -> list[float]:
    """None or one: only Linux tells."""
    try:
        pages = int((_PROC / "statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError):
        return []
    return [float(pages * os.sysconf("SC_PAGE_SIZE"))]


def _open_files() -> list[float]:
    try:
        return [float(len(os.listdir(_PROC / "fd")))]  # noqa: PTH208 - a path for each of them is not needed
    except OSError:
        return []


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
