"""How much a provider says is left: its rate-limit headers, read into `Reading`s.

    readings(headers)    one for each limit that is told with its size

Names are looked up in one table, which the loops below write out of the ways in which
providers put them together; a header that is not in it costs one comparison of hashes.

What they mean differs.  OpenAI, Azure, Groq, xAI and Anthropic refill all the time, and their
reset is when all of it is back; the others count by windows, and their reset is the end of
one.  OpenAI and Groq write it as `6m0s` or `12ms`, Anthropic as an instant, the rest as bare
seconds, except that Azure's are seconds in one deployment and milliseconds in another: where
the length of the window is told, the refill follows from it, and the reset is not needed.
All but Anthropic set aside what a caller allows for (`max_tokens`) before the first word.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from unbroken.facts import Reading
from unbroken.wire.comeback import come_back_s

__all__ = ["LIMIT_HEADERS", "readings"]

MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0
WINDOWS_S = (1.0, MINUTE_S, HOUR_S, DAY_S, 30 * DAY_S)
"""What is reckoned is the nearest of these: OpenAI and Groq count some requests by the day, in the same words."""
SPAN_CHARS = 16
"""Longer texts are no spans."""
ENDLESS = 1e15
"""Who allows so much counts nothing (Hugging Face says 9,223,372,036,854,767,616 tokens a minute)."""


@dataclass(slots=True, eq=False)
class _Meter:
    """One limit: what it counts, over which window (0: not in its name), and how it comes back.

    Two are the same only if they are one object, which makes looking one up cheap.
    """

    name: str
    unit: str
    window_s: float = 0.0
    steady: bool = False
    reserves: bool = True


_PERIODS = {"second": 1.0, "10-second": 10.0, "minute": MINUTE_S, "hour": HOUR_S, "day": DAY_S, "month": 30 * DAY_S}
_THINGS = {
    "requests": "requests", "req": "requests", "tokens": "tokens",
    "input-tokens": "input_tokens", "output-tokens": "output_tokens",
    "project-requests": "requests", "project-tokens": "tokens",
}  # fmt: skip
_PARTS = ("limit", "remaining", "reset", "renewalperiod")


def _meters() -> Iterator[tuple[str, _Meter]]:
    """Every way to name a limit, with `{}` where the part of it stands that a header tells."""
    for thing, unit in _THINGS.items():
        yield f"x-ratelimit-{{}}-{thing}", _Meter(thing, unit, steady=True)
        name = f"anthropic-{thing}"
        yield f"anthropic-ratelimit-{thing}-{{}}", _Meter(name, unit, MINUTE_S, steady=True, reserves=False)
        for period, window_s in _PERIODS.items():
            yield f"x-ratelimit-{{}}-{thing}-{period}", _Meter(f"{thing}-{period}", unit, window_s)
    for period, window_s in _PERIODS.items():
        yield f"x-ratelimit-{{}}-{period}", _Meter(period, "requests", window_s)
        yield f"x-ratelimitbysize-{{}}-{period}", _Meter(f"size-{period}", "tokens", window_s)
    yield "x-ratelimit-{}", _Meter("all", "requests")
    yield "ratelimit-{}", _Meter("all", "requests")


_KNOWN = {form.format(part): (meter, part) for (form, meter), part in product(_meters(), _PARTS)}
LIMIT_HEADERS = frozenset(_KNOWN)
"""The names that are worth a look, in lower case: `LIMIT_HEADERS.isdisjoint(headers)` says whether there is any."""


def readings(headers: Mapping[str, str], *, now_epoch_s: float | None = None) -> tuple[Reading, ...]:
    """What the headers of an answer say of limits; names are lower case.

    Instants count from the answer's own `date`, else from `now_epoch_s`; without either
    they are passed over, as is what cannot be read.
    """
    told: dict[_Meter, dict[str, str]] = {}
    for name in headers:
        if (known := _KNOWN.get(name)) is not None:
            told.setdefault(known[0], {})[known[1]] = headers[name]
    found = []
    for meter, said in told.items():
        limit, remaining = _number(said.get("limit")), _number(said.get("remaining"))
        if limit is not None and 0.0 < limit < ENDLESS:
            reset_s = _span_s(said.get("reset", ""))
            if reset_s is None and "reset" in said and not (meter.steady and meter.window_s):
                reset_s = come_back_s(_as_comeback(headers, said["reset"]), now_epoch_s=now_epoch_s, resets=False)
            steady, window_s = _window(meter, said, used=limit - (remaining or 0.0), limit=limit, reset_s=reset_s)
            if window_s or (remaining is not None and reset_s):
                reading = Reading(meter.name, meter.unit, limit, window_s, remaining, reset_s, steady, meter.reserves)
                found.append(reading)
    return tuple(found)


def _as_comeback(headers: Mapping[str, str], reset: str) -> Mapping[str, str]:
    return {"retry-after": reset, "date": headers.get("date", "")}


def _window(
    meter: _Meter, said: Mapping[str, str], *, used: float, limit: float, reset_s: float | None
) -> tuple[bool, float]:
    """Whether it refills all the time, and the length of its window in seconds, 0 where that is not known."""
    window_s = meter.window_s or _number(said.get("renewalperiod")) or 0.0
    if window_s or not meter.steady:
        return meter.steady, window_s
    if reset_s is None:
        return True, MINUTE_S
    if said["reset"].endswith("s"):
        return True, _reckoned_s(limit, used, reset_s=reset_s)
    return False, MINUTE_S  # a bare number of somebody who only speaks like OpenAI: the end of a window


@lru_cache(1024)
def _span_s(text: str) -> float | None:
    """`6m0s`, `12ms` or a bare number (of seconds) that is no instant; None where it is anything else."""
    return come_back_s({"retry-after": text}, resets=False) if len(text) <= SPAN_CHARS else None


def _reckoned_s(limit: float, used: float, *, reset_s: float) -> float:
    """The window of a limit that refills all the time, by how long what was used takes to come back."""
    if used <= 0.0 or reset_s <= 0.0:
        return MINUTE_S
    seconds = limit * reset_s / used
    return min(WINDOWS_S, key=lambda window_s: abs(math.log(seconds / window_s)))


def _number(text: str | None) -> float | None:
    """A finite number that is not negative."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0.0 else None
