"""A request in progress, as a state machine: what happened in, what to do out.

A signal is a method call with the time (`arrived`, `failed`, `woke`, ...); each returns the
list of commands that follow, and `wake_at` says when to call `woke` at the latest.  Retry,
failover, hedging, racing, the deadline and going on with a broken stream are transitions of
this one machine.  asyncio and the simulator are two drivers of it.

Rules for whoever changes this file:
- Every attempt starts in `_launch` and nowhere else: attempts are counted there, the budget
  is charged there, a probe is claimed there (by the fact).
- Every attempt ends in `_leave` (it left `live` before anything else is decided).
- There is exactly one `Finish`, and no command after it; `_over` is set in `_finish` only.
- Text of one attempt at a time is shown: `winner` is whose.
- Timers belong to `wake_at`, which is computed from the state and never stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from unbroken.core import last_words
from unbroken.core.board import Board
from unbroken.core.lineup import Lineup, is_other_model, roomier
from unbroken.core.run import Run
from unbroken.core.sound import Judge, holds_back, refusal_in, unsound
from unbroken.core.splice import Shown, Splicer, way_to_continue
from unbroken.facts import (
    AttemptStarted,
    Continued,
    Fact,
    FirstContent,
    FlightEnded,
    Progressed,
)
from unbroken.failures import Failure, FailureKind, Same
from unbroken.policy import Route
from unbroken.records import Record
from unbroken.types import Attempt, Continuation, Delta, Finish, Fix, Request, Target, Why

__all__ = ["Abandon", "Command", "Emit", "Finished", "Flight", "Launch", "Note"]

NEVER = float("inf")
PREFIX_REFUSED = "prefill_unsupported"
"""The code of a failure that says: this model takes no last message of the assistant's."""
VALUE_REFUSED = "unsupported_value"
"""The code of a failure that says: this model does not do that, so it does not elsewhere either (OpenAI's word)."""


class Launch(Record):
    """Send the request to this attempt's target."""

    attempt: Attempt


class Abandon(Record):
    """Hang up on this attempt; nothing more is heard of it."""

    number: int


class Emit(Record):
    """Show this to the caller."""

    deltas: Sequence[Delta]


class Note(Record):
    """Tell whoever wants to know; the board knows already."""

    fact: Fact


class Finished(Record):
    """The request is over: well (`failure` is None), or not; `shown` when text had been shown.

    `cache` and `age_s` are as in an `Outcome`: only a cache says them.
    """

    target: Target | None
    attempts: int
    failover: bool
    rescued: bool
    failure: Failure | None = None
    shown: bool = False
    cache: str = ""
    age_s: float = 0.0


Command = Launch | Abandon | Emit | Note | Finished


