"""Yesterday's requests in the hands of another configuration: what would have gone otherwise.

    Then      what a ledger says, as a scene that can be played
    replayed  the same requests by other routes
    Changes   then and now, side by side

Where a request goes to the target that answered it then, the answer of then is taken as it
was; everywhere else providers behave as `rebuild` knows them.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from unbroken.failures import VERDICTS, Failure, FailureKind
from unbroken.policy import Route
from unbroken.sim.contest import aim_of, target_like
from unbroken.sim.core_player import core_player
from unbroken.sim.course import NOBODY, Outcomes, Scene, play
from unbroken.sim.ledger import ABANDONED, LedgerRow, PastRequest, grouped
from unbroken.sim.market import Answer
from unbroken.sim.outages import Plan
from unbroken.sim.rebuild import Rebuilt, rebuilt
from unbroken.sim.scenario import supplier_for
from unbroken.sim.traces import Trace

__all__ = ["Changes", "Share", "Side", "replayed"]

ASSUMED = (
    "a request that goes to the target that was asked then meets the same answer, at the same speed",
    "elsewhere a target is as fast as it was for others in that minute, and fails as often",
    "in minutes in which nobody asked a target it is taken to be well, unless it failed just before and after",
    "providers do not mind more or less traffic than they had",
)
"""What a replay cannot know, whatever the ledger."""
PERCENTS = (0.5, 0.9, 0.99)
_ENDLESS = frozenset({FailureKind.SILENT, FailureKind.STALLED, FailureKind.SLOW})
"""Failures that were no event but the end of our patience."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """What callers saw, and what it cost; percentiles of the answered requests' first words and ends."""

    answered: int
    first_s: tuple[float, float, float]
    total_s: tuple[float, float, float]
    cost_usd: float
    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One target: how many requests it answered then and now, and what its laws rest on (0 answers: guessed)."""

    target: str
    then: int
    now: int
    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Then and now.

    `saved` failed then and would be answered now, `lost` the reverse, `taken_over` counts the
    attempts that were played exactly as they had been.  `guesses` says in words what is not
    known and had to be assumed.  `missed` are routes of the ledger that the candidate lacks.
    """

    requests: int
    then: Side
    now: Side
    saved: tuple[PastRequest, ...]
    lost: tuple[PastRequest, ...]
    shares: tuple[Share, ...]
    guesses: tuple[str, ...]
    missed: tuple[str, ...]
    digest: str


def replayed(rows: Sequence[LedgerRow], routes: Mapping[str, Route], *, usual: Route, seed: int) -> Changes:
    """The requests of a ledger by these routes, by their names; `usual` is for those of other names."""
    requests = grouped(rows)
    began = requests[0].at
    known = rebuilt(rows, began=began, seed=seed)
    missed = tuple(sorted({request.last.route for request in requests} - set(routes)))
    scene, priced = _scene(requests, {**routes, usual.name: usual}, known=known, seed=seed)
    player = core_player(priced[usual.name], priced)
    outcomes = play(scene, player, luck=scene.luck(), weights=aim_of(usual))
    return Changes(
        requests=len(requests),
        then=_then(requests, rows),
        now=_now(outcomes),
        saved=tuple(r for number, r in enumerate(requests) if outcomes.done[number] and not r.answered),
        lost=tuple(r for number, r in enumerate(requests) if r.answered and not outcomes.done[number]),
        shares=_shares(requests, outcomes, scene=scene, known=known),
        guesses=_guesses(requests, scene, known=known),
        missed=missed,
        digest=outcomes.digest(),
    )


def _scene(
    requests: Sequence[PastRequest], routes: Mapping[str, Route], *, known: Mapping[str, Rebuilt], seed: int
) -> tuple[Scene, dict[str, Route]]:
    """The day, and the routes with what their targets are known to charge."""
    targets = {target.name: target for route in routes.values() for target in route.targets}
    suppliers = {
        name: known[name].supplier if name in known else replace(supplier_for(target, {}), failure_rate=0.0)
        for name, target in targets.items()
    }
    priced = {
        name: replace(route, targets=tuple(target_like(t, suppliers[t.name]) for t in route.targets))
        for name, route in routes.items()
    }
    outages = [outage for name, found in known.items() if name in targets for outage in found.outages]
    trace = _trace(requests)
    scene = Scene(
        route=Route(name="replay", targets=tuple(t for route in priced.values() for t in route.targets)),
        suppliers=suppliers,
        trace=trace,
        plan=Plan.of(outages, span_s=trace.span_s),
        seed=seed,
        past=_past(requests),
        lucks={name: found.luck for name, found in known.items()},
    )
    return scene, priced


