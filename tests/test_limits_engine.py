"""Limits from end to end: an engine against providers over real sockets that enforce their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import count
from random import Random
from time import monotonic
from typing import Any

import pytest

from loops import in_loop
from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.limits import Limits
from unbroken.core.spend import Spending
from unbroken.drives import Drive
from unbroken.engine import Engine, Finished
from unbroken.facts import BudgetExceeded, Decided, Fact, FlightEnded, LimitsTold, Queued, Shed
from unbroken.failures import FailureKind
from unbroken.policy import Deadlines, Policy, Queueing, Route, SpendLimit
from unbroken.price import Price
from unbroken.testing import FakeProvider, Hang, ManualClock, Quota, Speed
from unbroken.transport import Connections
from unbroken.types import Allowance, Chat, Delta, Message, Request, Target, Task, Text

CHAT = Chat(messages=(Message(role="user", parts=(Text("Hello"),)),), max_tokens=4)
PATIENT = Policy(deadlines=Deadlines(total_s=60.0), queue=Queueing(waiting_max=1000, wait_s=20.0))


class Caller:
    """Hears how its request ended."""

    def __init__(self) -> None:
        self.over: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()

    def show(self, deltas: Sequence[Delta]) -> None:
        return None

    def finish(self, end: Finished) -> None:
        self.over.set_result(end)


class Heard:
    """Hears every fact."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def write(self, facts: list[Fact]) -> None:
        self.facts += facts


class World:
    """An engine, and what was heard of it."""

    def __init__(self, *, limits: Limits | None = None, spending: Spending | None = None,
                 routes: Mapping[str, Route] | None = None) -> None:  # fmt: skip
        self.heard = Heard()
        draw = Random(1)
        self.engine = Engine(
            board=Board(draw), transport=Connections(), clock=monotonic, bus=Bus([self.heard]), draw=draw
        )
        self._numbers = 0
        if limits is not None:
            self.engine.keep(limits, spending=spending, routes=routes)

    def fly(self, route: Route, *, caller: str = "", asker: str = "") -> tuple[Caller, Drive]:
        self._numbers += 1
        ear, request = Caller(), Request(model="m", max_tokens=4, prompt_chars=40, caller=caller, asker=asker,
                                         read=lambda: CHAT)  # fmt: skip
        return ear, self.engine.fly(request, route, caller=ear, flight_id=f"r{self._numbers}")

    async def ask(self, route: Route, **whose: Any) -> Finished:
        return await self.fly(route, **whose)[0].over

    def of(self, kind: type[Any]) -> list[Any]:
        self.engine.bus.flush()
        return [fact for fact in self.heard.facts if isinstance(fact, kind)]


def target(fake: FakeProvider, name: str = "a", **more: Any) -> Target:
    return Target(name=f"{name}/m", provider=name, model="m", base_url=fake.base_url, key=f"sk-{name}", **more)


def route(*targets: Target, policy: Policy = PATIENT, name: str = "m") -> Route:
    return Route(name=name, targets=targets, policy=policy)


async def overload(world: World, over: Route, *, callers: Sequence[str], each: int, until: Callable[[], bool]) -> int:
    """So many at once by each caller, over and over until that is so; how many requests that were."""
    asked = count()

    async def ask_on(caller: str) -> None:
        while not until():
            await world.ask(over, caller=caller)
            next(asked)
            await asyncio.sleep(0)

    await asyncio.gather(*(ask_on(caller) for caller in callers for _ in range(each)))
    return next(asked)


@pytest.mark.parametrize(("kind", "style"), [("bucket", "openai"), ("window", "azure"), ("window", "mistral")])
@in_loop
async def test_what_a_provider_tells_is_kept(kind: str, style: str) -> None:
    """A first storm of 429s teaches the limit; then hardly one comes, and callers are equals."""
    async with FakeProvider(speed=Speed(first_token_s=0.01)) as fake:
        quota = fake.quota = Quota(requests=30, window_s=0.5, kind=kind, style=style)
        world, over = World(), route(target(fake))
        await overload(world, over, callers=["x", "y", "z"], each=24, until=lambda: quota.refused > 0)
        storm, granted, since = quota.refused, quota.granted, monotonic()
        asked = await overload(
            world, over, callers=["x", "y", "z"], each=24, until=lambda: quota.granted >= granted + 30
        )
        await world.engine.close()
    assert quota.refused - storm <= (quota.granted - granted) / 10, "but for what a busy machine sends in a bunch"
    begun = Counter(fact.caller for fact in world.of(Queued) if fact.at >= since)
    at_once = asked - begun.total()  # what found room when it came never stood in the queue
    assert max(begun.values()) <= 1.1 * min(begun.values()) + 1 + at_once
    assert world.of(LimitsTold)


