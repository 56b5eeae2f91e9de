"""What came of a proof, as a page of Markdown: what was promised and what was measured, then everything by setting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from unbroken.sim.results import Summary

__all__ = ["Played", "page"]

LEARNERS = ("best", "learned")
HALF_INFORMED = "half informed"
COLUMNS = (
    "strategy", "answered", "of possible", "first token p50, p99 s", "whole p50, p99 s", "$ / 1000", "extra",
    "extra of possible", "steady (worst)", "200 after", "next 200", "aim",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Played:
    """One player's run of one window of a trace."""

    setting: str
    window: str
    tuned: bool
    seed: int
    summary: Summary


@dataclass(frozen=True, slots=True)
class Promise:
    """What should hold of a run: at most so much of something, or at least."""

    what: str
    value: Callable[[Summary], float]
    limit: float
    is_floor: bool = False
    needs_change: bool = False

    def holds(self, value: float) -> bool:
        """Whether this is good enough."""
        return value >= self.limit if self.is_floor else value <= self.limit

    def shown(self, value: float) -> str:
        """As a percentage."""
        return f"{value:.3%}" if self.is_floor else f"{value:.1%}"


PROMISES = (
    Promise("over `informed` in steady state, at most 5 %", lambda s: s.steady.regret, 0.05),
    Promise("the same, 200 to 400 requests after a change", lambda s: s.after[1], 0.05, needs_change=True),
    Promise("extra requests, of those that anybody would have answered, at most 2 %", lambda s: s.extra_able, 0.02),
    Promise("the same, without those that were lost when everybody broke off at once", lambda s: s.extra_fair, 0.02),
    Promise("answered, of what anybody could have answered, at least 99.99 %", lambda s: s.kept, 0.9999, is_floor=True),
)

BEYOND_LENGTHS = Promise("over `half informed` in steady state, at most 5 %", lambda s: s.steady.regret, 0.05)
"""The first one again, against somebody who does not know how long answers will be."""


def page(played: Sequence[Played], *, seeds: Sequence[int], picture: str) -> str:
    """The whole page; `picture` stands beside it."""
    settings = list(dict.fromkeys(each.setting for each in played))
    requests = sum(each.summary.requests for each in played)
    head = f"""# What the strategies are worth, measured

Written by `make proof` ([simulation](simulation.md) says how, and what the columns mean).
{len(played):,} runs, {requests:,} requests, seeds {", ".join(map(str, seeds))}.
Public traces of traffic are cut in two: the strategies were developed on beginnings (*tuned*), and not on what lies
behind the middle (*held back*; one constant, the alarm of a change, was also tried on parts of these, with other
seeds).  [What is lost, and why](simulation.md#what-is-lost-and-why) explains the runs that miss.
Providers and outages are simulated: no public trace says which request failed where.

* **calm**: the four providers of the example, and nothing goes wrong.
* **prompts read at once**: the same, but the length of the prompt makes no difference to them.
* **other providers**: five of any class, drawn anew for each seed and trace.
* **each bad day** by itself, and **ten bad days** one after the other, on one trace.
* **incidents as reported** by three providers over three years, as the simulator compresses them.

`informed` knows how every provider is at each moment, who will fail, and how long the answer will be; only luck it
does not know.  `half informed` does not know how long an answer will be: what it loses, nobody can win who has to
choose before the answer is written.
A run's numbers are over all of its requests; the tables give means over runs, and the worst run.
"""
    parts = [head, "## What was promised\n", _promises(played), f"![Ten bad days on held-back traffic]({picture})\n"]
    parts += [_setting(name, [each for each in played if each.setting == name]) for name in settings]
    return "\n".join(parts)


