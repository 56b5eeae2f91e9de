"""Which targets have room: what attempts take in advance, what is put right, and who shares what."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

import pytest

from unbroken.core import limits as module
from unbroken.core.board import Board
from unbroken.core.limits import Cost, Limits, Pool, cost_of
from unbroken.core.lineup import line_up
from unbroken.core.strategies import Draw
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    FlightEnded,
    LimitsTold,
    Reading,
    TargetForced,
)
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route
from unbroken.types import Allowance, Request, Target, Task, Usage, Why

NOW = 1_000.0


def target(name: str = "a/m", **more: Any) -> Target:
    provider, _, model = name.partition("/")
    return Target(name=name, provider=provider, model=model.partition("#")[0], **more)


def allowed(**more: Any) -> Target:
    return target(limits=Allowance(**more))


def reading(unit: str = "requests", limit: float = 10.0, remaining: float | None = 10.0, **more: Any) -> Reading:
    return Reading(unit, unit, limit, more.pop("window_s", 60.0), remaining, **more)


class World:
    """Limits, and a teller of facts."""

    def __init__(self, *targets: Target) -> None:
        self.limits = Limits(targets)
        self.number = 0

    def start(self, one: Target, cost: Cost | None = None, *, now: float = NOW, flight: str = "f") -> int:
        self.number += 1
        if cost is not None:
            self.limits.expect(flight, cost)
        self.limits.fold(AttemptStarted(now, flight, self.number, one, Why.FIRST))
        return self.number

    def answer(self, one: Target, number: int, usage: Usage | None = None, *, now: float = NOW, seconds: float = 1.0,
               stream: bool = False) -> None:  # fmt: skip
        self.limits.fold(AttemptAnswered(now, "f", number, one, seconds, seconds, stream, usage))

    def fail(self, one: Target, number: int, kind: FailureKind = FailureKind.SERVER, *, now: float = NOW,
             usage: Usage | None = None, sent: bool = True) -> None:  # fmt: skip
        failure = Failure(kind=kind, message="no", sent=sent)
        self.limits.fold(AttemptFailed(now, "f", number, one, failure, 0.5, shown=False, usage=usage))

    def tell(self, one: Target, *readings: Reading, number: int = 0, now: float = NOW) -> None:
        self.limits.fold(LimitsTold(now, "f", number, one, readings))

    def full(self, one: Target, cost: Cost | None = None, now: float = NOW) -> str | None:
        return self.limits.obstacle(one, now, cost=cost)


def test_requests_a_minute_are_spent_when_they_go_out() -> None:
    """The last request that is allowed goes; the next finds no room, and is told why and until when."""
    one = allowed(requests_per_min=2)
    world = World(one)
    world.start(one)
    assert world.full(one) is None
    world.start(one)
    assert world.full(one) == "its limit of 2 requests in 60 s is reached"
    assert world.limits.barred(one)
    assert world.limits.free_at(one, NOW) == NOW + 60.5
    assert world.limits.free_at(one, NOW, before=1) == NOW + 60.5
    assert world.limits.free_at(one, NOW, before=2) == NOW + 120.5
    assert world.full(one, now=NOW + 60.5) is None


def test_requests_a_day_are_counted_for_a_day() -> None:
    """A day's limit holds when the minute's is long forgotten."""
    one = allowed(requests_per_day=1)
    world = World(one)
    world.start(one)
    assert world.full(one, now=NOW + 86_400.0) == "its limit of 1 requests in 86400 s is reached"
    assert world.full(one, now=NOW + 87_120.0) is None


def test_tokens_are_spent_in_advance_and_put_right() -> None:
    """A prompt and what its caller allows for are taken at once; afterwards only what was used."""
    one = allowed(tokens_per_min=1_000)
    world, cost = World(one), Cost(400, 500)
    number = world.start(one, cost)
    assert world.full(one, cost) is not None
    assert world.full(one, Cost(400, 300)) is None
    world.answer(one, number, Usage(input_tokens=100, output_tokens=100))
    assert world.full(one, Cost(400, 700)) is None


def test_what_answers_usually_take_is_set_aside_where_nobody_says() -> None:
    """Unknown, it is 400 tokens; later a quarter more than the average; never more than the caller allows for."""
    one = allowed(tokens_per_min=400)
    world = World(one)
    assert world.full(one, Cost(0, 0)) is None
    world.start(one, Cost(4, 0))
    assert world.full(one, Cost(0, 0)) is not None
    meter = world.limits.place(one).pools[0].meters["tokens in 60 s"]
    pool = world.limits.place(one).pools[0]
    assert pool.amount(meter, Cost(4, 0)) == 401.0
    assert pool.amount(meter, Cost(4, 900)) == 901.0
    world.answer(one, 1, Usage(input_tokens=1, output_tokens=100))
    assert pool.amount(meter, Cost(4, 0)) == 126.0
    assert pool.amount(meter, Cost(4, 900)) == 126.0
    assert pool.amount(meter, Cost(4, 50)) == 51.0
    meter.reserves = True
    assert pool.amount(meter, Cost(4, 900)) == 901.0
    assert pool.amount(meter, Cost(4, 0, writes=False)) == 1.0


def test_how_many_characters_make_a_token_is_learned() -> None:
    """Another script, another count: after an answer its own ratio is used, later an average."""
    one = allowed(tokens_per_min=10_000)
    world = World(one)
    world.answer(one, world.start(one, Cost(1_000, 1)), Usage(input_tokens=1_000, output_tokens=1))
    place = world.limits.place(one)
    meter = place.pools[0].meters["tokens in 60 s"]
    assert place.pools[0].amount(meter, Cost(1_000, 1)) == 1_001.0
    world.answer(one, world.start(one, Cost(3_000, 1)), Usage(input_tokens=1_000, output_tokens=1))
    assert place.pools[0].amount(meter, Cost(2_000, 1)) == 1_001.0
    world.answer(one, world.start(one, Cost(3_000, 1)), Usage(output_tokens=1))
    assert place.pools[0].amount(meter, Cost(2_000, 1)) == 1_001.0


def test_vectors_say_nothing_of_how_long_answers_are() -> None:
    """An embedding writes no words, so it does not make usual answers shorter."""
    one = allowed(tokens_per_min=10_000)
    world = World(one)
    world.answer(one, world.start(one, Cost(400, 0, writes=False)), Usage(input_tokens=100))
    place = world.limits.place(one)
    assert place.pools[0].amount(place.pools[0].meters["tokens in 60 s"], Cost()) == 400.0


def test_each_unit_counts_its_own_part() -> None:
    """Anthropic counts what is read and what is written apart."""
    one = target()
    world, cost = World(), Cost(400, 200)
    world.tell(one, reading("input_tokens", 1e6, 1e6), reading("output_tokens", 1e6, 1e6), reading("tokens", 1e6, 1e6))
    pool = world.limits.place(one).pools[0]
    amounts = {name: pool.amount(meter, cost) for name, meter in pool.meters.items()}
    assert amounts == {"input_tokens": 100.0, "output_tokens": 200.0, "tokens": 300.0}
    world.answer(one, world.start(one, cost), Usage(input_tokens=70, output_tokens=30))
    left = {name: 1e6 - meter.room(NOW) for name, meter in pool.meters.items()}
    assert left == {"input_tokens": 70.0, "output_tokens": 30.0, "tokens": 100.0}


def test_what_never_reached_the_provider_is_given_back() -> None:
    """No connection, nothing spent; an error that came from there stays spent."""
    one = allowed(requests_per_min=1)
    world = World(one)
    world.fail(one, world.start(one), FailureKind.CONNECT, sent=False)
    assert world.full(one) is None
    world.fail(one, world.start(one), FailureKind.SERVER)
    assert world.full(one) is not None


def test_a_failure_with_usage_is_put_right_too() -> None:
    """A stream that was cut took what it says it took."""
    one = allowed(tokens_per_min=1_000)
    world = World(one)
    world.fail(one, world.start(one, Cost(0, 900)), FailureKind.BROKEN, usage=Usage(output_tokens=100))
    assert world.full(one, Cost(0, 900)) is None
    world.fail(one, world.start(one, Cost(0, 900)), FailureKind.BROKEN)
    assert world.full(one, Cost(0, 100)) is not None


def test_so_many_at_once() -> None:
    """A place is free again when an attempt has ended, in whatever way."""
    one = allowed(concurrent_max=1)
    world = World(one)
    for end in ("answered", "failed", "abandoned"):
        number = world.start(one)
        assert world.full(one) == "1 of 1 requests are under way"
        assert world.limits.share(one, Cost()) == 1.0
        if end == "answered":
            world.answer(one, number)
        elif end == "failed":
            world.fail(one, number)
        else:
            world.limits.fold(AttemptAbandoned(NOW, "f", number, one, 0.1))
        assert world.full(one) is None


def test_keys_of_one_group_share_a_limit_and_others_do_not() -> None:
    """A second key of the same account is no new quota."""
    limits = Allowance(requests_per_min=1)
    first, second = (target(f"a/m#{n}", key_name=str(n), quota_group="team", limits=limits) for n in (1, 2))
    third = target("a/m#3", key_name="3", limits=limits)
    world = World(first, second, third)
    world.start(first)
    assert world.full(second) is not None
    assert world.full(third) is None


def test_a_providers_limits_hold_for_all_models_of_a_key() -> None:
    """What a provider's section allows is shared by its models, besides what each may take."""
    everything = Allowance(requests_per_min=2)
    one = target("a/m", key_limits=everything, limits=Allowance(requests_per_min=1))
    other = target("a/n", key_limits=everything)
    world = World(one, other)
    world.start(one)
    assert world.full(one) is not None
    assert world.full(other) is None
    world.start(other)
    assert world.full(other) is not None


