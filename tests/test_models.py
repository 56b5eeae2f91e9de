"""What is known of models: found by any of their names, read from several lists, renewed without losing anything."""

from __future__ import annotations

import gzip
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import unbroken.models
from unbroken.catalog import providers
from unbroken.models import (
    BYTES_MAX,
    Catalog,
    CatalogError,
    Model,
    Models,
    Source,
    load,
    place,
    read_catalog,
    unpacked,
    write_catalog,
)
from unbroken.price import Price, Quota, Variant
from unbroken.price_lists import changed_rates, merged, read_list

DATE = "2026-11-21"


def listed(document: Any, date: str = DATE) -> Catalog:
    return read_list(json.dumps(document).encode(), file="list.json", date=date)


def models_of(**models: dict[str, Model]) -> Models:
    return Models(unpacked(write_catalog(Catalog(date=DATE, providers=models)), file=""), file="")


# ------------------------------------------------------------------------- shipped


def test_the_shipped_catalogue_is_small_and_sourced() -> None:
    """It stays below 250 kB, and says of every entry with a price which dated source that is from."""
    path = Path(unbroken.models.__file__).with_name("models.json.gz")
    models = load({})[0]

    assert path.stat().st_size < 250_000
    assert max(source.date for source in models.sources.values()) == models.date
    for provider in models.providers:
        for name, model in models.of(provider).items():
            assert not model.price.known or model.source in models.sources, f"{provider}/{name}"


def test_the_catalogue_is_read_fast() -> None:
    """Opening it and finding the first model takes less than 30 ms, at the best of five tries."""
    data = Path(unbroken.models.__file__).with_name("models.json.gz").read_bytes()
    took = []
    for _ in range(5):
        begin = time.perf_counter()
        Models(unpacked(data, file=""), file="").find("openai", "gpt-5.4")
        took.append(time.perf_counter() - begin)

    assert min(took) < 0.03


def test_default_models_are_known() -> None:
    """What is asked for where nobody names a model has a context and, where it is sold by the token, a price."""
    models = load({})[0]
    unlisted = {"pollinations"}
    routers = {"openrouter", "huggingface", "perplexity", "nvidia"}
    for row in providers().values():
        if row.model and row.listed_as and row.name not in unlisted:
            known = models.find(row.listed_as, row.model)
            assert known is not None, row.name
            assert row.name in routers or known.price.input_usd, row.name


def test_the_shipped_file_is_made_from_the_lists(shared: Path) -> None:
    """`docs/build_models.py` makes the very file that is shipped."""
    import runpy

    built = runpy.run_path(str(Path(__file__).parents[1] / "docs" / "build_models.py"))["built"]

    shipped = Path(unbroken.models.__file__).with_name("models.json.gz").read_bytes()
    assert gzip.decompress(write_catalog(built(shared / "catalog"))) == gzip.decompress(shipped)


# --------------------------------------------------------------------------- names

NAMES: list[tuple[str, str, str]] = [
    # provider, name as it is asked for, name as it is listed
    ("openai", "gpt-5.4", "gpt-5.4"),
    ("openai", "GPT-5.4", "gpt-5.4"),
    ("openai", "openai/gpt-5.4", "gpt-5.4"),
    ("openai", "gpt-5.4-2099-01-31", "gpt-5.4"),
    ("anthropic", "claude-haiku-4-5", "claude-haiku-4-5"),
    ("anthropic", "claude-haiku-4-5-20990101", "claude-haiku-4-5"),
    ("gemini", "models/gemini-2.5-pro", "gemini-2.5-pro"),
    ("vertex", "google/gemini-2.5-pro", "gemini-2.5-pro"),
    ("vertex", "publishers/google/models/gemini-2.5-pro", "gemini-2.5-pro"),
    ("vertex", "claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929"),
    ("fireworks", "deepseek-r1-0528", "accounts/fireworks/models/deepseek-r1-0528"),
    ("groq", "openai/gpt-oss-120b", "openai/gpt-oss-120b"),
    ("together", "Qwen/Qwen2.5-72B-Instruct-Turbo", "Qwen/Qwen2.5-72B-Instruct-Turbo"),
    ("mistral", "mistral-small-latest", "mistral-small-latest"),
    ("openrouter", "anthropic/claude-haiku-4.5", "anthropic/claude-haiku-4.5"),
    ("openrouter", "anthropic/claude-haiku-4.5:nitro", "anthropic/claude-haiku-4.5"),
    ("bedrock", "us.anthropic.claude-sonnet-4-20250514-v1:0", "us.anthropic.claude-sonnet-4-20250514-v1:0"),
    ("bedrock", "jp.anthropic.claude-sonnet-4-20250514-v1:0", "anthropic.claude-sonnet-4-20250514-v1:0"),
    (
        "bedrock",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-20250514-v1:0",
        "anthropic.claude-sonnet-4-20250514-v1:0",
    ),
    ("azure", "eu/gpt-5.1-codex", "eu/gpt-5.1-codex"),
    ("github", "openai/gpt-4.1", "openai/gpt-4.1"),
    ("huggingface", "openai/gpt-oss-120b:fastest", "openai/gpt-oss-120b"),
]


