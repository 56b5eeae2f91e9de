"""`/admin` over sockets: who is let in, what is told, and what an operator's acts do to traffic."""

from __future__ import annotations

import json
import logging
import re
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faces.admin_world import ADMIN_KEY, CALLER_KEY, over, site
from loops import in_loop
from unbroken.config import ConfigError, load
from unbroken.faces.admin.words import Veil
from unbroken.faces.cli.remote import Unanswered
from unbroken.faces.visitor import Visitor
from unbroken.testing import Refused, Speed, Status, essay

PATHS = (
    "status", "statistics", "config", "requests", "requests/req_1", "events", "targets/a%2Fword-model/disable",
    "reload",
)  # fmt: skip


# ------------------------------------------------------------------------------ who is let in


@in_loop
async def test_only_an_operators_key_opens_anything(tmp_path: Path) -> None:
    """No key, a wrong one, a caller's one and one in the address are refused in JSON on every path."""
    async with site(tmp_path) as here:
        for path in PATHS:
            method = "POST" if path.endswith(("disable", "reload")) else "GET"
            for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {CALLER_KEY}"}):
                status, said = await here.ask(method, f"/admin/{path}", headers=headers)
                assert (status, said["error"]["code"]) == (401, "invalid_admin_key")
            status, said = await here.ask(method, f"/admin/{path}?key={ADMIN_KEY}")
            assert (status, said["error"]["code"]) == (400, "key_in_url")
        status, said = await here.ask("GET", "/v1/models", headers={"authorization": f"Bearer {ADMIN_KEY}"})
        assert status == 401  # an operator is no caller
        assert (await here.target("a/word-model"))["enabled"]


@in_loop
async def test_without_an_operators_key_it_is_off(tmp_path: Path) -> None:
    """Nobody is let in by default, and whoever asks is told how to switch it on."""
    async with site(tmp_path, server={"admin_keys": []}) as here:
        status, said = await here.ask("GET", "/admin/status", headers={"authorization": "Bearer "})
        assert status == 404 and "UNBROKEN_ADMIN_KEY" in said["error"]["message"]
        assert await here.chat() == "a/word-model"