def test_the_first_word_on_a_scope_counts() -> None:
    """A key's limits hold for whatever model is asked for with it, and a target's are those it was announced with."""
    one = Allowance(requests_per_min=1)
    world = World(target("a/m", limits=one), target("b/", key_limits=one))
    again, named = target("a/m", limits=Allowance(requests_per_min=5)), target("b/named")
    world.start(again)
    world.start(named)
    assert world.full(again) is not None
    assert world.full(named) is not None


def test_a_limit_is_learned_from_what_is_told() -> None:
    """The first words bind at once; those about an attempt that we know count from its launch."""
    one = target()
    world = World()
    world.tell(one, reading(remaining=1.0))
    assert world.full(one) is None
    number = world.start(one)
    assert world.full(one) == "its limit of 10 requests in 60 s is reached"
    world.tell(one, reading(remaining=3.0), number=number)
    for _ in range(3):
        assert world.full(one) is None
        world.start(one)
    assert world.full(one) is not None


def test_the_smaller_of_what_is_configured_and_told_counts() -> None:
    """An operator may want less than the provider gives; more than it gives there is not."""
    for told, room in ((30.0, 2), (1.0, 1)):
        one = allowed(requests_per_min=2)
        world = World(one)
        world.tell(one, reading(limit=told, remaining=told))
        for _ in range(room):
            assert world.full(one) is None
            world.start(one)
        assert world.full(one) is not None


