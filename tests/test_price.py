"""What an answer costs: by hand for real models, against the list's own fields, and as properties."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken import records
from unbroken.models import Models, load, unpacked
from unbroken.price import Price, Quota, Rates, Variant
from unbroken.price_lists import read_list
from unbroken.types import Usage

MILLION = 1_000_000


# ------------------------------------------------------------------------ by hand

BY_HAND: list[tuple[str, str, Usage, str, float]] = [
    # gpt-5.4 (LiteLLM 1.109.1, source developers.openai.com/api/docs/pricing): 2.5 in, 0.25 cached, 15 out
    ("openai", "gpt-5.4", Usage(input_tokens=10_000, output_tokens=2_000), "", 0.025 + 0.03),
    (
        "openai", "gpt-5.4", Usage(input_tokens=10_000, cached_tokens=8_000, output_tokens=2_000), "",
        0.005 + 0.002 + 0.03,
    ),
    # above 272,000 tokens of input all of it costs 5 in, 0.5 cached, 22.5 out
    ("openai", "gpt-5.4", Usage(input_tokens=272_000, output_tokens=1_000), "", 0.68 + 0.015),
    ("openai", "gpt-5.4", Usage(input_tokens=300_000, output_tokens=1_000), "", 1.5 + 0.0225),
    # in a batch 1.25 in, 7.5 out; above 272,000 tokens 2.5 and 11.25; priority 5 and 30
    ("openai", "gpt-5.4", Usage(input_tokens=10_000, output_tokens=2_000), "batch", 0.0125 + 0.015),
    ("openai", "gpt-5.4", Usage(input_tokens=300_000, output_tokens=1_000), "batch", 0.75 + 0.01125),
    ("openai", "gpt-5.4", Usage(input_tokens=10_000, output_tokens=2_000), "priority", 0.05 + 0.06),
    # claude-sonnet-4-5 (platform.claude.com/docs/en/about-claude/pricing): 3 in, 0.3 read, 3.75 written, 15 out
    (
        "anthropic", "claude-sonnet-4-5",
        Usage(input_tokens=20_000, cached_tokens=10_000, cache_write_tokens=4_000, output_tokens=1_000), "",
        0.018 + 0.003 + 0.015 + 0.015,
    ),
    # gemini-2.5-pro (ai.google.dev/gemini-api/docs/pricing): 1.25 in, 10 out; above 200,000 tokens 2.5 and 15
    (
        "gemini", "gemini-2.5-pro", Usage(input_tokens=100_000, output_tokens=3_000, reasoning_tokens=2_000), "",
        0.125 + 0.03,
    ),
    ("gemini", "gemini-2.5-pro", Usage(input_tokens=200_001, output_tokens=1_000), "", 0.5000025 + 0.015),
    # tts-1: 15 for a million characters; whisper-1: 0.0001 a second; sora-2: 0.1 a second
    ("openai", "tts-1", Usage(characters=2_000), "", 0.03),
    ("openai", "whisper-1", Usage(seconds=90.0), "", 0.009),
    ("openai", "sora-2", Usage(seconds=8.0), "", 0.8),
    # gpt-image-1: pictures are paid for by their tokens, 5 in and 40 out
    ("openai", "gpt-image-1", Usage(input_tokens=50, output_tokens=4_160, images=1), "", 0.00025 + 0.1664),
    # imagen 3 fast: 0.02 a picture; gpt-4o-mini-tts: 0.6 in, 12 for a million tokens of sound
    ("gemini", "imagen-3.0-fast-generate-001", Usage(images=3), "", 0.06),
    ("openai", "gpt-4o-mini-tts", Usage(input_tokens=500, output_tokens=900, output_audio_tokens=900), "",
     0.0003 + 0.0108),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "usage", "service", "expected"), BY_HAND)
def test_named_models_by_hand(provider: str, model: str, usage: Usage, service: str, expected: float) -> None:
    """Real models cost what their providers' pages say."""
    known = load({})[0].find(provider, model)

    assert known is not None
    assert known.price.cost_usd(usage, service=service) == pytest.approx(expected)


