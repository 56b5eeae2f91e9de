"""Keys of the gateway over real sockets: who is let in, to what, how much, and what the others are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from faces.running import config_for
from security.key_world import CHAT, FACES, MESSAGES, World, world
from unbroken.config import ConfigError
from unbroken.keys import KeyFile
from unbroken.reload import Reloader
from unbroken.testing import FakeProvider, Hang

PAST, FUTURE = (datetime(year, 1, 1, tzinfo=UTC) for year in (2020, 2999))


def lived(tmp_path: Path, story: Callable[[World], Coroutine[Any, Any, None]], **more: Any) -> None:
    """Run a story in a world of its own."""

    async def test() -> None:
        async with world(tmp_path, **more) as here:
            await story(here)

    asyncio.run(test())


def test_a_key_lets_its_holder_in_and_nobody_else(tmp_path: Path) -> None:
    """Who shows an issued key is answered; who shows another, or none, is told 401."""

    async def story(here: World) -> None:
        key = await here.key(expires=FUTURE)
        assert [await here.status(shown) for shown in (key, "", "wrong", key[:-1], key + "a")] == [200, *[401] * 4]
        assert len(here.fake.seen) == 1

    lived(tmp_path, story)


def test_plain_keys_work_beside_issued_ones(tmp_path: Path) -> None:
    """Keys in the configuration go on to open everything, with a file of keys beside them."""

    async def story(here: World) -> None:
        issued = await here.key()
        assert [await here.status(key) for key in ("plain-1", "plain-2", issued, "plain-3")] == [200, 200, 200, 401]

    lived(tmp_path, story, server={"keys": ["plain-1", "plain-2"]})


def test_a_file_without_keys_lets_nobody_in(tmp_path: Path) -> None:
    """An empty or missing file of keys closes the gateway; it does not open it."""

    async def story(here: World) -> None:
        assert not here.file.path.exists()
        assert [await here.status(""), await here.status("x")] == [401, 401]

    lived(tmp_path, story)


@pytest.mark.parametrize("face", FACES)
def test_revoked_and_unknown_keys_are_told_the_same(face: str, tmp_path: Path) -> None:
    """In every face: who has found an old key does not learn that it was good once."""

    async def story(here: World) -> None:
        key = await here.key()
        path, body = FACES[face]
        assert await here.status(key, path, body) == 200
        here.file.revoke("alice")
        await here.reloader.reload_keys("test")
        revoked, unknown = await here.ask(key, path, body), await here.ask("ubk_no", path, body)
        assert revoked.status_code == unknown.status_code == 401
        assert without_ids(revoked.json()) == without_ids(unknown.json())

    lived(tmp_path, story)


def without_ids(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if "id" not in name}


def test_an_expired_key_says_so(tmp_path: Path) -> None:
    """A key is good until its moment and not after; its holder is told that it is over."""

    async def story(here: World) -> None:
        answer = await here.ask(await here.key(expires=PAST))
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert "has expired" in answer.text

    lived(tmp_path, story)


@pytest.mark.parametrize(("models", "model", "status"), [
    (["m"], "m", 200),
    (["m"], "auto", 403),
    (["a/*"], "a/word-model", 200),
    (["a/*"], "m", 403),
    (["b*"], "never-heard-of", 403),
    (["*"], "never-heard-of", 404),
    (["M"], "m", 403),
    (["nick"], "nick", 200),
    (["nick"], "m", 403),
    (["m"], "nick", 200),
])  # fmt: skip
def test_a_key_is_good_for_its_models_alone(models: list[str], model: str, status: int, tmp_path: Path) -> None:
    """Patterns name routes, aliases and targets; beyond them it is not even told what there is."""

    async def story(here: World) -> None:
        key = await here.key(models=models)
        answer = await here.ask(key, CHAT, {"model": model, "messages": MESSAGES})
        assert answer.status_code == status, answer.text
        if status == 403:
            assert answer.json()["error"] == {
                "message": f"This API key may not be used for the model {model!r}.", "type": "permission_error",
                "param": "model", "code": "insufficient_permissions",
            }  # fmt: skip

    async def test() -> None:
        async with world(tmp_path) as here:
            house = here.reloader._house
            house.adopt(replace(house.config, aliases={"nick": "m"}))
            await story(here)

    asyncio.run(test())


@pytest.mark.parametrize("face", FACES)
def test_what_is_out_of_scope_is_a_403_in_every_face(face: str, tmp_path: Path) -> None:
    """Work of another kind is refused in the words of whoever asks, and no provider hears of it."""

    async def story(here: World) -> None:
        key = await here.key(tasks=["embedding"])
        answer = await here.ask(key, *FACES[face])
        assert answer.status_code == 403, answer.text
        assert "may not be used for chat work" in answer.text
        assert not here.fake.seen

    lived(tmp_path, story)


DOORS = {
    "embeddings": ("/v1/embeddings", {"model": "m", "input": "x"}),
    "images": ("/v1/images/generations", {"model": "m", "prompt": "x"}),
    "films": ("/v1/videos", {"model": "m", "prompt": "x"}),
    "counts": ("/v1/messages/count_tokens", {"model": "other", "messages": MESSAGES}),
    "generate": ("/api/generate", {"model": "other", "prompt": "x"}),
    "old embeddings": ("/api/embeddings", {"model": "m", "prompt": "x"}),
}


@pytest.mark.parametrize("door", DOORS)
def test_no_door_leads_around_a_scope(door: str, tmp_path: Path) -> None:
    """Pages beside the plain doors (films, counts, Ollama's older paths) keep to scopes too."""

    async def story(here: World) -> None:
        key = await here.key(models=["m"], tasks=["chat"])
        answer = await here.ask(key, *DOORS[door])
        assert answer.status_code == 403, answer.text

    lived(tmp_path, story)


def test_lists_tell_what_a_key_may_ask_for(tmp_path: Path) -> None:
    """Every list of models holds those in scope and no other, nor is another one described."""

    async def story(here: World) -> None:
        whole, key = await here.key("whole"), await here.key("part", models=["m"])
        for path, models, name in (
            ("/v1/models", "data", "id"),
            ("/v1beta/models", "models", "displayName"),
            ("/api/tags", "models", "name"),
            ("/api/ps", "models", "name"),
        ):
            all_of_them, some = [(await here.ask(shown, path, method="GET")).json() for shown in (whole, key)]
            assert [model[name] for model in all_of_them[models]] == ["m", "auto", "a/word-model"]
            assert [model[name] for model in some[models]] == ["m"]
        assert (await here.ask(key, "/v1/models/auto", method="GET")).status_code == 404
        assert await here.status(key, "/api/show", {"model": "auto"}) == 404
        assert await here.status(key, "/api/generate", {"model": "auto"}) == 404
        assert await here.status(key, "/api/generate", {"model": "m"}) == 200

    lived(tmp_path, story)


def test_no_key_of_a_caller_opens_what_operators_have(tmp_path: Path) -> None:
    """No issued key is an operator's, and one with scopes does not read the figures of all."""

    async def story(here: World) -> None:
        whole, part = await here.key("whole"), await here.key("part", tasks=["chat"])
        statuses = [(await here.ask(key, "/admin/status", method="GET")).status_code for key in (whole, part)]
        assert statuses == [401, 401]
        statuses = [(await here.ask(key, "/metrics", method="GET")).status_code for key in (whole, part, "")]
        assert statuses == [200, 403, 401]

    lived(tmp_path, story, server={"admin_keys": ["an-operators-key"]})


@pytest.mark.parametrize("face", FACES)
def test_requests_a_minute_are_a_429_with_a_time(face: str, tmp_path: Path) -> None:
    """Who asks more often than the key allows is told when to come back, and others are not concerned."""

    async def story(here: World) -> None:
        slow, other = await here.key("slow", requests_per_min=2), await here.key("other")
        path, body = FACES[face]
        answers = [await here.ask(slow, path, body) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert 50 <= float(answers[2].headers["retry-after"]) <= 61
        assert "no room for the request: its limit of 2 requests in 60 s is reached" in answers[2].text
        assert await here.status(other, path, body) == 200

    lived(tmp_path, story)


def test_films_are_on_the_account_of_the_key(tmp_path: Path) -> None:
    """A job that is made in the background counts as a request of the key that began it."""

    async def story(here: World) -> None:
        key = await here.key(requests_per_min=1)
        assert [await here.status(key, *DOORS["films"]), await here.status(key)] == [200, 429]

    lived(tmp_path, story)


def test_tokens_a_minute_are_those_that_were_used(tmp_path: Path) -> None:
    """An answer's tokens count as they were told, prompt and answer; then the key waits."""

    async def story(here: World) -> None:
        key = await here.key(tokens_per_min=450)
        first = await here.ask(key)
        used = first.json()["usage"]["total_tokens"]
        assert 0 < used < 400
        statuses = [await here.status(key) for _ in range(30)]
        assert set(statuses) == {200, 429}
        answered = 1 + statuses.index(429)
        assert statuses[answered - 1 :] == [429] * (31 - answered)
        assert used * answered <= 450

    lived(tmp_path, story)


def test_more_at_once_than_allowed_is_a_429(tmp_path: Path) -> None:
    """A key that may do one thing at a time is refused a second one, until the first is over."""

    async def story(here: World) -> None:
        key = await here.key(concurrent_max=1)
        here.fake.fail_with(Hang(), times=1)
        long = asyncio.create_task(here.ask(key))
        while not here.fake.seen:
            await asyncio.sleep(0.01)
        second = await here.ask(key)
        assert (second.status_code, second.headers["retry-after"]) == (429, "1")
        long.cancel()
        await asyncio.gather(long, return_exceptions=True)
        async with asyncio.timeout(10):
            while await here.status(key) != 200:
                await asyncio.sleep(0.02)

    lived(tmp_path, story)


@pytest.mark.parametrize(("period", "most_s"), [("day", 86_400), ("month", 31 * 86_400)])
def test_a_budget_of_a_key_ends_it_for_the_period(period: str, most_s: float, tmp_path: Path) -> None:
    """When a key's dollars are gone it is told so as for every budget, and comes back when the period is over."""

    async def story(here: World) -> None:
        poor, rich = await here.key("poor", **{f"usd_per_{period}": 1e-9}), await here.key("rich")
        answer = await here.ask(poor)
        assert answer.status_code == 429
        error = answer.json()["error"]
        assert error["code"] == "budget_exceeded"
        assert f"of $1e-09 a {period} is used up" in error["message"]
        assert 0 < float(answer.headers["retry-after"]) <= min(most_s, 7 * 86_400)
        assert await here.status(rich) == 200

    lived(tmp_path, story, provider={"price": {"input_usd": 1000.0}})


def test_another_file_of_keys_takes_effect_without_a_restart(tmp_path: Path) -> None:
    """What keys may do changes with their file, what they have used up stays; a bad file changes nothing."""

    async def story(here: World) -> None:
        key = await here.key(requests_per_min=2)
        assert [await here.status(key) for _ in range(3)] == [200, 200, 429]
        await here.key("another", requests_per_min=5)
        assert await here.status(key) == 429
        here.file.path.write_text("{", encoding="utf-8")
        outcome = await here.reloader.reload_keys("test")
        assert (outcome.ok, "is no file of keys" in outcome.problem) == (False, True)
        assert [await here.status(key), await here.status("x")] == [429, 401]

    lived(tmp_path, story)


def test_a_key_is_revoked_while_the_configuration_is_broken(tmp_path: Path) -> None:
    """The file of keys is watched for itself: what is wrong with another file does not keep a thief in."""

    async def story(here: World) -> None:
        key = await here.key()

        def broken() -> Any:
            raise ConfigError([])

        reloader = Reloader(here.reloader._house, broken)
        assert not (await reloader.reload("test")).ok
        here.file.revoke("alice")
        assert not (await reloader.reload("test")).ok
        looks = [reloader._keys.changed() for _ in range(2)]
        assert looks == [False, True]
        assert (await reloader.reload_keys("test")).ok
        assert await here.status(key) == 401
        assert not reloader._keys.changed()

    lived(tmp_path, story)


def test_a_bad_file_of_keys_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """A gateway does not begin with keys that it cannot read, and quotes nothing of the file."""
    (tmp_path / "keys.json").write_text('{"version": 1, "keys": [{"secret": "ubk_planted"}]}', encoding="utf-8")
    fake = FakeProvider("a")
    fake_config = {"key_file": "keys.json"}

    async def test() -> str:
        async with fake:
            with pytest.raises(ConfigError) as found:
                config_for([fake], tmp_path, server=fake_config)
            return str(found.value)

    said = asyncio.run(test())
    assert "server.key_file" in said
    assert "is no file of keys" in said
    assert "ubk_planted" not in said


def test_beyond_this_machine_a_file_of_keys_is_enough(tmp_path: Path) -> None:
    """To listen elsewhere than on loopback wants keys of either sort; what is not meant is warned of."""

    async def test() -> Any:
        async with FakeProvider("a") as fake:
            return config_for([fake], tmp_path, server={"host": "0.0.0.0", "key_file": "keys.json"})

    config = asyncio.run(test())
    assert any("nobody is let in" in warning for warning in config.warnings)
    KeyFile(tmp_path / "keys.json").create("x", expires=datetime.now(UTC) + timedelta(days=1))
    (tmp_path / "keys.json").chmod(0o666)
    assert any("can be written by others" in warning for warning in asyncio.run(test()).warnings)