def test_headers_are_not_read_all_the_time_while_much_is_left() -> None:
    """With half of every limit left, a tenth of a second goes by before the next word is wanted."""
    one = target()
    world = World()
    assert world.limits.listens(one, NOW)
    world.tell(one, reading(remaining=5.0), reading("tokens", 100.0, 50.0))
    assert not world.limits.listens(one, NOW + 0.09)
    assert world.limits.listens(one, NOW + 0.1)
    world.tell(one, reading(remaining=5.0), reading("tokens", 100.0, 49.0), now=NOW + 1.0)
    assert world.limits.listens(one, NOW + 1.0)
    world.tell(one, reading(remaining=None), now=NOW + 2.0)
    assert world.limits.listens(one, NOW + 2.0)


@pytest.mark.parametrize(("kind", "cuts"), [(FailureKind.OVERLOADED, True), (FailureKind.SILENT, True),
                                            (FailureKind.RATE_LIMIT, True), (FailureKind.SERVER, False)])  # fmt: skip
def test_overload_and_silence_limit_how_many_at_once(kind: FailureKind, cuts: bool) -> None:
    """A provider that cannot keep up does not get everything; it may be a last resort all the same."""
    one = target()
    world = World()
    numbers = [world.start(one) for _ in range(10)]
    assert world.limits.share(one, Cost()) == 0.0
    world.fail(one, numbers[0], kind)
    assert (world.full(one) is not None) == cuts
    if cuts:
        assert world.full(one) == "it is slow or overloaded: 9 requests are under way, 7 may be"
        assert world.limits.share(one, Cost()) == pytest.approx(1 / 7)
    assert not world.limits.barred(one)
    assert not world.limits.metered(one, NOW, cost=Cost())
    assert world.limits.free_at(one, NOW) == NOW


def test_a_429_that_a_meter_explains_is_no_overload() -> None:
    """Where the limit is known to be reached, how many at once is not the question."""
    one = target()
    world = World()
    world.tell(one, reading(remaining=1.0))
    numbers = [world.start(one) for _ in range(10)]
    world.fail(one, numbers[0], FailureKind.RATE_LIMIT)
    assert world.limits.place(one).model.limit == inf
    assert world.limits.metered(one, NOW, cost=Cost())


