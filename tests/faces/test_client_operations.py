"""The operations of a provider manager, as an application types them, and its environment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faces.client_world import PRICE, over, section
from loops import in_loop
from unbroken import ConfigError, Provider, RequestError, Unbroken, UnbrokenError
from unbroken.config_shape import CHOICES
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, Hang, Html, Page, Refused, Status, essay
from unbroken.testing.samples import PIXEL
from unbroken.types import Request

ASKED = [{"role": "user", "content": "Why do bridges sing?"}]
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
LIST = "GET /v1beta/models"


# --------------------------------------------------------------------------- generating


@in_loop
async def test_a_text_is_generated_by_whoever_is_well() -> None:
    """`generate_text` gives content, provider and whether failover occurred."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        result = await client.generate_text(ASKED)
        assert result["content"] == essay("Why do bridges sing?")
        assert (result["provider"], result["failover_occurred"]) == ("north", False)
        assert "error" not in result
        result = await client.generate_text(
            ASKED, preferred_provider="south", model="auto", temperature=0.5, max_tokens=9
        )
        assert (result["provider"], result["failover_occurred"], result["finish_reason"]) == ("south", False, "length")
        sent = json.loads(south.seen[0].body)
        assert (sent["temperature"], sent["max_tokens"]) == (0.5, 9)
        south.fail_with(Refused())
        result = await client.generate_text(ASKED, preferred_provider="south")
        assert (result["provider"], result["failover_occurred"]) == ("north", True)
        assert result["attempts"][0]["error"] and not result["attempts"][-1]["error"]


@in_loop
async def test_tools_are_passed_and_their_calls_returned() -> None:
    """`tools` and `tool_choice` reach the provider, and calls come back as messages have them."""
    async with over(FakeProvider("north")) as client:
        result = await client.generate_text(ASKED, tools=[LOOK], tool_choice="required")
    (call,) = result["tool_calls"]
    assert call["function"]["name"] == "look" and call["id"]
    assert result["finish_reason"] == "tool_calls"


@in_loop
async def test_generating_a_text_never_raises_for_providers() -> None:
    """When nobody answers, or the request is wrong, there is an `error` and no exception."""
    north = FakeProvider("north")
    async with over(north) as client:
        north.fail_with(Status(500))
        result = await client.generate_text(ASKED)
        assert "content" not in result and "every target failed" in result["error"]
        assert result["kind"] == "server" and {attempt["provider"] for attempt in result["attempts"]} == {"north"}
        assert "no such provider" in (await client.generate_text(ASKED, preferred_provider="west"))["error"]
        assert "error" in await client.generate_text([])
        assert "'messages' must be" in (await client.generate_text(None))["error"]  # type: ignore[arg-type]


@in_loop
async def test_a_picture_is_bytes_or_an_address() -> None:
    """`generate_image` gives what there is."""
    north = FakeProvider("north")
    async with over(north, FakeProvider("south")) as client:
        assert await client.generate_image("a lighthouse") == PIXEL
        url = await client.generate_image("a lighthouse", preferred_provider="north", as_url=True, size="64x64")
        assert isinstance(url, str) and url.startswith("http://127.0.0.1")
        north.fail_with(Status(500))
        assert await client.generate_image("a lighthouse") == PIXEL


# ------------------------------------------------------------------------------- health


