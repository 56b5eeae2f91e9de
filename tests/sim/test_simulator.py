"""The simulator itself: it is repeatable, it sees what is wrong, and its world behaves as scripted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.sim.__main__ import main
from unbroken.sim.record import Record, percentile_s
from unbroken.sim.scripts import LAWS, SCRIPTS, TARGETS, script
from unbroken.sim.simulator import Script, at_times, evenly, poisson, simulate
from unbroken.sim.world import (
    Cut,
    Empty,
    ErrorEvent,
    Hang,
    Law,
    Outage,
    RateLimit,
    Refused,
    Signal,
    Slow,
    Stall,
    Status,
    Step,
    Trouble,
    Truth,
    World,
    flapping,
    repeated,
    rising,
)
from unbroken.types import Attempt, Continuation, Delta, Mode, Request, Target, Why

REQUESTS = 20_000
STREAM = Request(model="auto", stream=True)
PLAIN = Request(model="auto")
NORTH = TARGETS[0]
ANSWER = [Signal.CONNECTED, Signal.OPENED, Signal.ARRIVED]


def steps(
    trouble: Trouble | None = None,
    *,
    request: Request = STREAM,
    law: Law | None = None,
    continuation: Continuation | None = None,
    number: int = 7,
) -> list[Step]:
    """What one provider does with one request."""
    outages = [Outage("north", 0.0, 10.0, trouble)] if trouble is not None else []
    world = World({"north": law or Law()}, outages, truth=Truth(), seed=1)
    return list(world.answer(number, attempt(continuation), request=request, now=5.0))


def attempt(continuation: Continuation | None = None, target: Target = NORTH) -> Attempt:
    return Attempt(number=1, target=target, why=Why.FIRST, continuation=continuation)


def said(found: list[Step]) -> str:
    """The words in these steps."""
    return "".join(delta.text for _, _, content in found if isinstance(content, list) for delta in content)


def kind_of(found: list[Step]) -> FailureKind | None:
    """What the last step failed of."""
    content = found[-1][2]
    return content.kind if isinstance(content, Failure) else None


# ------------------------------------------------------------- repeatable


def test_digest_follows_the_seed() -> None:
    """The same seed plays the same storm, command by command; another seed plays another."""
    first = simulate(SCRIPTS["storm"], REQUESTS, seed=1)
    assert first.digest == simulate(SCRIPTS["storm"], REQUESTS, seed=1).digest
    digests = {simulate(SCRIPTS["storm"], REQUESTS // 20, seed=seed).digest for seed in (1, 2, 3)}
    assert len(digests) == 3
    assert first.requests == REQUESTS
    assert (first.wrong, first.stuck, first.after_end) == (0, 0, 0)


@pytest.mark.slow
def test_digest_of_a_hundred_thousand() -> None:
    """Nothing drifts in a long run either."""
    records = [simulate(SCRIPTS["storm"], 100_000, seed=seed) for seed in (1, 1, 2)]
    assert records[0].digest == records[1].digest != records[2].digest
    assert [record.wrong + record.stuck + record.after_end for record in records] == [0, 0, 0]


@pytest.mark.parametrize("hash_seed", ["1", "4242"])
def test_digest_is_the_same_in_another_process(hash_seed: str) -> None:
    """Nothing depends on how a process hashes its strings."""
    code = "from unbroken.sim import scripts, simulator as s; play = s.simulate"
    code += "\nprint(play(scripts.SCRIPTS['cut'], 1500, seed=3).digest)"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == simulate(SCRIPTS["cut"], 1500, seed=3).digest


# ------------------------------------------------------------- it sees what is wrong


def test_foreign_words_are_seen() -> None:
    """After a prefix nobody could tell that a model talks of something else; the simulator can."""
    laws = {**LAWS, "south": replace(LAWS["south"], continues="astray")}
    targets = tuple(replace(target, prefix="assistant") for target in TARGETS)
    astray = script("astray", "", outages=[Outage("north", 0, 100, Cut(8))], laws=laws)
    record = simulate(replace(astray, route=replace(astray.route, targets=targets)), 50)
    assert record.wrong > 0
    assert record.whole + record.wrong + record.errors == 50


def test_an_empty_answer_is_no_whole_one() -> None:
    """When everybody answers with nothing the caller gets that, and it is counted apart."""
    outages = [Outage(target.name, 0, 100, Empty()) for target in TARGETS]
    record = simulate(script("empty", "", outages=outages), 20)
    assert (record.empty, record.whole, record.wrong) == (20, 0, 0)


def test_a_stuck_flight_is_seen() -> None:
    """A run ends even where a request never would: with a count of those that are left."""
    endless = replace(NORTH, deadlines={name: float("inf") for name in ("connect_s", "first_content_s", "total_s")})
    hangs = script("hang", "", outages=[Outage("north", 0, 100, Hang())])
    record = simulate(replace(hangs, route=replace(hangs.route, targets=(endless,))), 3)
    assert (record.requests, record.stuck) == (0, 3)


# ------------------------------------------------------------- the world


def test_a_good_answer() -> None:
    """Without trouble the truth comes word for word, streamed or at once, then the end."""
    for request, pieces in ((STREAM, 2), (PLAIN, 1)):
        found = steps(request=request)
        assert said(found) == Truth().whole(7)
        assert [signal for _, signal, _ in found[:3]] == ANSWER
        assert found[-1][1] is Signal.ENDED
        assert sum(signal is Signal.ARRIVED for _, signal, _ in found) >= pieces
        assert [at for at, _, _ in found] == sorted(at for at, _, _ in found)


def test_a_brown_out_takes_longer() -> None:
    """Slow means so many times the time, with the same words."""
    usual, slow = steps(), steps(Slow(10.0))
    assert said(usual) == said(slow)
    connect_s = Law().connect_s
    assert slow[-1][0] - connect_s == pytest.approx(10.0 * (usual[-1][0] - connect_s))


@pytest.mark.parametrize("request_", [STREAM, PLAIN], ids=["stream", "plain"])
@pytest.mark.parametrize(
    ("trouble", "signals", "kind"),
    [
        (Refused(), [Signal.FAILED], FailureKind.CONNECT),
        (Status(FailureKind.SERVER, 500), [Signal.CONNECTED, Signal.FAILED], FailureKind.SERVER),
        (Hang(), [Signal.CONNECTED], None),
        (Hang(connected=False), [], None),
        (Empty(), [*ANSWER, Signal.ENDED], None),
    ],
)
def test_troubles_without_an_answer(
    trouble: Trouble, signals: list[Signal], kind: FailureKind | None, request_: Request
) -> None:
    """Each trouble does what it says, whatever was asked for, and no word is said."""
    found = steps(trouble, request=request_)
    assert [signal for _, signal, _ in found] == signals
    assert not said(found)
    assert not found or kind_of(found) is kind


@pytest.mark.parametrize(
    ("trouble", "kind"), [(Cut(5), FailureKind.BROKEN), (Stall(5), None), (ErrorEvent(5), FailureKind.SERVER)]
)
def test_half_answers(trouble: Trouble, kind: FailureKind | None) -> None:
    """A stream breaks after its tokens, never with an end; a plain answer shows nothing at all."""
    truth = Truth()
    start, _ = truth.span(7)
    streamed, plain = steps(trouble), steps(trouble, request=PLAIN)
    assert said(streamed) == truth.text[truth.offsets[start] : truth.offsets[start + 5]]
    assert not said(plain)
    for found in (streamed, plain):
        assert kind_of(found) is kind
        assert all(signal is not Signal.ENDED for _, signal, _ in found)


def test_a_rate_limit_says_when_to_come_back() -> None:
    """Beyond the burst requests are turned away with whole seconds to wait; later there is room again."""
    limits = [Outage("north", 0.0, 100.0, RateLimit(per_s=0.5, burst=2.0))]
    world = World({"north": Law()}, limits, truth=Truth(), seed=1)

    def hint_s(now: float) -> float | None:
        content = list(world.answer(1, attempt(), request=PLAIN, now=now))[-1][2]
        return content.retry_after_s if isinstance(content, Failure) else None

    assert [hint_s(now) for now in (0.0, 0.0, 0.0, 1.0, 2.5)] == [None, None, 2.0, 1.0, None]


@pytest.mark.parametrize("mode", [Mode.PREFIX, Mode.ASK])
@pytest.mark.parametrize("continues", ["on", "repeat", "again"])
def test_continuations_hold_the_rest(mode: Mode, continues: str) -> None:
    """However a model goes on, what is still missing is the end of what it says."""
    whole = Truth().whole(7)
    shown = whole[: len(whole) // 2]
    found = said(steps(law=Law(continues=continues), continuation=Continuation(mode, shown)))
    assert found.endswith(whole[len(shown) :])
    if continues == "on" and mode is Mode.PREFIX:
        assert found == whole[len(shown) :]
    if continues == "again":
        assert found == whole
    assert said(steps(law=Law(continues="astray"), continuation=Continuation(mode, shown))) == Truth().whole(8)


def test_outages_begin_and_end() -> None:
    """A trouble holds from its first moment until before its last, for its share of the attempts."""
    outages = [Outage("north", 1.0, 2.0, Refused()), Outage("north", 3.0, 4.0, Refused(), 0.5)]
    world = World({"north": Law(), "south": Law()}, outages, truth=Truth(), seed=1)

    def refused(now: float, target: Target = NORTH) -> bool:
        return len(list(world.answer(1, attempt(target=target), request=STREAM, now=now))) == 1

    assert [refused(now) for now in (0.9, 1.0, 1.9, 2.0)] == [False, True, True, False]
    assert not refused(2.0, TARGETS[1])
    assert 60 < sum(refused(3.5) for _ in range(200)) < 140
    assert not refused(4.0)


def test_outages_name_known_targets() -> None:
    """A slip in a script is an error, not a day without trouble."""
    with pytest.raises(ValueError, match=r"nort$"):
        World({"north": Law()}, [Outage("nort", 0, 1, Hang())], truth=Truth(), seed=1)


def test_outages_in_series() -> None:
    """Flapping, rising and repeated outages cover the time that they say."""
    flaps = flapping("north", Hang(), start_s=0.0, end_s=10.0, down_s=3.0, up_s=1.0)
    assert [(o.start_s, o.end_s) for o in flaps] == [(0.0, 3.0), (4.0, 7.0), (8.0, 10.0)]
    rise = rising("north", Hang(), start_s=0.0, end_s=20.0, share=0.5)
    assert [(o.start_s, o.share) for o in rise][::9] == [(0.0, pytest.approx(0.05)), (18.0, 0.5)]
    rounds = repeated([Outage("north", 1.0, 2.0, Hang(), 0.3)], every_s=10.0, times=2)
    assert [(o.start_s, o.end_s, o.share) for o in rounds] == [(1.0, 2.0, 0.3), (11.0, 12.0, 0.3)]


def test_a_crash_breaks_what_is_under_way() -> None:
    """When a provider goes down its half-said answers are carried on elsewhere."""
    crash = script("crash", "", outages=[Outage("north", 1.0, 5.0, Refused())])
    record = simulate(replace(crash, arrivals=evenly(50.0), requests=(STREAM,)), 100)
    assert record.rescues > 5
    assert record.whole == 100


# ------------------------------------------------------------- its parts


def test_arrivals() -> None:
    """Requests come at random, evenly or when told to."""
    draw = Random(1)
    assert first(evenly(10.0)(draw), 3) == [0.0, 0.1, 0.2]
    assert first(at_times([1.0, 5.0])(draw), 3) == [1.0, 5.0]
    random = first(poisson(10.0)(draw), 2000)
    assert random == sorted(random)
    assert 180 < random[-1] < 220


def first(times: Iterator[float], count: int) -> list[float]:
    """The first few."""
    return [time for time, _ in zip(times, range(count), strict=False)]


def test_a_record_knows_when() -> None:
    """Shares and counts belong to the seconds in which attempts began and requests came in."""
    record = simulate(played_at([0.5, 1.5, 1.6]), 10)
    assert (record.requests, record.whole, record.attempts) == (3, 3, 5)
    assert record.extra_load == pytest.approx(2 / 3)
    assert record.share("north", (0, 1)) == 1.0
    assert record.share("north", (1, 2)) == 0.5
    assert record.share("nobody", (0, 2)) == 0.0
    assert record.attempts_each((0, 1)) == 1.0
    assert record.attempts_each((1, 2)) == 2.0
    assert record.whole_share((0, 2)) == 1.0
    assert record.whole_share((5, 6)) == record.attempts_each((5, 6)) == Record().extra_load == 0.0
    assert record.targets["north"].failed == record.kinds["empty"] == 2


def played_at(times: list[float]) -> Script:
    """A script with requests at these times, and no word from north from second 1 on."""
    mute = script("mute", "", outages=[Outage("north", 1.0, 9.0, Empty())])
    return replace(mute, arrivals=at_times(times))


def test_percentiles() -> None:
    """A percentile is one of the times, and nothing has none."""
    times = simulate(played_at([0.1, 0.2, 0.3]), 3).total_s
    assert percentile_s(times, 0.0) == min(times)
    assert percentile_s(times, 0.99) == max(times)
    assert percentile_s(Record().total_s, 0.5) == 0.0


def test_deltas_end_once() -> None:
    """A scripted answer has one end, with its usage."""
    ends = [d for _, _, content in steps() if isinstance(content, list) for d in content if d.finish]
    assert len(ends) == 1
    assert isinstance(ends[0], Delta)
    assert ends[0].usage is not None


def test_the_program_prints_what_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m unbroken.sim` shows the counts and the digest, and says with its status that all is well."""
    assert main(["--script", "calm", "--requests", "300", "--seed", "5"]) == 0
    shown = capsys.readouterr().out
    assert simulate(SCRIPTS["calm"], 300, seed=5).digest in shown
    assert "answered whole" in shown
    assert "300" in shown