@pytest.mark.parametrize(("provider", "asked", "name"), NAMES, ids=[f"{p}:{a}" for p, a, _ in NAMES])
def test_models_are_found_by_their_many_names(provider: str, asked: str, name: str) -> None:
    """Prefixes, dates, suffixes and capitals that providers use lead to the entry that is meant."""
    models = load({})[0]

    assert models.find(provider, asked) is models.of(provider)[name]


def test_a_partner_of_the_router_has_its_own_price() -> None:
    """`org/model:groq` at the Hugging Face router costs what Groq takes for it."""
    models = load({})[0]

    assert models.find("huggingface", "openai/gpt-oss-120b:groq") is models.of("groq")["openai/gpt-oss-120b"]


def test_a_free_variant_costs_nothing_and_can_the_same() -> None:
    """`:free` of a model that is only listed with a price has its limits, and a price of 0."""
    paid = Model(context_tokens=7, can=frozenset({"tools"}), price=Price(input_usd=1.0), source="x")
    free = models_of(openrouter={"a/b": paid}).find("openrouter", "a/b:free")

    assert free is not None
    assert (free.context_tokens, free.can) == (7, paid.can)
    assert free.price == Price(input_usd=0.0, output_usd=0.0)


def test_latest_is_the_newest_that_is_listed() -> None:
    """Where only dated names are listed, the name without a date, or `-latest`, is the newest of them."""
    models = models_of(mistral={f"small-{date}": Model(context_tokens=date) for date in (2402, 2603, 2501)})

    for name in ("small", "small-latest"):
        found = models.find("mistral", name)
        assert found is not None
        assert found.context_tokens == 2603


