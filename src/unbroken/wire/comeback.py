"""When may I come back?  Every way in which providers say it, read into seconds.

The order is that of trust: `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (seconds
or an HTTP date), Google's RetryInfo, OpenRouter's `metadata`, reset headers, the message,
Hugging Face's `estimated_time`.  A form that cannot be read is passed over and the next one
tried, so that `retry-after: soon` costs nothing.

Rules of this file: a moment in the past is 0; NaN and infinity are not answers and are
passed over; anything finite above a day is a day.  No clock is read: absolute times count
from the provider's own `date` header, which takes its clock's error out of the sum, or else
from `now_epoch_s`; without either they are passed over.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from unbroken.types import Json

__all__ = ["DAY_S", "LOADING_S_MAX", "clock_s", "come_back_s", "instant_s", "pacific_midnight_s", "utc_midnight_s"]

DAY_S = 86_400.0
"""The longest wait that is believed: after a day somebody has looked."""
LOADING_S_MAX = 120.0
"""The longest loading time that is believed: Hugging Face gives half an hour for models that never load."""

_EPOCH_MIN = 1e9
"""A bare number from here on (September 2001) is a date, not a span."""
_EPOCH_MS_MIN = 1e11
"""... and from here on it counts milliseconds."""
_TEXT_MAX = 2_000

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY_S}
_SPAN = (
    r"(\d{1,12}(?:\.\d{1,18})?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?)(?![a-z])"
)
_ONE_SPAN = re.compile(_SPAN, re.IGNORECASE)
_SPANS = re.compile(rf"(?:{_SPAN}\s*)+", re.IGNORECASE)
_ADVICE = re.compile(rf"(?:try again|retry|wait)(?: in| after| for)?(?: about)?:?\s+((?:{_SPAN}\s*)+)", re.IGNORECASE)
_HTTP_DATE = re.compile(r"(\d{1,2})[ -]([A-Z][a-z]{2})[ -](\d{4}|\d{2}) (\d\d):(\d\d):(\d\d)")
"""IMF-fixdate and the older RFC 850 form (RFC 9110, 5.6.7); asctime's is not sent by anybody."""
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_IETF_LIMIT = re.compile(r"\br=(\d{1,12})\b.{0,40}?\bt=(\d{1,12})\b")

_Forms = Iterator[float | None]


def come_back_s(
    headers: Mapping[str, str],
    body: Json = None,
    *,
    text: str = "",
    now_epoch_s: float | None = None,
    resets: bool = True,
) -> float | None:
    """Seconds to wait, in [0, 86400], or None where nothing readable was said.

    `headers` have lower-case names; `body` is the decoded error (or a list of nested ones);
    `text` its message.  `resets` False leaves out the reset headers, which stand on every
    answer and mean something only when a limit was hit.
    """
    now = clock_s(headers, now_epoch_s)
    for seconds in _forms(headers, body, text=text[:_TEXT_MAX], now=now, resets=resets):
        if seconds is not None and math.isfinite(seconds):
            return min(max(seconds, 0.0), DAY_S)
    return None


def clock_s(headers: Mapping[str, str], now_epoch_s: float | None = None) -> float | None:
    """What time it was when this was said, in seconds since 1970: by its own `date`, else by `now_epoch_s`."""
    dated = instant_s(headers.get("date", ""))
    return now_epoch_s if dated is None else dated


def _forms(headers: Mapping[str, str], body: Json, *, text: str, now: float | None, resets: bool) -> _Forms:
    errors = list(_errors(body))
    yield from _explicit(headers, now)
    for error in errors:
        yield from _retry_info(error)
        yield from _openrouter(error, now)
    if resets:
        yield _resets(headers, now)
    yield _advice(text)
    for error in errors:
        yield _loading(error)


def _explicit(headers: Mapping[str, str], now: float | None) -> _Forms:
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        wait_ms = _number(headers.get(name))
        yield None if wait_ms is None else wait_ms / 1000.0
    yield _seconds(headers.get("retry-after"), now)


def _errors(body: Json) -> Iterator[Mapping[str, Json]]:
    """The error objects in a body: itself, what `error` holds, or each of a list."""
    for item in body if isinstance(body, list) else [body]:
        if isinstance(item, Mapping):
            inner = item.get("error")
            if isinstance(inner, Mapping):
                yield inner
            yield item


def _retry_info(error: Mapping[str, Json]) -> _Forms:
    details = error.get("details")
    for detail in details if isinstance(details, list) else []:
        if isinstance(detail, Mapping):
            yield _seconds(detail.get("retryDelay"), None)


def _openrouter(error: Mapping[str, Json], now: float | None) -> _Forms:
    metadata = error.get("metadata")
    said = metadata if isinstance(metadata, Mapping) else {}
    copied = said.get("headers")
    if isinstance(copied, Mapping):
        headers = {str(name).lower(): str(value) for name, value in copied.items()}
        yield from _explicit(headers, now)
        yield _resets(headers, now)
    yield _seconds(said.get("resets_at"), now)
    yield _seconds(error.get("resets_at"), now)


