"""What providers' rate-limit headers say: real ones, as they were recorded or are documented, read into limits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.facts import Reading
from unbroken.wire.allowance import LIMIT_HEADERS, readings

NOON = "Wed, 19 Aug 2026 12:00:00 GMT"


def named(prefix: str, suffix: str = "", **said: Any) -> dict[str, str]:
    return {f"{prefix}{part}{suffix}": str(value) for part, value in said.items()}


OPENAI = {
    **named("x-ratelimit-", "-requests", limit=5000, remaining=4999, reset="12ms"),
    **named("x-ratelimit-", "-tokens", limit=800000, remaining=799600, reset="30ms"),
}
GROQ = {
    **named("x-ratelimit-", "-requests", limit=14400, remaining=14397, reset="17.116999999s"),
    **named("x-ratelimit-", "-tokens", limit=6000, remaining=5902, reset="981ms"),
}
ANTHROPIC = {
    "date": NOON,
    **named("anthropic-ratelimit-input-tokens-", limit=2000000, remaining=1999000, reset="2026-08-19T12:00:01Z"),
    **named("anthropic-ratelimit-output-tokens-", limit=400000, remaining=400000, reset="2026-08-19T12:00:00Z"),
    **named("anthropic-ratelimit-requests-", limit=4000, remaining=3999, reset="2026-08-19T12:00:00Z"),
}
MISTRAL = {
    **named("x-ratelimit-", "-req-minute", limit=100, remaining=97),
    **named("x-ratelimit-", "-tokens-minute", limit=100000, remaining=97715),
    **named("x-ratelimit-", "-tokens-month", limit=10**10, remaining=9999999370),
    "x-ratelimit-tokens-query-cost": "60",
}
CEREBRAS = {
    **named("x-ratelimit-", "-requests-day", limit=14400, remaining=14399, reset="3600.5"),
    **named("x-ratelimit-", "-tokens-minute", limit=60000, remaining=50, reset="26.5"),
}


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        pytest.param(OPENAI, [
            Reading("requests", "requests", 5000, 60, 4999, 0.012, steady=True, reserves=True),
            Reading("tokens", "tokens", 800000, 60, 799600, 0.03, steady=True, reserves=True),
        ], id="openai"),
        pytest.param(GROQ, [
            Reading("requests", "requests", 14400, 86400, 14397, 17.116999999, steady=True, reserves=True),
            Reading("tokens", "tokens", 6000, 60, 5902, 0.981, steady=True, reserves=True),
        ], id="groq counts requests by the day"),
        pytest.param(ANTHROPIC, [
            Reading("anthropic-input-tokens", "input_tokens", 2000000, 60, 1999000, None, steady=True),
            Reading("anthropic-output-tokens", "output_tokens", 400000, 60, 400000, None, steady=True),
            Reading("anthropic-requests", "requests", 4000, 60, 3999, None, steady=True),
        ], id="anthropic"),
        pytest.param(MISTRAL, [
            Reading("req-minute", "requests", 100, 60, 97, None, reserves=True),
            Reading("tokens-minute", "tokens", 100000, 60, 97715, None, reserves=True),
            Reading("tokens-month", "tokens", 10**10, 30 * 86400, 9999999370, None, reserves=True),
        ], id="mistral"),
        pytest.param(CEREBRAS, [
            Reading("requests-day", "requests", 14400, 86400, 14399, 3600.5, reserves=True),
            Reading("tokens-minute", "tokens", 60000, 60, 50, 26.5, reserves=True),
        ], id="cerebras"),
        pytest.param(
            named("x-ratelimit-", "-requests", limit=9000, remaining=8999, reset=0, renewalperiod=10),
            [Reading("requests", "requests", 9000, 10, 8999, 0.0, steady=True, reserves=True)],
            id="azure says the window itself, and its reset is in one unit or another",
        ),
        pytest.param(
            named("x-ratelimit-", "-requests", limit=1800, remaining=1788),
            [Reading("requests", "requests", 1800, 60, 1788, None, steady=True, reserves=True)],
            id="xai without a reset",
        ),
        pytest.param(
            named("x-ratelimit-", "-requests", limit=60, remaining=10, reset=30),
            [Reading("requests", "requests", 60, 60, 10, 30.0, reserves=True)],
            id="one who speaks like openai but counts by windows",
        ),
        pytest.param(
            named("x-ratelimitbysize-", "-minute", limit=500000, remaining=467979),
            [Reading("size-minute", "tokens", 500000, 60, 467979, None, reserves=True)],
            id="mistral, older",
        ),
        pytest.param(
            {"date": NOON, **named("x-ratelimit-", limit=20, remaining=0, reset=1787140860000)},
            [Reading("all", "requests", 20, 0, 0, 60.0, reserves=True)],
            id="openrouter's epoch in milliseconds",
        ),
        pytest.param(
            named("ratelimit-", limit=400, remaining=399, reset=19),
            [Reading("all", "requests", 400, 0, 399, 19.0, reserves=True)],
            id="hugging face",
        ),
        pytest.param(
            named("x-ratelimit-", "-project-tokens", limit=1000000, remaining=999000, reset="60ms"),
            [Reading("project-tokens", "tokens", 1000000, 60, 999000, 0.06, steady=True, reserves=True)],
            id="openai's project",
        ),
    ],
)  # fmt: skip
def test_each_providers_headers_are_read(headers: dict[str, str], expected: list[Reading]) -> None:
    """Limit, remainder, window and the way of coming back are those that the provider means."""
    assert list(readings(headers)) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"content-type": "application/json", "x-request-id": "1"},
        named("x-ratelimit-", "-requests", limit="X-RATELIMIT-LIMIT-REQUESTS-XXX", remaining="**REDACTED**"),
        named("x-ratelimit-", "-requests", remaining=5, reset="1s"),
        named("x-ratelimit-", "-requests", limit=0, remaining=0),
        named("x-ratelimit-", "-tokens", limit=9223372036854767616, remaining=9223372036854767616),
        named("x-ratelimit-", limit=100, remaining=99),
        named("x-ratelimit-", limit=100, reset=1787140860),
        named("x-ratelimit-", "-requests", limit="nan"),
        named("x-ratelimit-", "-requests", limit=-5),
    ],
)
def test_what_cannot_be_read_or_bounds_nothing_is_no_limit(headers: dict[str, str]) -> None:
    """Placeholders, endless limits and those of an unknown window are passed over."""
    assert readings(headers) == ()


def test_an_instant_counts_from_the_answers_own_date_or_from_the_clock() -> None:
    """An epoch is turned into seconds from now by `date`, else by the clock that is given."""
    told = named("x-ratelimit-", limit=20, remaining=0, reset=1787140860)
    assert readings(told, now_epoch_s=1787140850.0)[0].reset_s == 10.0
    assert readings({**told, "date": NOON}, now_epoch_s=0.0)[0].reset_s == 60.0


@pytest.mark.parametrize(
    ("used", "reset", "window_s"),
    [(0, "0s", 60), (1, "0s", 60), (1, "1s", 60), (30, "500ms", 1), (1, "60s", 3600), (1, "1440s", 86400),
     (90, "5ms", 1)],
)  # fmt: skip
def test_the_window_of_a_bucket_follows_from_how_fast_it_refills(used: int, reset: str, window_s: float) -> None:
    """What was used takes a share of the window to come back, and windows are round."""
    found = readings(named("x-ratelimit-", "-requests", limit=60, remaining=max(0, 60 - used), reset=reset))
    assert found[0].window_s == window_s


def test_names_are_lower_case_and_few() -> None:
    """One look at a set tells whether there is anything to be read."""
    assert all(name == name.lower() for name in LIMIT_HEADERS)
    assert not LIMIT_HEADERS.isdisjoint(OPENAI)
    assert LIMIT_HEADERS.isdisjoint({"content-type": "", "retry-after": "1", "x-should-retry": "true"})


@given(st.dictionaries(st.sampled_from(sorted(LIMIT_HEADERS)), st.text(max_size=20) | st.from_regex(r"\d+m?s?")))
def test_nothing_that_a_provider_says_raises(headers: dict[str, str]) -> None:
    """Any text in any of these headers gives limits above nought, or none."""
    for reading in readings(headers):
        assert reading.limit > 0.0
        assert reading.window_s > 0.0 or reading.reset_s
