"""Jobs: work that is accepted first and asked about until it is done.

    watch(look, every_s=, finish=)   a decoder that asks on as long as `look` says that it must
    job_failure(error, what)         why a job failed, in the provider's words

Asking is free and making is not: a job is only given up when it says itself that it failed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Protocol

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import Record
from unbroken.types import Delta, HttpRequest, Json, Output, Usage
from unbroken.wire import Decoder, Next
from unbroken.wire.comeback import come_back_s
from unbroken.wire.errors import classify_event
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.media import Head, Headed
from unbroken.wire.reading import malformed

__all__ = ["Look", "Standing", "at", "job_failure", "share_of", "watch", "word_at"]

POLL_S_MIN, POLL_S_MAX = 0.05, 30.0
"""However soon a provider wants to be asked again, and however late."""

Found = list[Delta] | Failure | Next


class Standing(Record, kw_only=True):
    """How a job stands: to be asked about with `ask`, or done where that is None.

    `progress` is 0 to 1; `outputs` are what it made, `usage` what it took.
    """

    ask: HttpRequest | None = None
    progress: float = 0.0
    outputs: tuple[Output, ...] = ()
    usage: Usage | None = None


class Look(Protocol):
    """Reads how a job stands; `asked` is the question that brought this, None where the job was just made."""

    def __call__(self, value: Json, *, asked: HttpRequest | None) -> Standing | Failure: ...


def watch(
    look: Look, *, every_s: float, finish: Callable[[Standing], Found], asked: HttpRequest | None = None
) -> Decoder:
    """A decoder of what a job says of itself, first when it is accepted and then whenever it is asked.

    `look` reads the decoded JSON; `every_s` is how long to wait where the provider does not say;
    `finish` makes the answer of a job that is done.
    """
    again = partial(watch, look, every_s=every_s, finish=finish)
    return Headed(partial(_read, look=partial(look, asked=asked), every_s=every_s, finish=finish, again=again))


def _read(
    head: Head,
    body: bytes,
    *,
    look: Callable[[Json], Standing | Failure],
    every_s: float,
    finish: Callable[[Standing], Found],
    again: Callable[..., Decoder],
) -> Found:
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return malformed("what was said of the job is not JSON")
    standing = look(value)
    if isinstance(standing, Failure):
        return standing
    if standing.ask is None:
        return finish(standing)
    return Next(
        request=standing.ask,
        decoder=partial(again, asked=standing.ask),
        after_s=_wait_s(head.headers, every_s),
        deltas=(Delta(progress=standing.progress),),
    )


def _wait_s(headers: Mapping[str, str], every_s: float) -> float:
    """When to ask again: as the provider says, within reason, else as is usual for it."""
    own = headers.get("openai-poll-after-ms", "")
    hint_s = int(own) / 1000 if own.isdecimal() and len(own) < 9 else come_back_s(headers, resets=False)
    return min(max(every_s if hint_s is None else hint_s, POLL_S_MIN), POLL_S_MAX)


def job_failure(error: Json, what: str) -> Failure:
    """Why a job failed; `what` is said where it gives no reason.

    OpenAI's errors bring the headers of the error behind them.  The same target is not asked to
    make it again: it has tried, and was paid perhaps.
    """
    headers = error.get("headers") if isinstance(error, dict) else None
    failure = classify_event({"error": error}) if error else None
    if failure is None:
        failure = Failure(kind=FailureKind.SERVER, message=what)
    if isinstance(headers, dict) and failure.retry_after_s is None:
        told = {str(name).lower(): str(value) for name, value in headers.items()}
        failure = replace(failure, retry_after_s=come_back_s(told))
    return replace(failure, again=False)


def at(value: Json, *path: str | int) -> Json:
    """What lies at the end of this path through objects and arrays; None where it leads nowhere."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and len(value) > step else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def word_at(value: Json, *path: str | int) -> str:
    """The text at the end of this path, empty where there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def share_of(percent: Json) -> float:
    """0 to 1 from a percentage; 0 where it is none."""
    return min(max(percent / 100, 0.0), 1.0) if type(percent) in (int, float) else 0.0
