"""What callers, providers and the ledger have seen in a scene of chaos, and which promises that breaks.

Counts and order are judged, never how long anything took.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.soak_checks import Check

__all__ = ["Account", "Answer", "Evidence", "checks", "most_in", "read_plain", "read_stream"]

WINDOW_S = 59.0
"""A minute, less what a request may take from the gateway to its provider."""

LATE_S = 0.5
"""What a gateway wrote before it was killed may be read so long afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer that a caller has read to its end: the request's id, whose answer it was, and when."""

    id: str
    door: str
    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A limit: what providers saw of it, how much it is, and by how much it may be exceeded in this scene."""

    name: str
    seen: int
    limit: int
    spare: int = 0


@dataclass(slots=True, kw_only=True)
class Evidence:
    """A scene.

    `answers` are good ones, `refused` requests were beyond the budget; `again` of all requests were asked at another
    gateway, as theirs was killed.  `wrong` are the others.  `recorded` are the ids in the ledger, `unrecorded` what
    it says that it lacks.  A gateway in `killed_at_s` may have lost the records of the last `window_s` before that.
    """

    answers: list[Answer] = field(default_factory=list)
    refused: int = 0
    again: int = 0
    cut_at_most: int = 0
    wrong: list[str] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    recorded: Collection[str] = ()
    unrecorded: int = 0
    damage: str = ""
    killed_at_s: Mapping[str, Sequence[float]] = field(default_factory=dict)
    window_s: float = 0.0
    expected: list[Check] = field(default_factory=list)


def checks(seen: Evidence) -> Iterator[Check]:
    """Everything that has to hold."""
    requests = len(seen.answers) + seen.refused + len(seen.wrong)
    yield Check(
        what="failed, cut, or shown twice", found=f"{len(seen.wrong)} of {requests}", limit="0",
        good=not seen.wrong and bool(seen.answers),
    )  # fmt: skip
    ids = [answer.id for answer in seen.answers]
    yield Check(what="ids given twice", found=str(len(ids) - len(set(ids))), limit="0", good=len(ids) == len(set(ids)))
    if seen.killed_at_s or seen.again:
        yield Check(
            what="asked again elsewhere", found=str(seen.again), limit=f"{seen.cut_at_most}: those under way",
            good=seen.again <= seen.cut_at_most,
        )  # fmt: skip
    for account in seen.accounts:
        most = account.limit + account.spare
        limit = f"{account.limit} + {account.spare}" if account.spare else str(account.limit)
        yield Check(what=account.name, found=str(account.seen), limit=limit, good=account.seen <= most)
    yield from _of_ledger(seen)
    yield from seen.expected


def _of_ledger(seen: Evidence) -> Iterator[Check]:
    missing = [answer for answer in seen.answers if answer.id not in seen.recorded]
    lost = [answer for answer in missing if not _excused(answer, seen)]
    most = seen.unrecorded
    yield Check(
        what="missing in the ledger", found=f"{len(lost)}, and {len(missing) - len(lost)} just before a kill",
        limit=f"{most}, as it says itself", good=len(lost) <= most,
    )  # fmt: skip
    yield Check(what="the ledger is whole", found=seen.damage or "yes", limit="yes", good=not seen.damage)


def _excused(answer: Answer, seen: Evidence) -> bool:
    """Whether whoever answered was killed so soon afterwards that the record may be lost."""
    return any(-LATE_S <= at_s - answer.at_s <= seen.window_s for at_s in seen.killed_at_s.get(answer.door, ()))


def most_in(times_s: Sequence[float], window_s: float = WINDOW_S) -> int:
    """How many of these moments lie within one window at most."""
    ordered, most, first = sorted(times_s), 0, 0
    for last, at_s in enumerate(ordered):
        while at_s - ordered[first] >= window_s:
            first += 1
        most = max(most, last - first + 1)
    return most


def read_plain(body: bytes) -> tuple[str, str]:
    """The words of a whole answer in OpenAI's format, and what is wrong with it."""
    try:
        choice = json.loads(body)["choices"][0]
        words, why = choice["message"]["content"], choice["finish_reason"]
    except (ValueError, LookupError, TypeError) as error:
        return "", f"no answer: {error!r}"
    return words, "" if why == "stop" else f"it ends with {why!r}"


def read_stream(body: bytes) -> tuple[str, str]:
    """The same of a stream of events, which ends once and properly."""
    events = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: ")]
    if events.count(b"[DONE]") != 1 or events[-1] != b"[DONE]":
        return "", f"{events.count(b'[DONE]')} ends in {len(events)} events: {events[-1:]}"
    try:
        choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
        words = "".join(choice["delta"].get("content") or "" for choice in choices)
        ends = [why for choice in choices if (why := choice.get("finish_reason")) is not None]
    except (ValueError, LookupError, TypeError) as error:
        return "", f"not an event of an answer: {error!r} in {events[-2:]}"
    return words, "" if ends == ["stop"] else f"it ends with {ends}"
