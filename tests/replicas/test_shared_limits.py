"""Limits and budgets that replicas share through a real Valkey or Redis, and what becomes of them without it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openai
import redis.asyncio

from faces.admin_world import Site
from loops import in_loop
from replicas.store import Store
from replicas.town import PATIENCE_S, connected, replicas, until
from unbroken.core.limits import Cost
from unbroken.types import Allowance

NOW_OR_NEVER = {"queue": {"wait_s": 1.0}}
"""Who has no room soon is turned away: a minute's window does not pass in a test."""


async def burst(sites: list[Site], number: int) -> int:
    """So many requests at each site at the same time; how many were answered, the others had no room."""

    async def ask(site: Site) -> bool:
        try:
            await site.chat()
        except openai.RateLimitError:
            return False
        return True

    return sum(await asyncio.gather(*(ask(site) for site in sites for _ in range(number))))


@in_loop
async def test_replicas_together_stay_within_a_limit(tmp_path: Path, store: Store) -> None:
    """Ten requests a minute are ten, and all ten, though each of two replicas is asked for ten at once."""
    limited = {"limits": {"requests_per_min": 10}}
    async with replicas(tmp_path, store.url, names="a", provider=limited, defaults=NOW_OR_NEVER) as sites:
        await until(lambda: all(connected(site, replicas=2) for site in sites))
        assert await burst(sites, 10) == 10
        assert len(sites[0].providers[0].seen) == 10


@in_loop
async def test_one_replica_may_use_what_the_other_does_not(tmp_path: Path, store: Store) -> None:
    """Nothing of a limit is tied up where nobody asks: nearly all of it is there for the one that is asked."""
    limited = {"limits": {"requests_per_min": 20}}
    async with replicas(tmp_path, store.url, names="a", provider=limited, defaults=NOW_OR_NEVER) as sites:
        await until(lambda: all(connected(site, replicas=2) for site in sites))
        answered = await burst(sites[:1], 20)
        assert 15 <= answered <= 20  # an eighth is held ahead by the other one


@in_loop
async def test_without_the_store_requests_go_on_within_a_share(tmp_path: Path, store: Store) -> None:
    """Killed in the middle: each replica goes on with half of the limit, and they find together when it is back."""
    limited = {"limits": {"requests_per_min": 20}}
    async with replicas(tmp_path, store.url, names="a", provider=limited, defaults=NOW_OR_NEVER) as sites:
        await until(lambda: all(connected(site, replicas=2) for site in sites))
        assert await burst(sites, 1) == 2
        store.kill()
        await until(lambda: not any(connected(site) for site in sites))
        assert await burst(sites[:1], 20) == 9  # of its half, one was spent
        store.start()
        await _told_again(store, replicas=2)
        assert await burst(sites[:1], 10) + await burst(sites[1:], 10) == 9
        assert len(sites[0].providers[0].seen) == 20


async def _told_again(store: Store, *, replicas: int) -> None:
    """Until a store that has forgotten everything was told by each what it has spent."""
    async with redis.asyncio.Redis.from_url(store.url) as client, asyncio.timeout(PATIENCE_S):
        while await client.hlen("{unbroken}:hold:provider a#1 requests in 60 s") < replicas:
            await asyncio.sleep(0.01)


@in_loop
async def test_a_share_of_nothing_stops_where_nobody_can_tell(tmp_path: Path, store: Store) -> None:
    """`share: 0` turns requests away that nobody vouches for, rather than to spend what others may have spent."""
    limited = {"limits": {"requests_per_min": 20}}
    settings = {"url": store.url, "share": 0}
    async with replicas(tmp_path, settings, names="a", provider=limited, defaults=NOW_OR_NEVER) as sites:
        for site in sites:
            site.gateway.engine.admission.allow({"a caller's": Allowance(requests_per_min=5)})  # type: ignore[union-attr]
        assert await burst(sites, 1) == 2
        store.kill()
        await until(lambda: not any(connected(site) for site in sites))
        assert await burst(sites, 3) == 0
        for site in sites:
            askers, now = site.gateway.engine.admission.askers, site.gateway.engine.clock()  # type: ignore[union-attr]
            assert askers is not None and askers.refusal("a caller's", Cost(), now=now) is not None


@in_loop
async def test_a_store_that_says_nothing_holds_up_no_request(tmp_path: Path, store: Store) -> None:
    """Stopped in its tracks, with its connections open: requests are answered as if nothing were."""
    caching = {"cache": {"ttl_s": 60}}
    async with replicas(tmp_path, store.url, defaults=caching) as (one, other):
        assert await one.chat() == "a/word-model"
        store.stall()
        for _ in range(3):
            async with asyncio.timeout(10):
                assert await other.chat() == "a/word-model"
        await until(lambda: not connected(other))
        store.go_on()
        await until(lambda: connected(one) and connected(other))


@in_loop
async def test_a_budget_is_one_for_all_replicas(tmp_path: Path, store: Store) -> None:
    """What one has spent, the other cannot spend again; each tells of all that is gone."""
    budget = [{"usd_per_day": 0.0105}]
    dear = {"price": {"request_usd": 0.001}}
    async with replicas(tmp_path, store.url, names="a", provider=dear, budgets=budget) as sites:
        await until(lambda: all(connected(site, replicas=2) for site in sites))
        answered = await burst(sites[:1], 6)
        await until(lambda: 0.0044 < _left(sites[1]) < 0.0046)
        answered += await burst(sites[1:], 20)
        assert answered == 10
        await until(lambda: _left(sites[0]) < 0.001)
        told = (await sites[0].get("status"))["budgets"]
        assert told[0]["spent_usd"] == 0.01


def _left(site: Site) -> float:
    """What may be spent, as far as this gateway knows."""
    admission = site.gateway.engine.admission
    assert admission is not None and admission.spending is not None
    return min(account.left_usd for account in admission.spending.accounts)
