"""When to come back: every form is read, and none leaves a day."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.wire.comeback import come_back_s, instant_s, pacific_midnight_s, utc_midnight_s
from wire.anything import HEADERS, JSON
from wire.error_rows import NOON, google, openrouter

NOON_S = instant_s(NOON) or 0.0

HINTS: dict[str, tuple[dict[str, str], Any, str, float | None]] = {
    "ms-first": ({"retry-after-ms": "1500", "retry-after": "9"}, None, "", 1.5),
    "azure-ms": ({"x-ms-retry-after-ms": "250", "retry-after": "9"}, None, "", 0.25),
    "seconds": ({"retry-after": "2.5"}, None, "", 2.5),
    "date": ({"retry-after": "Wed, 18 Nov 2026 20:00:05 GMT"}, None, "", 5.0),
    "date-rfc850": ({"retry-after": "Wednesday, 18-Nov-26 20:00:05 GMT"}, None, "", 5.0),
    "date-with-leap-second": ({"retry-after": "Wed, 18 Nov 2026 20:00:60 GMT"}, None, "", 59.0),
    "date-past": ({"retry-after": "Wed, 18 Nov 2020 20:00:05 GMT"}, None, "", 0.0),
    "date-nonsense": ({"retry-after": "Wed, 88 Nov 2026 20:00:05 GMT"}, None, "", None),
    "date-no-month": ({"retry-after": "Wed, 18 Abc 2026 20:00:05 GMT"}, None, "", None),
    "nonsense": ({"retry-after": "soon"}, None, "Please try again in 3s", 3.0),
    "negative": ({"retry-after": "-3"}, None, "", 0.0),
    "nan": ({"retry-after": "nan"}, None, "", None),
    "infinity": ({"retry-after": "inf"}, None, "", None),
    "overflow": ({"retry-after": "1e999"}, None, "", None),
    "too-long": ({"retry-after": "4294967"}, None, "", 86_400.0),
    "retry-info": ({}, google(429, "x", "y", {"retryDelay": "0.5s"}), "retry in 9s", 0.5),
    "retry-info-among-others": ({}, google(429, "x", "y", {"reason": "z"}, {"retryDelay": "2s"}), "", 2.0),
    "retry-info-nonsense": ({}, {"details": ["text", {"retryDelay": {"seconds": 3}}]}, "", None),
    "retry-info-ms": ({}, google(429, "x", "y", {"retryDelay": "900ms"}), "", 0.9),
    "openrouter-seconds": ({}, openrouter(429, "x", headers={"Retry-After": "3"}), "", 3.0),
    "openrouter-epoch-ms": ({}, openrouter(429, "x", headers={"X-RateLimit-Reset": "1795032004000"}), "", 4.0),
    "openrouter-resets-at": ({}, openrouter(403, "x", resets_at="2026-11-18T20:00:08Z"), "", 8.0),
    "go-duration": ({"x-ratelimit-reset-requests": "6m0s"}, None, "", 360.0),
    "groq-duration": ({"x-ratelimit-reset-requests": "2m59.56s"}, None, "", 179.56),
    "milliseconds": ({"x-ratelimit-reset-tokens": "12ms"}, None, "", 0.012),
    "spent-one-counts": (
        {
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": "8s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "1m0s",
        },
        None,
        "",
        8.0,
    ),
    "tokens-if-none-is-spent": (
        {
            "x-ratelimit-remaining-requests": "7",
            "x-ratelimit-reset-requests": "1h0m0s",
            "x-ratelimit-remaining-tokens": "9",
            "x-ratelimit-reset-tokens": "2s",
        },
        None,
        "",
        2.0,
    ),
    "anthropic-instant": ({"anthropic-ratelimit-requests-reset": "2026-11-18T20:00:20Z"}, None, "", 20.0),
    "subscription": ({"anthropic-ratelimit-unified-7d-reset": "1795500000"}, None, "", None),
    "cohere-epoch": ({"x-ratelimit-reset": "1795032007"}, None, "", 7.0),
    "hf": ({"ratelimit": '"api";r=0;t=55'}, None, "", 56.0),
    "bare-seconds": ({"ratelimitbysize-reset": "56"}, None, "", 56.0),
    "redacted": ({"x-ratelimit-reset-tokens": "**REDACTED**"}, None, "", None),
    "text-groq": ({}, None, "Please try again in 5.289s. Visit", 5.289),
    "text-minutes": ({}, None, "try again in 7m12s", 432.0),
    "text-gemini": ({}, None, "Please retry in 12.3s.", 12.3),
    "text-azure": ({}, None, "Please retry after 26 seconds.", 26.0),
    "text-ms": ({}, None, "Please try again in 20ms", 0.02),
    "text-idle": ({}, None, "Please try again later", None),
    "estimated": ({}, {"error": "loading", "estimated_time": 12.5}, "", 12.5),
    "estimated-absurd": ({}, {"error": "loading", "estimated_time": 1e9}, "", 120.0),
    "estimated-bool": ({}, {"error": "loading", "estimated_time": True}, "", None),
    "huge-integer": ({}, {"error": "loading", "estimated_time": 10**400}, "", None),
    "list": ({}, [google(429, "x", "y", {"retryDelay": "7s"})], "", 7.0),
    "nothing": ({}, None, "", None),
}


@pytest.mark.parametrize(("headers", "body", "text", "expected"), HINTS.values(), ids=HINTS)
def test_every_way_to_say_when(headers: dict[str, str], body: Any, text: str, expected: float | None) -> None:
    """All known forms are read, in their order of trust, and none leaves [0, one day]."""
    assert come_back_s(headers, body, text=text, now_epoch_s=NOON_S) == pytest.approx(expected)


def test_without_a_clock_moments_are_passed_over() -> None:
    """An absolute time says nothing to somebody who does not know what time it is."""
    assert come_back_s({"retry-after": NOON}) is None
    assert come_back_s({"retry-after": NOON}, text="retry in 4s") == 4.0


def test_reset_headers_can_be_left_out() -> None:
    """Reset headers stand on every answer; where no limit was hit they are not looked at."""
    assert come_back_s({"x-ratelimit-reset-tokens": "6s"}, resets=False) is None


@pytest.mark.parametrize(
    ("moment", "pacific_hours"),
    [
        ("2026-01-15T20:00:00Z", 12),
        ("2026-07-15T20:00:00Z", 11),
        ("2026-03-08T09:59:00Z", 22),
        ("2026-03-08T10:00:00Z", 21),
        ("2026-11-01T08:59:00Z", 22),
        ("2026-11-01T09:00:00Z", 23),
    ],
)
def test_the_day_ends_in_california(moment: str, pacific_hours: int) -> None:
    """Midnight Pacific follows daylight saving, without a time zone database."""
    assert pacific_midnight_s(instant_s(moment) or 0.0) // 3600 == pacific_hours


def test_the_day_ends_for_any_clock() -> None:
    """A clock that is absurd still gives an answer within a day."""
    for now in (-1e30, 0.0, 1e30):
        assert 0.0 <= utc_midnight_s(now) <= 86_400.0
        assert 0.0 <= pacific_midnight_s(now) <= 86_400.0


@given(headers=HEADERS, body=JSON, text=st.text(), now=st.none() | st.floats(allow_nan=False, allow_infinity=False))
def test_any_hint_is_within_a_day(headers: dict[str, str], body: Any, text: str, now: float | None) -> None:
    """Whatever was said, the wait is None or within [0, one day]."""
    seconds = come_back_s(headers, body, text=text, now_epoch_s=now)

    assert seconds is None or 0.0 <= seconds <= 86_400.0