def _trace(requests: Sequence[PastRequest]) -> Trace:
    trace, began = Trace("ledger"), requests[0].at
    for request in requests:
        row = request.last
        read = max(attempt.input_tokens for attempt in request.rows)
        written = row.output_tokens if row.answered else _usual_tokens(requests)
        trace.add(request.at - began, read, output_tokens=max(1, written))
        trace.routes.append(row.route)
        trace.streams.append(row.stream)
    return trace


def _usual_tokens(requests: Sequence[PastRequest]) -> int:
    """How long the answer would have been that nobody gave: the median of those that were given."""
    written = sorted(request.last.output_tokens for request in requests[:10_000] if request.answered)
    return written[len(written) // 2] if written else 100


def _past(requests: Sequence[PastRequest]) -> dict[tuple[int, str], Answer]:
    """What is known of attempts because they were made: the first at each target."""
    found: dict[tuple[int, str], Answer] = {}
    for number, request in enumerate(requests):
        for row in request.rows:
            if row.outcome != ABANDONED and (number, row.target) not in found:
                found[number, row.target] = _answer(row)
    return found


def _answer(row: LedgerRow) -> Answer:
    if row.answered:
        return Answer(row.first_content_s, row.total_s, row.output_tokens)
    kind = FailureKind(row.outcome)
    if kind in _ENDLESS:
        return Answer(inf, inf, 0)
    failure = Failure(kind=kind, message=f"{kind} in the ledger", status=VERDICTS[kind].status)
    return Answer(inf, row.total_s, 0, failure)


# ------------------------------------------------------------- then and now


def _then(requests: Sequence[PastRequest], rows: Sequence[LedgerRow]) -> Side:
    good = [request for request in requests if request.answered]
    return Side(
        answered=len(good),
        first_s=_percentiles([request.first_s for request in good]),
        total_s=_percentiles([request.total_s for request in good]),
        cost_usd=sum(row.cost_usd for row in rows),
        attempts=len(rows),
    )


def _now(outcomes: Outcomes) -> Side:
    def seen(times: array[float]) -> tuple[float, float, float]:
        return _percentiles([time for time, done in zip(times, outcomes.done, strict=True) if done])

    return Side(
        answered=sum(outcomes.done),
        first_s=seen(outcomes.first_s),
        total_s=seen(outcomes.total_s),
        cost_usd=sum(outcomes.cost_usd),
        attempts=sum(outcomes.attempts),
    )


def _percentiles(times: list[float]) -> tuple[float, float, float]:
    ordered = sorted(times) or [0.0]
    one, two, three = (ordered[min(len(ordered) - 1, int(share * len(ordered)))] for share in PERCENTS)
    return one, two, three


def _shares(
    requests: Sequence[PastRequest], outcomes: Outcomes, *, scene: Scene, known: Mapping[str, Rebuilt]
) -> tuple[Share, ...]:
    then = Counter(request.last.target for request in requests if request.answered)
    names = list(scene.suppliers)
    now = Counter(names[place] for place in outcomes.targets if place != NOBODY)
    return tuple(
        Share(target=name, then=then[name], now=now[name], answers=known[name].answers if name in known else 0)
        for name in dict.fromkeys([*names, *then])
    )


def _guesses(requests: Sequence[PastRequest], scene: Scene, *, known: Mapping[str, Rebuilt]) -> tuple[str, ...]:
    """What had to be assumed, in words."""
    unknown = [name for name in scene.suppliers if name not in known]
    unanswered = sum(not request.answered for request in requests)
    said = list(ASSUMED)
    if unknown:
        names = ", ".join(unknown)
        said.append(f"GUESSED: {names}: too few answers are known; as fast as its class, and never failing")
    if unanswered:
        said.append(f"how long the {unanswered} answers that nobody gave would have been: as the median answer")
    return tuple(said)
