from __future__ import annotations

from dataclasses import replace

import pytest

from core.world import (
    Script,
    Step,
    World,
    ends,
    fail,
    gives,
    last_fact,
    opens,
    says,
    world_of,
)
from unbroken.core.flight import Emit
from unbroken.core.lineup import Lineup
from unbroken.facts import FirstContent, FlightEnded
from unbroken.failures import VERDICTS, FailureKind, Fault
from unbroken.policy import Budget, Deadlines, Policy, Retries
from unbroken.types import Delta, Finish, Request, ToolFragment

# ------------------------------------------------------------------- the plain sailing


@pytest.mark.parametrize("stream", [True, False])
def test_a_good_answer_is_passed_on_whole(stream: bool) -> None:
    """A healthy target's answer reaches the caller, word for word, after one attempt."""
    flown = world_of().fly(stream=stream)
    assert (flown.text, flown.names, flown.whys) == ("fine so far", "a", "first")
    end = flown.end
    assert (end.failure, end.attempts, end.failover, end.rescued, end.shown) == (None, 1, False, False, True)
    assert end.target is not None
    assert end.target.name == "a"


def test_a_stream_is_shown_as_it_comes_and_a_plain_answer_at_once() -> None:
    """Streaming callers see each piece; the others one list at the end."""
    streamed, plain = world_of().fly(), world_of().fly(stream=False)
    assert len(streamed.all_of(Emit)) == 5
    assert len(plain.all_of(Emit)) == 1


def test_what_comes_before_the_first_content_is_shown_with_it() -> None:
    """A role alone commits nobody; it is passed on once there is content."""
    flown = world_of().fly()
    assert [delta.id for delta in flown.all_of(Emit)[0].deltas] == ["1", "1"]


def test_the_first_content_of_a_stream_is_a_fact() -> None:
    """Noted once for an attempt, when the first of it came; a plain answer comes at once."""
    [fact] = world_of().fly().facts(FirstContent)
    assert (fact.number, fact.seconds) == (1, pytest.approx(0.5))
    assert world_of().fly(stream=False).facts(FirstContent) == []


def test_the_last_fact_tells_how_it_ended() -> None:
    """FlightEnded comes last, with the seconds and the target."""
    flown = world_of().fly()
    fact = last_fact(flown)
    assert isinstance(fact, FlightEnded)
    assert fact.total_s == pytest.approx(0.7)
    assert (fact.route, fact.attempts, fact.failure) == ("auto", 1, None)


def test_nothing_is_taken_from_attempts_that_are_over() -> None:
    """Signals of attempts that nobody waits for change nothing."""
    world = world_of()
    flight = world.flight(Request(model="auto", stream=True))
    flight.begin(world.now)
    assert flight.failed(1, fail(FailureKind.REQUEST)[0].what, now=world.now)
    late = [
        flight.connected(1, world.now), flight.opened(1, world.now), flight.ended(1, world.now),
        flight.arrived(1, [Delta(text="late")], now=world.now),
        flight.failed(9, fail(FailureKind.SERVER)[0].what, now=world.now),
        flight.woke(world.now + 99), flight.cancelled(world.now),
    ]  # fmt: skip
    assert not any(late)
    assert flight.wake_at == float("inf")


def test_signals_that_come_late_or_twice_change_nothing() -> None:
    """A connection is connected once, and opened once; content that came before counts."""
    world = world_of()
    flight = world.flight(Request(model="auto", stream=True))
    flight.begin(world.now)
    flight.opened(1, world.now)
    due = flight.wake_at
    flight.connected(1, world.now)
    assert flight.wake_at == due
    flight.arrived(1, [Delta(text="x")], now=world.now)
    due = flight.wake_at
    flight.opened(1, world.now)
    assert flight.wake_at == due


