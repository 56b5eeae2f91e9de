"""`unbroken status` and the operator's other commands, against a gateway that runs."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer import Exit
from typer.testing import CliRunner

from faces.admin_world import ADMIN_KEY, Site, site
from loops import in_loop
from unbroken.faces.cli.app import app
from unbroken.faces.cli.remote import Gateway
from unbroken.faces.cli.status import EVERY_S, exit_code, picture, status, turns
from unbroken.testing import Refused

RUNNER = CliRunner()


async def run(here: Site, *words: str, key: str = ADMIN_KEY) -> tuple[int, str]:
    """A command as a user would type it: its exit code, and what it prints."""
    environ = {"UNBROKEN_URL": here.at.url, "UNBROKEN_ADMIN_KEY": key, "COLUMNS": "160"}
    result = await asyncio.to_thread(lambda: RUNNER.invoke(app, words, env=environ))
    return result.exit_code, result.output


def drawn(told: Any, *, terminal: bool = False) -> str:
    """The picture as it is printed."""
    out = io.StringIO()
    Console(file=out, width=160, force_terminal=terminal, color_system="standard" if terminal else None).print(
        picture(told)
    )
    return out.getvalue()


# --------------------------------------------------------------------------------- the status


@in_loop
async def test_the_status_is_a_table_when_piped(tmp_path: Path) -> None:
    """Targets with state and reason, routes with who is left; plain text, one target a line, exit code 0."""
    async with site(tmp_path) as here:
        here.providers[0].fail_with(Refused())
        for _ in range(3):
            await here.chat()
        code, out = await run(here, "status")
        assert code == 0 and "\x1b" not in out
        (ill,) = [line for line in out.splitlines() if "a/word-model" in line and "connect" in line]
        assert "open" in ill and "s more" in ill
        (well,) = [line for line in out.splitlines() if line.lstrip().startswith("b/word-model")]
        assert "healthy" in well and " ms" in well
        assert "1 of 2" in out and "priority" in out


@in_loop
async def test_the_exit_code_says_when_a_route_has_nobody_left(tmp_path: Path) -> None:
    """1 for a script to act upon; as JSON for one that wants to know more."""
    async with site(tmp_path, "a") as here:
        assert (await run(here, "targets", "disable", "a/word-model"))[0] == 0
        code, out = await run(here, "status")
        assert code == 1 and "nobody" in out and "disabled" in out and "by an operator" in out
        code, out = await run(here, "status", "--json")
        assert code == 1 and json.loads(out)["routes"][0]["usable"] == 0


@in_loop
async def test_what_keeps_it_from_asking_is_said_in_one_line(tmp_path: Path) -> None:
    """No key, a wrong key, nobody there, no gateway: exit code 2 and what to do."""
    async with site(tmp_path) as here:
        for key, words in (("", "--admin-key"), ("wrong-key-1234", "operator's key is needed")):
            code, out = await run(here, "status", key=key)
            assert code == 2 and words in out and len(out.splitlines()) == 1
        code, out = await run(here, "status", "--url", "http://127.0.0.1:1")
        assert code == 2 and "nobody listens" in out
        code, out = await run(here, "status", "--url", "127.0.0.1")
        assert code == 2 and "http://" in out


@in_loop
async def test_watching_prints_a_line_for_each_change_when_piped(tmp_path: Path) -> None:
    """A log that one can keep: who turned, into what, why; and that the gateway was gone for a while."""
    async with site(tmp_path) as here:
        out = io.StringIO()
        here.providers[0].fail_with(Refused())
        for _ in range(3):
            await here.chat()
        console = Console(file=out, width=160)
        code = await asyncio.to_thread(
            lambda: status(here.operator, watch=True, every_s=0.01, times=3, console=console)
        )
        assert code == 0
        lines = out.getvalue().splitlines()
        assert len(lines) == 2 and "a/word-model open connect" in lines[0] and "b/word-model healthy" in lines[1]


@in_loop
async def test_watching_a_terminal_draws_a_picture(tmp_path: Path) -> None:
    """The table is drawn anew in place, in the colours of the states."""
    async with site(tmp_path) as here:
        await here.post("targets", "a/word-model", "disable")
        out = io.StringIO()
        console = Console(file=out, width=160, force_terminal=True, color_system="standard", legacy_windows=False)
        code = await asyncio.to_thread(
            lambda: status(here.operator, watch=True, every_s=0.01, times=2, console=console)
        )
        assert code == 0 and "\x1b[" in out.getvalue() and "disabled" in out.getvalue()


def test_watching_survives_a_gateway_that_goes_away() -> None:
    """What it said last stays on the screen, with the reason why there is nothing newer."""

    class Flaky(Gateway):
        calls = 0

        def get(self, *path: str) -> Any:
            self.calls += 1
            if self.calls == 2:
                return Gateway("http://127.0.0.1:1", "k").get(*path)
            return told()

    for terminal in (True, False):
        out = io.StringIO()
        console = Console(file=out, width=160, force_terminal=terminal, legacy_windows=False)
        assert status(Flaky("http://x", "k"), watch=True, every_s=0.0, times=3, console=console) == 0
        assert "nobody listens" in out.getvalue()
    with pytest.raises(Exit):
        status(Gateway("http://127.0.0.1:1", "k"), watch=True)
    assert EVERY_S > 0


def told(**more: Any) -> Any:
    """What a gateway of one target tells."""
    pace = {"answers": 0, "p50_s": 0.0, "p95_s": 0.0, "p99_s": 0.0}
    target = {
        "name": "a/x", "state": "healthy", "share": 1.0, "since": None, "until": None, "cause": None,
        "obstacle": None, "in_flight": 0, "latency": {"first": pace, "plain": pace},
    }  # fmt: skip
    route = {"name": "m", "strategy": "best", "aliases": ["n"], "usable": 1, "state": "ok", "targets": ["a/x"]}
    told = {
        "version": "1", "now": 1_000.0, "uptime_s": 4_000.0, "requests": {"attempts": 2, "waiting": 1},
        "config": {"source": "f.yaml", "digest": "abc", "warnings": [], "last_reload": None},
        "targets": [{**target, **more.pop("target", {})}], "routes": [{**route, **more.pop("route", {})}],
        "budgets": [], "sinks": {"dropped": {}, "ledger": None},
    }  # fmt: skip
    return {**told, **more}


def test_states_are_told_in_words_and_colours() -> None:
    """How long it lasts already, or still will, and the share of a target that comes back."""
    cause = {"kind": "server", "message": "500", "at": 1.0, "probed": False}
    cases: tuple[tuple[dict[str, Any], str, str], ...] = (
        ({"state": "open", "until": 1_012.0, "cause": cause}, "open", "12 s more"),
        ({"state": "recovering", "share": 0.46, "since": 996.0, "cause": cause}, "recovering 46%", "for 4 s"),
        ({"state": "cooling_down", "until": 4_700.0, "cause": cause}, "cooling down", "1 h 2 m more"),
        ({"state": "forced_closed", "since": 700.0}, "forced", "for 5 m"),
        ({"state": "healthy", "obstacle": "its limit is reached"}, "healthy", "its limit is reached"),
        ({"state": "degraded", "since": -200_000.0, "cause": cause}, "degraded", "for 2 d 8 h"),
    )
    for target, state, words in cases:
        text = drawn(told(target=target))
        assert state in text and words in text, text
    assert "\x1b[1;31mopen" in drawn(told(target=cases[0][0]), terminal=True)


def test_what_an_operator_should_know_of_is_told_below() -> None:
    """A refused configuration with its reason, what waits for a restart, warnings, lost facts, budgets."""
    refused = {"ok": False, "at": 1.0, "problem": "error f.yaml:3: no such route", "restart": ["server.port"]}
    text = drawn(
        told(
            config={"source": "f.yaml", "digest": "abc", "warnings": ["one target"], "last_reload": refused},
            sinks={"dropped": {"Ledger": 7, "Logs": 0}, "ledger": {"dropped": 3, "error": "disk full"}},
            budgets=[{"name": "1 (all)", "spent_usd": 4.0, "held_usd": 1.5, "usd_per_day": 5.0, "then": "stop"}],
        )
    )
    for words in ("no such route", "server.port", "one target", "Ledger has missed 7", "disk full", "$5.50", "stop"):
        assert words in text, words
    assert "Logs" not in text and "up 1 h 7 m" in text and "2 under way, 1 waiting" in text and "also n" in text


def test_only_what_has_changed_is_a_turn() -> None:
    """Targets in another state, and routes that lost their last target or have one again."""
    down = told(target={"state": "open"}, route={"usable": 0, "state": "down"})
    assert len(list(turns({}, told()))) == 1
    assert list(turns(told(), told())) == []
    assert [line.split(" ", 1)[1] for line in turns(told(), down)] == ["a/x open", "route m: nobody"]
    assert [line.split(" ", 1)[1] for line in turns(down, told())] == ["a/x healthy", "route m: 1 of 1"]
    assert (exit_code(told()), exit_code(down)) == (0, 1)


# ----------------------------------------------------------------------------- other commands


@in_loop
async def test_the_switches_have_commands(tmp_path: Path) -> None:
    """Each says what has become of the targets that it is about."""
    cases: tuple[tuple[tuple[str, ...], str, Callable[[Any], bool]], ...] = (
        (("targets", "disable", "a/word-model"), "a/word-model: forced open", lambda one: not one["enabled"]),
        (("targets", "enable", "a/word-model"), "a/word-model: unknown", lambda one: bool(one["enabled"])),
        (("breaker", "open", "a"), "a/word-model: forced open", lambda one: not one["usable"]),
        (("breaker", "release", "a"), "a/word-model: unknown", lambda one: bool(one["usable"])),
        (("breaker", "close", "a/word-model"), "a/word-model: forced closed", lambda one: bool(one["usable"])),
        (("targets", "check", "a/word-model", "--word"), "a/word-model: well (a word", lambda _: True),
        (("strategy", "m", "best"), "m: best", lambda _: True),
        (("reload",), "route changed: m", lambda _: True),
        (("reload",), "nothing has changed", lambda _: True),
    )
    async with site(tmp_path) as here:
        for words, said, holds in cases:
            code, out = await run(here, *words)
            assert code == 0 and said in out, out
            assert holds(await here.target("a/word-model"))


@in_loop
async def test_what_could_not_be_done_is_said_and_ends_with_1(tmp_path: Path) -> None:
    """The reason stands on stderr, with what there is to choose from."""
    async with site(tmp_path) as here:
        for words, said in (
            (("targets", "disable", "c/x"), "known here: a/word-model"),
            (("breaker", "open", "nobody"), "there is no breaker"),
            (("strategy", "m", "luck"), "there is no strategy"),
        ):
            code, out = await run(here, *words)
            assert code == 1 and said in out
        here.rewrite(lambda values: values["routes"]["m"].update(strategy="luck"))
        code, out = await run(here, "reload")
        assert code == 1 and "routes.m.strategy" in out and "^" in out
        here.providers[0].fail_with(Refused())
        code, out = await run(here, "targets", "check", "a/word-model")
        assert code == 1 and "a/word-model: failing" in out


def test_help_teaches() -> None:
    """Each command shows what to type."""
    for words in (("status",), ("targets",), ("targets", "disable"), ("breaker", "open"), ("strategy",), ("reload",)):
        out = RUNNER.invoke(app, [*words, "--help"], env={"COLUMNS": "160"}).output
        assert "unbroken" in out and len(out) > 300
