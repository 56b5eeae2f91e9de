"""From a configuration to a running engine: the only file that knows the concrete classes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from random import Random
from socket import gethostname
from time import monotonic, time

from unbroken import __version__
from unbroken.bus import Bus
from unbroken.cache import Desk, InMemory
from unbroken.cache.meaning import Meanings, wanted_by
from unbroken.config import Config
from unbroken.config_shape import StoreSection
from unbroken.core.board import Board
from unbroken.core.limits import Limits
from unbroken.core.probing import Rounds
from unbroken.core.spend import Spending
from unbroken.counting import Counting
from unbroken.credentials import Credentials, secret
from unbroken.engine import Engine, Memory
from unbroken.ledger import Keeping, Ledger, LedgerUnavailable, default_url, url_of
from unbroken.policy import Breaking, Probing, Route
from unbroken.probes import Prober, posts_of
from unbroken.replicas.answers import SharedAnswers
from unbroken.replicas.backplane import Backplane
from unbroken.replicas.replica import Replica
from unbroken.sinks.logs import Logs
from unbroken.sinks.measures import Measures
from unbroken.sinks.metrics import Metrics
from unbroken.sinks.sender import Sender
from unbroken.sinks.traces import Traces
from unbroken.transport import Connections
from unbroken.types import Allowance, Target

__all__ = ["StoreUnavailable", "engine", "follow"]


class StoreUnavailable(RuntimeError):
    """What replicas share cannot be shared, as what it needs is not installed."""


def engine(config: Config, *, seed: int | None = None, siblings: Backplane | None = None) -> Engine:
    """An engine for this configuration; `seed` makes its chance repeatable.

    What it shares with replicas goes over the store that is configured, or else over the backplane of its `siblings`,
    the workers of one machine.  StoreUnavailable where what a store needs is not installed.
    """
    draw = Random(seed)
    transport = Connections(answer_bytes_max=int(config.server.response_limit_mb * 1024 * 1024))
    board = Board(draw, _breaking(config), default=config.defaults.breaking)
    flying = Engine(
        board=board, transport=transport, clock=monotonic, bus=Bus([Logs()]), draw=draw, keyring=Credentials()
    )
    _share(config, flying, siblings=siblings)
    flying.memory = _memory(config, flying)
    _keep(config, flying)
    _watch(config, flying, seed=seed)
    _record(config, flying)
    _export(config, flying)
    return flying


def follow(flying: Engine, old: Config, *, new: Config) -> None:
    """Have a running engine go by another configuration; requests under way go on by the old one.

    What cannot be had is raised (MeaningsUnavailable) before anything is changed.  Where the ledger
    is kept, what is exported and to where, and how large answers may be stay as they are.
    """
    flying.memory = _memory_like(flying.memory, config=new, flying=flying)
    flying.board.follow(_breaking(new), default=new.defaults.breaking, changed=_changed_scopes(old, new))
    for name, route in new.routes.items():
        if (before := old.routes.get(name)) is not None and before.policy.budget != route.policy.budget:
            flying.board.forget_purse(name)
    if flying.admission is None:
        _keep(new, flying)
    else:
        flying.admission.follow(
            _limited(new), new.budgets, routes=new.routes, spending=lambda: Spending(new.budgets, wall=time)
        )
        flying.admission.allow(_allowed(new))
    if (_probing(old), old.targets) != (_probing(new), new.targets):
        _watch_anew(new, flying)
    for sink in flying.bus.sinks:
        if isinstance(sink, Metrics):
            sink.know(routes=new.routes, targets=new.targets)


def _changed_scopes(old: Config, new: Config) -> set[str]:
    """What is somewhere else now, or goes by another key, under the name that it had."""
    before, changed = {target.name: target for target in old.targets}, set()
    for target in new.targets:
        known = before.get(target.name, target)
        if (known.base_url, known.format) != (target.base_url, target.format):
            changed |= {target.endpoint, target.model_scope, target.key_scope, target.quota_scope}
        elif (known.key, known.credential, known.headers) != (target.key, target.credential, target.headers):
            changed |= {target.key_scope, target.quota_scope}
    return changed


def _watch_anew(config: Config, flying: Engine) -> None:
    """Ask providers by another plan."""
    if isinstance(flying.prober, Prober):
        flying.prober.stop()
        flying.bus.remove(flying.prober)
    flying.prober = None
    _watch(config, flying, seed=None)
    flying.start()


def _breaking(config: Config) -> Mapping[str, Breaking]:
    """The breaker's policy by target; a target on several routes takes the last one's."""
    return {target.name: route.policy.breaking for route in config.routes.values() for target in route.targets}


def _keep(config: Config, flying: Engine) -> None:
    """What is to be kept from the start; limits that providers tell of are learned without it."""
    limited = _limited(config)
    allowed = _allowed(config)
    if limited or allowed or config.budgets:
        spending = Spending(config.budgets, wall=time) if config.budgets else None
        flying.keep(Limits(limited), spending=spending, routes=config.routes).allow(allowed)


def _limited(config: Config) -> list[Target]:
    """The targets with an allowance; for models that are only asked for by name, one of each limited key."""
    keys = [target for one in config.accounts.values() if one.limits for target in one.targets(one.model)]
    return [target for target in (*config.targets, *keys) if target.limits or target.key_limits]


def _allowed(config: Config) -> Mapping[str, Allowance]:
    """How much each of the gateway's keys, by its hash, may ask for."""
    return {entry.hash: limits for entry in config.server.issued if (limits := entry.allowance) is not None}


