"""Another configuration for a gateway that runs: nothing is lost, what is learned stays, a bad file is refused."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from faces.admin_world import ADMIN_KEY, CALLER_KEY, site
from loops import in_loop
from unbroken.assemble import engine, follow
from unbroken.config import Config, ConfigError, load
from unbroken.core.limits import cost_of
from unbroken.faces.asgi import app
from unbroken.faces.cli.check import problems_text
from unbroken.faces.cli.remote import Gateway as Remote
from unbroken.faces.cli.remote import Unanswered
from unbroken.facts import AttemptAnswered, AttemptStarted, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.probes import Prober
from unbroken.testing import Refused, Speed, essay
from unbroken.types import Request, Usage, Why

Values = dict[str, Any]
UNTIL_S = 20.0


def target_of(config: Config, name: str) -> Any:
    """The target of this name."""
    return next(target for target in config.targets if target.name == name)


def configured(**sections: Any) -> Config:
    """A configuration of two providers, with these sections besides or instead."""
    providers = {name: {"base_url": f"http://127.0.0.1:1/{name}", "key": f"sk-{name}-0123"} for name in "ab"}
    routes = {"m": {"targets": ["a/x", "b/x"]}}
    return Config.from_values({"providers": providers, "routes": routes, **sections}, {})


# -------------------------------------------------------------------------- nothing is lost


class Held(Speed):
    """A word every tenth of a second, until it is `over`: then all that is left at once."""

    over: list[bool] = []  # noqa: RUF012 - for the one test that needs it

    def due_s(self, token: int) -> float:
        return 0.0 if self.over else 0.1 * token


@in_loop
async def test_requests_under_way_are_finished_by_the_old_configuration(tmp_path: Path) -> None:
    """Fifty streams go on through a reload that takes their target away; new requests take the new route."""
    held = Held()
    async with site(tmp_path, speed=held) as here:
        began = asyncio.Barrier(51)

        async def ask(number: int) -> str:
            stream = await here.client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": f"{number}"}], stream=True
            )
            words = (await anext(stream)).choices[0].delta.content or ""
            await began.wait()
            return words + "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])

        asking = [asyncio.create_task(ask(number)) for number in range(50)]
        await began.wait()
        here.rewrite(lambda values: values["routes"]["m"].update(targets=["b/word-model"]))
        told = await here.post("reload")
        assert told["ok"] and "route changed: m, auto" in told["changes"]
        assert not any(task.done() for task in asking)
        held.over.append(True)
        assert await here.chat() == "b/word-model"
        assert await asyncio.gather(*asking) == [essay(str(number)) for number in range(50)]
        assert len(here.providers[1].seen) == 1


@in_loop
async def test_everything_a_face_looks_up_is_new_at_once(tmp_path: Path) -> None:
    """Lists, keys, aliases and limits of bodies are the new file's; callers' old keys are refused from then on."""
    async with site(tmp_path) as here:

        def change(values: Values) -> None:
            values["server"] |= {"keys": [CALLER_KEY, "another-caller-1"], "body_limit_mb": 0.001}
            values["aliases"] = {"best-one": "m"}
            values["routes"]["new"] = {"targets": ["b/word-model"]}

        here.rewrite(change)
        await here.post("reload")
        assert {"m", "new", "auto"} <= {model.id async for model in here.client.models.list()}
        assert await here.chat("best-one") == "a/word-model"
        long = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 2_000}]}).encode()
        headers = {"authorization": f"Bearer {CALLER_KEY}"}
        assert (await here.ask("POST", "/v1/chat/completions", headers=headers, body=long))[0] == 413
        here.rewrite(lambda values: values["server"].update(keys=["another-caller-1"]))
        assert "server.keys changed" in (await here.post("reload"))["changes"]
        assert (await here.ask("GET", "/v1/models", headers=headers))[0] == 401


@in_loop
async def test_what_is_known_of_unchanged_targets_stays_known(tmp_path: Path) -> None:
    """Breakers, switches, latencies, statistics and connections outlive a reload; an operator's strategy does not."""
    async with site(tmp_path, "a", "b", "c") as here:
        here.providers[0].fail_with(Refused())
        for _ in range(3):
            assert await here.chat() == "b/word-model"
        await here.post("targets", "c/word-model", "disable")
        await here.post("routes", "m", "strategy", body={"strategy": "round-robin"})
        before = {one["name"]: one for one in (await here.get("status"))["targets"]}
        idle = [len(origin.idle) for origin in here.gateway.engine.transport._origins.values()]  # type: ignore[attr-defined]

        here.rewrite(lambda values: values["routes"].update(more={"targets": ["b/word-model"]}))
        assert {"route added: more", "route changed: m"} == set((await here.post("reload"))["changes"])

        after = {one["name"]: one for one in (await here.get("status"))["targets"]}
        for name in ("a/word-model", "c/word-model"):
            assert after[name]["state"] == before[name]["state"] != "healthy"
        assert after["b/word-model"]["latency"] == before["b/word-model"]["latency"]
        assert (await here.get("statistics"))["requests"] == 3
        assert idle == [len(origin.idle) for origin in here.gateway.engine.transport._origins.values()]  # type: ignore[attr-defined]
        assert here.gateway.config.routes["m"].strategy == "priority"