def _promises(played: Sequence[Played]) -> str:
    """Each promise for both who learn, on tuned and on held-back windows."""
    lines = ["| | | runs | mean | worst run | runs that keep it |", "|---|---|---|---|---|---|"]
    for promise in PROMISES:
        for name in LEARNERS:
            for tuned in (True, False):
                mine = _of(name, tuned, played)
                there = [each for each in mine if not promise.needs_change or any(each.summary.after)]
                values = [(promise.value(each.summary), each) for each in there]
                lines.append(_line(promise, _who(name, tuned), values))
    known = {_key(each): each.summary.steady.regret for each in played if each.summary.name.startswith(HALF_INFORMED)}
    for tuned in (True, False):
        mine = _of("learned", tuned, played)
        values = [((1.0 + each.summary.steady.regret) / (1.0 + known[_key(each)]) - 1.0, each) for each in mine]
        lines.append(_line(BEYOND_LENGTHS, _who("learned", tuned), values))
    return "\n".join([*lines, ""])


def _of(name: str, tuned: bool, played: Sequence[Played]) -> list[Played]:  # noqa: FBT001 - which half
    return [each for each in played if each.summary.name == name and each.tuned is tuned]


def _who(name: str, tuned: bool) -> str:  # noqa: FBT001 - the same
    return f"`{name}`, {'tuned' if tuned else 'held back'}"


def _line(promise: Promise, who: str, values: Sequence[tuple[float, Played]]) -> str:
    """How many runs there were, their mean, the worst with its place, and how many were good enough."""
    if not values:
        return f"| {promise.what} | {who} | 0 | | | |"
    worst, run = (min if promise.is_floor else max)(values, key=lambda pair: pair[0])
    mean, good = fmean(value for value, _ in values), sum(promise.holds(value) for value, _ in values)
    where = f"{promise.shown(worst)} ({run.setting}, {run.window})"
    return f"| {promise.what} | {who} | {len(values)} | {promise.shown(mean)} | {where} | {good} |"


def _key(played: Played) -> tuple[str, str, bool, int]:
    return played.setting, played.window, played.tuned, played.seed


def _setting(name: str, played: Sequence[Played]) -> str:
    """A table of everybody."""
    windows = len({(each.window, each.tuned) for each in played})
    runs = len(played) // max(1, len({each.summary.name for each in played}))
    lines = [
        f"## {name[0].upper()}{name[1:]}\n",
        f"{runs} runs of {windows} windows.\n",
        f"| {' | '.join(COLUMNS)} |",
        "|---|" + "---:|" * 10 + "---|",
    ]
    players = dict.fromkeys(each.summary.name for each in played)
    rows = [_row(player, [each.summary for each in played if each.summary.name == player]) for player in players]
    return "\n".join([*lines, *rows, ""])


def _row(name: str, runs: Sequence[Summary]) -> str:
    def mean(value: Callable[[Summary], float]) -> float:
        return fmean(value(run) for run in runs)

    changes = any(any(run.after) for run in runs)
    after = [f"{mean(lambda run, at=at: run.after[at]):+.1%}" if changes else "" for at in (0, 1)]  # type: ignore[misc]
    cells = (
        f"{mean(lambda s: s.success):.3%}",
        f"{sum(s.answered_of_those for s in runs) / max(1, sum(s.answerable for s in runs)):.3%}",
        f"{mean(lambda s: s.first_s[50]):.2f}, {mean(lambda s: s.first_s[99]):.1f}",
        f"{mean(lambda s: s.total_s[50]):.2f}, {mean(lambda s: s.total_s[99]):.1f}",
        f"{mean(lambda s: 1000 * s.cost_usd / max(1, s.requests)):.2f}",
        f"{mean(lambda s: s.extra_share):.1%}",
        f"{mean(lambda s: s.extra_able):.1%}",
        f"{mean(lambda s: s.steady.regret):+.1%} ({max(s.steady.regret for s in runs):+.1%})",
        *after,
    )
    return f"| {name.partition(':')[0].strip('~ ')} | " + " | ".join(cells) + f" | {runs[0].weights} |"
