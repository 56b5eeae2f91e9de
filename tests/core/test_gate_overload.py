"""The gate as a whole: any arrivals, and providers that are asked for four times what they take."""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.gate_world import START, World, target
from unbroken.core.gate import Waiter
from unbroken.core.limits import Cost
from unbroken.facts import AttemptAnswered, AttemptFailed, LimitsTold
from unbroken.failures import Failure, FailureKind
from unbroken.testing import Quota
from unbroken.types import Usage
from unbroken.wire.allowance import readings


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("xyz"), st.floats(0.0, 3.0), st.integers(0, 200), st.floats(0.5, 30.0)), max_size=60
    ),
    st.integers(1, 5),
    st.integers(0, 8),
    st.sets(st.integers(0, 59), max_size=10),
)
def test_every_request_begins_or_is_told_or_has_left(
    arrivals: list[tuple[str, float, int, float]], limit: int, waiting_max: int, leavers: set[int]
) -> None:
    """Whatever comes when: nobody is lost, nobody is served twice, no limit is broken, no queue too long."""
    one = target(requests_per_min=limit, tokens_per_min=300)
    world, now = World(one), START
    fates: Counter[str] = Counter()
    begun: list[float] = []
    present: list[Waiter] = []

    def look() -> None:
        for waiter in world.begun(now):
            fates[waiter.id] += 1
            begun.append(now)
        for waiter, _ in world.gate.turned_away(now):
            fates[waiter.id] += 1
        assert world.gate.waiting <= waiting_max

    for number, (caller, gap_s, tokens, wait_s) in enumerate(arrivals):
        now += gap_s
        look()
        waiter, verdict = world.arrive(
            caller, now=now, cost=Cost(0, tokens + 1), waiting_max=waiting_max, wait_s=wait_s
        )
        present.append(waiter)
        if verdict != "wait":
            fates[waiter.id] += 1
            begun += [now] if verdict == "go" else []
        if number in leavers and not waiter.gone and verdict == "wait":
            fates[waiter.id] += 1
            world.gate.leave(waiter)
        look()
    while (at := world.gate.wake_at(now)) < inf:
        assert at > now
        now = at
        look()
    assert world.gate.waiting == 0
    assert all(fates[waiter.id] == 1 for waiter in present)
    for at in begun:
        assert sum(at <= other <= at + 60.0 for other in begun) <= limit


class Player:
    """A provider with a quota of its own, callers that ask far too much of it, and virtual time.

    `rates` are the requests a second of each caller.
    """

    def __init__(self, quota: Quota, rates: dict[str, float], *, latency_s: float) -> None:
        self.quota, self.rates, self.latency_s = quota, rates, latency_s
        self.one = target()
        self.world = World(self.one)
        self.draw = Random(7)
        self.events: list[tuple[float, int, Any]] = []
        self.order = count()
        self.alarm = inf
        self.asked: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.refused_at: list[float] = []
        self.granted_at: list[float] = []

    def play(self, seconds: float) -> None:
        for caller in self.rates:
            self.at(START + self.draw.random(), lambda now, caller=caller: self.come(caller, now))
        while self.events:
            now, _, happen = heappop(self.events)
            if now > START + seconds:
                return
            happen(now)

    def at(self, when: float, happen: Any) -> None:
        heappush(self.events, (when, next(self.order), happen))

    def come(self, caller: str, now: float) -> None:
        self.asked[caller] += 1
        self.at(now + self.draw.expovariate(self.rates[caller]), lambda then: self.come(caller, then))
        waiter = self.world.waiter(caller, wait_s=30.0, waiting_max=60, cost=Cost(400, 60))
        verdict = self.world.gate.arrive(waiter, now)
        if verdict == "go":
            self.begin(waiter, now)
        self.look(now)

    def look(self, now: float) -> None:
        while (waiter := self.world.gate.next(now)) is not None:
            self.begin(waiter, now)
        self.world.gate.turned_away(now)
        if (at := self.world.gate.wake_at(now)) < self.alarm or self.alarm <= now:
            self.alarm = at
            self.at(at, self.look)

    def begin(self, waiter: Waiter, now: float) -> None:
        self.world.begin(waiter, now)
        self.at(now + self.draw.uniform(0.005, 0.02), lambda then: self.serve(waiter, then))

    def serve(self, waiter: Waiter, now: float) -> None:
        refusal = self.quota.enter("k", now, tokens=160.0)
        headers = dict(self.quota.told("k", now))
        if refusal is None:
            self.granted_at.append(now)
            self.served[waiter.caller] += 1
            self.at(now + self.draw.uniform(0.5, 1.5) * self.latency_s, lambda then: self.finish(waiter, headers, then))
        else:
            self.refused_at.append(now)
            self.tell(waiter, headers, now + 0.01)
            failure = Failure(
                kind=FailureKind.RATE_LIMIT, message="no", status=429, retry_after_s=refusal.retry_after_s
            )
            self.world.board.fold(AttemptFailed(now + 0.01, waiter.id, 1, self.one, failure, 0.02))

    def tell(self, waiter: Waiter, headers: dict[str, str], now: float) -> None:
        if found := readings(headers):
            self.world.board.fold(LimitsTold(now, waiter.id, 1, self.one, found))

    def finish(self, waiter: Waiter, headers: dict[str, str], now: float) -> None:
        self.tell(waiter, headers, now)
        self.quota.leave("k")
        usage = Usage(input_tokens=100, output_tokens=60)
        self.world.board.fold(
            AttemptAnswered(now, waiter.id, 1, self.one, self.latency_s, self.latency_s, stream=False, usage=usage)
        )
        self.look(now)


@pytest.mark.parametrize("latency_s", [0.2, 8.0])
@pytest.mark.parametrize(
    ("kind", "style", "unit"),
    [(kind, style, unit)
     for kind, style in (("bucket", "openai"), ("bucket", "anthropic"), ("window", "azure"), ("bucket", "azure"))
     for unit in ("requests", "tokens")],
)  # fmt: skip
def test_four_times_too_much_uses_all_there_is_and_meets_no_429(
    kind: str, style: str, unit: str, latency_s: float
) -> None:
    """After a minute of learning: no 429, at least 95 % of the true limit used, equal shares for equal callers."""
    requests, tokens = (120.0, None) if unit == "requests" else (None, 120.0 * 160.0)
    quota = Quota(requests=requests, tokens=tokens, kind=kind, style=style)
    player = Player(quota, dict.fromkeys("xyz", 8.0 / 3.0), latency_s=latency_s)
    player.play(670.0)
    learned = START + 70.0
    assert [at for at in player.refused_at if at > learned] == []
    assert sum(learned < at <= learned + 600.0 for at in player.granted_at) >= 0.95 * 120 * 10
    shares = player.served.values()
    assert max(shares) <= 1.1 * min(shares)


@pytest.mark.parametrize("latency_s", [0.2, 8.0])
def test_nobody_is_starved_by_whoever_asks_for_far_more(latency_s: float) -> None:
    """Of four times too much, nearly all by one caller: who asks for less than an equal share gets all of it."""
    quota = Quota(requests=120.0)
    player = Player(quota, {"greedy": 7.2, "x": 0.4, "y": 0.4}, latency_s=latency_s)
    player.play(670.0)
    for modest in "xy":
        assert player.served[modest] >= 0.9 * player.asked[modest]
    learned = START + 70.0
    assert sum(learned < at <= learned + 600.0 for at in player.granted_at) >= 0.95 * 120 * 10