@in_loop
async def test_a_new_key_and_a_new_address_get_a_new_chance() -> None:
    """What is held against a key or an address is forgotten when the target has another one, and nothing else is."""
    old = configured()
    flying = engine(old)
    a, b = target_of(old, "a/x"), target_of(old, "b/x")
    board, now = flying.board, flying.clock()
    refused = Failure(kind=FailureKind.AUTH, message="no")
    for target in (a, b):
        board.standing(target).key.cool(now, 600.0, cool_s=600.0, why=refused.kind)
        board.standing(target).endpoint.bad(now, now, chance=0.5)
    providers = {
        "a": {"base_url": "http://127.0.0.1:1/a", "key": "sk-another-01"},
        "b": {"base_url": "http://127.0.0.1:2"},
    }
    new = configured(providers=providers)
    follow(flying, old, new=new)
    assert board.obstacle(target_of(new, "a/x"), now) is None
    assert board.standing(target_of(new, "a/x")).endpoint.window.in_a_row == 1
    assert board.standing(target_of(new, "b/x")).endpoint.window.in_a_row == 0
    await flying.close()


@in_loop
async def test_what_an_operator_has_forced_stays_forced() -> None:
    """Also where the target has another key now."""
    old = configured()
    flying = engine(old)
    flying.board.fold(TargetForced(flying.clock(), target_of(old, "a/x").quota_scope, True))
    new = configured(
        providers={
            "a": {"base_url": "http://127.0.0.1:1/a", "key": "sk-another-01"},
            "b": {"base_url": "http://127.0.0.1:2"},
        }
    )
    follow(flying, old, new=new)
    assert flying.board.forced_open(target_of(new, "a/x"))
    await flying.close()


@in_loop
async def test_a_model_that_is_asked_for_by_name_keeps_the_limit_of_its_key() -> None:
    """A provider's limits outlive a reload for models that no route lists, with what was spent of them."""
    provider = {"base_url": "http://127.0.0.1:1", "limits": {"requests_per_min": 1}}
    old, new = (configured(providers={"a": provider}, routes={}) for _ in range(2))
    (named,), (other,) = (config.accounts["a"].targets("named") for config in (old, new))
    flying = engine(old)
    now = flying.clock()
    flying.board.fold(AttemptStarted(now, "f", 1, named, Why.FIRST))
    follow(flying, old, new=new)
    assert flying.board.obstacle(other, now) == "its limit of 1 requests in 60 s is reached"
    await flying.close()