def test_what_can_be_said_half_way() -> None:
    """`so_far` tells a face who answers before the end, for its headers."""
    world = world_of(a=fail(FailureKind.CONNECT))
    flight = world.flight(Request(model="auto", stream=True))
    assert (flight.so_far().target, flight.so_far().failover, flight.so_far().attempts) == (None, False, 0)
    flight.begin(world.now)
    flight.failed(1, fail(FailureKind.CONNECT)[0].what, now=world.now)
    flight.arrived(2, [Delta(text="hello")], now=world.now)
    assert (flight.so_far().target, flight.so_far().failover) == (world.target("b"), True)
    assert flight.so_far().shown


# ------------------------------------------------------------------- retry and failover


def test_a_500_is_tried_again_and_then_elsewhere() -> None:
    """A server error gets one retry after a short wait, then the next target at once."""
    flown = world_of(a=fail(FailureKind.SERVER, status=500)).fly()
    assert (flown.names, flown.whys, flown.text) == ("a a b", "first retry failover", "fine so far")
    first, retry, failover = flown.times
    assert first == 0.0
    assert 0.2 <= retry <= 0.2 + 0.5
    assert failover == retry + 0.2
    assert flown.end.failover


def test_a_500_that_passes_is_never_seen() -> None:
    """When the retry succeeds, the caller gets the answer of the same target."""
    flown = world_of(a=(fail(FailureKind.SERVER), says("back"))).fly()
    assert (flown.names, flown.text, flown.end.failover) == ("a a", "back", False)


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_one_target_is_tried_as_often_as_the_policy_says(retries: int) -> None:
    """`same_target_max` counts the retries at one target."""
    policy = Policy(retries=Retries(same_target_max=retries))
    flown = world_of("a", policy, a=fail(FailureKind.SERVER)).fly()
    assert len(flown.attempts) == 1 + retries
    assert flown.kind is FailureKind.SERVER


def test_attempts_are_capped() -> None:
    """No request makes more attempts than `attempts_max`, whatever there is to try."""
    policy = Policy(retries=Retries(attempts_max=3))
    world = world_of("a b c d e", policy, **{name: fail(FailureKind.SERVER) for name in "abcde"})
    flown = world.fly()
    assert flown.names == "a a b"
    assert flown.kind is FailureKind.SERVER


def test_a_short_hint_is_waited_for() -> None:
    """429 with Retry-After 2: the same target again after two seconds, never earlier."""
    flown = world_of(a=(fail(FailureKind.RATE_LIMIT, retry_after_s=2.0), says("mine"))).fly()
    assert (flown.names, flown.text) == ("a a", "mine")
    assert 2.2 <= flown.times[1] <= 2.2 + 0.05


def test_a_long_hint_is_a_reason_to_switch() -> None:
    """429 with Retry-After 4: the next target at once, and the first rests for as long as it said."""
    world = world_of(a=(fail(FailureKind.RATE_LIMIT, retry_after_s=4.0), says("mine")))
    assert world.fly().names == "a b"
    begun = world.now
    assert world.fly().names == "b"
    world.now = begun + 4.0
    assert world.fly().names == "a"


def test_a_rate_limit_without_a_hint_is_a_reason_to_switch() -> None:
    """Nobody knows how long: the next target at once."""
    flown = world_of(a=fail(FailureKind.RATE_LIMIT)).fly()
    assert (flown.names, flown.times[1]) == ("a b", 0.2)


def test_a_rate_limit_without_a_hint_and_without_anybody_else_is_tried_once_more() -> None:
    """Where there is nobody else, one retry after a short wait costs little."""
    flown = world_of("a", a=(fail(FailureKind.RATE_LIMIT), says("mine"))).fly()
    assert (flown.names, flown.text) == ("a a", "mine")


@pytest.mark.parametrize("kind", [FailureKind.CONNECT, FailureKind.MALFORMED, FailureKind.MODEL_MISSING])
def test_what_does_not_pass_goes_elsewhere_at_once(kind: FailureKind) -> None:
    """A refused connection, rubbish and a missing model are not waited for."""
    flown = world_of(a=fail(kind)).fly()
    assert (flown.names, flown.times[1]) == ("a b", 0.2)