def test_a_providers_own_figure_wins() -> None:
    """What the provider says it has charged is what it cost, whatever the list and the subscription say."""
    price = Price(input_usd=2.0, included=Quota(requests=10))

    assert price.cost_usd(Usage(input_tokens=MILLION, cost_usd=0.5)) == 0.5


def test_an_unknown_price_is_told_from_a_free_one() -> None:
    """A price of 0 is known; none at all is not."""
    assert not Price().known
    assert Price(input_usd=0.0).known
    assert Price(included=Quota()).known


def test_parts_without_a_rate_cost_as_the_whole() -> None:
    """Tokens from a cache, of thinking and of sound cost as all others where nothing else is listed."""
    usage = Usage(
        input_tokens=10, cached_tokens=2, cache_write_tokens=2, input_audio_tokens=2,
        output_tokens=10, reasoning_tokens=3, output_audio_tokens=3,
    )  # fmt: skip

    assert Price(input_usd=1.0, output_usd=2.0).cost_usd(usage) == pytest.approx(30 / 1e6)


def test_every_rate_counts_its_own_unit() -> None:
    """Each unit is multiplied with the rate of its name, and with no other."""
    usage = Usage(
        input_tokens=1_100, cached_tokens=200, cache_write_tokens=300, input_audio_tokens=500,
        output_tokens=1_000, reasoning_tokens=250, output_audio_tokens=350, images=2, seconds=3.0, characters=4_000,
    )  # fmt: skip
    expected = {
        "input_usd": 1_100e-6, "output_usd": 1_000e-6, "cached_usd": 200e-6, "cache_write_usd": 300e-6,
        "reasoning_usd": 250e-6, "input_audio_usd": 500e-6, "output_audio_usd": 350e-6, "request_usd": 1.0,
        "image_usd": 2.0, "second_usd": 3.0, "character_usd": 4_000e-6,
    }  # fmt: skip

    assert {name: pytest.approx(Price(**{name: 1.0}).cost_usd(usage)) for name in expected} == expected  # type: ignore[arg-type]


# ---------------------------------------------------------------------- variants


def test_the_class_of_service_comes_before_the_length() -> None:
    """A rate of the class replaces one for the length, and its own rate for the length replaces both."""
    price = Price(
        input_usd=1.0, output_usd=8.0,
        variants=(
            Variant(service="batch", above_tokens=100, input_usd=3.0),
            Variant(service="batch", input_usd=0.5),
            Variant(above_tokens=100, input_usd=2.0, output_usd=9.0),
        ),
    )  # fmt: skip

    assert price.rates(input_tokens=100) is price
    assert price.rates(input_tokens=101) == Rates(input_usd=2.0, output_usd=9.0)
    assert price.rates(input_tokens=10, service="batch") == Rates(input_usd=0.5, output_usd=8.0)
    assert price.rates(input_tokens=101, service="batch") == Rates(input_usd=3.0, output_usd=9.0)
    assert price.rates(input_tokens=10, service="unheard of").input_usd == 1.0


# ----------------------------------------------------------------- subscriptions


@pytest.mark.parametrize(
    ("included", "used", "tokens", "paid"),
    [
        (Quota(requests=10), Quota(requests=9), 100, 0.0),
        (Quota(requests=10), Quota(requests=10), 100, 1.0),
        (Quota(tokens=1_000), Quota(tokens=900), 100, 0.0),
        (Quota(tokens=1_000), Quota(tokens=900), 400, 0.75),
        (Quota(tokens=1_000), Quota(tokens=5_000), 400, 1.0),
        (Quota(tokens=1_000), Quota(), 400, 0.0),
        (Quota(requests=10, tokens=1_000), Quota(requests=1, tokens=900), 400, 0.75),
        (Quota(requests=10, tokens=1_000), Quota(requests=10, tokens=0), 400, 1.0),
        (Quota(), Quota(requests=99, tokens=99), 400, 0.0),
    ],
)
def test_what_is_included_costs_nothing(included: Quota, used: Quota, tokens: int, paid: float) -> None:
    """The list price begins where what is included ends; of a request that crosses the line the rest is paid."""
    price = Price(input_usd=1.0, request_usd=2.0, included=included)
    listed = replace(price, included=None)
    usage = Usage(input_tokens=tokens)

    assert price.cost_usd(usage, used=used) == pytest.approx(paid * listed.cost_usd(usage))