@in_loop
async def test_limits_change_and_what_was_spent_stays_spent() -> None:
    """A higher limit leaves room for the difference only; one that is gone is no limit any more."""
    priced = {"base_url": "http://127.0.0.1:1", "key": "sk-a-0123", "price": {"request_usd": 1.0}}
    two = {"requests_per_min": 2}
    half: Values = {"providers": {"a": priced | {"limits": two}}, "routes": {"m": {"targets": ["a/x"]}}}
    old = configured(**half, budgets=[{"usd_per_day": 10}])
    flying = engine(old)
    admission, target, now = flying.admission, target_of(old, "a/x"), flying.clock()
    assert admission is not None and admission.spending is not None
    for number in range(2):
        admission.spending.begin("f", route="m", asker="", cost=cost_of(Request(model="m")))
        flying.board.fold(AttemptStarted(now, "f", number, target, Why.FIRST))
        flying.board.fold(AttemptAnswered(now, "f", number, target, 0.1, 0.1, False, Usage(cost_usd=1.0)))
    assert flying.board.obstacle(target, now) is not None
    half["providers"]["a"] = priced | {"limits": {"requests_per_min": 3}}
    new = configured(**half, budgets=[{"usd_per_day": 5}, {"usd_per_day": 7, "route": "m"}])
    follow(flying, old, new=new)
    more = target_of(new, "a/x")
    assert flying.board.obstacle(more, now) is None
    flying.board.fold(AttemptStarted(now, "g", 1, more, Why.FIRST))
    assert flying.board.obstacle(more, now) is not None
    accounts = {
        account.limit.name: (account.limit.usd_per_day, account.spent_usd) for account in admission.spending.accounts
    }
    assert accounts == {"1 (everything)": (5, 2.0), "2 (route m)": (7, 0.0)}
    follow(flying, new, new=configured(providers={"a": priced}, routes=half["routes"]))
    assert flying.board.obstacle(more, now) is None and admission.spending.accounts == ()
    await flying.close()


@in_loop
async def test_what_was_not_wanted_before_can_be_had() -> None:
    """Limits, budgets, kept answers and probes of the new file are there, though the old one had none."""
    old = configured()
    flying = engine(old)
    assert (flying.admission, flying.memory, flying.prober) == (None, None, None)
    a = {
        "base_url": "http://127.0.0.1:1/a",
        "key": "sk-a-0123",
        "limits": {"concurrent_max": 1},
        "probe": {"every_s": 5},
    }
    new = configured(
        providers={"a": a}, routes={"m": {"targets": ["a/x"]}}, budgets=[{"usd_per_day": 1}],
        defaults={"cache": {"ttl_s": 5}},
    )  # fmt: skip
    follow(flying, old, new=new)
    assert flying.admission is not None and flying.admission.spending is not None and flying.memory is not None
    first = flying.prober
    assert isinstance(first, Prober)
    memory = flying.memory
    follow(flying, new, new=configured(defaults={"cache": {"ttl_s": 9}}))
    assert flying.prober is None and flying.memory is memory and first not in flying.bus.sinks
    await flying.close()


@in_loop
async def test_a_policy_changes_for_targets_that_are_known() -> None:
    """A stricter breaker counts with what was seen already, and a retry budget begins anew where it is another one."""
    old = configured()
    flying = engine(old)
    target, now = target_of(old, "a/x"), flying.clock()
    standing = flying.board.standing(target)
    standing.model.bad(now, now, chance=0.5)
    purse = flying.board.purse(old.routes["m"])
    follow(flying, old, new=configured(defaults={"breaking": {"consecutive": 2}, "budget": {"reserve": 3}}))
    standing.model.bad(now, now, chance=0.5)
    assert flying.board.is_open(target)
    assert flying.board.purse(old.routes["m"]) is not purse
    follow(flying, old, new=configured(defaults={"breaking": {"window_s": 5}}))
    assert standing.model.window.calls == 0
    await flying.close()


# -------------------------------------------------------------------------------- refusals


def reason_of(file: Path) -> str:
    """What `unbroken check` prints of a bad file."""
    try:
        load(file, {})
    except ConfigError as error:
        return problems_text(error.problems).plain
    raise AssertionError("nothing is wrong with it")