@in_loop
async def test_a_health_check_costs_nothing_where_there_is_a_list() -> None:
    """All providers are checked by their lists of models; no model works for it, and nothing is counted."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        south.fail_with(Refused())
        health = await client.health_check_all()
        assert health["north"] and health["north"].free and not health["south"]
        assert health["south"].failure is not None and health["south"].failure.kind == "connect"
        assert client.get_statistics()["requests"] == 0
        assert client.get_provider_status()["south"]["healthy"]  # nobody's request has failed there
        south.heal()
        assert await client.force_health_check("south")
        assert client.get_provider_status()["south"]["last_check"]["ok"]  # type: ignore[index]
        with pytest.raises(RequestError, match="no such provider"):
            await client.force_health_check("west")
    assert north.seen == []


@in_loop
async def test_without_a_list_one_word_is_asked_for() -> None:
    """A provider that lists nothing is asked for a single token, and what it says counts."""
    north = FakeProvider("north", keys=["sk-north"])
    await north.start()
    there = section(north, base_url=f"http://127.0.0.1:{north.port}/v1beta", format="gemini")
    lost = {**there, "key": "wrong"}
    async with Unbroken(providers={"north": there, "lost": lost}, environ={}) as client:
        health = await client.check_health("north")
        assert health.keys() == {"north"} and health["north"].ok and not health["north"].free
        asked = north.seen[-1]
        assert json.loads(asked.body)["generationConfig"]["maxOutputTokens"] == 1 and asked.tokens <= 1
        lost_one = await client.force_health_check("lost")
        assert lost_one.failure is not None and lost_one.failure.kind is FailureKind.AUTH
        north.desk.put(LIST, Page(body=b'{"models": []}'))
        assert (await client.force_health_check("north")).free
        north.desk.put(LIST, Page(status=503, body=b'{"error": {"message": "busy"}}'))
        assert not await client.force_health_check("north")
        north.desk.put(LIST, Page(body=b"<html>"))
        assert not (await client.force_health_check("north")).free
    await north.close()


@in_loop
async def test_silence_is_no_health(monkeypatch: pytest.MonkeyPatch) -> None:
    """A provider that says nothing for too long is not well."""
    monkeypatch.setattr("unbroken.faces.client.health.CHECK_S", 0.05)
    north = FakeProvider("north")
    await north.start()
    there = section(north, base_url=f"http://127.0.0.1:{north.port}/v1beta", format="gemini")
    async with Unbroken(providers={"north": there}, environ={}) as client:
        north.fail_with(Hang())
        health = await client.force_health_check("north")
        assert health.failure is not None and health.failure.kind is FailureKind.SILENT
    await north.close()


@in_loop
async def test_one_good_key_of_several_is_health() -> None:
    """A provider with a bad key and a good one is well, without a key it is not, and nobody is asked."""
    north = FakeProvider("north", keys=["good"])
    await north.start()
    base_url = f"http://127.0.0.1:{north.port}/v1beta"
    there = {"base_url": base_url, "format": "gemini", "model": "m", "keys": ["bad", "good"]}
    async with Unbroken(providers={"north": there, "openai": {"model": "m"}}, environ={}) as client:
        assert await client.force_health_check("north")
        missing = await client.force_health_check("openai")
        assert missing.failure is not None and "OPENAI_API_KEY" in missing.failure.message
    await north.close()


@in_loop
async def test_each_sort_of_provider_is_checked_in_its_own_way(tmp_path: Path) -> None:
    """Keys that are fetched, formats without a list, providers of pictures, and pages in place of answers."""
    north = FakeProvider("north", keys=["fetched"])
    await north.start()
    (tmp_path / "key").write_text("fetched")
    address = f"http://127.0.0.1:{north.port}"
    keyed = {"key": f"file:{tmp_path / 'key'}", "model": "m"}
    providers = {
        "files": {**keyed, "base_url": f"{address}/v1beta", "format": "gemini"},
        "lost": {**keyed, "base_url": f"{address}/v1beta", "format": "gemini", "key": f"file:{tmp_path / 'none'}"},
        "bedrock": {**keyed, "base_url": address, "format": "bedrock"},
        "ollama": {**keyed, "base_url": address, "format": "ollama"},
        "pictures": {**keyed, "base_url": f"{address}/elsewhere", "tasks": ["image"]},
    }
    async with Unbroken(providers=providers, environ={}) as client:
        north.desk.put("GET /api/tags", Page(body=b'{"models": []}'))
        health = await client.check_health()
        assert {name: (one.ok, one.free) for name, one in health.items()} == {
            "files": (True, False), "lost": (False, True), "bedrock": (True, False), "ollama": (True, True),
            "pictures": (True, True),
        }  # fmt: skip
        north.fail_with(Html())
        page = (await client.force_health_check("files")).failure
        assert page is not None and page.kind is FailureKind.MALFORMED
    await north.close()


@in_loop
async def test_a_provider_of_ones_own_is_checked_by_its_own_word() -> None:
    """`check` of a provider in this process says how it is, without work."""

    class Moody(Provider):
        well = True

        async def check(self) -> None:
            if not self.well:
                raise UnbrokenError(Failure(kind=FailureKind.OVERLOADED, message="not today"))

        async def chat(self, request: Request) -> str:
            raise AssertionError("nobody should have to work for this")

    moody = Moody()
    async with Unbroken(providers={"moody": moody}, environ={}) as client:
        assert await client.force_health_check("moody")
        moody.well = False
        health = await client.force_health_check("moody")
        assert health.failure is not None and health.failure.message == "not today"


# --------------------------------------------------------------- status and statistics


@in_loop
async def test_statistics_count_what_happened_and_start_anew() -> None:
    """Requests, failovers, failures by kind, tokens and cost are counted, until they are reset."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Status(401))
        cost_usd = (await client.chat("Why?")).cost_usd
        south.fail_with(Status(401))
        await client.generate_text(ASKED)
        told = client.get_statistics()
        assert (told["requests"], told["answered"], told["failed"], told["failovers"]) == (2, 1, 1, 1)
        assert told["cost_usd"] == pytest.approx(cost_usd)
        assert told["providers"]["north"]["failures"].keys() == {"auth"}
        assert told["providers"]["south"]["output_tokens"] == south.seen[0].tokens
        assert (told["providers"]["south"]["answered"], told["providers"]["north"]["success_rate"]) == (1, 0.0)
        json.dumps(told)
        client.reset_statistics()
        assert client.get_statistics() == {
            "requests": 0, "answered": 0, "failed": 0, "failovers": 0, "rescued": 0, "cost_usd": 0, "providers": {},
        }  # fmt: skip


