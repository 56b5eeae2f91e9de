"""What Prometheus scrapes: true to what happened, bounded, and in a form that its own tool accepts."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import NoneType
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from sinks.mixed import PRICE, ask, gateway, scraped, total, traffic
from unbroken.facts import AttemptStarted, BudgetExceeded, Decided, Fact, FlightEnded, LimitsTold, Reading
from unbroken.sinks.exposition import Buckets, Family, Sample, exposition
from unbroken.sinks.metrics import _COUNTS, OTHER, Metrics
from unbroken.testing import Empty, FakeProvider, Status
from unbroken.types import Target, Why

SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""
WHOLE = (NoneType, Empty)
"""Troubles with which an answer comes to its end, and its tokens are told; the rest only a bill knows."""
ROOT = Path(__file__).resolve().parents[2]
T = Target(name="a/m", provider="a", model="m")


def fakes() -> list[FakeProvider]:
    return [FakeProvider(name) for name in ("north", "south", "west")]


async def busy(url: str, providers: Sequence[FakeProvider], *, requests: int = 500) -> tuple[Any, str]:
    answers = await traffic(url, providers, requests=requests)
    _, text = await scraped(url)
    return answers, text


def test_the_sums_are_what_the_providers_served() -> None:
    """After 500 mixed requests with faults, requests, attempts, tokens and dollars are those that were really had."""

    async def go() -> None:
        providers = fakes()
        async with gateway(providers) as found:
            answers, text = await busy(found.url, providers)
        broken = sum("event: error" in body or '"error"' in body for status, body in answers if status == 200)
        good = sum(status == 200 for status, _ in answers) - broken

        assert total(text, "unbroken_requests_total") == 500
        assert total(text, "unbroken_requests_total", outcome="answered") == good > 400
        assert total(text, "unbroken_request_duration_seconds_count", route="m") == 500
        assert total(text, "unbroken_failovers_total") > 0 < total(text, "unbroken_attempts_total", why="failover")
        assert total(text, "unbroken_rescues_total") > 0
        assert total(text, "unbroken_facts_dropped_total") == total(text, "unbroken_attempts_active") == 0
        for fake in providers:
            label = f"{fake.name}/word-model"
            told = [seen.usage for seen in fake.seen if seen.usage is not None and isinstance(seen.trouble, WHOLE)]
            read, written = sum(u.input_tokens for u in told), sum(u.output_tokens for u in told)
            cost = read * PRICE["input_usd"] / 1e6 + written * PRICE["output_usd"] / 1e6

            assert total(text, "unbroken_attempts_total", target=label) == len(fake.seen) > 0
            assert total(text, "unbroken_tokens_total", target=label, type="input") == read > 0
            assert total(text, "unbroken_tokens_total", target=label, type="output") == written > 0
            assert total(text, "unbroken_cost_usd_total", target=label) == pytest.approx(cost)
            assert total(text, "unbroken_target_state", target=label) == 1

    asyncio.run(go())


def everything() -> str:
    """A page on which every family has a sample."""

    async def go() -> str:
        providers = fakes()
        more = {"budgets": [{"usd_per_day": 5.0}], "tracing": {"endpoint": "http://127.0.0.1:9"}}
        async with gateway(providers, more=more) as found:
            answers, text = await busy(found.url, providers, requests=30)
            assert answers
            return text

    return asyncio.run(go())


def promtool(*what: str, text: str) -> subprocess.CompletedProcess[str]:
    """What `promtool check` says to a text."""
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("promtool is MISSING, so nobody checks what Prometheus would say: apt-get install prometheus")
    return subprocess.run([program, "check", *what], input=text, capture_output=True, text=True, check=False)


def test_prometheus_own_tool_accepts_the_page() -> None:
    """`promtool check metrics` has no complaint about form, names or units."""
    done = promtool("metrics", text=everything())

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_official_client_reads_the_page() -> None:
    """The parser of Prometheus' Python client finds every family, with its help and its type."""
    families = {family.name: family for family in text_string_to_metric_families(everything())}

    assert {"unbroken_requests", "unbroken_attempt_duration_seconds", "process_cpu_seconds"} <= set(families)
    assert all(family.documentation and family.type != "unknown" for family in families.values())


def test_no_caller_adds_a_label() -> None:
    """Models, targets and routes that callers think up are counted as `other`, however many there are."""

    async def go() -> None:
        providers = fakes()
        async with gateway(providers) as found, aiohttp.ClientSession() as session:
            for number in range(50):
                await ask(session, found.url, model=f"north/made-up-{number}")
            _, text = await scraped(found.url)

        assert total(text, "unbroken_requests_total", route=OTHER) == 50
        assert total(text, "unbroken_attempts_total", target=OTHER) == 50
        assert "made-up" not in text

    asyncio.run(go())


def test_limits_and_budgets_are_bounded_too() -> None:
    """A provider that tells of ever new limits, or a flood of budgets, does not grow the page."""
    metrics = Metrics(routes=["m"], targets=[T])
    told = tuple(Reading(str(n), "tokens", 100.0, float(n), remaining=5.0) for n in range(100))
    facts: list[Fact] = [LimitsTold(1.0, "r", 1, T, told)]
    facts += [BudgetExceeded(1.0, "r", "m", f"budget {n}", 1.0, 1.0, "stop") for n in range(300)]
    metrics.write(facts)
    text = exposition(metrics.families())

    assert text.count("\nunbroken_limit{") == 12
    assert 50 < text.count("unbroken_budget_exceeded_total{") <= 101
    assert total(text, "unbroken_budget_exceeded_total") == 300