def test_keys_of_operators_are_checked_with_the_configuration(tmp_path: Path) -> None:
    """One that a caller has too, or that is short, is refused; the environment gives them where the file does not."""
    file = tmp_path / "unbroken.yaml"
    for keys, message in (("[shared-key-123]", "caller's too"), ("[short]", "12 characters")):
        file.write_text(f"server: {{keys: [shared-key-123], admin_keys: {keys}}}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=message):
            load(file, {})
    file.write_text("server: {}\n", encoding="utf-8")
    config = load(file, {"UNBROKEN_ADMIN_KEY": f"{ADMIN_KEY}, another-one-123"})
    assert [key.value for key in config.server.admin_keys] == [ADMIN_KEY, "another-one-123"]
    assert ADMIN_KEY not in repr(config)


@in_loop
async def test_what_is_not_there_is_said_in_json(tmp_path: Path) -> None:
    """Unknown paths, methods, names and bodies get a status, a reason, and the names that there are."""
    known = {"authorization": f"Bearer {ADMIN_KEY}"}
    cases: tuple[tuple[str, str, bytes, int, str], ...] = (
        ("GET", "/admin/nothing", b"", 404, "not served"),
        ("POST", "/admin/status", b"", 405, "takes GET"),
        ("GET", "/admin/reload", b"", 405, "takes POST"),
        ("HEAD", "/admin/events", b"", 405, ""),
        ("POST", "/admin/targets/c/disable", b"", 404, "a/word-model"),
        ("POST", "/admin/breakers/c", b'{"open": true}', 404, "b/word-model#1"),
        ("POST", "/admin/breakers/a", b"{}", 400, "open"),
        ("POST", "/admin/breakers/a", b"{not json", 400, "body"),
        ("POST", "/admin/routes/m/strategy", b'{"strategy": "luck"}', 404, "priority"),
        ("POST", "/admin/routes/x/strategy", b'{"strategy": "best"}', 404, "auto"),
        ("GET", "/admin/requests?limit=x", b"", 400, "limit"),
        ("GET", "/admin/requests?since=nan", b"", 400, "since"),
        ("GET", "/admin/requests?since=1e300", b"", 400, "since"),
        ("GET", "/admin/requests/req_0", b"", 404, "req_0"),
    )
    async with site(tmp_path) as here:
        for method, path, body, status, words in cases:
            found, said = await here.ask(method, path, headers=known, body=body)
            assert found == status, (path, said)
            assert words in (said["error"]["message"] if said else "")


# -------------------------------------------------------------------------------- what is told


@in_loop
async def test_the_status_tells_how_everything_stands_and_why(tmp_path: Path) -> None:
    """Targets with state, cause and pace, routes with who is left, the configuration, and what sinks missed."""
    async with site(tmp_path) as here:
        here.providers[0].fail_with(Refused())
        for _ in range(3):
            assert await here.chat() == "b/word-model"
        told = await here.get("status")

        ill, well = told["targets"]
        assert (ill["state"], ill["usable"], ill["cause"]["kind"]) == ("open", False, "connect")
        assert told["now"] < ill["until"] < told["now"] + 60 and told["started_at"] <= ill["since"] <= told["now"]
        assert ill["last_failure"]["kind"] == "connect" and "breaker open" in ill["obstacle"]
        assert [scope["name"] for scope in ill["scopes"]] == ["a", "a/word-model", "a#1", "a/word-model#1"]
        assert (well["state"], well["latency"]["plain"]["answers"]) == ("healthy", 3)
        assert 0 < well["latency"]["plain"]["p50_s"] <= well["latency"]["plain"]["p99_s"]
        routes = {route["name"]: (route["usable"], route["state"]) for route in told["routes"]}
        assert routes == {"m": (1, "degraded"), "auto": (1, "degraded")}
        config = told["config"]
        assert config["source"] == str(here.file) and len(config["digest"]) == 12 and not config["watching"]
        assert set(told["sinks"]["dropped"].values()) == {0}
        assert told["requests"] == {"attempts": 0, "waiting": 0}


@in_loop
async def test_statistics_are_counted_and_start_anew(tmp_path: Path) -> None:
    """Requests, failovers and failures are told of each provider and target, until they are reset."""
    async with site(tmp_path) as here:
        here.providers[0].fail_with(Status(401))
        await here.chat()
        told = await here.get("statistics")
        assert (told["requests"], told["failovers"]) == (1, 1)
        assert told["providers"]["a"]["failures"] == {"auth": 1} and told["targets"]["b/word-model"]["answered"] == 1
        anew = await here.post("statistics", "reset")
        assert (anew["requests"], anew["targets"]) == (0, {}) and anew["since"] > told["since"]


@in_loop
async def test_the_latest_requests_can_be_read(tmp_path: Path) -> None:
    """Without a ledger the records of the latest requests are in memory: who was tried, why, and what came of it."""
    async with site(tmp_path) as here:
        here.providers[0].fail_with(Status(500))
        await here.chat()
        await here.chat("auto")
        listed = (await here.get("requests"))["requests"]
        assert [one["route"] for one in listed] == ["auto", "m"]
        record = await here.get("requests", listed[1]["id"])
        assert record["outcome"] == "answered" and record["failover"] and record["target"] == "b/word-model"
        assert [(one["target"], one["outcome"]) for one in record["attempts"]][-1] == ("b/word-model", "answered")
        known = {"authorization": f"Bearer {ADMIN_KEY}"}
        for query, count in (("limit=1", 1), ("route=m", 1), ("since=99999999999", 0), ("limit=0", 0)):
            _, said = await here.ask("GET", f"/admin/requests?{query}", headers=known)
            assert len(said["requests"]) == count, query


@in_loop
async def test_a_ledger_is_asked_where_there_is_one(tmp_path: Path) -> None:
    """What memory does not know is looked up in the ledger, and listed from it."""
    pytest.importorskip("sqlalchemy")
    async with site(tmp_path) as here:
        here.rewrite(lambda values: values.update(ledger=str(tmp_path / "ledger.db")))
        config = load(here.file, {})
        for _ in range(2):  # two lives of one gateway
            async with over(config, here.file) as life:
                await life.chat()
                listed = (await life.get("requests"))["requests"]
                records = [await life.get("requests", one["id"]) for one in listed]
                assert {record["attempts"][0]["target"] for record in records} == {"a/word-model"}
                assert (await life.get("status"))["sinks"]["ledger"]["dropped"] == 0
                with pytest.raises(Unanswered, match="nothing is known"):
                    await life.get("requests", "req_never")
        assert len(records) == 2


@in_loop
async def test_where_the_ledger_cannot_be_asked_memory_is(tmp_path: Path) -> None:
    """A database that is broken keeps nobody from the latest records, and what is wrong with it is said."""
    pytest.importorskip("sqlalchemy")
    async with site(tmp_path) as here:
        kept = {"url": str(tmp_path / "ledger.db"), "flush_s": 0.1}
        here.rewrite(lambda values: values.update(ledger=kept))
        async with over(load(here.file, {}), here.file) as life:
            await life.chat()
            while (await life.get("status"))["sinks"]["ledger"]["written"] < 1:
                pass
            with sqlite3.connect(tmp_path / "ledger.db") as database:
                database.execute("DROP TABLE requests")
            database.close()
            listed = await life.get("requests")
            assert [one["route"] for one in listed["requests"]] == ["m"] and "no such table" in listed["problem"]
            assert (await life.get("requests", listed["requests"][0]["id"]))["outcome"] == "answered"
            with pytest.raises(Unanswered, match=r"nothing is known.*the ledger cannot be asked: no such table"):
                await life.get("requests", "req_never")


# --------------------------------------------------------------------------------- what is done


@in_loop
async def test_a_disabled_target_finishes_its_streams_and_gets_no_more(tmp_path: Path) -> None:
    """Streams under way go on to their end, new requests go elsewhere, also as a last resort, until it is enabled."""
    async with site(tmp_path, speed=Speed(first_token_s=0.0, tokens_per_s=400.0)) as here:
        stream = await here.client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "x"}], stream=True
        )
        words = [(await anext(stream)).choices[0].delta.content or "" for _ in range(3)]
        told = await here.post("targets", "a/word-model", "disable")
        assert [(one["name"], one["state"]) for one in told["targets"]] == [("a/word-model", "forced_open")]
        assert await here.chat() == "b/word-model"
        words += [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(words) == essay("x")
        seen = len(here.providers[0].seen)
        here.providers[1].fail_with(Status(500))
        with pytest.raises(Exception, match="502"):
            await here.chat()
        assert len(here.providers[0].seen) == seen
        here.providers[1].heal()
        assert (await here.post("targets", "a/word-model", "enable"))["targets"][0]["enabled"]
        assert await here.chat() == "a/word-model"


@in_loop
async def test_one_key_of_several_can_be_taken_out(tmp_path: Path) -> None:
    """The targets of a provider's other keys go on; names with `#` and slashes work plain and encoded."""
    known = {"authorization": f"Bearer {ADMIN_KEY}"}
    async with site(tmp_path, "a", provider={"keys": ["sk-first-planted-1", "sk-second-planted-2"]}) as here:
        for name in ("a/word-model#1", "a%2Fword-model%231"):
            status, said = await here.ask("POST", f"/admin/targets/{name}/disable", headers=known)
            assert status == 200 and [one["name"] for one in said["targets"]] == ["a/word-model#1"]
            status, _ = await here.ask("POST", f"/admin/targets/{name}/enable", headers=known)
            assert status == 200
        await here.post("targets", "a/word-model#1", "disable")
        assert await here.chat() == "a/word-model#2"
        status, _ = await here.ask(
            "POST", "/admin/breakers/a/word-model#2", headers=known, body=b'{"open": true}'
        )  # fmt: skip
        assert status == 200 and (await here.get("status"))["routes"][0]["state"] == "down"


@in_loop
async def test_a_breaker_can_be_held_and_let_go(tmp_path: Path) -> None:
    """Held open nothing goes there; held closed requests go there whatever fails; let go it decides by itself."""
    async with site(tmp_path) as here:
        await here.post("breakers", "a", body={"open": True})
        assert await here.chat() == "b/word-model"
        for scope in ("a", "a/word-model"):
            await here.post("breakers", scope, body={"open": False})
        here.providers[0].fail_with(Refused())
        for _ in range(5):
            await here.chat()
        assert (await here.target("a/word-model"))["state"] == "forced_closed"
        assert (await here.target("a/word-model"))["usable"]
        for scope in ("a", "a/word-model"):
            await here.post("breakers", scope, body={"open": None})
        for _ in range(3):
            await here.chat()
        assert (await here.target("a/word-model"))["state"] == "open"


@in_loop
async def test_a_strategy_takes_effect_with_the_next_request(tmp_path: Path) -> None:
    """The route chooses otherwise, and says so."""
    async with site(tmp_path) as here:
        assert {await here.chat() for _ in range(4)} == {"a/word-model"}
        told = await here.post("routes", "m", "strategy", body={"strategy": "round_robin"})
        assert told["strategy"] == "round-robin"
        assert {await here.chat() for _ in range(4)} == {"a/word-model", "b/word-model"}


@in_loop
async def test_a_health_check_counts(tmp_path: Path) -> None:
    """A free question or a word is asked at once, and what comes of it is known to the board."""
    async with site(tmp_path) as here:
        told = await here.post("targets", "a/word-model", "health")
        assert (told["state"], told["asked"]) == ("well", "free") and here.providers[0].listed == 1
        told = await here.post("targets", "a/word-model", "health", body={"word": True})
        assert (told["state"], told["asked"], here.providers[0].seen[-1].tokens) == ("well", "a word", 1)
        here.providers[0].fail_with(Status(401))
        told = await here.post("targets", "a/word-model", "health", body={"word": True})
        assert told["state"] == "failing" and told["failure"].startswith("auth")
        assert told["target"]["state"] == "cooling_down" and told["target"]["cause"]["probed"]
        assert await here.chat() == "b/word-model"


@in_loop
async def test_every_act_is_a_fact_and_a_line_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Who (by name and hash of the key), what and when; and reading is no act."""

    class Ears:
        def __init__(self) -> None:
            self.heard: list[Any] = []

        def write(self, facts: list[Any]) -> None:
            self.heard += [fact for fact in facts if type(fact).__name__ == "Operated"]

    async with site(tmp_path) as here:
        ears = Ears()
        here.gateway.engine.bus.add(ears)
        with caplog.at_level(logging.WARNING, "unbroken"):
            await here.get("status")
            await here.post("targets", "a/word-model", "disable")
            await here.post("breakers", "b", body={"open": None})
            await here.post("routes", "m", "strategy", body={"strategy": "best"})
            await here.post("statistics", "reset")
            await here.post("targets", "b/word-model", "health")
            await here.post("reload")
            here.gateway.engine.bus.flush()
        acts = [(fact.what, fact.about, fact.to) for fact in ears.heard]
        assert acts == [
            ("disable", "a/word-model", ""), ("breaker", "b", "released"), ("strategy", "m", "best"),
            ("reset", "statistics", ""), ("check", "b/word-model", "free"), ("reload", str(here.file), ""),
        ]  # fmt: skip
        assert all(fact.who.startswith("key ") and ADMIN_KEY not in fact.who for fact in ears.heard)
        assert "disable a/word-model" in caplog.text and ADMIN_KEY not in caplog.text


@in_loop
async def test_the_paths_in_the_document_are_those_that_there_are(tmp_path: Path) -> None:
    """Each path that docs/operations.md lists is served, and each that is served is listed."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `(GET|POST) (/admin/\S+)` \|", text, re.MULTILINE))
    async with site(tmp_path) as here:
        doors = {(method, f"/admin{path}") for method, path, _ in here.gateway.admin._doors}
    assert listed == doors