@in_loop
async def test_the_status_says_who_is_well_and_why_not() -> None:
    """Every provider is listed with priority, breakers, what stands in its way and its last failure."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        before = client.get_provider_status()
        assert [(name, one["priority"], one["healthy"]) for name, one in before.items()] == [
            ("north", 1, True), ("south", 2, True),
        ]  # fmt: skip
        north.fail_with(Refused())
        for _ in range(3):
            await client.chat("Why?")
        status = client.get_provider_status()["north"]
        assert not status["healthy"] and status["enabled"]
        assert status["obstacle"] == "breaker open" and status["breakers"]["north"] == "open"
        assert status["last_failure"] and status["last_failure"].startswith("connect")
        assert status["targets"] == ["north/word-model"]
        json.dumps(client.get_provider_status())


@in_loop
async def test_a_disabled_provider_is_asked_nothing_until_it_is_enabled() -> None:
    """Disabled is out of every route, last resort and explicit wish included; enabled is back at once."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        client.disable_provider("north")
        assert (await client.generate_text(ASKED))["provider"] == "south"
        assert (await client.generate_text(ASKED, preferred_provider="north"))["provider"] == "south"
        assert not client.get_provider_status()["north"]["enabled"]
        client.disable_provider("south")
        assert "error" in await client.generate_text(ASKED)
        assert len(south.seen) == 2 and north.seen == []
        client.enable_provider("north")
        assert client.get_provider_status()["north"]["enabled"]
        assert (await client.generate_text(ASKED))["provider"] == "north"
        with pytest.raises(RequestError, match="providers here: north, south"):
            client.disable_provider("west")


def test_switches_work_before_there_is_an_event_loop() -> None:
    """A client may be set up where no event loop runs yet."""
    client = Unbroken(providers={"north": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}, environ={})
    client.disable_provider("north")
    assert client.get_provider_status()["north"]["obstacle"] == "breaker forced_open"