def _resets(headers: Mapping[str, str], now: float | None) -> float | None:
    """The reset of the limit that was hit.

    Several limits are told at once.  Those with nothing left were hit; where none is at
    zero, the request was larger than what was left of the tokens.
    """
    ietf = _IETF_LIMIT.search(headers.get("ratelimit", ""))
    if ietf:
        return float(ietf[2]) + 1.0
    waits = dict(_reset_headers(headers, now))
    spent = [wait for name, wait in waits.items() if _number(headers.get(name.replace("reset", "remaining"))) == 0]
    tokens = [wait for name, wait in waits.items() if "token" in name]
    return max(spent or tokens or list(waits.values()), default=None)


def _reset_headers(headers: Mapping[str, str], now: float | None) -> Iterator[tuple[str, float]]:
    """Limits of a subscription (`unified`) last for days and come with `retry-after` where they bind."""
    for name, value in headers.items():
        if "ratelimit" in name and "reset" in name and "unified" not in name:
            seconds = _seconds(value, now)
            if seconds is not None:
                yield name, seconds


def _advice(text: str) -> float | None:
    said = _ADVICE.search(text)
    return _span(said[1]) if said else None


def _loading(error: Mapping[str, Json]) -> float | None:
    seconds = _number(error.get("estimated_time"))
    return None if seconds is None else min(seconds, LOADING_S_MAX)


# ------------------------------------------------------------------- reading one value


def _seconds(value: Json, now: float | None) -> float | None:
    """A span, a bare number, or a moment less `now`."""
    number = _number(value)
    if number is not None:
        return number if number < _EPOCH_MIN else _until(number / (1000.0 if number >= _EPOCH_MS_MIN else 1.0), now)
    if not isinstance(value, str):
        return None
    span = _span(value)
    return _until(instant_s(value), now) if span is None else span


def _until(moment: float | None, now: float | None) -> float | None:
    return None if moment is None or now is None else moment - now


def _number(value: Json) -> float | None:
    """A finite number, however it is written."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _span(text: str) -> float | None:
    """`6m0s`, `2m59.56s`, `12ms`, `7 seconds`: seconds, or None."""
    stripped = text.strip()
    if len(stripped) > _TEXT_MAX or not _SPANS.fullmatch(stripped):
        return None
    return sum(float(number) * _UNITS_S[_unit(unit.lower())] for number, unit in _ONE_SPAN.findall(stripped))


def _unit(word: str) -> str:
    return "ms" if word.startswith(("ms", "milli")) else word[0]


def instant_s(text: str) -> float | None:
    """An HTTP date or an RFC 3339 instant as seconds since 1970, or None."""
    for read in (_http_date, datetime.fromisoformat):
        moment = _tried(read, text.strip())
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return None


def _tried(read: Callable[[str], datetime | None], text: str) -> datetime | None:
    try:
        return read(text)
    except (ValueError, OverflowError):
        return None


def _http_date(text: str) -> datetime | None:
    found = _HTTP_DATE.search(text[:64])
    if not found or found[2] not in _MONTHS:
        return None
    day, year, hour, minute, second = (int(found[i]) for i in (1, 3, 4, 5, 6))
    # A leap second (60) is legal in a date and unknown to datetime.
    century = 0 if year > 99 else 2000
    return datetime(century + year, _MONTHS.index(found[2]) + 1, day, hour, minute, min(second, 59), tzinfo=UTC)


# ------------------------------------------------------------------- when a day ends


def utc_midnight_s(now_epoch_s: float) -> float:
    """Seconds until the day ends in UTC (OpenRouter's free models)."""
    return DAY_S - now_epoch_s % DAY_S


def pacific_midnight_s(now_epoch_s: float) -> float:
    """Seconds until the day ends in California (Gemini's daily quotas).

    Reckoned here because a time zone database is a file, and slim images have none.  On the
    two days a year when the clocks change it may be an hour off.
    """
    return utc_midnight_s(now_epoch_s - (7 if _is_pacific_summer(now_epoch_s) else 8) * 3600.0)


def _is_pacific_summer(now_epoch_s: float) -> bool:
    """From the second Sunday of March to the first of November, at 2 o'clock local time."""
    try:
        now = datetime.fromtimestamp(now_epoch_s, UTC)
    except (ValueError, OverflowError, OSError):
        return False
    begins = _sunday(datetime(now.year, 3, 8, tzinfo=UTC)) + timedelta(hours=10)
    ends = _sunday(datetime(now.year, 11, 1, tzinfo=UTC)) + timedelta(hours=9)
    return begins <= now < ends


def _sunday(day: datetime) -> datetime:
    """The first Sunday on or after this day."""
    return day + timedelta(days=6 - day.weekday())