def test_a_retry_that_would_come_after_the_deadline_is_not_waited_for() -> None:
    """Waiting for a target makes no sense when the request is over by then."""
    policy = Policy(deadlines=Deadlines(total_s=2.0))
    flown = world_of(policy=policy, a=fail(FailureKind.RATE_LIMIT, retry_after_s=2.5)).fly()
    assert flown.names == "a b"


def test_retries_are_spread_over_a_time_that_doubles() -> None:
    """Full jitter: anywhere between at once and half a second, then a second, then the limit."""
    retries = Retries(same_target_max=4, base_s=0.25, wait_s_max=1.75)
    waits: list[list[float]] = [[], [], [], []]
    for seed in range(200):
        world = World("a", Policy(retries=retries), seed=seed)
        world.play("a", fail(FailureKind.SERVER, after_s=0.0))
        times = world.fly().times
        for of_retry, earlier, later in zip(waits, times, times[1:], strict=False):
            of_retry.append(later - earlier)
    for of_retry, most_s in zip(waits, (0.5, 1.0, 1.75, 1.75), strict=True):
        assert 0.9 * most_s < max(of_retry) <= most_s
        assert min(of_retry) < 0.1 * most_s


def test_a_target_that_fails_everybody_is_not_tried_twice() -> None:
    """Once its breaker is open, the next target is asked at once; without another, the retry is all there is."""
    for names, asked in (("a b", ["a a b", "a b", "b"]), ("a", ["a a", "a a", "a"])):
        world = world_of(names, a=fail(FailureKind.SERVER))
        assert [world.fly().names for _ in range(3)] == asked


def test_retries_are_paid_for() -> None:
    """With an empty budget there is no retry, but still another target."""
    policy = Policy(budget=Budget(ratio=0.0, reserve=0.0))
    flown = world_of(policy=policy, a=fail(FailureKind.SERVER)).fly()
    assert (flown.names, flown.whys) == ("a b", "first failover")


def test_an_outage_does_not_multiply_traffic() -> None:
    """With everybody down, retries and last resorts stay a share of the requests."""
    policy = Policy(budget=Budget(ratio=0.2, reserve=5.0, window_s=10.0))
    world = world_of("a b c", policy, **{name: fail(FailureKind.SERVER, after_s=0.01) for name in "abc"})
    flown = world.fly_often(1_000, every_s=0.01)
    attempts = sum(len(one.attempts) for one in flown[100:])
    # Each request is worth one try, and 20 % of them and half a try a second more.
    assert 900 <= attempts <= 900 * 1.2 + 0.5 * world.now - 0.5 * 1_000.0 + 10
    assert all(one.kind is FailureKind.SERVER for one in flown)


def keyed(names: str, *scripts: Script) -> World:
    """A world of which the first key of model m at provider p plays these scripts."""
    world = world_of(names)
    world.play("p/m#1", *scripts)
    return world


# ------------------------------------------------------------------- whose fault


def test_a_bad_request_ends_at_once() -> None:
    """A 400 is the caller's: nobody else is asked, and the answer is handed on as it is."""
    world = world_of(a=fail(FailureKind.REQUEST, status=400, param="messages"))
    flown = world.fly()
    assert (flown.names, flown.kind) == ("a", FailureKind.REQUEST)
    assert flown.end.failure is not None
    assert (flown.end.failure.param, flown.end.shown) == ("messages", False)


def test_bad_requests_count_against_nobody() -> None:
    """A thousand bad requests leave every breaker closed."""
    world = world_of(a=fail(FailureKind.REQUEST, status=400))
    assert {one.names for one in world.fly_often(1_000, every_s=0.01)} == {"a"}
    assert not any(health.troubled for health in world.board.healths().values())


def test_a_prompt_that_is_too_long_goes_to_another_model_only() -> None:
    """Another key to the same model would say the same."""
    flown = keyed("p/m#1 p/m#2 q/n", fail(FailureKind.CONTEXT_LENGTH)).fly()
    assert (flown.names, flown.text) == ("p/m#1 q/n", "fine so far")