@pytest.mark.parametrize("stream", [True, False])
def test_streams_are_timed_to_their_first_word(stream: bool) -> None:
    """A long stream is not a slow one; a long plain answer is."""
    one = target()
    world = World()
    for _ in range(20):
        world.start(one)
    for turn in range(300):
        number = world.start(one)
        first_s, total_s = (1.0, 1.0) if turn < 200 else (1.0, 30.0)
        world.limits.fold(AttemptAnswered(NOW, "f", number, one, first_s, total_s, stream, None))
    assert (world.limits.place(one).model.limit == inf) == stream


def test_room_is_spread_over_a_minute_and_not_over_a_day() -> None:
    """Requests are as far apart as the scarcest limit of a minute has it; what is only set aside does not count."""
    limits = World(one := allowed(requests_per_min=60, tokens_per_min=3_000, requests_per_day=10)).limits
    assert limits.gap_s(one, Cost(0, 10)) == 1.0
    assert limits.gap_s(one, Cost(0, 100)) == 2.0
    assert limits.gap_s(one, Cost(0, 100_000)) == limits.gap_s(one, Cost()) == 8.0
    assert limits.gap_s(one, Cost(400, 0, writes=False)) == 2.0
    assert limits.gap_s(target("b/m"), Cost()) == 0.0


def test_a_larger_share_is_charged_more() -> None:
    """What a request takes is the largest part of anything: of its requests, its tokens, its places."""
    one = allowed(requests_per_min=100, tokens_per_min=1_000)
    world = World(one)
    assert world.limits.share(one, Cost(0, 500)) == 0.5
    assert world.limits.share(one, Cost(0, 1)) == 0.01


def test_attempts_that_nobody_saw_begin_change_nothing() -> None:
    """Limits that were switched on in mid-flight do not count down below nought."""
    one = target()
    world = World()
    world.answer(one, 99, Usage(output_tokens=1))
    world.fail(one, 98)
    world.limits.fold(AttemptAbandoned(NOW, "f", 97, one, 0.1))
    world.limits.fold(TargetForced(NOW, "a", open=None))
    assert world.limits.place(one).model.in_flight == 0
    assert world.limits.place(one).pools[0].in_flight == 0


def test_what_a_flight_takes_is_forgotten_with_it() -> None:
    """After its end, attempts under the same name are small again, by the prompt that the fact tells."""
    one = allowed(tokens_per_min=1_000)
    world = World(one)
    world.limits.expect("f", Cost(0, 900))
    world.limits.fold(FlightEnded(NOW, "f", "r", None, 0, 0.0, failover=False, rescued=False))
    world.limits.fold(AttemptStarted(NOW, "f", 1, one, Why.FIRST, prompt_chars=400))
    assert 1_000.0 - world.limits.place(one).pools[0].meters["tokens in 60 s"].room(NOW) == 500.0


