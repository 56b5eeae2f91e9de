"""What stands behind an SDK's client: its configuration, its library, its thread, and how answers get across."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from faces.running import config_for
from unbroken.assemble import engine
from unbroken.config import Config, ConfigError
from unbroken.faces.gateway import Gateway, Reply, Visitor
from unbroken.faces.sdk import SharedEngine, async_sdk_client, library, sdk_client, sdk_transport
from unbroken.faces.sdk.line import UNREAD_BYTES_MAX, Asked, Line
from unbroken.faces.sdk.shared import Source
from unbroken.testing import FakeProvider, Speed, essay

QUESTION: Mapping[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
STREAMED: Mapping[str, Any] = {**QUESTION, "stream": True}
LIBRARIES = [name for name in library.LIBRARIES if find_spec(name) is not None]
URL = "https://anywhere.example/v1/chat/completions"
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
SLOW = Speed(first_token_s=0.0, tokens_per_s=5.0)


@contextmanager
def served(*fakes: FakeProvider) -> Iterator[None]:
    """These providers, on a thread of their own, so that the test may block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def do(coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)

    try:
        for fake in fakes:
            do(fake.start())
        yield
        for fake in fakes:
            do(fake.close())
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def rooms() -> list[threading.Thread]:
    """The threads of engines that are open."""
    return [thread for thread in threading.enumerate() if thread.name == "unbroken"]


def words(response: Any) -> str:
    return str(response.json()["choices"][0]["message"]["content"])


# --------------------------------------------------------------------- libraries


@pytest.mark.parametrize("name", LIBRARIES)
def test_clients_are_the_librarys_own(name: str, tmp_path: Path) -> None:
    """A blocking client, an asynchronous one, and a transport for clients of one's own."""
    module, fake = import_module(name), FakeProvider("far")

    async def ask(client: Any) -> Any:
        async with client:
            return await client.post(URL, json=QUESTION, timeout=None)

    with served(fake), SharedEngine(config_for([fake], tmp_path)) as shared:
        client, asynchronous = shared.client(name), shared.async_client(name)
        assert (type(client), type(asynchronous)) == (module.Client, module.AsyncClient)
        with client, module.Client(transport=shared.transport(name), base_url="http://x") as own:
            answers = [
                client.post(URL, json=QUESTION, timeout=None),
                own.post("/v1/chat/completions", json=QUESTION, timeout=None),
                asyncio.run(ask(asynchronous)),
            ]
    assert {type(answer) for answer in answers} == {module.Response}
    assert [words(answer) for answer in answers] == [essay("Hi")] * 3


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_time_limit_is_the_librarys_exception(name: str, tmp_path: Path) -> None:
    """Before the answer and within it, blocking and not."""
    module, fake = import_module(name), FakeProvider("far", speed=Speed(first_token_s=0.0, tokens_per_s=0.5))

    async def wait(client: Any) -> None:
        async with client, client.stream("POST", URL, json=STREAMED, timeout=0.1) as response:
            with pytest.raises(module.ReadTimeout, match=r"nothing came for 0\.1 s"):
                await response.aread()

    with served(fake), SharedEngine(config_for([fake], tmp_path)) as shared:
        with shared.client(name) as client:
            with pytest.raises(module.ReadTimeout):
                client.post(URL, json=QUESTION, timeout=0.1)
            with client.stream("POST", URL, json=STREAMED, timeout=0.1) as response, pytest.raises(module.ReadTimeout):
                response.read()
        asyncio.run(wait(shared.async_client(name)))


def test_no_library_is_imported_before_a_client_is_made() -> None:
    """Whoever imports this needs neither of them."""
    script = "import sys, unbroken.faces.sdk; print([n for n in ('httpx', 'httpx2', 'openai') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    assert done.stdout.strip() == "[]"