def test_a_prompt_that_is_too_long_goes_only_where_the_window_is_larger() -> None:
    """Where windows are known, a smaller or equal one is not tried."""
    world = world_of("a b c", a=fail(FailureKind.CONTEXT_LENGTH))
    for name, tokens in (("a", 8_000), ("b", 8_000), ("c", 100_000)):
        world.change(name, context_tokens=tokens)
    assert world.fly().names == "a c"


def test_a_prompt_that_is_too_long_for_all_is_the_callers_fault() -> None:
    """With no larger window behind it, the caller hears of it at once; a 500 elsewhere hides nothing."""
    flown = keyed("p/m#1 p/m#2", fail(FailureKind.CONTEXT_LENGTH)).fly()
    assert (flown.names, flown.kind) == ("p/m#1", FailureKind.CONTEXT_LENGTH)
    other = world_of(a=fail(FailureKind.CONTEXT_LENGTH), b=fail(FailureKind.SERVER)).fly()
    assert (other.names, other.kind) == ("a b b", FailureKind.CONTEXT_LENGTH)


def test_a_value_that_a_model_refuses_goes_to_another_model_only() -> None:
    """The same model at somebody else's would say the same: with no other, the caller hears of it at once."""
    refused = fail(FailureKind.UNSUPPORTED, status=400, code="unsupported_value", param="temperature")
    world = keyed("p/m#1 p/m#2 q/m r/n", refused)
    flown = world.fly()
    assert (flown.names, flown.text) == ("p/m#1 r/n", "fine so far")
    alone = keyed("p/m#1 p/m#2 q/m", refused).fly()
    assert (alone.names, alone.kind) == ("p/m#1", FailureKind.UNSUPPORTED)
    assert alone.end.failure is not None
    assert alone.end.failure.param == "temperature"


def test_a_field_that_a_provider_does_not_know_goes_to_anybody() -> None:
    """Others offer the same model by an interface of their own."""
    unknown = fail(FailureKind.UNSUPPORTED, status=400, code="unsupported_parameter", param="top_k")
    assert keyed("p/m#1 q/m", unknown).fly().names == "p/m#1 q/m"


def test_a_prompt_that_is_too_long_for_one_runner_does_not_end_the_race() -> None:
    """The other runners may have room for it."""
    world = World("a b", width=2)
    world.play("a", fail(FailureKind.CONTEXT_LENGTH))
    world.play("b", says("room"))
    assert world.fly().text == "room"


def test_a_refusal_by_policy_goes_to_the_caller() -> None:
    """What one provider refuses is not shopped around."""
    flown = world_of(a=fail(FailureKind.CONTENT_POLICY)).fly()
    assert (flown.names, flown.kind) == ("a", FailureKind.CONTENT_POLICY)


def test_a_refusal_by_policy_may_go_elsewhere_where_the_operator_says_so() -> None:
    """`on_refusal: failover` asks the next one; if all refuse, the caller hears of it."""
    policy = Policy(on_refusal="failover")
    flown = world_of(policy=policy, a=fail(FailureKind.CONTENT_POLICY)).fly()
    assert (flown.names, flown.text) == ("a b", "fine so far")
    refused = world_of(policy=policy, a=fail(FailureKind.CONTENT_POLICY), b=fail(FailureKind.CONTENT_POLICY)).fly()
    assert (refused.names, refused.kind) == ("a b", FailureKind.CONTENT_POLICY)