def test_callers_who_name_many_models_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many targets everything is learned anew."""
    monkeypatch.setattr(module, "POOLS_MAX", 2)
    world = World()
    first = target("a/1")
    world.tell(first, reading(remaining=0.0))
    assert world.full(first) is not None
    world.full(target("a/2"))
    world.full(target("a/3"))
    assert world.full(first) is None


def test_the_cost_of_a_request_is_what_it_says_of_itself() -> None:
    """Prompt, allowance times answers, and whether words are written at all."""
    assert cost_of(Request(model="m", prompt_chars=8, max_tokens=5, choices=2)) == Cost(8, 10, writes=True)
    assert cost_of(Request(model="m", prompt_chars=8)) == Cost(8, 0, writes=True)
    assert cost_of(Request(model="m", task=Task.EMBEDDING)) == Cost(0, 0, writes=False)


def test_the_board_knows_who_has_no_room() -> None:
    """A target without room rests with its reason, another takes the request, and it is no last resort."""
    one, other = allowed(requests_per_min=1), target("b/m")
    board, limits = Board(Random(1)), Limits([one])
    board.limits = limits
    board.watch(limits.reactions)
    route = Route(name="r", targets=(one, other))
    assert not board.forced_open(one)
    board.fold(AttemptStarted(NOW, "f", 1, one, Why.FIRST))
    lineup = line_up(Request(model="m"), route, board=board, now=NOW, draw=Draw(0, Random(1)))
    assert lineup.order == (other,)
    assert lineup.resting == ((one, "its limit of 1 requests in 60 s is reached"),)
    assert board.forced_open(one)
    assert not board.forced_open(other)
    assert board.samples(one, stream=False) == 0


def test_usual_is_an_average_over_thirty_answers() -> None:
    """Each of the first thirty weighs the same, each later one a thirtieth."""
    one = allowed(tokens_per_min=10**9)
    world = World(one)
    pool = world.limits.place(one).pools[0]
    meter = pool.meters["tokens in 60 s"]
    for tokens in (100, 300):
        world.answer(one, world.start(one), Usage(output_tokens=tokens))
    assert pool.amount(meter, Cost()) == pytest.approx(250.0)
    for _ in range(28):
        world.answer(one, world.start(one), Usage(output_tokens=200))
    assert pool.amount(meter, Cost()) == pytest.approx(250.0)
    world.answer(one, world.start(one), Usage(output_tokens=500))
    assert pool.amount(meter, Cost()) == pytest.approx(1.25 * 210.0)


def test_a_request_stays_one_request() -> None:
    """Whatever its answer took, an attempt counts once among requests, and its place is given back."""
    one = allowed(requests_per_min=2)
    world = World(one)
    model = world.limits.place(one).model
    world.answer(one, world.start(one), Usage(input_tokens=50, output_tokens=50))
    assert model.in_flight == 0
    assert world.full(one) is None
    world.fail(one, world.start(one))
    assert model.in_flight == 0
    assert world.full(one) is not None
    world.limits.fold(AttemptAbandoned(NOW, "f", world.start(one), one, 0.1))
    assert model.in_flight == 0


def test_a_target_is_free_when_all_its_meters_are() -> None:
    """The latest of its limits says when; without a word about others, the next request is meant."""
    one = allowed(requests_per_min=1, requests_per_day=1)
    world = World(one)
    world.start(one)
    assert world.limits.free_at(one, NOW) == NOW + 86_400.0 * (1.0 + 1.0 / 120.0)
    two = target("b/m", limits=Allowance(requests_per_min=2))
    world.start(two)
    assert world.limits.free_at(two, NOW) == NOW


def test_the_share_of_places_counts_too() -> None:
    """Where only so many run at once, a request takes one of the places."""
    one = allowed(concurrent_max=4, requests_per_min=100)
    assert World(one).limits.share(one, Cost()) == 0.25


def test_an_attempt_from_before_a_limit_was_known_has_no_account_of_it() -> None:
    """Its word counts as one of unknown time; a later attempt's as one of its launch."""
    one = target()
    world = World()
    early = world.start(one)
    world.tell(one, reading(remaining=5.0))
    late = world.start(one)
    world.tell(one, reading(remaining=3.0), number=early, now=NOW + 1.0)
    assert world.limits.free_at(one, NOW + 1.0, before=2) == NOW + 1.0
    world.tell(one, reading(remaining=1.0), number=late, now=NOW + 2.0)
    assert world.limits.free_at(one, NOW + 2.0, before=1) == NOW + 60.0


def test_a_new_configuration_keeps_what_was_spent() -> None:
    """Allowances are followed up and down, and what is not allowed for any more bounds nothing."""
    one = allowed(requests_per_min=2, tokens_per_min=10_000)
    world = World(one)
    world.start(one)
    world.limits.follow([allowed(requests_per_min=1)])
    assert set(world.limits.place(one).pools[0].meters) == {"requests in 60 s"}
    assert world.full(one) is not None
    world.limits.follow([allowed(requests_per_min=5)])
    assert world.full(one) is None


def test_a_new_configuration_may_allow_what_was_not_limited() -> None:
    """A key that had no allowance has one now, and as many at once; what an operator wants is listed by scope."""
    one = target()
    world = World()
    number = world.start(one)
    assert list(world.limits.configured()) == []
    world.limits.follow([target(limits=Allowance(concurrent_max=1), key_limits=Allowance(requests_per_min=1))])
    assert world.full(one) == "1 of 1 requests are under way"
    assert [(scope, list(dict(pool.configured))) for scope, pool in world.limits.configured()] == [
        (one.quota_scope, []),
        (one.key_scope, ["requests in 60 s"]),
    ]
    world.answer(one, number)
    assert world.full(one) is None
    number = world.start(one)
    assert world.full(one) == "1 of 1 requests are under way"
    world.answer(one, number)
    assert world.full(one) == "its limit of 1 requests in 60 s is reached", "the key's"