def installed(folder: Path, *requirements: tuple[str, str]) -> None:
    """SDKs with these requirements, as pip leaves them."""
    for sdk, requirement in requirements:
        there = folder / f"{sdk.replace('-', '_')}-9.9.dist-info"
        there.mkdir()
        (there / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {sdk}\nVersion: 9.9\n{requirement}\n")


@pytest.mark.parametrize(
    ("requirements", "expected"),
    [
        (["Requires-Dist: httpx<1,>=0.23.0"] * 3, "httpx"),
        (["Requires-Dist: httpx2<3,>=2"] * 3, "httpx2"),
        (["Requires-Dist: httpx2 (>=2)\nRequires-Dist: httpx<1; extra == 'httpx'"] * 3, "httpx2"),
        (["Requires-Dist: httpx2>=2\nRequires-Dist: httpx<1", "Requires-Dist: anyio", "Requires-Dist: x"], "httpx2"),
    ],
)
def test_the_library_is_the_one_that_sdks_require(
    requirements: list[str], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read from what is installed; extras do not count."""
    installed(tmp_path, *zip(library.SDKS, requirements, strict=True))
    monkeypatch.syspath_prepend(str(tmp_path))
    assert library.chosen(None) == expected


def test_sdks_that_disagree_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody guesses then; the message says what to write."""
    wanted = ("Requires-Dist: httpx2", "Requires-Dist: httpx", "Requires-Dist: httpx")
    installed(tmp_path, *zip(library.SDKS, wanted, strict=True))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError, match="openai wants httpx2, anthropic wants httpx, google-genai wants httpx: say"):
        library.chosen(None)
    assert library.chosen("httpx") == "httpx"
    with pytest.raises(ValueError, match="'httpx2' or 'httpx', not 'requests'"):
        library.chosen("requests")


def test_without_an_sdk_any_library_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that is installed; where none is, that is said."""
    monkeypatch.setattr(library, "SDKS", ("an-sdk-that-is-not-there",))
    assert library.chosen(None) == LIBRARIES[0]
    monkeypatch.setattr(library, "LIBRARIES", ("a_library_that_is_not_there",))
    with pytest.raises(ModuleNotFoundError, match="none is installed"):
        library.chosen(None)


# --------------------------------------------------------------------- configuration


def test_every_kind_of_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `Config`, a path, a mapping, the environment, and an engine that is shared."""
    fake = FakeProvider("openai")
    with served(fake):
        config = config_for([fake], tmp_path)
        file = tmp_path / "unbroken.yaml"
        mapping = {"providers": {"openai": {}}, "routes": {"m": {"targets": ["openai/word-model"]}}}
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        monkeypatch.setenv("OPENAI_BASE_URL", fake.base_url)
        sources: list[Source] = [config, file, str(file), mapping, None]
        for source in sources:
            with sdk_client(source) as client:
                assert words(client.post(URL, json=QUESTION, timeout=None)) == essay("Hi")
        file.unlink()
        with SharedEngine() as shared, sdk_client(shared) as client:
            answer = client.post(URL, json={**QUESTION, "model": "auto"}, timeout=None)
            assert words(answer) == essay("Hi")
            assert "auto" in shared.config.routes


def test_a_wrong_configuration_is_said_at_once(tmp_path: Path) -> None:
    """When the client is made, not at the first request."""
    with pytest.raises(ConfigError, match="targets"):
        sdk_client({"routes": {"m": {"targets": []}}})
    with pytest.raises(ConfigError, match="cannot be read"):
        async_sdk_client(tmp_path / "nothing.yaml")


# --------------------------------------------------------------------- its thread


def test_closing_a_client_closes_its_engine(tmp_path: Path) -> None:
    """The thread ends and the provider's connections are closed; blocking or not, once or twice."""
    fake = FakeProvider("far")
    with served(fake):
        config = config_for([fake], tmp_path)
        client = sdk_client(config)
        assert not rooms()  # nothing runs before the first request
        client.post(URL, json=QUESTION, timeout=None)
        assert len(rooms()) == 1
        client.close()
        client.close()
        assert not rooms()

        async def ask() -> None:
            async with async_sdk_client(config) as asynchronous:
                await asynchronous.post(URL, json=QUESTION, timeout=None)

        asyncio.run(ask())
        assert not rooms()


def test_a_shared_engine_is_closed_by_its_owner(tmp_path: Path) -> None:
    """One client may go without taking it from the others; after its end it says so."""
    fake = FakeProvider("far")
    with served(fake):
        with SharedEngine(config_for([fake], tmp_path)) as shared:
            first, second = sdk_client(shared), shared.client()
            first.post(URL, json=QUESTION, timeout=None)
            first.close()
            assert words(second.post(URL, json=QUESTION, timeout=None)) == essay("Hi")
        with pytest.raises(RuntimeError, match="this engine is closed"):
            second.post(URL, json=QUESTION, timeout=None)
        second.close()
    assert not rooms()


def test_what_is_under_way_at_the_end_is_ended(tmp_path: Path) -> None:
    """A stream then ends with an error and not with a false end, and a request that waits gets a status."""
    fake = FakeProvider("far", speed=SLOW)
    statuses: list[int] = []
    with served(fake):
        shared = SharedEngine(config_for([fake], tmp_path))
        client = shared.client()

        def wait() -> None:
            statuses.append(client.post(URL, json=QUESTION, timeout=None).status_code)

        with client.stream("POST", URL, json=STREAMED, timeout=None) as response:
            pieces = response.iter_bytes()
            next(pieces)
            waiting = threading.Thread(target=wait)
            waiting.start()
            while len(fake.seen) < 2:
                time.sleep(0.01)
            shared.close()
            rest = b"".join(pieces)
        waiting.join()
        client.close()
    assert b'"error"' in rest
    assert b"[DONE]" not in rest
    assert statuses == [499]


def test_a_client_that_is_dropped_ends_its_thread(tmp_path: Path) -> None:
    """Forgetting to close leaks nothing; a stream that is still read keeps it."""
    fake = FakeProvider("far")
    with served(fake):
        client = sdk_client(config_for([fake], tmp_path))
        response = client.send(client.build_request("POST", URL, json=STREAMED, timeout=None), stream=True)
        (thread,) = rooms()
        del client
        gc.collect()
        assert b"".join(response.iter_bytes()).endswith(b"data: [DONE]\n\n")
        response.close()
        del response
        gc.collect()
        thread.join(20)
        assert not rooms()


SCRIPT = """
import os, sys
from unbroken.faces.sdk import sdk_client

client = sdk_client(sys.argv[1])

def ask():
    answer = client.post("http://x/v1/chat/completions", json={QUESTION}, timeout=None)
    return answer.json()["choices"][0]["finish_reason"]

print(ask())
if "fork" in sys.argv[2:]:
    locks = [client._transport._shared._lock, client._transport._shared._room._lock] if "busy" in sys.argv[2:] else []
    for lock in locks:  # as if another thread were asking at this moment
        lock.acquire()
    child = os.fork()
    if child:
        for lock in locks:
            lock.release()
    answer = ask()
    if child:
        assert os.waitpid(child, 0)[1] == 0  # before it prints: two at once write into each other's lines
    print(answer, flush=True)
"""


@pytest.mark.parametrize("way", [["fork"], ["busy", "fork"], []], ids=["fork", "fork while asking", "no fork"])
def test_processes_end_and_fork_in_peace(way: list[str], tmp_path: Path) -> None:
    """A program may forget to close, and may fork, also while a thread asks: nothing hangs, nothing is printed."""
    if way and not hasattr(os, "fork"):
        pytest.skip("this system cannot fork")
    fake = FakeProvider("far")
    with served(fake):
        config_for([fake], tmp_path)
        program = [
            sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c",
            SCRIPT.replace("{QUESTION}", repr(dict(QUESTION))), str(tmp_path / "unbroken.yaml"), *way,
        ]  # fmt: skip
        done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=50, env=ENVIRONMENT)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"stop"}
    assert len(fake.seen) == (3 if way else 1)