def test_a_target_that_cannot_be_asked_is_passed_over() -> None:
    """A request that one target's format cannot express says nothing about the others, or about health."""
    unsayable = fail(FailureKind.REQUEST, sent=False)
    world = world_of(a=unsayable)
    assert world.fly().names == "a b"
    assert world_of("a", a=unsayable).fly().kind is FailureKind.REQUEST
    flown = world_of(a=unsayable, b=fail(FailureKind.OVERLOADED)).fly()
    assert flown.kind is FailureKind.OVERLOADED
    limited = world_of(a=unsayable, b=fail(FailureKind.RATE_LIMIT, retry_after_s=9.0)).fly()
    assert limited.kind is FailureKind.RATE_LIMIT


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_of_failure_ends_in_an_answer_or_its_verdict(kind: FailureKind) -> None:
    """Whatever the first target fails of, the second answers, unless the verdict says that nobody may."""
    flown = world_of(a=fail(kind)).fly()
    if VERDICTS[kind].elsewhere or VERDICTS[kind].other_model:
        assert flown.text == "fine so far"
    else:
        assert flown.kind is kind
        assert VERDICTS[kind].fault in {Fault.CALLER, Fault.US}


# ------------------------------------------------------------------- keys


@pytest.mark.parametrize(
    "failure",
    [
        fail(FailureKind.RATE_LIMIT, retry_after_s=1.0),
        fail(FailureKind.RATE_LIMIT),
        fail(FailureKind.AUTH),
        fail(FailureKind.QUOTA),
        fail(FailureKind.SERVER),
    ],
)
def test_another_key_is_better_than_waiting(failure: list[Step]) -> None:
    """What one key is refused, the next key to the same model is asked at once."""
    flown = keyed("p/m#1 p/m#2 q/n", failure).fly()
    assert (flown.names, flown.times[1]) == ("p/m#1 p/m#2", 0.2)


@pytest.mark.parametrize(("kind", "rest_s"), [(FailureKind.AUTH, 600.0), (FailureKind.RATE_LIMIT, 15.0)])
def test_a_key_that_is_refused_is_left_alone(kind: FailureKind, rest_s: float) -> None:
    """The key rests for as long as the table says; the other key, the same model, does the work."""
    world = keyed("p/m#1 p/m#2", fail(kind), says("again"))
    world.fly()
    failed_at = world.now - 0.8
    assert {one.names for one in world.fly_often(5, every_s=1.0)} == {"p/m#2"}
    world.now = failed_at + rest_s + 1.0
    assert world.fly().names == "p/m#1"


# ------------------------------------------------------------------- those who rest


def test_when_everybody_rests_the_best_is_tried() -> None:
    """The one that is due first gets the request, instead of an error without a try."""
    long, short = (fail(FailureKind.RATE_LIMIT, retry_after_s=s) for s in (60.0, 30.0))
    world = world_of(a=(long, says("a is back")), b=(short, says("b is back")))
    assert world.fly().kind is FailureKind.RATE_LIMIT
    flown = world.fly()
    assert (flown.names, flown.whys, flown.text) == ("b", "last_resort", "b is back")


def test_last_resorts_after_the_first_are_paid_for() -> None:
    """Everybody who rests may be tried in turn, as far as the budget goes; none is tried twice."""
    for reserve, names in ((20.0, "a b"), (0.0, "a")):
        policy = Policy(budget=Budget(ratio=0.0, reserve=reserve))
        world = world_of(policy=policy, a=fail(FailureKind.AUTH), b=fail(FailureKind.AUTH))
        world.fly()
        flown = world.fly()
        assert (flown.names, flown.kind) == (names, FailureKind.AUTH)


def test_those_who_rest_are_tried_when_the_others_have_failed() -> None:
    """A request that came late to a cooling target may still be answered by it."""
    world = world_of(a=(fail(FailureKind.RATE_LIMIT), says("a is back")))
    world.fly()
    world.play("b", fail(FailureKind.CONNECT))
    flown = world.fly()
    assert (flown.names, flown.whys, flown.text) == ("b a", "first last_resort", "a is back")


def test_what_is_taken_out_by_hand_is_never_tried() -> None:
    """Not even as a last resort, and the error says why."""
    world = world_of()
    world.force("a", open=True)
    assert world.fly().names == "b"
    world.force("b", open=True)
    flown = world.fly()
    assert (flown.names, flown.kind) == ("", FailureKind.NO_TARGET)
    assert flown.end.failure is not None
    assert "breaker forced_open" in flown.end.failure.message
    world.force("a", open=None)
    assert world.fly().names == "a"