@in_loop
async def test_a_configured_limit_is_kept_without_a_word_from_the_provider() -> None:
    """Who tells nothing is never asked for more than its operator allows, and others take the rest."""
    async with FakeProvider("a") as first, FakeProvider("b") as second:
        first.quota = Quota(requests=5, kind="window", style="")
        one = target(first, limits=Allowance(requests_per_min=5))
        world = World(limits=Limits([one]))
        ends = [await world.ask(route(one, target(second, "b"))) for _ in range(12)]
        await world.engine.close()
    assert Counter(end.target.name for end in ends if end.target) == {"a/m": 5, "b/m": 7}
    assert first.quota.refused == 0
    assert all(end.attempts == 1 for end in ends)
    assert "its limit of 5 requests in 60 s is reached" in world.of(Decided)[-1].skipped[0][1]


@in_loop
async def test_a_second_key_of_the_same_account_is_no_new_quota() -> None:
    """Keys of one quota group share one meter: the second is not tried when the first is out of room."""
    async with FakeProvider() as fake:
        quota = fake.quota = Quota(requests=3, kind="window", shared=True)
        first, second = (
            target(fake, key_name=str(n), quota_group="team", limits=Allowance(requests_per_min=3)) for n in (1, 2)
        )
        both = route(first, replace(second, name="a/m#2", key="sk-2"), policy=Policy(queue=Queueing(waiting_max=0)))
        world = World(limits=Limits(both.targets))
        ends = [await world.ask(both) for _ in range(6)]
        await world.engine.close()
    assert [end.failure is None for end in ends] == [True] * 3 + [False] * 3
    assert quota.refused == 0
    assert len({seen.key for seen in fake.seen}) == 1


@in_loop
async def test_too_much_is_turned_away_at_once_and_told_when_to_come_back() -> None:
    """With no place to wait, the answer is a 429 with the time when there will be room."""
    async with FakeProvider() as fake:
        one = target(fake, limits=Allowance(requests_per_min=1))
        over = route(one, policy=Policy(queue=Queueing(waiting_max=0)))
        world = World(limits=Limits([one]))
        assert (await world.ask(over)).failure is None
        failure = (await world.ask(over, caller="x")).failure
        drive = world.fly(over)[1]
        drive.cancel()
        drive.pause()
        drive.resume()
        assert drive.flight.so_far().attempts == 0
        assert drive.left_out == {}
        await world.engine.close()
    assert failure is not None
    assert failure.kind is FailureKind.RATE_LIMIT
    assert failure.retry_after_s is not None
    assert 55.0 <= failure.retry_after_s <= 61.0
    (shed, _) = world.of(Shed)
    assert (shed.route, shed.caller, shed.waited_s, shed.failure) == ("m", "x", 0.0, failure)
    assert len(world.of(FlightEnded)) == 3
    assert len(fake.seen) == 1


@in_loop
async def test_a_request_waits_for_one_that_is_under_way() -> None:
    """With one at a time, the second begins when the first has ended, and its wait is known."""
    async with FakeProvider(speed=Speed(first_token_s=0.05)) as fake:
        one = target(fake, limits=Allowance(concurrent_max=1))
        world = World(limits=Limits([one]))
        (first, _), (second, drive) = world.fly(route(one)), world.fly(route(one), caller="x")
        assert drive.flight.so_far().target is None
        assert drive.left_out == {}
        drive.pause()
        assert (await first.over).failure is None
        assert not second.over.done()
        drive.resume()
        drive.pause()
        await asyncio.sleep(0.01)
        drive.pause()
        drive.resume()
        end = await second.over
        assert drive.flight.so_far().target is not None
        assert drive.left_out == {}
        drive.cancel()
        await world.engine.close()
    assert end.failure is None
    (queued,) = world.of(Queued)
    assert (queued.caller, queued.left) == ("x", False)
    assert queued.waited_s > 0.0


