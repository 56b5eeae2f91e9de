"""The client for programs without an event loop: the same calls, from any thread."""

from __future__ import annotations

import asyncio
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from faces.client_world import PRICE, Town, town
from unbroken import RequestError, SyncStream, SyncUnbroken, TargetsExhausted, Unbroken
from unbroken.faces.client import Stream
from unbroken.testing import Cut, Hang, Refused, Status, essay
from unbroken.testing.samples import CLIP, PIXEL

QUESTION = "Why do bridges sing?"
VECTORS = 2


@pytest.fixture
def there() -> Iterator[Town]:
    with town("north", "south") as made:
        yield made


def values(there: Town) -> dict[str, Any]:
    return {
        "providers": {
            name: {"base_url": fake.base_url, "key": "k", "model": "word-model", "price": PRICE}
            for name, fake in there.fakes.items()
        }
    }


def test_every_call_returns_when_it_is_done(there: Town) -> None:
    """All calls do without `await` what they do with it."""
    with Unbroken.sync(values(there), environ={}) as client:
        assert client.chat(QUESTION).text == essay(QUESTION)
        assert client.complete("Once upon", max_tokens=2).usage is not None
        assert len(client.embed(["a", "b"])) == VECTORS
        assert client.image("a lighthouse").data == PIXEL
        assert client.video("waves").data == CLIP
        assert [model.id for model in client.models()] == ["auto", "north/word-model", "south/word-model"]
        assert client.estimate_cost(QUESTION).usd
        assert all(client.check_health().values())
        assert client.config.warnings == ()


def test_failures_are_raised_where_the_call_is(there: Town) -> None:
    """A blocking call raises what the other one raises, and fails over as it does."""
    with Unbroken.sync(**values(there), environ={}) as client:
        there.breaks("north", Status(401))
        answer = client.chat(QUESTION)
        assert answer.provider == "south" and answer.failover_occurred
        there.breaks("south", Refused())
        with pytest.raises(TargetsExhausted) as caught:
            client.chat(QUESTION)
        assert caught.value.attempts
        with pytest.raises(RequestError):
            client.chat(QUESTION, provider="west")


def test_a_stream_is_iterated_and_rescued(there: Town) -> None:
    """A stream that is cut goes on elsewhere; one that is left hangs up."""
    with SyncUnbroken(values(there), environ={}) as client:
        there.breaks("north", Cut(after_tokens=12))
        stream = client.stream(QUESTION)
        assert "".join(chunk.text for chunk in stream) == stream.text == essay(QUESTION)
        assert stream.answer.rescued and stream.answer.provider == "south"
        there.breaks("north", None)
        with client.stream(QUESTION) as left:
            next(left)
        with pytest.raises(RuntimeError):
            _ = left.answer
        assert client.stream(QUESTION).whole().text == essay(QUESTION)


def test_any_thread_may_call(there: Town) -> None:
    """Threads share one client and do not meet in each other's answers."""
    questions = [f"Question {number}" for number in range(24)]
    with Unbroken.sync(values(there), environ={}) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(client.chat, questions))
        assert client.get_statistics()["answered"] == len(questions)
    assert [answer.text for answer in answers] == [essay(question) for question in questions]


def test_it_works_where_an_event_loop_runs(there: Town) -> None:
    """In a notebook, whose event loop runs already, a blocking call answers all the same."""

    async def cell() -> str:
        with Unbroken.sync(values(there), environ={}) as client:
            return client.chat(QUESTION).text

    assert asyncio.run(cell()) == essay(QUESTION)


def test_providers_of_ones_own_answer_in_the_client_s_thread(there: Town) -> None:
    """An async function is a provider here too, and cannot wait for the client that it answers for."""
    with Unbroken.sync(values(there), environ={}) as client:

        @client.provider("own", first=True)
        async def own(_: object) -> str:
            return threading.current_thread().name

        async def circle(_: object) -> str:
            return client.chat(QUESTION).text

        client.register("circle", circle, route=None)
        assert client.chat(QUESTION).text == "unbroken"
        with pytest.raises(TargetsExhausted, match="cannot wait"):
            client.chat(QUESTION, provider="circle")


def test_a_closed_client_says_so(there: Town) -> None:
    """Closing ends the thread, twice is once, and afterwards calls are refused."""
    client = Unbroken.sync(values(there), environ={})
    there.breaks("north", Hang())
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(client.chat, QUESTION)
        while not there.fakes["north"].seen:
            pass
        client.close()
        client.close()
        with pytest.raises(RequestError, match="cancelled"):
            asking.result()
    with pytest.raises(RuntimeError, match="closed"):
        client.chat(QUESTION)
    assert "unbroken" not in {thread.name for thread in threading.enumerate()}


def test_a_forgotten_client_closes_itself(there: Town) -> None:
    """Whoever drops a client without closing it leaves neither thread nor connection."""
    client = Unbroken.sync(values(there), environ={})
    client.chat(QUESTION)
    del client
    assert "unbroken" not in {thread.name for thread in threading.enumerate()}


FORKING = """
import os, warnings
from unbroken import Unbroken

warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads
client = Unbroken.sync(providers={"own": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}, environ={})
client.models()
child = os.fork()
if child:
    assert os.waitpid(child, 0)[1] == 0  # first, since two who print at once write into each other's lines
try:
    print(len(client.models()), flush=True)
except RuntimeError as error:
    print(error, flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_client_says_so() -> None:
    """In a forked process, which has no thread of its parent's, a call says what to do and nothing hangs."""
    done = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["this client belongs to the process that was forked: make one in each", "2"]


def test_it_is_made_as_the_other_one_is(tmp_path: Path) -> None:
    """File, values and environment make it too."""
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"providers": {"own": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}}))
    for client in (SyncUnbroken(file, environ={}), SyncUnbroken.from_file(file, environ={})):
        with client:
            assert list(client.config.accounts) == ["own"]
    with SyncUnbroken.from_env({"GROQ_API_KEY": "k"}) as client:
        assert list(client.config.accounts) == ["groq"]


@pytest.mark.parametrize(("one", "other"), [(Unbroken, SyncUnbroken), (Stream, SyncStream)])
def test_both_clients_have_the_same_calls(one: type, other: type) -> None:
    """There is no call that only one of the two has, and each takes the same."""

    def calls(kind: type) -> dict[str, list[str]]:
        named = {name: call for name, call in vars(kind).items() if not name.startswith("_") and callable(call)}
        return {name: list(inspect.signature(call).parameters) for name, call in named.items()}

    assert calls(one) == calls(other) | ({"sync": calls(one)["sync"]} if "sync" in vars(one) else {})


def test_the_operations_are_there_too(there: Town) -> None:
    """A provider manager's operations need no event loop."""
    with Unbroken.sync(values(there), environ={}) as client:
        result = client.generate_text(QUESTION, preferred_provider="south", max_tokens=5)
        assert (result["provider"], result["failover_occurred"]) == ("south", False)
        assert client.generate_image("a lighthouse") == PIXEL
        assert all(client.health_check_all().values()) and client.force_health_check("north").free
        client.disable_provider("north")
        assert not client.get_provider_status()["north"]["enabled"]
        assert client.generate_text(QUESTION)["provider"] == "south"
        client.enable_provider("north")
        client.set_failover_strategy("round-robin")
        assert {client.generate_text(QUESTION)["provider"] for _ in range(2)} == {"north", "south"}
        client.reset_statistics()
        assert client.get_statistics()["requests"] == 0