@in_loop
async def test_the_strategy_is_set_while_it_runs() -> None:
    """`set_failover_strategy` changes how targets are chosen, on all routes or one."""
    routes = {"one": {"targets": ["north", "south"]}, "two": {"targets": ["north", "south"]}}
    async with over(FakeProvider("north"), FakeProvider("south"), routes=routes) as client:

        async def who(model: str) -> list[str]:
            return [(await client.chat("Why?", model=model)).provider for _ in range(4)]

        client.set_failover_strategy("round_robin", route="one")
        assert await who("one") == ["north", "south", "north", "south"]
        assert set(await who("two")) == {"north"}
        client.set_failover_strategy("round-robin")
        assert set(await who("two")) == set(await who("auto")) == {"north", "south"}
        with pytest.raises(RequestError, match="priority, round-robin"):
            client.set_failover_strategy("best of luck")
        for strategy in CHOICES["strategy"]:
            client.set_failover_strategy(strategy)
            assert await who("auto")
        with pytest.raises(RequestError, match="routes: one, two"):
            client.set_failover_strategy("random", route="three")


# -------------------------------------------------------------------------- environment

BOTH = {"POLLINATIONS_API_TOKEN": "p", "OPENROUTER_API_KEY": "o"}


def status_of(environ: dict[str, str]) -> dict[str, Any]:
    return dict(Unbroken.from_env(environ).get_provider_status())


def test_the_two_of_them_have_their_own_defaults() -> None:
    """Pollinations: priority 1, weight 2, 15 s, 2 retries; OpenRouter: 2, 1, 30 s, 1; breakers at 3."""
    client = Unbroken.from_env(BOTH)
    told = {
        name: (one["priority"], one["weight"], one["timeout_s"], one["retries"])
        for name, one in client.get_provider_status().items()
    }
    assert told == {
        "pollinations": (1, 2.0, 15.0, 2), "pollinations-images": (1, 2.0, 15.0, 2), "openrouter": (2, 1.0, 30.0, 1),
    }  # fmt: skip
    route = client.config.routes["auto"]
    assert (route.strategy, route.policy.breaking.consecutive) == ("priority", 3)
    assert [target.key for target in route.targets] == ["p", "p", "o"]


def test_beside_other_providers_they_are_like_all() -> None:
    """With a third provider in the environment its order and limits hold."""
    told = status_of({**BOTH, "GROQ_API_KEY": "g"})
    assert told["groq"]["priority"] == 1 and told["openrouter"]["timeout_s"] is None
    assert set(told) == {"groq", "openrouter", "pollinations", "pollinations-images"}


def test_one_alone_is_asked_in_the_same_way() -> None:
    """OPENROUTER_ENABLED=false leaves OpenRouter out, OPENROUTER_DEFAULT_MODEL names its model."""
    assert set(status_of({**BOTH, "OPENROUTER_ENABLED": "False"})) == {"pollinations", "pollinations-images"}
    assert set(status_of({**BOTH, "OPENROUTER_ENABLED": "true"})) >= {"openrouter"}
    assert status_of({"OPENROUTER_API_KEY": "o", "OPENROUTER_ENABLED": "0"}) == {}
    told = status_of({"OPENROUTER_API_KEY": "o", "OPENROUTER_DEFAULT_MODEL": "some/model"})
    assert told["openrouter"]["targets"] == ["openrouter/some/model"]
    assert told["openrouter"]["retries"] == 1