# ------------------------------------------------------------------------------------- secrets


@in_loop
async def test_no_key_is_in_any_answer(tmp_path: Path) -> None:
    """Keys of providers, callers and operators are planted everywhere, also in what a provider says, and never told."""
    planted = ["sk-first-planted-1", "sk-second-planted-2", CALLER_KEY, ADMIN_KEY, "header-planted-0123456789"]
    provider = {"keys": planted[:2], "headers": {"x-own": planted[4]}}
    async with site(tmp_path, provider=provider) as here:
        leak = json.dumps({"error": {"message": "keys: " + " ".join(planted), "type": "server_error"}})
        here.providers[0].fail_with(Status(500, body=leak.encode()))
        stream = here.gateway.admin.events.open("")
        assert isinstance(stream, Visitor)
        await here.chat()
        told = [await here.get(path) for path in ("status", "statistics", "config", "requests")]
        told += [await here.post("targets", "a/word-model#1", what) for what in ("disable", "enable", "health")]
        here.rewrite(lambda values: values["providers"]["a"].update(keys=[planted[0], planted[0]]))
        with pytest.raises(Unanswered) as refused:
            await here.post("reload")
        here.gateway.engine.bus.flush()
        told += [await here.get("status"), str(refused.value), stream.take().decode()]
        text = json.dumps(told)
        assert "keys: " in text and "attempt_failed" in text
        for key in planted:
            assert key not in text