def test_an_answer_that_nobody_counted() -> None:
    """Without usage there is the price of the request and its pictures, if that is not included."""
    price = Price(input_usd=1.0, request_usd=2.0, image_usd=0.5)

    assert price.cost_usd(None, images=2) == 3.0
    assert replace(price, included=Quota(tokens=5)).cost_usd(None, images=2, used=Quota(tokens=1)) == 0.0
    assert replace(price, included=Quota(tokens=5)).cost_usd(None, images=2, used=Quota(tokens=5)) == 3.0
    assert price.cost_usd(Usage(images=1), images=2) == 2.5


# -------------------------------------------------------------------- properties

amounts = st.integers(0, 2 * MILLION)
rates = st.none() | st.floats(0, 1_000)
services = st.sampled_from(["", "batch", "priority"])


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    fresh, cached, written, heard = (draw(amounts) for _ in range(4))
    said, thought, spoken = (draw(amounts) for _ in range(3))
    return Usage(
        input_tokens=fresh + cached + written + heard, cached_tokens=cached, cache_write_tokens=written,
        input_audio_tokens=heard, output_tokens=said + thought + spoken, reasoning_tokens=thought,
        output_audio_tokens=spoken, images=draw(st.integers(0, 100)), characters=draw(amounts),
        seconds=draw(st.floats(0, 1e5)),
    )  # fmt: skip


@st.composite
def prices(draw: st.DrawFn) -> Price:
    """Any price whose rates do not fall as the input grows."""
    names = list(Rates.__dataclass_fields__)
    usual = {name: draw(rates) for name in names}
    # A part without a rate of its own follows the whole; giving it one only for long inputs could lower it.
    variants = [
        Variant(service=service, above_tokens=above, **{n: r * factor for n, r in usual.items() if r is not None})
        for service in ("", "batch")
        for above, factor in ((0, 0.5) if service else (0, 1.0), (128_000, 1.5), (512_000, draw(st.floats(1.5, 9))))
        if draw(st.booleans())
    ]
    included = draw(st.none() | st.builds(Quota, requests=st.none() | amounts, tokens=st.none() | amounts))
    return Price(**usual, variants=tuple(variants), included=included)


GROWTH: list[dict[str, int]] = [
    {"input_tokens": 1}, {"input_tokens": 1, "cached_tokens": 1}, {"input_tokens": 1, "cache_write_tokens": 1},
    {"input_tokens": 1, "input_audio_tokens": 1}, {"output_tokens": 1}, {"output_tokens": 1, "reasoning_tokens": 1},
    {"output_tokens": 1, "output_audio_tokens": 1}, {"images": 1}, {"characters": 1}, {"seconds": 1},
]  # fmt: skip


@given(price=prices(), usage=usages(), service=services, by=st.sampled_from(GROWTH), times=amounts, used=amounts)
def test_more_never_costs_less(
    price: Price, usage: Usage, service: str, by: dict[str, int], times: int, used: int
) -> None:
    """A cost is never negative, and grows with everything that is counted."""
    more = records.replace(usage, **{name: getattr(usage, name) + step * times for name, step in by.items()})
    before_used = Quota(requests=used, tokens=used)
    less_usd = price.cost_usd(usage, service=service, used=before_used)
    more_usd = price.cost_usd(more, service=service, used=before_used)

    assert 0 <= less_usd <= more_usd * (1 + 1e-9) + 1e-12


@given(price=prices(), usage=usages(), used=amounts, more=amounts)
def test_a_quota_that_is_used_up_costs_more(price: Price, usage: Usage, used: int, more: int) -> None:
    """The more of a subscription was used before, the more a request costs, up to the list price."""
    before, after = Quota(requests=used, tokens=used), Quota(requests=used + more, tokens=used + more)
    listed = replace(price, included=None).cost_usd(usage)

    assert price.cost_usd(usage, used=before) <= price.cost_usd(usage, used=after) * (1 + 1e-9) <= listed * (1 + 1e-8)