def _watch(config: Config, flying: Engine, *, seed: int | None) -> None:
    """What asks providers how they are, if any is to be asked; by a chance of its own, or it would disturb routing."""
    if probing := _probing(config):
        draw = Random(None if seed is None else f"{seed}/probes")
        rounds = Rounds(posts_of(probing, config.targets), board=flying.board, draw=draw)
        flying.prober = prober = Prober(flying, rounds, probing=probing)
        if isinstance(flying.replica, Replica):
            prober.asks = flying.replica.leads
        flying.bus.add(prober)


def _probing(config: Config) -> Mapping[str, Probing]:
    """How providers are asked, those that are."""
    return {name: account.probe for name, account in config.accounts.items() if account.probe.on}


def _share(config: Config, flying: Engine, *, siblings: Backplane | None) -> None:
    """What this engine has in common with others, if it is to have anything."""
    settings, name = config.store, f"{gethostname()}-{os.getpid()}-{os.urandom(3).hex()}"
    if settings is not None:
        backplane, share = _store(settings, replica=name), settings.share
        flying.replica = replica = Replica(flying, backplane, name=name, share=share, siblings=siblings)
        flying.bus.add(replica)
    elif siblings is not None:
        flying.replica = replica = Replica(flying, siblings, name=name)
        flying.bus.add(replica)


def _store(settings: StoreSection, *, replica: str) -> Backplane:
    """The store's backplane; its password is read whenever a connection is made."""
    try:
        from unbroken.replicas.redis import InRedis  # noqa: PLC0415 - only there with the extra `redis`
    except ImportError as error:
        raise StoreUnavailable(f"a store needs {error.name}: pip install 'unbroken[redis]'") from None
    said = settings.password
    password = partial(secret, said.value) if said is not None else None
    return InRedis(settings.url, replica=replica, name=settings.name, password=password)


def _record(config: Config, flying: Engine) -> None:
    """What keeps the decision record of each request, where that is wanted; LedgerUnavailable where it cannot be."""
    wanted = config.ledger
    if wanted is None or wanted.url == "off":
        return
    url = wanted.url or default_url(os.environ)
    if url is None:
        raise LedgerUnavailable("there is no home to keep a ledger in: say where with `ledger: PATH`, or `ledger: off`")
    keeping = Keeping(
        retention_days=wanted.retention_days, size_mb=wanted.size_mb, queue_max=wanted.queue_max,
        flush_s=wanted.flush_s,
    )  # fmt: skip
    flying.ledger = ledger = Ledger(url_of(url), keeping, clock=flying.clock)
    flying.counting = Counting(flying.bus, flying.clock, words=wanted.prompts == "text")
    flying.bus.add(ledger)
    ledger.start()


def _export(config: Config, flying: Engine) -> None:
    """What sends spans and histograms to a collector, where there is one; by the connections that providers have."""
    settings = config.exporting
    if settings.traces is not None:
        sender = Sender(flying.transport, settings.traces, clock=flying.clock, waiting_max=settings.queue_max)
        flying.tracing = traces = Traces(settings, sender, clock=flying.clock, wall=time, version=__version__)
        flying.bus.add(traces)
    if settings.metrics is not None:
        sender = Sender(flying.transport, settings.metrics, clock=flying.clock)
        counts = Metrics(routes=config.routes, targets=config.targets)
        flying.bus.add(counts)
        flying.bus.add(Measures(settings, sender, metrics=counts, wall=time, version=__version__))


def _memory(config: Config, flying: Engine) -> Desk | None:
    """What keeps answers, if any route wants that; MeaningsUnavailable where one wants more than is installed."""
    if not _keeping(config):
        return None
    own = InMemory(int(config.server.cache_mb * 1024 * 1024), flying.clock)
    replica = flying.replica
    store = SharedAnswers(own, replica.backplane) if isinstance(replica, Replica) else own
    return Desk(flying, store, meanings=_meanings(config, flying))


def _memory_like(memory: Memory | None, *, config: Config, flying: Engine) -> Memory | None:
    """What keeps answers by this configuration: what did so before, with everything that it knows."""
    if not isinstance(memory, Desk):
        return memory or _memory(config, flying)
    known = memory.meanings
    if known is not None and known.wanted == wanted_by(_comparing(config)):
        known.follow(config.resolve)
    else:
        memory.meanings = _meanings(config, flying)
    return memory


def _keeping(config: Config) -> list[Route]:
    """The routes whose answers are kept."""
    explicit = Route(name="", targets=(), policy=config.defaults)
    return [route for route in (*config.routes.values(), explicit) if route.policy.cache.on]


def _meanings(config: Config, flying: Engine) -> Meanings | None:
    """What compares questions by their meaning, if any route wants that."""
    comparing = _comparing(config)
    return Meanings(flying, comparing, resolve=config.resolve) if comparing else None


def _comparing(config: Config) -> list[Route]:
    """The routes that give the answers to other questions which mean the same."""
    return [route for route in _keeping(config) if route.policy.cache.semantic.route]