def test_the_region_comes_first() -> None:
    """A price for the region that is asked comes before the general one."""
    models = models_of(bedrock={"m": Model(context_tokens=1), "eu-west-1/m": Model(context_tokens=2)})

    assert [getattr(models.find("bedrock", "m", region=r), "context_tokens", 0) for r in ("", "eu-west-1", "x")] == [
        1, 2, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(("provider", "name"), [("openai", "no-such-model"), ("nobody", "gpt-5.4"), ("openai", "")])
def test_what_is_not_listed_is_not_guessed(provider: str, name: str) -> None:
    """A name that means nothing gives nothing, and not the nearest model."""
    assert load({})[0].find(provider, name) is None


def test_an_operator_names_a_model_here_or_elsewhere() -> None:
    """`model_like` may be a name at the same provider, or `provider/model`."""
    models = load({})[0]

    assert models.like("azure", "gpt-4o") is models.of("azure")["gpt-4o"]
    assert models.like("azure", "deepseek/deepseek-v4-flash") is models.of("deepseek")["deepseek-v4-flash"]
    assert models.like("azure", "no-such") is None


@given(st.text(max_size=60), st.sampled_from(["openai", "bedrock", "huggingface", "openrouter", "fireworks"]))
def test_any_name_can_be_asked_for(name: str, provider: str) -> None:
    """Callers choose names: whatever they are, looking them up does not fail."""
    models = load({})[0]

    assert models.find(provider, name) is None or isinstance(models.find(provider, name), Model)


def test_names_that_callers_make_up_are_not_kept() -> None:
    """Asking for partners that do not exist leaves nothing behind."""
    models = models_of(huggingface={"a/b": Model(context_tokens=1)})
    for number in range(100):
        assert models.find("huggingface", f"a/b:partner-{number}") is not None

    assert set(models._models) == {"huggingface"}


# ------------------------------------------------------------------------ its places


def kept(path: Path, date: str, **models: dict[str, Model]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(write_catalog(Catalog(date=date, providers=models)))
    return path


def test_where_the_operators_own_is_kept(tmp_path: Path) -> None:
    """In the folder for data that the system names, or its usual place; nowhere without a home."""
    assert place({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "unbroken" / "models.json.gz"
    assert place({"HOME": str(tmp_path)}) == tmp_path / ".local" / "share" / "unbroken" / "models.json.gz"
    assert place({}) is None


def test_the_newer_catalogue_is_used(tmp_path: Path) -> None:
    """The operator's own is used unless this version came with newer data; the one that is named in any case."""
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    own = place(environ)
    assert own is not None
    mine = {"openai": {"mine": Model(context_tokens=1)}}

    kept(own, "2999-01-01", **mine)
    assert load(environ)[0].find("openai", "mine")
    kept(own, "2001-01-01", **mine)
    assert load(environ)[0].find("openai", "mine") is None
    named = kept(tmp_path / "old.json.gz", "2001-01-01", **mine)
    assert load({"UNBROKEN_CATALOG": str(named)})[0].find("openai", "mine")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"{", "truncated"),
        (b'{"unbroken": 1}', "date"),
        (gzip.compress(b"{}", mtime=0)[:9], "gzip"),
        (b"\x1f\x8bnonsense", "gzip"),
        (gzip.compress(b" " * (BYTES_MAX + 1), mtime=0), "larger"),
        (b'{"unbroken":1,"date":"","sources":{},"providers":{"p":{"a":{"context_tokens":"x"}}}}', "context_tokens"),
    ],
)  # fmt: skip
def test_a_broken_catalogue_is_not_used(tmp_path: Path, data: bytes, says: str) -> None:
    """One that cannot be read is passed over with a warning, and is an error where it was named."""
    own = place({"XDG_DATA_HOME": str(tmp_path)})
    assert own is not None
    own.parent.mkdir()
    own.write_bytes(data)

    with pytest.raises(CatalogError, match=says) as caught:
        load({"UNBROKEN_CATALOG": str(own)})
    models, problem = load({"XDG_DATA_HOME": str(tmp_path)})

    assert str(own) in str(caught.value)
    assert problem == str(caught.value)
    assert models.find("openai", "gpt-5.4")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """UNBROKEN_CATALOG that leads nowhere is an error with the path in it."""
    with pytest.raises(CatalogError, match=r"missing\.gz: cannot be read"):
        load({"UNBROKEN_CATALOG": str(tmp_path / "missing.gz")})


# ---------------------------------------------------------------------- other lists

LITELLM: dict[str, dict[str, Any]] = {
    "sample_spec": {"mode": "one of: chat"},
    "gpt-x": {
        "litellm_provider": "openai", "mode": "chat", "max_input_tokens": 1000, "max_output_tokens": 100,
        "input_cost_per_token": 2e-06, "output_cost_per_token": 8e-06, "cache_read_input_token_cost": 5e-07,
        "input_cost_per_token_above_200k_tokens": 4e-06, "input_cost_per_token_batches": 1e-06,
        "supports_function_calling": True, "supports_vision": False,
    },
    "together_ai/org/model": {"litellm_provider": "together_ai", "mode": "chat", "input_cost_per_token": 1e-06},
    "high/1024-x-1024/gpt-image-1": {
        "litellm_provider": "openai", "mode": "image_generation", "output_cost_per_image": 1,
    },
    "some-reranker": {"litellm_provider": "cohere", "mode": "rerank", "input_cost_per_query": 1},
    "ollama/llama": {"litellm_provider": "ollama", "mode": "chat", "input_cost_per_token": 0.0},
    "dashscope/qwen": {
        "litellm_provider": "dashscope", "mode": "chat", "tiered_pricing": [
            {"range": [0, 256000.0], "input_cost_per_token": 1e-06, "output_cost_per_token": 2e-06},
            {"range": [256000.0, 1e6], "input_cost_per_token": 3e-06, "output_cost_per_token": 4e-06},
        ],
    },
}  # fmt: skip
MODELS_DEV: dict[str, Any] = {
    "google": {
        "id": "google", "models": {
            "gemini-x": {
                "cost": {"input": 1.25, "output": 10, "context_over_200k": {"input": 2.5, "output": 15}},
                "limit": {"context": 2000, "output": 200}, "tool_call": True,
                "modalities": {"input": ["text", "image"]},
            },
        },
    },
    "some-coding-plan": {"models": {"x": {"cost": {"input": 0, "output": 0}}}},
    "groq": {
        "models": {
            "blind": {"modalities": {"input": ["text"]}, "cost": {"input": 0.1, "output": 0.2, "cache_read": 0}},
        },
    },
}  # fmt: skip
RUBY = [
    {
        "id": "m", "provider": "vertexai", "context_window": 300, "capabilities": ["function_calling"],
        "pricing": {"text_tokens": {"standard": {"input_per_million": 3, "output_per_million": 4}}},
    }
]  # fmt: skip


def test_litellms_list() -> None:
    """Dollars a token become dollars a million, with thresholds and classes; what cannot be said is left out."""
    found = listed(LITELLM).providers

    assert found["openai"] == {
        "gpt-x": Model(
            context_tokens=1000, output_tokens=100, task="chat", can=frozenset({"tools"}), source="litellm",
            price=Price(
                input_usd=2.0, output_usd=8.0, cached_usd=0.5,
                variants=(Variant(above_tokens=200_000, input_usd=4.0), Variant(service="batch", input_usd=1.0)),
            ),
        )
    }  # fmt: skip
    assert found["together"]["org/model"].price == Price(input_usd=1.0)
    assert not found["ollama"]["llama"].price.known
    assert found["dashscope"]["qwen"].price == Price(
        input_usd=1.0, output_usd=2.0, variants=(Variant(above_tokens=256_000, input_usd=3.0, output_usd=4.0),)
    )
    assert "cohere" not in found


def test_models_devs_list() -> None:
    """Its api.json, with thresholds in either form; a list of inputs without pictures says that there is no sight."""
    found = listed(MODELS_DEV).providers

    assert found["gemini"]["gemini-x"] == Model(
        context_tokens=2000, output_tokens=200, can=frozenset({"tools", "vision"}), source="models.dev",
        price=Price(
            input_usd=1.25, output_usd=10.0,
            variants=(Variant(above_tokens=200_000, input_usd=2.5, output_usd=15.0),),
        ),
    )  # fmt: skip
    assert found["groq"]["blind"].cannot == {"vision"}
    assert found["groq"]["blind"].price.cached_usd is None
    assert "some-coding-plan" not in found


def test_rubyllms_list() -> None:
    """Its models.json."""
    assert listed(RUBY).providers == {
        "vertex": {
            "m": Model(
                context_tokens=300, can=frozenset({"tools"}), source="ruby_llm",
                price=Price(input_usd=3.0, output_usd=4.0),
            )
        }
    }  # fmt: skip


def test_our_own_form_comes_back_as_it_was() -> None:
    """What is written is read again without a change."""
    model = Model(
        context_tokens=5, task="chat", can=frozenset({"tools", "schema"}), cannot=frozenset({"vision"}), source="s",
        price=Price(
            input_usd=0.0, output_usd=2.5, variants=(Variant(service="flex", input_usd=0.0),),
            included=Quota(requests=5, period="day"),
        ),
    )  # fmt: skip
    catalog = Catalog(
        date=DATE, sources={"s": Source(name="S", date=DATE)}, providers={"p": {"m": model, "n": Model()}}
    )
    data = unpacked(write_catalog(catalog), file="")

    assert read_catalog(data, file="") == read_list(data, file="", date="2001-01-01") == catalog


def with_rate(value: object) -> dict[str, Any]:
    return {**LITELLM, "gpt-x": {**LITELLM["gpt-x"], "input_cost_per_token": value}}


def ours(**price: object) -> dict[str, Any]:
    return {"unbroken": 1, "date": DATE, "providers": {"p": {"m": {"price": price}}}}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (with_rate("cheap"), "openai/gpt-x: input_cost_per_token is 'cheap'"),
        (with_rate(-1), "openai/gpt-x: input_cost_per_token is negative"),
        (with_rate(True), "openai/gpt-x: input_cost_per_token is True"),
        ({**LITELLM, "dashscope/qwen": {**LITELLM["dashscope/qwen"], "tiered_pricing": [5]}}, "dashscope/qwen: "),
        ({"google": {"models": {"x": []}}}, "the list: "),
        ({"google": {"models": {"x": {"cost": {"input": 1, "tiers": [{"input": 2}]}}}}}, "gemini/x: 'tier' is missing"),
        ([{"provider": "openai"}], "'id' is missing"),
        ({"openai": {"gpt": 5}}, "none of the lists"),
        ([], "none of the lists"),
        ({}, "none of the lists"),
        ({"some-reranker": LITELLM["some-reranker"]}, "there is no model in it"),
        ({"unbroken": 2, "date": DATE}, "version 2"),
        (ours(input_usd=-1.0), "input_usd is negative"),
        (ours(input_usd="x"), "input_usd"),
    ],
)  # fmt: skip
def test_a_list_that_makes_no_sense_is_refused(document: Any, says: str) -> None:
    """The error names the file, the entry and what is wrong with it."""
    with pytest.raises(CatalogError, match=r"^list\.json: ") as caught:
        listed(document)

    assert says in str(caught.value)