def test_lost_facts_do_not_add_up() -> None:
    """Where the ends of attempts get lost, what is kept of their beginnings stays bounded."""
    metrics = Metrics(routes=["m"], targets=[T])
    started: list[Fact] = [AttemptStarted(1.0, f"r{n}", 1, T, Why.FIRST) for n in range(60_000)]
    began: list[Fact] = [Decided(1.0, f"r{n}", "m", "priority", (T,)) for n in range(60_000)]
    metrics.write([*started, *began])

    assert total(exposition(metrics.families()), "unbroken_attempts_active") <= 50_000
    assert len(metrics._began) <= 50_000


@pytest.mark.parametrize(
    ("server", "more", "key", "status"),
    [
        ({}, {}, "", 200),
        ({"keys": ["gateway-key"]}, {}, "", 401),
        ({"keys": ["gateway-key"]}, {}, "gateway-key", 200),
        ({"keys": ["gateway-key"]}, {"open": True}, "", 200),
        ({}, {"on": False}, "", 404),
    ],
)
def test_who_may_look(server: dict[str, Any], more: dict[str, Any], key: str, status: int) -> None:
    """Where keys are set one is needed, unless the operator opens the page; and it can be switched off."""

    async def go() -> int:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with gateway(fakes(), more={"server": server, "metrics": more}) as found:
            return (await scraped(found.url, **headers))[0]

    assert asyncio.run(go()) == status


def test_a_target_that_is_left_alone_is_seen() -> None:
    """A scrape tells the breakers as they are at that moment."""

    async def go() -> str:
        providers = fakes()
        async with gateway(providers) as found, aiohttp.ClientSession() as session:
            providers[0].fail_with(Status(401))
            await ask(session, found.url)
            return (await scraped(found.url))[1]

    text = asyncio.run(go())

    assert total(text, "unbroken_target_available", target="north/word-model") == 0
    assert total(text, "unbroken_target_rest_seconds", target="north/word-model") > 500
    assert total(text, "unbroken_target_available", target="south/word-model") == 1


def test_a_line_break_in_a_label_breaks_no_line() -> None:
    """Whatever stands in a name, the form is kept."""
    wild = Family("wild_total", "counter", "a\nb", [Sample("", (("name", 'x"\\\ny'),), 1.5)])

    assert exposition([wild]).splitlines()[2] == r'wild_total{name="x\"\\\ny"} 1.5'


def test_a_value_on_a_bound_counts_below_it() -> None:
    """As Prometheus has it, `le` means less or equal."""
    buckets = Buckets((1.0, 2.0))
    for value in (1.0, 1.5, 2.0, 3.0):
        buckets.add(value)

    assert (buckets.counts, buckets.total) == ([1, 2, 1], 7.5)


def test_a_request_that_nobody_decided_on_is_counted() -> None:
    """One that was turned away before it flew has an end all the same."""
    metrics = Metrics(routes=["m"])
    metrics.write([FlightEnded(1.0, "r", "m", None, 0, 0.5, failover=False, rescued=False)])

    assert total(exposition(metrics.families()), "unbroken_requests_total", route="m") == 1


def questions() -> list[str]:
    """What the dashboard asks Prometheus."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "unbroken.json").read_text(encoding="utf-8"))
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def test_prometheus_understands_the_dashboard() -> None:
    """Each question of the dashboard is one in Prometheus' own language."""
    plain = [q.replace("$__rate_interval", "5m").replace("$", "") for q in questions()]
    rules = [{"record": f"question:{at}", "expr": question} for at, question in enumerate(plain)]
    done = promtool("rules", "/dev/stdin", text=json.dumps({"groups": [{"name": "all", "rules": rules}]}))

    assert done.returncode == 0, done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def test_every_number_on_the_grafana_dashboard_exists() -> None:
    """The dashboard that comes along asks for no metric and no label that is not served."""
    asked = questions()
    page = everything()
    served = {match[1]: set(re.findall(r'(\w+)="', match[2] or "")) for match in _samples(page)}
    declared = {f"{name}{suffix}" for name, suffix in _declared(page)}
    rare = {name for name in _known() if name not in served}

    assert len(asked) > 15
    for expression in asked:
        for name in re.findall(r"\b(?:unbroken|process)_\w+", expression):
            assert name in declared | rare, f"{name} in {expression}"
        for name, selector in re.findall(r"\b((?:unbroken|process)_\w+)\{([^}]*)\}", expression):
            labels = set(re.findall(r"(\w+)\s*(?:=|!)", selector))
            assert name in rare or labels <= served[name] | SCRAPED, expression


def _samples(page: str) -> list[re.Match[str]]:
    return [m for line in page.splitlines() if (m := re.match(r"([a-z_]+)(?:\{(.*)\})? ", line)) and line[0] != "#"]


def _declared(page: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for name, kind in re.findall(r"# TYPE (\w+) (\w+)", page):
        suffixes = ("_bucket", "_sum", "_count") if kind == "histogram" else ("",)
        found += [(name, suffix) for suffix in suffixes]
    return found


def _known() -> set[str]:
    """Names of families that need not have a sample in a short time."""
    waits = {"unbroken_queue_wait_seconds_bucket", "unbroken_queue_waiting", "unbroken_ledger_requests_total"}
    return {name for name, _, _ in _COUNTS.values()} | {"unbroken_limit", "unbroken_limit_remaining"} | waits
