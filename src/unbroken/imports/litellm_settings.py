"""What LiteLLM's settings say for the gateway as a whole: how hard to try, what is kept, who looks after whom.

defaults(source)                        the part of our `defaults` that follows from them
caching(source, route_of=...)           `defaults.cache`
probing(source, draft)                  `probe` of each provider that has a free question
watching(source)                        notes on callbacks that are built in here
server(source, secrets)                 our `server`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from unbroken.catalog import providers
from unbroken.imports.draft import Draft
from unbroken.imports.litellm_source import Source
from unbroken.imports.litellm_words import CALL_TYPES
from unbroken.imports.report import Report
from unbroken.imports.secrets import Secrets
from unbroken.imports.source import Item
from unbroken.policy import NOTHING_FREE

__all__ = ["caching", "defaults", "probing", "server", "watching"]

KEPT_S = {"local": 600.0}
"""How long LiteLLM keeps an answer where no `ttl` is given, by the type of its cache."""
KEPT_ELSEWHERE_S = 60.0
PROBE_EVERY_S = 300.0
"""How often LiteLLM's background checks are made unless that is said."""
LEAST_EVERY_S = 5.0

_TIMEOUT = "deadlines.first_content_s: of one attempt, until it begins to answer; silence is waited out so long"
_EMBEDDER = "_semantic_cache_embedding_model"
_LOCAL = "local"


def server(source: Source, secrets: Secrets) -> dict[str, Any]:
    """Who may use it, and how much may be sent."""
    found: dict[str, Any] = {}
    for section in source.settings("general_settings"):
        if (key := section.get("master_key")) is not None and key.text:
            found["keys"] = [secrets.key(key, words="litellm_master_key")]
        for theirs, ours in (("max_request_size_mb", "body_limit_mb"), ("max_response_size_mb", "response_limit_mb")):
            if (item := section.get(theirs)) is not None and (size_mb := item.positive):
                source.report.kept(item, f"server.{ours}")
                found[ours] = size_mb
    return found


def defaults(source: Source) -> dict[str, dict[str, Any]]:
    """How hard to try, for all routes."""
    parts: dict[str, dict[str, Any]] = {"deadlines": {}, "retries": {}, "breaking": {}}
    n = source.number("num_retries", "max_retries", text="retries.same_target_max", zero=True, exact=True)
    if n is not None:
        parts["retries"]["same_target_max"] = int(n)
    if n := source.number("retry_after", text="retries.base_s: the first wait is random between 0 and this"):
        parts["retries"]["base_s"] = n
    if n := source.number("timeout", "request_timeout", text=_TIMEOUT):
        parts["deadlines"]["first_content_s"] = n
    if n := source.number("stream_timeout", text="deadlines.gap_s: between two pieces of a stream"):
        parts["deadlines"]["gap_s"] = n
    n = source.number("allowed_fails", text="breaking.consecutive: failures in a row, not in a minute", zero=True)
    if n is not None:
        parts["breaking"]["consecutive"] = int(n) + 1
    if n := source.number("cooldown_time", text="breaking.open_s: doubled each time, then one probe"):
        parts["breaking"] |= {"open_s": n} | ({"open_s_max": n} if n > 60 else {})
    return {name: part for name, part in parts.items() if part}


# ------------------------------------------------------------------------------- cache


def caching(source: Source, *, route_of: Callable[[str], str | None]) -> dict[str, Any]:
    """What is kept of answers; nothing where they are not kept.  `route_of` finds our route for a model's name."""
    report, params = source.report, source.setting("cache_params")
    switches = [item for name in ("cache", "cache_responses") if (item := source.setting(name)) is not None]
    if not any(item.text == "true" for item in switches):
        for item in switches:
            report.kept(item, "nothing is kept")
        return {}
    mode = params.get("mode") if params else None
    if mode is not None and mode.text == "default_off":
        for item in (mode, *switches):
            report.lost(
                item, "callers cannot ask for it here: set `cache.ttl_s` for the routes that are to keep answers"
            )
        return {}
    if mode is not None and mode.text == "default_on":
        report.kept(mode, "callers leave it out with `cache-control: no-cache` or `no-store`")
    for item in switches:
        report.differs(item, "cache.ttl_s, for each route by itself; conversations with tools are not kept")
    found: dict[str, Any] = {"ttl_s": _kept_s(params, switches[0], report=report)}
    if params is not None:
        found |= {"tasks": tasks} if (tasks := _tasks(params, report)) else {}
        found |= dict(_meaning(params, report, route_of=route_of))
    return found


