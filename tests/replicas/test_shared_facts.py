"""What one replica learned, the others know: through a real Valkey or Redis."""

from __future__ import annotations

import asyncio
from pathlib import Path

from faces.admin_world import ADMIN_KEY, CALLER_KEY, Site
from faces.running import running
from loops import in_loop
from replicas.store import Store
from replicas.town import PATIENCE_S, connected, is_open, replicas, taken_out, until
from unbroken.replicas.replica import Replica
from unbroken.testing import Status


@in_loop
async def test_a_breaker_that_opens_in_one_is_open_in_the_other(tmp_path: Path, store: Store) -> None:
    """The second replica leaves a broken provider alone without having asked it once."""
    async with replicas(tmp_path, store.url) as (one, other):
        one.providers[0].fail_with(Status(500))
        for _ in range(3):
            assert await one.chat() == "b/word-model"
        await until(lambda: is_open(other, "a/word-model"))
        asked = len(one.providers[0].seen)
        assert await other.chat() == "b/word-model"
        assert len(one.providers[0].seen) == asked


@in_loop
async def test_a_rest_that_is_over_is_over_for_all(tmp_path: Path, store: Store) -> None:
    """When one replica found a provider well again, the others send it requests too."""
    short = {"breaking": {"open_s": 0.2, "open_s_max": 0.2, "ramp_s": 0}}
    async with replicas(tmp_path, store.url, defaults=short) as (one, other):
        one.providers[0].fail_with(Status(500))
        for _ in range(3):
            await one.chat()
        await until(lambda: is_open(other, "a/word-model"))
        one.providers[0].heal()
        while await one.chat() != "a/word-model":
            await asyncio.sleep(0.05)
        await until(lambda: not is_open(other, "a/word-model"))
        assert await other.chat() == "a/word-model"


@in_loop
async def test_switches_hold_everywhere_and_for_whoever_joins(tmp_path: Path, store: Store) -> None:
    """What an operator set at one replica the others know, and so does one that is started later."""
    async with replicas(tmp_path, store.url) as (one, other):
        await one.post("targets", "a/word-model", "disable")
        await one.post("routes", "m", "strategy", body={"strategy": "random"})
        await until(lambda: other.gateway.config.routes["m"].strategy == "random")
        assert (await other.target("a/word-model"))["enabled"] is False
        assert await other.chat() == "b/word-model"
        async with running(one.gateway.config, seed=9) as late:
            site = Site(late, one.providers, file=one.file)
            await until(lambda: connected(site))
            assert (await site.target("a/word-model"))["enabled"] is False
            await site.post("targets", "a/word-model", "enable")
            await site.client.close()
        assert (await one.target("a/word-model"))["enabled"] is True


@in_loop
async def test_a_switch_is_not_forgotten_with_the_store(tmp_path: Path, store: Store) -> None:
    """A store that comes back empty is told again how everything is set, by those who know."""
    async with replicas(tmp_path, store.url) as (one, other):
        await one.post("targets", "a/word-model", "disable")
        await until(lambda: taken_out(other, "a/word-model"))
        store.kill()
        await until(lambda: not connected(one) and not connected(other))
        store.start()
        await until(lambda: connected(one) and connected(other))
        async with running(one.gateway.config, seed=9) as late:
            site = Site(late, one.providers, file=one.file)
            await until(lambda: taken_out(site, "a/word-model"))
            await site.client.close()


@in_loop
async def test_an_answer_that_one_has_kept_the_other_gives(tmp_path: Path, store: Store) -> None:
    """Nobody is asked twice for the same, on whichever replica."""
    async with replicas(tmp_path, store.url, names="a", defaults={"cache": {"ttl_s": 60}}) as (one, other):
        how, words = await asked(one)
        assert how != "hit"
        found = await asked(other)
        while found[0] != "hit":
            found = await asked(other)
        assert found == ("hit", words)


async def asked(site: Site) -> tuple[str, str]:
    """Where an answer came from, and what it was."""
    answer = await site.client.chat.completions.with_raw_response.create(
        model="m", messages=[{"role": "user", "content": "Why do bridges sing?"}], temperature=0
    )
    return answer.headers.get("x-unbroken-cache", ""), answer.parse().choices[0].message.content or ""


@in_loop
async def test_statistics_are_reset_at_all_replicas(tmp_path: Path, store: Store) -> None:
    """Each counts its own requests; an operator who begins anew does so everywhere."""
    async with replicas(tmp_path, store.url) as (one, other):
        await one.chat()
        await other.chat()
        assert (await other.get("statistics"))["requests"] == 1
        await one.post("statistics", "reset")
        async with asyncio.timeout(20):
            while (await other.get("statistics"))["requests"]:
                await asyncio.sleep(0.01)


@in_loop
async def test_one_replica_asks_providers_for_all(tmp_path: Path, store: Store) -> None:
    """Probes are not sent by each; when the one that sends them stops, another one does."""
    async with replicas(tmp_path, store.url) as (one, other):
        await until(lambda: all(connected(site, replicas=2) for site in (one, other)))
        await until(lambda: leads(one) is not leads(other))
        first, second = (one, other) if leads(one) else (other, one)
        await first.at.server.stop(grace_s=1.0)
        await until(lambda: leads(second))


def leads(site: Site) -> bool:
    """Whether this is the one."""
    replica = site.gateway.engine.replica
    return isinstance(replica, Replica) and replica.leads()


@in_loop
async def test_no_key_gets_into_the_store(tmp_path: Path, store: Store) -> None:
    """Nothing that is kept there holds a provider's, a caller's or an operator's key."""
    import redis.asyncio

    async with replicas(tmp_path, store.url, defaults={"cache": {"ttl_s": 60}}) as (one, _):
        one.providers[0].fail_with(Status(401))
        await one.chat()
        await one.post("targets", "a/word-model", "disable")
        async with redis.asyncio.Redis.from_url(store.url) as client, asyncio.timeout(PATIENCE_S):
            while not {b"said", b"switches", b"value"} <= {key.split(b":")[1] async for key in client.scan_iter()}:
                await asyncio.sleep(0.01)
            kept = [key + (await client.dump(key) or b"") async for key in client.scan_iter()]
        for planted in (b"sk-a", b"sk-b", CALLER_KEY.encode(), ADMIN_KEY.encode()):
            assert not any(planted in one for one in kept)