def test_places_are_shared_as_far_as_they_were_lent() -> None:
    """Others run requests with the same key: as many whole places as were lent are ours, and never more than all."""
    one = allowed(concurrent_max=4)
    world = World(one)
    (pool,) = world.limits.place(one).pools
    pool.lend(1.9)
    assert world.full(one) is None
    world.start(one)
    assert world.full(one) == "1 of 4 requests are under way"
    pool.lend(9.0)
    assert pool.at_once == 4
    free = Pool(Allowance(requests_per_min=1))
    free.lend(1.0)
    assert free.at_once is None


def test_what_a_provider_told_is_not_what_an_operator_wants() -> None:
    """Meters that come of a provider's words are none of the configured ones, and stay when those change."""
    one = allowed(requests_per_min=5)
    world = World(one)
    world.tell(one, reading("tokens", 100.0, 50.0))
    (pool,) = world.limits.place(one).pools
    assert list(dict(pool.configured)) == ["requests in 60 s"]
    world.limits.follow([])
    assert list(pool.meters) == ["tokens"]
    assert list(dict(pool.configured)) == []


def test_ten_thousand_targets_are_kept_account_of() -> None:
    """With the next one everything is learned anew: what was spent, and what a model stands."""
    world = World()
    first = target("0/m")
    place = world.limits.place(first)
    place.model.started()
    for number in range(1, 10_000):
        world.limits.place(Target(name=str(number), provider="0", model="m"))
    assert world.limits.place(first) is place
    world.limits.place(target("one/more"))
    fresh = world.limits.place(first)
    assert fresh.pools[0] is not place.pools[0]
    assert fresh.model.in_flight == 0


def test_whoever_is_barred_is_so_until_there_is_room() -> None:
    """As of the last look at it."""
    one = allowed(requests_per_min=1)
    world = World(one)
    assert world.limits.listens(one, 0.0)
    world.start(one)
    assert world.full(one) is not None
    assert world.limits.barred(one)
    assert world.full(one, now=NOW + 60.5) is None
    assert not world.limits.barred(one)
    told = target("b/m")
    world.tell(told, reading(remaining=0.0, reset_s=30.0))
    for later_s in (29.9, 30.0):
        full = world.full(told, now=NOW + later_s)
        assert world.limits.barred(told) is (full is not None) is (later_s < 30.0)


def test_when_there_is_room_depends_on_what_is_wanted() -> None:
    """For a small request at once, for a large one later."""
    one = allowed(tokens_per_min=1_000)
    world = World(one)
    world.start(one, Cost(0, 500))
    assert world.limits.free_at(one, NOW) == NOW
    assert world.limits.free_at(one, NOW, cost=Cost(0, 900)) == NOW + 60.5


def test_what_a_provider_tells_is_of_its_model() -> None:
    """A limit in the headers is the key's share of that model, not all that the key may do."""
    one = target(key_limits=Allowance(requests_per_min=100))
    world = World(one)
    world.tell(one, reading("tokens", 2.0, None))
    quota, key = world.limits.place(one).pools
    assert (list(quota.meters), list(key.meters)) == (["tokens"], ["requests in 60 s"])
    assert world.limits.listens(one, NOW), "nothing is known to be left"
    world.tell(one, reading("tokens", 2.0, 0.0))
    assert world.limits.listens(one, NOW)
    world.tell(one, reading("tokens", 2.0, 1.0))
    assert not world.limits.listens(one, NOW + 0.0999)
    assert world.limits.listens(one, NOW + 0.1001)


def test_a_429_that_one_of_two_limits_explains_is_no_overload() -> None:
    """The key is at its limit although its share of the model is not."""
    one = target(key_limits=Allowance(requests_per_min=1))
    world = World(one)
    number = world.start(one)
    world.fail(one, number, FailureKind.RATE_LIMIT)
    assert world.limits.place(one).model.limit == inf
    free = target("b/m", key_limits=Allowance(requests_per_min=2))
    other = World(free)
    other.fail(free, other.start(free), FailureKind.RATE_LIMIT)
    assert other.limits.place(free).model.limit == 1.0


def test_of_a_limit_without_a_window_only_the_reset_is_known() -> None:
    """What is left counts until then, and what we spend ourselves is not counted at all."""
    one = target()
    world = World()
    world.tell(one, reading(remaining=1.0, window_s=0.0, reset_s=30.0))
    (meter,) = world.limits.place(one).pools[0].meters.values()
    world.start(one)
    assert meter.room(NOW + 29.9) == 0.0
    assert meter.room(NOW + 30.0) == inf