def _kept_s(params: Item | None, switch: Item, *, report: Report) -> float:
    """For how long; `switch` is where a note goes if nothing says it."""
    where = params.get("type") if params else None
    kind = where.text if where else _LOCAL
    if where is not None:
        text = "in the memory of this process, which shares it with no other"
        (report.kept if kind == _LOCAL else report.differs)(where, text)
    item = params.get("ttl", "default_in_redis_ttl", "default_in_memory_ttl") if params else None
    if item is not None and (ttl_s := item.positive):
        report.kept(item, "cache.ttl_s")
        return ttl_s
    usual = KEPT_S.get(kind, KEPT_ELSEWHERE_S)
    report.default(f"no `ttl` is given: answers are kept for {usual:g} s, as LiteLLM's own default has it", switch)
    return usual


def _tasks(params: Item, report: Report) -> list[str]:
    """The kinds of work whose answers are kept, where they are listed."""
    found: dict[str, None] = {}
    listed = params.get("supported_call_types")
    for part in listed.parts if listed else ():
        task = CALL_TYPES.get(part.text.removeprefix("a"))
        if task is None:
            report.lost(part, "answers to this are not kept here")
        else:
            report.kept(part, f"cache.tasks: {task}")
            found[task] = None
    return list(found)


def _meaning(params: Item, report: Report, *, route_of: Callable[[str], str | None]) -> Iterator[tuple[str, Any]]:
    """Questions that mean the same: who compares them, and how near they must be."""
    where = params.get("type")
    if where is None or not where.text.endswith("-semantic"):
        return
    named = next((item for name, item in params.fields.items() if name.endswith(_EMBEDDER) and item.text), None)
    route = route_of(named.text) if named else None
    if named is not None and route is not None:
        report.kept(named, f"cache.semantic.route: {route}")
    else:
        text = "cache.semantic.route: local, the small model of `unbroken[semantic]`; a route for embeddings is as good"
        (report.differs(named, text) if named else report.default(text, where))
    found: dict[str, Any] = {"route": route or _LOCAL}
    near = params.get("similarity_threshold")
    if near is not None and near.number is not None and 0 <= near.number <= 1:
        report.kept(near, "cache.semantic.similarity_min: the least cosine")
        found["similarity_min"] = near.number
    yield "semantic", found


# ---------------------------------------------------------------------- looking after


def probing(source: Source, draft: Draft) -> None:
    """LiteLLM's background checks are the free question here, for each provider that has one."""
    of = ("general_settings",)
    switch, every = source.setting("background_health_checks", of=of), source.setting("health_check_interval", of=of)
    if switch is None or switch.text != "true":
        for item in (switch, every):
            if item is not None:
                source.report.kept(item, "nobody is asked how he is: health is learned from the traffic")
        return
    text = "probe.every_s of each provider: a question that costs nothing, where LiteLLM asks each model for words"
    for item in (switch, every):
        if item is not None:
            source.report.differs(item, text)
    every_s = (every and every.positive) or PROBE_EVERY_S
    for name, place in draft.accounts.items():
        row = providers().get(place.like)
        if row is not None and row.probe != NOTHING_FREE:
            draft.say(name, {"probe": {"every_s": max(every_s, LEAST_EVERY_S)}})


def watching(source: Source) -> None:
    """Callbacks that are part of the gateway here."""
    for section in source.settings("litellm_settings"):
        for name in ("callbacks", "success_callback", "failure_callback"):
            for part in item.parts if (item := section.get(name)) else ():
                if part.text == "prometheus":
                    source.report.differs(part, "always counted, under names of our own: GET /metrics")
                elif part.text in {"otel", "opentelemetry"}:
                    source.report.differs(part, "see `tracing`, and OpenTelemetry's own variables, which are read")