def test_a_request_that_nobody_can_do_is_the_callers() -> None:
    """Where no target could ever do it, the answer says what each of them lacks."""
    world = world_of()
    world.change_all(capabilities=frozenset({"tools"}))
    flown = world.fly(needs=frozenset({"vision"}))
    assert flown.kind is FailureKind.REQUEST
    assert flown.end.failure is not None
    assert "a: cannot do vision; b: cannot do vision" in flown.end.failure.message


def test_a_route_without_targets_says_so() -> None:
    """An empty route is our fault, not the caller's."""
    world = World("")
    flown = world.fly()
    assert flown.kind is FailureKind.NO_TARGET
    assert flown.end.failure is not None
    assert "no targets" in flown.end.failure.message


def test_it_is_no_failover_when_the_first_could_never_have_done_it() -> None:
    """A target without the capability was not the first choice for this request."""
    world = world_of()
    world.change("a", capabilities=frozenset({"tools"}))
    flown = world.fly(needs=frozenset({"vision"}))
    assert (flown.names, flown.end.failover) == ("b", False)


def test_it_is_a_failover_when_the_first_rests() -> None:
    """A caller may know that the preferred target was passed over."""
    world = world_of(a=fail(FailureKind.AUTH))
    world.fly()
    flown = world.fly()
    assert (flown.names, flown.end.failover) == ("b", True)


def test_in_other_orders_the_first_choice_is_who_was_asked_first() -> None:
    """Round robin takes turns, which is no failover."""
    world = World("a b", strategy="round-robin")
    world.play("a", says("a"))
    world.play("b", says("b"))
    flown = [world.fly(), world.fly()]
    assert [one.text for one in flown] == ["a", "b"]
    assert not any(one.end.failover for one in flown)


def test_a_lineup_of_targets_that_are_not_on_the_route_still_has_a_first_choice() -> None:
    """Where everybody on the route is unfit, whoever was asked first counts."""
    world = world_of()
    stranger = replace(world.target("a"), name="stranger")
    unfit = tuple((target, "cannot") for target in world.route.targets)
    flight = world.flight_with(Request(model="auto", stream=True), Lineup((stranger,), unfit=unfit))
    flight.begin(world.now)
    flight.arrived(1, [Delta(text="x")], now=world.now)
    assert not flight.so_far().failover


# ------------------------------------------------------------------- all of them failed


def test_when_all_are_rate_limited_the_soonest_return_is_told() -> None:
    """The caller gets a 429 with the smallest of the hints, the latest of each target."""
    flown = world_of(
        "a b c",
        a=(fail(FailureKind.RATE_LIMIT, retry_after_s=1.0), fail(FailureKind.RATE_LIMIT, retry_after_s=40.0)),
        b=fail(FailureKind.RATE_LIMIT, retry_after_s=30.0),
        c=fail(FailureKind.RATE_LIMIT, cool_s=900.0),
    ).fly()
    assert (flown.names, flown.kind) == ("a a b c", FailureKind.RATE_LIMIT)
    assert flown.end.failure is not None
    assert (flown.end.failure.retry_after_s, flown.end.failure.status) == (30.0, 429)


def test_a_rate_limit_without_a_hint_tells_our_own_guess() -> None:
    """The time that a target without a hint is left alone for is what a caller should wait."""
    flown = world_of("a", Policy(retries=Retries(same_target_max=0)), a=fail(FailureKind.RATE_LIMIT)).fly()
    assert flown.end.failure is not None
    assert flown.end.failure.retry_after_s == 15.0