@pytest.mark.parametrize(
    ("text", "image", "expected"),
    [
        (
            "https://text.pollinations.ai",
            "https://image.pollinations.ai/prompt/",
            "https://text.pollinations.ai/openai",
        ),
        ("http://h/v1/chat/completions", "http://h/image", "http://h/v1"),
        ("http://h/openai/", "http://h", "http://h/openai"),
        ("http://h", "", "http://h/v1"),
    ],
)
def test_addresses_may_be_given_with_their_paths(text: str, image: str, expected: str) -> None:
    """POLLINATIONS_TEXT_API and POLLINATIONS_IMAGE_API are taken as people write them."""
    client = Unbroken.from_env({"POLLINATIONS_TEXT_API": text, "POLLINATIONS_IMAGE_API": image})
    addresses = {target.provider: target.base_url for target in client.config.targets}
    assert addresses["pollinations"] == expected
    assert not addresses["pollinations-images"].endswith(("/prompt", "/image", "/"))


@in_loop
async def test_texts_and_pictures_are_made_where_the_environment_says() -> None:
    """An application's environment is all that is needed; when Pollinations fails, OpenRouter answers."""
    texts, pictures = FakeProvider("texts"), FakeProvider("pictures")
    await texts.start()
    await pictures.start()
    environ = {
        "POLLINATIONS_API_TOKEN": "token",
        "POLLINATIONS_TEXT_API": texts.base_url,
        "POLLINATIONS_IMAGE_API": f"http://127.0.0.1:{pictures.port}",
    }
    async with Unbroken.from_env(environ) as client:
        assert (await client.generate_text(ASKED))["provider"] == "pollinations"
        assert await client.generate_image("a lighthouse") == PIXEL
    assert texts.seen[0].key == "token" and pictures.seen[0].path.startswith("/image/a%20lighthouse?model=flux")
    await texts.close()
    await pictures.close()


@in_loop
async def test_a_rate_limit_of_the_environment_is_kept() -> None:
    """TEXT_API_RATE_LIMIT sends what is too much elsewhere, or refuses it with the time until there is room."""
    texts = FakeProvider("texts")
    await texts.start()
    environ = {"POLLINATIONS_TEXT_API": texts.base_url, "TEXT_API_RATE_LIMIT": "2", "IMAGE_API_RATE_LIMIT": "1"}
    async with Unbroken.from_env(environ) as client:

        async def spare(_: Request) -> str:
            return "spare"

        for _ in range(2):
            assert (await client.chat("Why?")).provider == "pollinations"
        with pytest.raises(UnbrokenError, match="our own limit"):
            await client.chat("Why?")
        client.register("spare", spare)
        assert (await client.chat("Why?")).provider == "spare"
        assert await client.force_health_check("pollinations")
    assert len(texts.seen) == 2
    await texts.close()


@in_loop
async def test_a_rate_limit_of_pictures_is_kept() -> None:
    """IMAGE_API_RATE_LIMIT counts pictures alone: texts are made as before."""
    north = FakeProvider("north")
    await north.start()
    address = f"http://127.0.0.1:{north.port}"
    environ = {"POLLINATIONS_TEXT_API": north.base_url, "POLLINATIONS_IMAGE_API": address, "IMAGE_API_RATE_LIMIT": "1"}
    async with Unbroken.from_env(environ) as client:
        assert await client.generate_image("a lighthouse") == PIXEL
        with pytest.raises(UnbrokenError, match="our own limit"):
            await client.generate_image("a lighthouse")
        assert (await client.generate_text(ASKED))["provider"] == "pollinations"
    await north.close()


@pytest.mark.parametrize("value", ["many", "0", "-3", "1.5"])
def test_a_limit_that_makes_no_sense_is_told(value: str) -> None:
    """The variable is named."""
    with pytest.raises(ConfigError, match="TEXT_API_RATE_LIMIT"):
        Unbroken.from_env({**BOTH, "TEXT_API_RATE_LIMIT": value})


def test_prices_stay_known() -> None:
    """A provider's price in values is what an estimate is made with."""
    there = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "price": PRICE}
    client = Unbroken(providers={"north": there}, environ={})
    assert client.estimate_cost("Why?", max_tokens=1_000_000).usd == pytest.approx(2.0, abs=0.001)