# --------------------------------------------------------------------- a line


class Speaker(Visitor):
    """An answer that is told what to say, and notes whether it was told to pause."""

    said, paused = b"", False

    def say(self, size: int) -> None:
        self.status, self.said = 200, b"x" * size
        assert self.notify is not None
        self.notify()

    def take(self) -> bytes:
        return self.said

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False


class Door(Gateway):
    """A gateway that gives what it is told to."""

    def __init__(self, answer: Visitor | Reply) -> None:
        super().__init__(Config(), engine(Config()))
        self._answer = answer

    def receive(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes) -> Reply | Visitor:
        return self._answer


ASKED = Asked("POST", "/v1/chat/completions", {}, b"")


def test_a_slow_reader_slows_the_provider_down() -> None:
    """When so much is unread the answer is paused, until it was read."""

    async def run() -> None:
        speaker = Speaker()
        line = Line(asyncio.get_running_loop(), lambda: None)
        line.begin(Door(speaker), ASKED)
        speaker.say(UNREAD_BYTES_MAX)
        assert not speaker.paused
        speaker.say(1)
        assert speaker.paused
        assert len(line.take() or b"") == UNREAD_BYTES_MAX + 1
        await asyncio.sleep(0)
        assert not speaker.paused
        assert line.take() == b""

    asyncio.run(run())


def test_a_reader_whose_loop_is_gone_harms_nobody() -> None:
    """Its answer is made all the same, and nothing is raised in the engine's thread."""
    gone = asyncio.new_event_loop()
    gone.close()
    line = Line(gone, lambda: gone.call_soon_threadsafe(print))
    line.begin(Door(Reply(200, [], b"answer")), ASKED)
    assert (line.status, line.over, line.take(), line.take()) == (200, True, b"answer", None)


def test_a_transport_alone_closes_its_engine(tmp_path: Path) -> None:
    """`sdk_transport` is what `sdk_client` is made of."""
    fake = FakeProvider("far")
    name = LIBRARIES[0]
    with served(fake):
        transport = sdk_transport(config_for([fake], tmp_path), library=name)
        with import_module(name).Client(transport=transport) as client:
            assert words(client.post(URL, json=QUESTION, timeout=None)) == essay("Hi")
    assert not rooms()