def test_what_is_not_json_is_refused() -> None:
    """An error page instead of a list is told as such."""
    with pytest.raises(CatalogError, match="list: not JSON"):
        read_list(b"<html>", file="list", date=DATE)
    with pytest.raises(CatalogError, match="list: not JSON"):
        read_list(b'"\xff"', file="list", date=DATE)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SPOTS = [
    "mode", "litellm_provider", "input_cost_per_token", "tiered_pricing", "max_input_tokens", "models", "cost", "limit",
    "modalities", "pricing", "capabilities", "provider", "id", "unbroken", "providers", "base_model",
]  # fmt: skip


@given(value=values, spot=st.sampled_from(SPOTS), which=st.sampled_from(["litellm", "models.dev", "ruby", "any"]))
def test_any_list_is_read_or_refused(value: Any, spot: str, which: str) -> None:
    """Whatever stands anywhere in a list, it gives a catalogue or an error, and nothing else."""
    model = {**MODELS_DEV["groq"]["models"]["blind"], spot: value}
    document: Any = {
        "litellm": {**LITELLM, "gpt-x": {**LITELLM["gpt-x"], spot: value}},
        "models.dev": {"groq": {"models": {"blind": model}}, spot: value},
        "ruby": [{**RUBY[0], spot: value}],
        "any": value,
    }[which]
    try:
        catalog = read_list(msgspec.json.encode(document), file="x", date=DATE)
    except CatalogError as error:
        assert str(error)
    else:
        assert any(catalog.providers.values())