def test_listed_prices_do_not_fall_with_the_length_of_the_input() -> None:
    """In the data that is shipped, a longer input costs no less, so thresholds were read the right way round."""
    falls = [
        f"{provider}/{name} above {variant.above_tokens}"
        for models in [load({})[0]]
        for provider in models.providers
        for name, model in models.of(provider).items()
        for variant in model.price.variants
        for at in [Usage(input_tokens=variant.above_tokens, output_tokens=1_000)]
        if variant.above_tokens
        # A class of service that the list prices for long inputs only has no shorter one to compare with.
        if not variant.service or any(v.service == variant.service and not v.above_tokens for v in model.price.variants)
        if model.price.cost_usd(at, service=variant.service)
        > model.price.cost_usd(records.replace(at, input_tokens=variant.above_tokens + 1), service=variant.service)
        + 1e-9
    ]

    assert falls == []


# --------------------------------------------------------- the list's own arithmetic

LITELLM = "litellm_model_prices_and_context_window.json.gz"


def litellm_chats(shared: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Entries that are charged by the token alone."""
    document = json.loads(gzip.decompress((shared / "catalog" / LITELLM).read_bytes()))
    for key, value in document.items():
        if value.get("mode") == "chat" and value.get("input_cost_per_token") and "tiered_pricing" not in value:
            yield key, value


LEAST = {
    ("", ""): 500, ("batches", ""): 100, ("flex", ""): 50, ("priority", ""): 50,
    ("", "_above_200k_tokens"): 20, ("batches", "_above_200k_tokens"): 5, ("priority", "_above_200k_tokens"): 5,
    ("", "_above_272k_tokens"): 50, ("batches", "_above_272k_tokens"): 10, ("flex", "_above_272k_tokens"): 10,
    ("priority", "_above_272k_tokens"): 10,
}  # fmt: skip
"""So many models have fields for each class and length at least, so that the comparison is one."""


def by_its_fields(value: Mapping[str, Any], usage: Usage, *, service: str, above: str) -> float | None:
    """What such an entry says this costs: each count times the field for it; None where it has no such fields."""
    suffix = f"{above}_{service}" if service else above
    names = {
        "fresh": f"input_cost_per_token{suffix}",
        "cached": f"cache_read_input_token_cost{suffix}",
        "output": f"output_cost_per_token{suffix}",
    }
    if any(value.get(name) is None for name in names.values()):
        return None
    fresh = usage.input_tokens - usage.cached_tokens
    return float(
        fresh * value[names["fresh"]]
        + usage.cached_tokens * (value[names["cached"]] or value[names["fresh"]])
        + usage.output_tokens * value[names["output"]]
    )


@pytest.mark.parametrize(("service", "above"), LEAST)
def test_costs_are_those_of_the_lists_own_fields(shared: Path, service: str, above: str) -> None:
    """For every model of LiteLLM's list: our rates times the counts are its fields times the counts."""
    catalog = read_list(
        unpacked((shared / "catalog" / LITELLM).read_bytes(), file=LITELLM), file=LITELLM, date="2026-11-21"
    )
    input_tokens = int(above.split("_")[2].removesuffix("k")) * 1000 + 1000 if above else 20_000
    usage = Usage(input_tokens=input_tokens, cached_tokens=10_000, output_tokens=7_000)
    compared = 0
    for key, value in litellm_chats(shared):
        expected = by_its_fields(value, usage, service=service, above=above)
        theirs = value["litellm_provider"]
        model = catalog.providers.get(theirs.replace("_", "-"), {}).get(key.removeprefix(f"{theirs}/"))
        if expected is None or model is None or model.price.request_usd:
            continue
        compared += 1
        found = model.price.cost_usd(usage, service={"batches": "batch"}.get(service, service))
        assert found == pytest.approx(expected, rel=1e-6), key

    assert compared >= LEAST[service, above]


def test_the_shipped_catalogue_agrees_with_itself() -> None:
    """Every price in it can be asked for, and no rate of it is negative."""
    models: Models = load({})[0]
    for provider in models.providers:
        for name, model in models.of(provider).items():
            assert model.price.cost_usd(Usage(input_tokens=1_000, output_tokens=100, images=1)) >= 0, (provider, name)