@in_loop
async def test_a_bad_file_is_refused_and_the_old_one_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Its reason, in the words of `unbroken check`, is in the answer, the log and the status, until it is mended."""
    async with site(tmp_path) as here:
        good = here.file.read_bytes()
        before = (await here.get("status"))["config"]
        here.rewrite(lambda values: values["routes"]["m"].update(targets=["nobody/x"], strategy="luck"))
        with pytest.raises(Unanswered) as refused:
            await here.post("reload")
        assert str(refused.value) == reason_of(here.file) and "routes.m.strategy" in str(refused.value)
        assert str(refused.value) in caplog.text
        config = (await here.get("status"))["config"]
        assert config["digest"] == before["digest"] and config["loaded_at"] == before["loaded_at"]
        assert not config["last_reload"]["ok"] and config["last_reload"]["problem"] == str(refused.value)
        assert {problem["key"] for problem in config["last_reload"]["problems"]} == {
            "routes.m.targets[0]",
            "routes.m.strategy",
        }
        assert await here.chat() == "a/word-model"
        here.file.unlink()
        with pytest.raises(Unanswered, match="cannot be read"):
            await here.post("reload")
        here.file.write_bytes(good)
        assert (await here.post("reload"))["changes"] == []
        assert (await here.get("status"))["config"]["last_reload"]["ok"]


@in_loop
async def test_what_cannot_be_had_is_refused_before_anything_is_changed(tmp_path: Path) -> None:
    """A file that is right in itself and wants what is not there leaves everything as it was."""
    async with site(tmp_path) as here:
        pytest.importorskip("numpy")
        before = here.gateway.config

        def change(values: Values) -> None:
            values["defaults"]["cache"] = {"ttl_s": 60, "semantic": {"route": "nowhere"}}

        here.rewrite(change)
        with pytest.raises(Unanswered, match="nowhere"):
            await here.post("reload")
        assert here.gateway.config is before and here.gateway.engine.memory is None


@in_loop
async def test_what_needs_a_restart_is_said(tmp_path: Path) -> None:
    """Another address or port, or another place for the ledger, is taken note of, and nothing else is kept back."""
    async with site(tmp_path) as here:

        def change(values: Values) -> None:
            values["server"]["port"] = 4999
            values["ledger"] = "off"
            values["aliases"] = {"other": "m"}

        here.rewrite(change)
        told = await here.post("reload")
        assert told["restart"] == ["server.port", "ledger"]
        assert (await here.get("status"))["config"]["last_reload"]["restart"] == told["restart"]
        assert await here.chat("other") == "a/word-model"


@in_loop
async def test_a_defect_is_no_end(tmp_path: Path) -> None:
    """Whatever reading raises, the gateway goes on, and says that it is a defect."""
    async with site(tmp_path) as here:
        reloader = here.gateway.admin.reloader
        assert reloader is not None
        reloader._load = lambda: json.loads("{")
        outcome = await reloader.reload("test")
        assert "a defect: JSONDecodeError" in outcome.problem
        assert await here.chat() == "a/word-model"


@in_loop
async def test_the_asgi_application_reads_its_file_anew_when_told_to(tmp_path: Path) -> None:
    """Mounted in somebody's own server it has no signals and no watch, and the path all the same."""
    file = tmp_path / "unbroken.yaml"
    file.write_text("providers: {a: {base_url: 'http://127.0.0.1:1', model: x}}\n", encoding="utf-8")
    gateway = app(load(file, {})).gateway
    file.write_text("providers: {a: {base_url: 'http://127.0.0.1:1', model: y}}\n", encoding="utf-8")
    reloader = gateway.admin.reloader
    assert reloader is not None and not reloader.watching
    assert (await reloader.reload("test")).changes[:2] == ("target added: a/y", "target removed: a/x")
    assert app(Config.from_values({}, {})).gateway.admin.reloader is None
    await gateway.engine.close()


@in_loop
async def test_a_gateway_made_by_a_program_says_that_it_has_no_file(tmp_path: Path) -> None:
    """There is nothing to be read anew."""
    async with site(tmp_path) as here:
        here.gateway.admin.reloader = None
        with pytest.raises(Unanswered, match="made by a program"):
            await here.post("reload")


# -------------------------------------------------------------------------------- watching


@in_loop
async def test_a_file_that_has_changed_and_settled_is_read(tmp_path: Path) -> None:
    """Not while it is being written, not twice, not when it is gone for a moment; a bad one is not tried on and on."""
    async with site(tmp_path) as here:
        reloader = here.gateway.admin.reloader
        assert reloader is not None
        assert [reloader.look(), reloader.look()] == [False, False]
        text = here.file.read_bytes()
        here.file.write_bytes(text[:20])
        assert not reloader.look()
        here.file.write_bytes(text + b"\n")
        assert not reloader.look()
        assert reloader.look()
        await reloader.reload("file")
        assert not reloader.look()
        here.file.unlink()
        assert [reloader.look(), reloader.look()] == [False, False]
        here.file.write_bytes(b"{")
        assert [reloader.look(), reloader.look()] == [False, True]
        assert not (await reloader.reload("file")).ok
        assert not reloader.look()