@in_loop
async def test_a_caller_who_leaves_does_not_hold_up_the_queue() -> None:
    """Who goes while it waits is told so, once, and never asked for."""
    async with FakeProvider(speed=Speed(first_token_s=0.05)) as fake:
        one = target(fake, limits=Allowance(concurrent_max=1))
        world = World(limits=Limits([one]))
        (first, _), (second, drive), (third, _) = (world.fly(route(one)) for _ in range(3))
        drive.cancel()
        end = await second.over
        drive.cancel()
        assert (await first.over).failure is None
        assert (await third.over).failure is None
        await world.engine.close()
    assert end.failure is not None
    assert end.failure.kind is FailureKind.CANCELLED
    assert [fact.left for fact in world.of(Queued)] == [True, False]
    assert len(fake.seen) == 2


@in_loop
async def test_whoever_waits_too_long_is_turned_away() -> None:
    """After half of its time a request that found no room is a 503, and nobody was asked for it."""
    async with FakeProvider() as fake:
        fake.fail_with(Hang())
        one = target(fake, limits=Allowance(concurrent_max=1))
        over = route(one, policy=Policy(deadlines=Deadlines(total_s=0.2, first_content_s=5.0)))
        world = World(limits=Limits([one]))
        (first, drive), (second, _) = world.fly(route(one)), world.fly(over)
        end = await second.over
        drive.cancel()
        await first.over
        await world.engine.close()
    assert end.failure is not None
    assert end.failure.kind is FailureKind.OVERLOADED
    assert len(fake.seen) == 1
    (shed,) = world.of(Shed)
    assert shed.waited_s >= 0.1


@in_loop
async def test_the_wait_counts_towards_the_deadline() -> None:
    """What a request has waited is taken off what its answer may take."""
    async with FakeProvider(speed=Speed(first_token_s=0.05)) as fake:
        one = target(fake, limits=Allowance(concurrent_max=1))
        over = route(one, policy=Policy(deadlines=Deadlines(total_s=50.0)))
        world = World(limits=Limits([one]))
        (first, _), (second, drive) = world.fly(over), world.fly(over)
        await first.over
        await asyncio.sleep(0)
        flight: Any = drive.flight
        waited_s = world.of(Queued)[0].waited_s
        assert flight.wake_at <= monotonic() + 50.0 - waited_s
        await second.over
        await world.engine.close()


PRICE = Price(input_usd=1.0, output_usd=1_000_000.0)
"""A dollar for each token of an answer."""


def spending(*limits: SpendLimit) -> Spending:
    return Spending(limits, wall=ManualClock(20_000 * 86_400.0 + 43_200.0))


@in_loop
async def test_a_budget_that_is_used_up_stops_its_route() -> None:
    """Its name is in the refusal, with the time until midnight; other routes go on."""
    async with FakeProvider() as fake:
        one = target(fake, price=PRICE)
        world = World(limits=Limits(), spending=spending(SpendLimit(name="1 (route m)", usd_per_day=10.0, route="m")))
        ends = [await world.ask(route(one)) for _ in range(4)]
        other = await world.ask(route(one, name="n"))
        await world.engine.close()
    assert [end.failure is None for end in ends] == [True, True, False, False]
    failure = ends[-1].failure
    assert failure is not None
    assert (failure.code, failure.status, failure.retry_after_s) == ("budget_exceeded", 429, 43_200.0)
    assert failure.message == "the budget 1 (route m) of $10 a day is used up"
    assert other.failure is None
    told = world.of(BudgetExceeded)
    assert [(fact.budget, fact.then, fact.limit_usd) for fact in told] == [("1 (route m)", "stop", 10.0)] * 2
    assert len(fake.seen) == 3