def test_the_last_failure_that_is_no_rate_limit_is_told() -> None:
    """With all sorts of failures the last real one counts, and the message tells of each."""
    flown = world_of(
        "a b c", a=fail(FailureKind.CONNECT), b=fail(FailureKind.AUTH), c=fail(FailureKind.RATE_LIMIT)
    ).fly()
    assert flown.kind is FailureKind.AUTH
    assert flown.end.failure is not None
    assert "; a: connect; b: auth; c: rate_limit" in flown.end.failure.message


def test_who_was_not_asked_is_told_with_the_reason() -> None:
    """Where one failed and others were ruled out the error names them all, and of very many how many there are."""
    world = world_of("a b c", a=fail(FailureKind.AUTH))
    for name in "bc":
        world.force(name, open=True)
    flown = world.fly()
    assert flown.kind is FailureKind.AUTH and flown.end.failure is not None
    assert "; a: auth; not asked: b: breaker forced_open; c: breaker forced_open" in flown.end.failure.message

    many = world_of(" ".join(f"t{number}" for number in range(20)))
    many.change_all(capabilities=frozenset({"tools"}))
    failure = many.fly(needs=frozenset({"vision"})).end.failure
    assert (
        failure is not None and "t7: cannot do vision; and 12 more" in failure.message and "t8" not in failure.message
    )
    assert not failure.sent

    eight = world_of(" ".join(f"t{number}" for number in range(8)))
    eight.change_all(capabilities=frozenset({"tools"}))
    failure = eight.fly(needs=frozenset({"vision"})).end.failure
    assert failure is not None and failure.message.endswith("t7: cannot do vision")


def test_who_rested_and_was_asked_after_all_is_named_once() -> None:
    """By what came of it, and not by the reason why it rested."""
    world = world_of(a=fail(FailureKind.AUTH), b=fail(FailureKind.AUTH))
    world.fly()
    failure = world.fly().end.failure
    assert failure is not None and failure.message == "every target failed; a: auth; b: auth"


# ------------------------------------------------------------------- empty answers


def test_an_empty_answer_is_asked_for_elsewhere() -> None:
    """Nothing is no answer, as long as somebody else may have one."""
    flown = world_of(a=says()).fly()
    assert (flown.names, flown.text, flown.fates()) == ("a b", "fine so far", ["empty"])


@pytest.mark.parametrize("stream", [True, False])
def test_if_all_are_empty_the_empty_answer_is_delivered(stream: bool) -> None:
    """The last one's end and usage reach the caller as they came."""
    flown = world_of(a=says(), b=says()).fly(stream=stream)
    assert (flown.names, flown.kind, flown.end.target and flown.end.target.name) == ("a b", None, "b")
    assert [delta.finish for delta in flown.deltas if delta.finish] == [Finish.STOP]


def test_an_empty_answer_of_which_nothing_came_is_a_failure() -> None:
    """Where not even an end came, there is nothing to deliver."""
    flown = world_of("a", a=fail(FailureKind.EMPTY)).fly()
    assert (flown.kind, flown.all_of(Emit)) == (FailureKind.EMPTY, [])


@pytest.mark.parametrize("finish", [Finish.LENGTH, Finish.CONTENT_FILTER])
def test_an_answer_that_is_empty_for_a_reason_is_delivered(finish: Finish) -> None:
    """No room or a filter: nobody else would have more to say."""
    flown = world_of(a=says(finish=finish)).fly()
    assert (flown.names, flown.deltas[-2].finish) == ("a", finish)


def test_empty_answers_may_be_passed_on() -> None:
    """`on_empty: return` takes the first one's word for it."""
    assert world_of(policy=Policy(on_empty="return"), a=says()).fly().names == "a"


@pytest.mark.parametrize(
    "delta", [Delta(reasoning="hm"), Delta(refusal="no"), Delta(media=1), Delta(tool_calls=(ToolFragment(index=0),))]
)
def test_thoughts_refusals_pictures_and_calls_are_content(delta: Delta) -> None:
    """Only an answer without any of them is empty."""
    flown = world_of(a=[*opens(), *gives(delta), *ends()]).fly()
    assert (flown.names, flown.kind) == ("a", None)