# -------------------------------------------------------------------------- renewal


def priced(usd: float, *, source: str = "a", **more: Any) -> Model:
    return Model(price=Price(input_usd=usd), source=source, **more)


def test_a_newer_list_is_laid_over() -> None:
    """What both say is as the newer says, what only one says stays, what the same source dropped is gone."""
    old = Catalog(
        date="2026-01-01", sources={"a": Source(name="A", date="2026-01-01"), "b": Source(name="B", date="2025-01-01")},
        providers={
            "p": {
                "both": priced(1.0, context_tokens=5, can=frozenset({"tools"}), cannot=frozenset({"vision"})),
                "dropped": priced(1.0), "of another": priced(1.0, source="b"),
            }
        },
    )  # fmt: skip
    new = Catalog(
        date="2026-02-02", sources={"a": Source(name="A", date="2026-02-02")},
        providers={"p": {"both": priced(2.0, can=frozenset({"vision"})), "new": priced(3.0)}},
    )  # fmt: skip
    result = merged(old, new)

    assert result.date == "2026-02-02"
    assert {key: source.date for key, source in result.sources.items()} == {"a": "2026-02-02", "b": "2025-01-01"}
    assert set(result.providers["p"]) == {"both", "of another", "new"}
    assert result.providers["p"]["both"] == priced(2.0, context_tokens=5, can=frozenset({"tools", "vision"}))


def test_a_list_that_says_less_takes_nothing_away() -> None:
    """A newer list with the same price and no rates for batches leaves these; with another price, it takes them."""
    detailed = Price(input_usd=1.0, output_usd=2.0, cached_usd=0.1, variants=(Variant(service="batch", input_usd=0.5),))
    old = Catalog(date=DATE, providers={"p": {"m": Model(price=detailed, source="a")}})

    for price, expected in (
        (Price(input_usd=1.0, output_usd=2.0), detailed),
        (Price(input_usd=3.0, output_usd=2.0), Price(input_usd=3.0, output_usd=2.0)),
        (Price(), detailed),
    ):
        new = Catalog(date=DATE, providers={"p": {"m": Model(price=price, source="b")}})
        assert merged(old, new).providers["p"]["m"].price == expected


def test_the_largest_changes_come_first() -> None:
    """Changes are ordered by their factor, whichever way they go; new prices are no changes."""
    old = Catalog(date=DATE, providers={"p": {"a": priced(1.0), "b": priced(8.0), "c": priced(5.0), "d": Model()}})
    new = Catalog(date=DATE, providers={"p": {"a": priced(2.0), "b": priced(1.0), "c": priced(5.0), "d": priced(1.0)}})

    assert changed_rates(old, new) == [("p/b", "input_usd", 8.0, 1.0), ("p/a", "input_usd", 1.0, 2.0)]


def test_the_lists_in_the_shared_folder_are_read(shared: Path) -> None:
    """Each list is read whole, without a complaint."""
    for name, least in (
        ("litellm_model_prices_and_context_window", 3_000), ("models_dev", 4_000), ("ruby_llm_models", 1_500),
    ):  # fmt: skip
        data = unpacked((shared / "catalog" / f"{name}.json.gz").read_bytes(), file=name)
        assert sum(map(len, read_list(data, file=name, date=DATE).providers.values())) >= least