@in_loop
async def test_a_budget_can_go_on_with_what_is_cheaper() -> None:
    """When it is used up only targets cheaper than the first are asked, and the record says why."""
    async with FakeProvider("a") as dear, FakeProvider("b") as cheap:
        first, second = target(dear, price=PRICE), target(cheap, "b", price=Price(input_usd=0.0, output_usd=1.0))
        unknown = target(cheap, "c")
        over = route(first, unknown, second)
        limit = SpendLimit(name="x", usd_per_day=5.0, asker="k", then="downgrade")
        world = World(limits=Limits(), spending=spending(limit))
        names = [(await world.ask(over, asker="k")).target for _ in range(3)]
        others = await world.ask(over, asker="j")
        alone = await world.ask(route(first), asker="k")
        embedding = await world.ask(route(replace(first, tasks=frozenset({Task.EMBEDDING}))), asker="k")
        await world.engine.close()
    assert [one.name for one in names if one] == ["a/m", "b/m", "b/m"]
    assert others.target == first
    assert alone.failure is not None
    assert alone.failure.code == "budget_exceeded"
    assert embedding.failure is not None
    assert embedding.failure.kind is FailureKind.REQUEST
    skipped = {one.name: reason for one, reason in world.of(Decided)[1].skipped}
    assert world.of(BudgetExceeded)[-1].then == "downgrade"
    assert skipped["a/m"] == "the budget x of $5 a day is used up, and it is not cheaper than the first"
    assert set(skipped) == {"a/m", "c/m"}


@in_loop
async def test_a_budget_can_lead_to_another_route() -> None:
    """The other route answers, until its own budget stops it."""
    async with FakeProvider("a") as dear, FakeProvider("b") as cheap:
        first, second = target(dear, price=PRICE), target(cheap, "b", price=PRICE)
        routes = {"small": route(second, name="small")}
        limits = (
            SpendLimit(name="x", usd_per_day=5.0, route="m", then="downgrade", to="small"),
            SpendLimit(name="y", usd_per_day=5.0, route="small"),
        )
        world = World(limits=Limits(), spending=spending(*limits), routes=routes)
        ends = [await world.ask(route(first)) for _ in range(3)]
        await world.engine.close()
    assert [end.target.name for end in ends if end.target] == ["a/m", "b/m"]
    assert ends[-1].failure is not None
    assert "budget y" in ends[-1].failure.message
    assert [fact.then for fact in world.of(BudgetExceeded)] == ["small", "small"]


@in_loop
async def test_nothing_is_switched_on_by_providers_that_tell_nothing() -> None:
    """Without limits, budgets or headers that tell of any, requests pass no gate."""
    async with FakeProvider() as fake:
        world = World()
        assert (await world.ask(route(target(fake)))).failure is None
        assert world.engine.admission is None
        await world.engine.close()


@in_loop
async def test_an_overloaded_provider_is_asked_for_less() -> None:
    """One that takes so many at once and says no more than 429 is met with fewer, and answers them."""
    async with FakeProvider("a", speed=Speed(first_token_s=0.02)) as fake:
        quota = fake.quota = Quota(concurrent=4, style="")
        one = target(fake, limits=Allowance(requests_per_day=100_000))
        world = World(limits=Limits([one]))
        ends = await asyncio.gather(*(world.ask(route(one)) for _ in range(12)))
        await world.engine.close()
    assert world.engine.admission is not None
    assert quota.refused
    assert any(end.failure is None for end in ends)
    assert world.engine.admission.limits.place(one).model.limit < 12


@pytest.mark.parametrize(("kind", "wait_s"), [("bucket", 0.5), ("window", 0.75)])
def test_the_fake_provider_counts_as_it_says(kind: str, wait_s: float) -> None:
    """A bucket refills all the time and a window at its end; a refusal counts for nothing, keys are apart."""
    quota = Quota(requests=2, tokens=1000, window_s=1.0, kind=kind)
    assert quota.enter("k", 10.0, tokens=10) is None
    assert quota.enter("k", 10.0, tokens=10) is None
    refusal = quota.enter("k", 10.25, tokens=10)
    assert refusal is not None
    assert refusal.retry_after_s == (0.25 if kind == "bucket" else 0.75)
    assert quota.enter("j", 10.25, tokens=10) is None
    assert quota.enter("k", 10.25 + wait_s, tokens=10) is None
    assert quota.enter("k", 10.25 + wait_s, tokens=5000) is not None
    assert (quota.granted, quota.refused) == (4, 2)
    assert quota.told("j", 10.25)["x-ratelimit-remaining-requests"] == "1"