def test_a_veil_hides_keys_whatever_is_in_them(tmp_path: Path) -> None:
    """A key with quotes in it is found in JSON too, and the longer of two that begin alike goes first."""
    file = tmp_path / "unbroken.yaml"
    file.write_text(
        "server: {admin_keys: ['quoted\"key\\12']}\n"
        "providers: {p: {base_url: 'http://127.0.0.1:1', keys: [planted-key, planted-key-long]}}\n",
        encoding="utf-8",
    )
    veil = Veil(load(file, {}))
    assert veil(json.dumps(['a quoted"key\\12', "planted-key-long", "planted-key."]).encode()) == (
        b'["a [key]", "[key]", "[key]."]'
    )


@in_loop
async def test_an_operators_name_is_that_of_its_variable(tmp_path: Path) -> None:
    """Where the file names the variable, the log and the facts do."""
    file = tmp_path / "own.yaml"
    file.write_text("server: {admin_keys: ['${ANNAS_KEY}']}\n", encoding="utf-8")
    config = load(file, {"ANNAS_KEY": "annas-own-key-1"})
    async with site(tmp_path) as here:
        before = here.gateway.config
        server = replace(before.server, admin_keys=config.server.admin_keys)
        here.gateway.adopt(replace(before, server=server))
        known = {"authorization": "Bearer annas-own-key-1"}
        assert (await here.ask("POST", "/admin/statistics/reset", headers=known))[0] == 200
        here.gateway.engine.bus.flush()
        entries = here.gateway.admin.chronicle.after(0, 100)
        assert [fact.who.split()[0] for fact in entries if type(fact).__name__ == "Operated"] == ["ANNAS_KEY"]  # type: ignore[union-attr]