class Flight:
    """One request in progress."""

    __slots__ = (
        "_attempts", "_began", "_board", "_broke", "_consolation", "_continuations", "_draw", "_failures", "_fixed",
        "_hedged", "_holds", "_judge", "_last_resort", "_lineup", "_live", "_out", "_over", "_patience_s",
        "_prefix_refused", "_request", "_retry_at", "_retry_target", "_route", "_shown", "_since", "_tried",
        "_waiting", "_winner", "id", "steady",
    )  # fmt: skip

    def __init__(
        self, request: Request, lineup: Lineup, *, flight_id: str, route: Route, board: Board, draw: Random,
        judge: Judge | None = None,
    ) -> None:  # fmt: skip
        self._request, self._lineup, self._route = request, lineup, route
        self.id, self._board, self._draw = flight_id, board, draw
        self._live: dict[int, Run] = {}
        self._waiting = list(lineup.order)
        self._last_resort = [target for target, _ in lineup.resting]
        self._tried: dict[str, int] = {}
        self._failures: list[tuple[Target, Failure]] = []
        self._shown = Shown()
        self._winner: Run | None = None
        self._consolation: Run | None = None
        self._attempts = self._continuations = 0
        self._hedged = False
        self._began = self._since = self._patience_s = 0.0
        self._retry_at = NEVER
        self._retry_target: Target | None = None
        self._broke: Failure | None = None
        self._prefix_refused: set[str] = set()
        self._fixed: set[str] = set()
        self._judge, self._holds = judge, holds_back(request, route.policy)
        self._over = self.steady = False
        """`steady`: what came last was only more of an answer, which puts `wake_at` off and never forward."""
        self._out: list[Command] = []

    # ------------------------------------------------------------- signals

    def begin(self, now: float) -> list[Command]:
        """The request has come in."""
        self._began = self._since = now
        self._board.purse(self._route).deposit(now)
        self._note(self._lineup.decided(self.id, now, route=self._route))
        for position in range(max(1, self._lineup.width)):
            if not self._launch_next(Why.RACE if position else Why.FIRST, now):
                break
        if not self._live and not self._launch_last_resort(now):
            self._finish(last_words.nobody(self._route.name, self._lineup), now)
        return self._drain()

    def connected(self, number: int, now: float) -> list[Command]:
        """The attempt's request is on its way."""
        if run := self._live.get(number):
            run.connected()
        return []

    def opened(self, number: int, now: float) -> list[Command]:
        """A good status came for the attempt."""
        if run := self._live.get(number):
            run.opened()
        return []

    def arrived(self, number: int, deltas: list[Delta], *, now: float) -> list[Command]:
        """Some of an answer came."""
        run = self._live.get(number)
        self.steady = False
        if run is None or not deltas:
            return []
        first = run.heard(deltas, now)
        if first and self._request.stream:
            self._note(FirstContent(now, self.id, number, run.attempt.target, now - run.started))
        if run.is_working:
            self._note_progress(run, deltas, now=now)
        if run.splicer is not None:
            spliced = run.splicer.feed(deltas)
            if isinstance(spliced, Failure):
                self._out.append(Abandon(number))
                self._fail(run, spliced, now=now)
                return self._drain()
            deltas = spliced
        streaming = self._request.stream and not self._holds
        ready = run.release(deltas, streaming=streaming, whole_calls=self._whole_calls)
        if ready:
            self._take(run, ready, now=now)
            self.steady = run is self._winner and run.finish is None and not first
        return self._drain()

    def _note_progress(self, run: Run, deltas: list[Delta], *, now: float) -> None:
        """A job was accepted and is getting on: the caller waits longer, unless somebody said how long."""
        deadlines = self._route.policy.deadlines
        if deadlines.total_s is None:
            self._patience_s = max(self._patience_s, deadlines.job_s)
        for delta in deltas:
            if delta.progress is not None:
                self._note(Progressed(now, self.id, run.attempt.number, run.attempt.target, delta.progress))

    def ended(self, number: int, now: float) -> list[Command]:
        """The attempt's answer is complete."""
        if run := self._live.get(number):
            self._complete(run, now)
        return self._drain()

    def failed(self, number: int, failure: Failure, *, now: float) -> list[Command]:
        """The attempt failed."""
        if run := self._live.get(number):
            self._lose(run, failure, now=now)
        return self._drain()

    def paused(self) -> None:
        """The caller is slower than the provider, and nothing is read until it has caught up."""
        for run in self._live.values():
            run.pause()

    def resumed(self, now: float) -> None:
        """The caller has caught up."""
        for run in self._live.values():
            run.resume(now)

    def woke(self, now: float) -> list[Command]:
        """`wake_at` has come."""
        if self._over:
            return []
        if now >= self._deadline and not self._has_content():
            self._give_up(self._too_late(now), now)
            return self._drain()
        for run in list(self._live.values()):
            failure = run.overdue(now, deadline=self._due(run)) if not self._over else None
            if failure is not None:
                self._out.append(Abandon(run.attempt.number))
                self._lose(run, failure, now=now)
        if not self._over and now >= self._retry_at:
            self._retry(now)
        if not self._over and now >= self._hedge_at():
            self._hedge(now)
        return self._drain()

    def cancelled(self, now: float) -> list[Command]:
        """The caller has left."""
        if not self._over:
            self._finish(Failure(kind=FailureKind.CANCELLED, message="the caller left"), now)
        return self._drain()

    @property
    def wake_at(self) -> float:
        """When `woke` must be called at the latest; infinity if only signals matter."""
        if self._over:
            return NEVER
        at = NEVER if self._has_content() else self._deadline
        for run in self._live.values():
            at = min(at, run.due(self._due(run)))
        return min(at, min(self._retry_at, self._hedge_at()))  # noqa: PLW3301 - of two it is no call when compiled

    # ------------------------------------------------------------- launching

    def _launch(
        self, target: Target, why: Why, *, now: float, continuation: Continuation | None = None, fix: Fix | None = None
    ) -> bool:
        """The one door: counts the attempt, charges the budget, sets its limits."""
        policy = self._route.policy
        if self._attempts >= policy.retries.attempts_max:
            return False
        charged = why in (Why.RETRY, Why.HEDGE) or (why is Why.LAST_RESORT and self._tried_last_resort())
        if charged and not self._board.purse(self._route).withdraw(now):
            return False
        self._attempts += 1
        self._tried[target.name] = self._tried.get(target.name, 0) + 1
        seen_s = self._board.seen_s(target, stream=self._request.stream)
        limits = policy.deadlines.limits(self._request, target, seen_s=seen_s)
        self._patience_s = max(self._patience_s, limits.total_s)
        attempt = Attempt(number=self._attempts, target=target, why=why, continuation=continuation, fix=fix)
        window_s, choices = policy.deadlines.floor_window_s, self._request.choices
        run = Run(attempt, limits, now=now, floor_window_s=window_s, choices=choices)
        self._live[attempt.number] = run
        request, route = self._request, self._route.name
        number, stream, chars = attempt.number, request.stream, request.prompt_chars
        self._note(AttemptStarted(now, self.id, number, target, why, stream, chars, route, request.task))
        self._out.append(Launch(attempt))
        return True

    def _launch_next(self, why: Why, now: float) -> bool:
        """The next target in line that nothing stands in the way of by now."""
        while self._waiting:
            target = self._waiting.pop(0)
            if self._attempts and self._board.obstacle(target, now):
                self._last_resort.append(target)
            elif self._launch(target, why, now=now):
                return True
            else:
                self._waiting.insert(0, target)
                return False
        return False

    def _launch_last_resort(self, now: float) -> bool:
        """When everybody rests, the one that is due first is tried instead of nobody."""
        board = self._board
        able = [target for target in self._last_resort if not board.forced_open(target)]
        if not able:
            return False
        best = min(able, key=lambda target: board.free_at(target, now))
        self._last_resort.remove(best)
        return self._launch(best, Why.LAST_RESORT, now=now)

    def _tried_last_resort(self) -> bool:
        """Whether one of those who rest was asked already: the first is free, the next are charged."""
        return any(self._tried.get(target.name) for target, _ in self._lineup.resting)

    def _retry(self, now: float) -> None:
        target, self._retry_at, self._retry_target = self._retry_target, NEVER, None
        if target is None or self._board.forced_open(target) or not self._launch(target, Why.RETRY, now=now):
            self._go_elsewhere(now)

    def _hedge(self, now: float) -> None:
        self._hedged = True
        self._launch_next(Why.HEDGE, now)

    def _hedge_at(self) -> float:
        """When a second target should be started, if ever."""
        hedging, soon_s = self._route.policy.hedging, self._lineup.hedge_s
        if (soon_s is None and not hedging.on) or self._hedged or len(self._live) != 1 or not self._waiting:
            return NEVER
        run = next(iter(self._live.values()))
        if run.first_content_at is not None or run.splicer is not None:
            return NEVER
        target, stream = run.attempt.target, self._request.stream
        after_s = hedging.after_s if hedging.after_s is not None else NEVER
        if soon_s is not None and run.attempt.number == 1:
            after_s = min(after_s, soon_s)
        if hedging.p95 and self._board.samples(target, stream=stream) >= hedging.samples_min:
            after_s = min(after_s, self._board.percentile_s(target, 0.95, stream=stream))
        return run.started + after_s

    # ------------------------------------------------------------- answers

    @property
    def _whole_calls(self) -> bool:
        return self._route.policy.stream.tool_calls == "whole"

    def _has_content(self) -> bool:
        """Whether the time to the first content is over, for the deadline's sake."""
        return self._request.stream and any(run.first_content_at is not None for run in self._live.values())

    def _win(self, run: Run, now: float) -> None:
        """This attempt is the one the caller sees; the others are hung up on."""
        self._winner = run
        for other in list(self._live.values()):
            if other is not run:
                silent = other.first_content_at is None and other.started < run.started
                self._abandon(other, now, outrun=silent)

    def _take(self, run: Run, ready: list[Delta], *, now: float) -> None:
        """Show the next of an answer; its first, unless that is a refusal and somebody else may be asked."""
        if run is not self._winner:
            refusal = refusal_in(ready, self._route.policy, name=run.attempt.target.name)
            if refusal is not None and self._can_pass_on:
                run.keep(ready)
                self._out.append(Abandon(run.attempt.number))
                self._fail(run, refusal, now=now)
                return
            self._win(run, now)
        self._show(ready)

    @property
    def _can_pass_on(self) -> bool:
        """Whether anybody is left to be asked."""
        return bool(len(self._live) > 1 or self._waiting or self._last_resort)

    def _show(self, deltas: Sequence[Delta]) -> None:
        for delta in deltas:
            self._shown.add(delta)
        if deltas:
            self._out.append(Emit(deltas))

    def _complete(self, run: Run, now: float) -> None:
        """An attempt came to its end, which is not always an answer."""
        last = run.splicer.close() if run.splicer is not None else []
        if isinstance(last, Failure):
            self._fail(run, last, now=now)
        elif (failure := self._hollow(run) or self._unsound(run)) is not None:
            self._fail(run, failure, now=now)
        else:
            self._succeed(run, last, now=now)

    def _succeed(self, run: Run, last: list[Delta], *, now: float) -> None:
        self._leave(run)
        self._note(run.answered(self.id, now, stream=self._request.stream))
        self._win(run, now)
        self._show([*run.take_held(), *last])
        self._finish(None, now)

    def _hollow(self, run: Run) -> Failure | None:
        """An answer without content is a failure, unless that is how it was meant to end."""
        if run.has_content or run.splicer is not None or self._route.policy.on_empty == "return":
            return None
        if run.finish in (Finish.LENGTH, Finish.CONTENT_FILTER):
            return None
        return Failure(kind=FailureKind.EMPTY, message=f"{run.attempt.target.name} gave an empty answer")

    def _unsound(self, run: Run) -> Failure | None:
        """What the route minds in an answer that nobody has seen yet."""
        policy, name = self._route.policy, run.attempt.target.name
        if not run.holds or run.splicer is not None:
            return None
        refusal = refusal_in(run.held, policy, name=name) if self._can_pass_on else None
        minds = policy.on_bad_arguments == "failover" or self._judge is not None
        return refusal or (unsound(run.held, policy, name=name, judge=self._judge) if minds else None)

    # ------------------------------------------------------------- failures

    def _lose(self, run: Run, failure: Failure, *, now: float) -> None:
        """The line to an attempt is gone; an answer that had said why it ended is whole all the same."""
        if run.is_whole:
            self._complete(run, now)
        else:
            self._fail(run, failure, now=now)

    def _fail(self, run: Run, failure: Failure, *, now: float) -> None:
        """An attempt is lost: decide what follows."""
        target, was_shown = run.attempt.target, run is self._winner
        self._leave(run)
        self._failures.append((target, failure))
        self._note(run.failed(self.id, now, failure=failure, shown=was_shown))
        if self._request.stream and run.has_content:
            self._since = now  # the first content came in time: whoever takes over is given as much
        if failure.kind in (FailureKind.EMPTY, FailureKind.CONTENT_POLICY) and run.holds:
            self._consolation = run
        if self._winner is run or run.splicer is not None:
            self._winner = None
            self._go_on(run, failure, now=now)
        elif self._mend(target, failure, now=now):
            return
        elif not self._passes_on(run, failure):
            self._finish(failure, now)
        elif not self._live and not self._schedule_retry(run, failure, now=now):
            self._go_elsewhere(now)

    def _mend(self, target: Target, failure: Failure, *, now: float) -> bool:
        """Ask the same target again with the request changed as it wants it, once."""
        if failure.fix is None or target.name in self._fixed:
            return False
        self._fixed.add(target.name)
        if self._board.forced_open(target):  # since it was asked: what it wants changed says nothing about the others
            self._go_elsewhere(now)
            return True
        return self._launch(target, Why.FIX, now=now, fix=failure.fix)

    def _passes_on(self, run: Run, failure: Failure) -> bool:
        """Whether anybody else may be asked after this failure."""
        policy, verdict = self._route.policy, failure.verdict
        if self._request.stream and run.has_content and policy.stream.rescue == "error":
            return False  # it had begun, if only with half a tool call that nobody has seen
        if failure.kind is FailureKind.CONTENT_POLICY and policy.on_refusal == "failover":
            return True
        if not verdict.other_model and failure.code != VALUE_REFUSED:
            return verdict.elsewhere or not failure.sent
        worth_asking = roomier if verdict.other_model else is_other_model
        self._waiting = [target for target in self._waiting if worth_asking(target, run.attempt.target)]
        self._last_resort = [target for target in self._last_resort if worth_asking(target, run.attempt.target)]
        return bool(self._live or self._waiting or self._last_resort)

    def _schedule_retry(self, run: Run, failure: Failure, *, now: float) -> bool:
        """Try the same target again, if its failure says so and there is time for it."""
        target, retries = run.attempt.target, self._route.policy.retries
        again_max = retries.same_target_max if target.same_target_max is None else target.same_target_max
        if run.attempt.why is Why.LAST_RESORT or self._tried[target.name] > again_max:
            return False
        if self._waiting and self._waiting[0].model_scope == target.model_scope:
            return False  # another key of the same model is better than waiting for this one
        if self._board.is_open(target) and (self._waiting or self._last_resort):
            return False  # it fails everybody just now
        wait_s = self._wait_s(failure, self._tried[target.name])
        if wait_s is None or now + wait_s >= self._deadline:
            return False
        self._retry_at, self._retry_target = now + wait_s, target
        return True

    def _wait_s(self, failure: Failure, tries: int) -> float | None:
        """How long to wait before the same target is asked again; None if it should not be."""
        retries, same, hint_s = self._route.policy.retries, failure.verdict.same, last_words.hint_s(failure)
        if same is Same.NEVER:
            return None
        if hint_s is not None:
            # Only upwards: whoever comes back too early is turned away again.
            return hint_s * (1.0 + 0.02 * self._draw.random()) if hint_s <= retries.wait_s_max else None
        if same is Same.HINTED and (self._waiting or self._last_resort):
            return None
        return self._draw.random() * min(retries.wait_s_max, retries.base_s * 2.0**tries)

    def _go_elsewhere(self, now: float) -> None:
        if self._live or self._launch_next(Why.FAILOVER, now) or self._launch_last_resort(now):
            return
        self._give_up(last_words.everybody_failed(self._failures, self._lineup), now)

    def _give_up(self, failure: Failure, now: float) -> None:
        """Nobody answered in words; an empty answer, if there was one, is better than an error."""
        if self._consolation is None:
            self._finish(failure, now)
        else:
            self._winner = self._consolation
            self._show(self._consolation.take_held())
            self._finish(None, now)

    # ------------------------------------------------------------- going on with a broken stream

    def _go_on(self, run: Run, failure: Failure, *, now: float) -> None:
        """Text was shown and its attempt is lost: go on elsewhere, or end honestly."""
        streaming, broken = self._route.policy.stream, run.attempt.target
        self._broke = self._broke or failure
        if failure.code == PREFIX_REFUSED:
            self._prefix_refused.add(broken.name)
        if streaming.rescue == "continue" and self._continuations < streaming.continuations_max:
            for target in self._rescuers(broken, now):
                accepts = target.name not in self._prefix_refused
                continuation = way_to_continue(self._request, target, shown=self._shown, prefix=accepts)
                if continuation is not None and self._launch(
                    target, Why.CONTINUATION, now=now, continuation=continuation
                ):
                    self._join(broken, continuation, now=now)
                    return
        self._finish(self._broke, now)

    def _join(self, broken: Target, continuation: Continuation, *, now: float) -> None:
        """The attempt just launched is to go on with what was shown."""
        self._continuations += 1
        run = self._live[self._attempts]
        run.splicer = Splicer(continuation, self._shown)
        target, mode = run.attempt.target, continuation.mode
        self._waiting = [other for other in self._waiting if other is not target]
        self._last_resort = [other for other in self._last_resort if other is not target]
        self._note(Continued(now, self.id, self._attempts, broken, target, mode, self._shown.chars))

    def _rescuers(self, broken: Target, now: float) -> list[Target]:
        """Who could go on, best first: those who are well and have not failed, then the rest, the same one last."""
        refused = self._failures[-1][1].code == PREFIX_REFUSED
        untried = [*self._waiting, *self._last_resort]
        others = [target for target in self._lineup.order if target not in untried and target.name != broken.name]
        everybody = [broken, *untried, *others] if refused else [*untried, *others, broken]
        able = [target for target in everybody if not self._board.forced_open(target)]
        resting = {target.name for target in able if self._board.obstacle(target, now)}
        failed = {target.name for target, failure in self._failures if failure.code != PREFIX_REFUSED}
        return sorted(able, key=lambda target: (target.name in resting, target.name in failed))

    # ------------------------------------------------------------- ends

    def _leave(self, run: Run) -> None:
        del self._live[run.attempt.number]

    def _abandon(self, run: Run, now: float, *, outrun: bool = False) -> None:
        self._leave(run)
        self._out.append(Abandon(run.attempt.number))
        self._note(run.abandoned(self.id, now, outrun=outrun))

    def _finish(self, failure: Failure | None, now: float) -> None:
        """The one end: hangs up on whoever is left and says how it went."""
        for run in list(self._live.values()):
            self._abandon(run, now)
        self._over = True
        end = self.so_far(failure)
        ended = FlightEnded(
            now, self.id, self._route.name, end.target, end.attempts, now - self._began,
            end.failover, end.rescued, failure,
        )  # fmt: skip
        self._note(ended)
        self._out.append(end)

    def so_far(self, failure: Failure | None = None) -> Finished:
        """Who answers, after how many attempts: what can be said at this moment."""
        winner = self._winner.attempt.target if self._winner is not None else None
        raced = self._winner is not None and self._winner.attempt.why is Why.RACE
        wanted = self._lineup.first_choice(self._route, first_tried=next(iter(self._tried), ""))
        failover = winner is not None and not raced and wanted != winner.name
        rescued = failure is None and self._continuations > 0
        return Finished(winner, self._attempts, failover, rescued, failure, self._shown.anything)

    def _too_late(self, now: float) -> Failure:
        waited_s, losses = now - self._since, last_words.told(self._failures)
        message = f"no answer within {waited_s:.0f} s after {self._attempts} attempts{losses}"
        return Failure(kind=FailureKind.DEADLINE, message=message)

    # ------------------------------------------------------------- small parts

    @property
    def _deadline(self) -> float:
        """When the caller has waited long enough for the first content (of a plain answer: for all of it)."""
        return self._since + self._patience_s

    def _due(self, run: Run) -> float:
        """The deadline for this run's first content: earlier while others could still be asked.

        Whoever starts within the reserve shares what is left of it evenly with those behind.
        """
        if run.is_working:
            return self._deadline
        behind, reserve_s = len(self._waiting), self._route.policy.deadlines.reserve_share * self._patience_s
        even_share_s = (self._deadline - run.started) / (behind + 1)
        return max(run.started + even_share_s, self._deadline - reserve_s) if behind else self._deadline

    def _note(self, fact: Fact) -> None:
        self._board.fold(fact)
        self._out.append(Note(fact))

    def _drain(self) -> list[Command]:
        out, self._out = self._out, []
        return out