# ------------------------------------------------------------------------- a real process


class Process:
    """`unbroken serve` as a process of its own."""

    def __init__(self, file: Path, *options: str, **more: Any) -> None:
        command = [sys.executable, "-m", "unbroken", "serve", "-c", str(file), "--port", "0", *options]
        environ = {**os.environ, "UNBROKEN_LEDGER": "off"}
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ, **more)
        self.said: list[str] = []
        self._news = threading.Condition()
        self._ear = threading.Thread(target=self._listen, daemon=True)
        self._ear.start()
        url = self.until("http://").split("http://")[1].split("/v1")[0]
        self.remote = Remote(f"http://{url}", ADMIN_KEY)

    def until(self, words: str) -> str:
        """The line with these words in it, which may be yet to come."""
        with self._news:
            assert self._news.wait_for(lambda: any(words in line for line in self.said), UNTIL_S), self.said
            return next(line for line in self.said if words in line)

    def send(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Stop it by a signal (0: by nothing), and wait; its exit code."""
        if number:
            self._process.send_signal(number)
        code = self._process.wait(UNTIL_S)
        self._ear.join(UNTIL_S)
        return code

    def _listen(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                with self._news:
                    self.said.append(line)
                    self._news.notify_all()


SERVED: Values = {
    "server": {"admin_keys": [ADMIN_KEY]},
    "providers": {"a": {"base_url": "http://127.0.0.1:1", "key": "sk-a-0123"}},
    "routes": {"m": {"targets": ["a/x"]}},
}


@contextmanager
def serving(tmp: Path, *options: str) -> Iterator[tuple[Process, Callable[[Callable[[Values], None]], None]]]:
    """A gateway as a process, and how to change its file."""
    file, values = tmp / "unbroken.yaml", deepcopy(SERVED)
    file.write_text(json.dumps(values), encoding="utf-8")

    def change(how: Callable[[Values], None]) -> None:
        how(values)
        new = tmp / "new.yaml"
        new.write_text(json.dumps(values), encoding="utf-8")
        new.replace(file)

    process = Process(file, *options)
    try:
        yield process, change
    finally:
        assert process.end() == 0


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_process_reloads_on_sighup(tmp_path: Path) -> None:
    """The signal has the file read anew, also a bad one, and the process goes on."""
    with serving(tmp_path, "--no-watch") as (process, change):
        change(lambda values: values["routes"].update(added={"targets": ["a/y"]}))
        process.send(signal.SIGHUP)
        process.until("route added: added")
        change(lambda values: values["routes"].update(added={"targets": ["nobody/y"]}))
        process.send(signal.SIGHUP)
        process.until("no provider `nobody`")
        status = process.remote.get("status")
        assert {route["name"] for route in status["routes"]} == {"m", "added", "auto"}
        assert not status["config"]["watching"] and not status["config"]["last_reload"]["ok"]


def test_a_process_reloads_when_its_file_has_changed(tmp_path: Path) -> None:
    """Nobody has to tell it."""
    with serving(tmp_path) as (process, change):
        assert process.remote.get("status")["config"]["watching"]
        change(lambda values: values["routes"].update(added={"targets": ["a/y"]}))
        process.until("route added: added")


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_process_ends_with_its_terminal(tmp_path: Path) -> None:
    """A window that is closed sends the same signal, and nobody wants a gateway that goes on without one."""
    termios, fcntl = pytest.importorskip("termios"), pytest.importorskip("fcntl")
    file = tmp_path / "unbroken.yaml"
    file.write_text(json.dumps(SERVED), encoding="utf-8")
    window, inside = os.openpty()
    own: Any = {
        "stdin": inside, "start_new_session": True, "preexec_fn": lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    }  # fmt: skip
    process = Process(file, **own)
    os.close(inside)
    os.close(window)
    assert process.end(0) == 0
