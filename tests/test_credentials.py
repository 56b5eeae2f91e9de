"""The keyring, with files and Google's tokens as what it reads: who waits, what is used, when it is read again."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keepers import Call, Keeper, Reply, google_account, serving
from unbroken.credentials import Credentials, keyring
from unbroken.failures import Failure, FailureKind
from unbroken.ports import Keyring
from unbroken.testing import ManualClock
from unbroken.types import HttpRequest, Target

Answer = HttpRequest | Failure
PATIENCE_S = 30.0


def target(credential: str, **options: Any) -> Target:
    return Target(name="p/m", provider="p", model="m", credential=credential, **options)


def write(to: Target) -> HttpRequest:
    return HttpRequest(method="POST", url="http://p/", headers={"authorization": f"Bearer {to.key}"})


def ask(credentials: Keyring, to: Target, *, write: Callable[[Target], HttpRequest] = write) -> asyncio.Future[Answer]:
    """Ask for an authorized request; the future is done at once where the key was known."""
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    credentials.authorize(to, write, ready=future.set_result)
    return future


async def key_of(credentials: Keyring, to: Target) -> str:
    """The key that is shown; the failure's words where there is none."""
    answer = await asyncio.wait_for(ask(credentials, to), PATIENCE_S)
    return str(answer) if isinstance(answer, Failure) else answer.headers["authorization"].removeprefix("Bearer ")


async def settled(credentials: Credentials) -> None:
    """Until nothing is being read."""
    while any(key.reading for key in credentials._keys.values()):
        await asyncio.sleep(0.001)


def put(file: Path, text: str) -> None:
    """What a rotation does."""
    file.write_text(text, encoding="utf-8")


def remove(file: Path) -> None:
    file.unlink()


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No keys of whoever runs the tests, and no proxy."""
    for name in list(os.environ):
        if name.lower().startswith(("google_", "gce_")) or "proxy" in name.lower():
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


# ------------------------------------------------------------------------------ files


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    put(path, "key-one\n")
    return path


def test_a_key_in_a_file(file: Path) -> None:
    """The first request waits for the reading, the second has it at once; blanks around the key are no part of it."""

    async def run() -> None:
        credentials = Credentials()
        assert await key_of(credentials, target(f"file:{file}")) == "key-one"
        assert ask(credentials, target(f"file:{file}")).done()

    asyncio.run(run())


def test_the_token_file_of_hugging_face(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`hf-token-file` needs no path: it is where Hugging Face's own tools have put it."""
    monkeypatch.setenv("HF_TOKEN_PATH", str(file))
    assert asyncio.run(key_of(Credentials(), target("hf-token-file"))) == "key-one"


def test_a_rotated_file_is_picked_up_after_a_while(file: Path) -> None:
    """A newer key is read behind the back of the requests: nobody waits, and the next ones have it."""

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{file}")
        assert await key_of(credentials, to) == "key-one"
        put(file, "key-two")
        assert await key_of(credentials, to) == "key-one"
        clock.advance(keyring.FILE_S)
        assert ask(credentials, to).done()
        await settled(credentials)
        assert await key_of(credentials, to) == "key-two"

    asyncio.run(run())


def test_a_refused_key_is_read_again_at_once(file: Path) -> None:
    """After `forget`, the next request waits for what the file says now."""

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{file}")
        assert not credentials.forget(to.credential), "nobody has heard of it yet"
        assert await key_of(credentials, to) == "key-one"
        put(file, "key-two")
        clock.advance(keyring.DOUBT_S)
        assert credentials.forget(to.credential)
        assert credentials.forget(to.credential), "others were refused with it at the same time"
        assert await key_of(credentials, to) == "key-two"
        assert credentials.forget(to.credential), "late news of the key of before"
        assert ask(credentials, to).done()

    asyncio.run(run())


def test_refusals_in_a_row_cost_one_reading(file: Path) -> None:
    """A key that was read a moment ago stays in use, and is read again when the moment is over."""

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{file}")
        assert await key_of(credentials, to) == "key-one"
        put(file, "key-two")
        for _ in range(100):
            assert not credentials.forget(to.credential)
            assert ask(credentials, to).done()
        assert await key_of(credentials, to) == "key-one"
        clock.advance(keyring.DOUBT_S)
        assert ask(credentials, to).done()
        await settled(credentials)
        assert await key_of(credentials, to) == "key-two"

    asyncio.run(run())


def test_a_key_outlives_its_keeper(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """While a newer one cannot be read, the key of before is used, refused or not; the log says so once."""

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{file}")
        assert await key_of(credentials, to) == "key-one"
        remove(file)
        for _ in range(3):
            clock.advance(keyring.FILE_S)
            assert credentials.forget(to.credential)
            assert await key_of(credentials, to) == "key-one"
            assert not credentials.forget(to.credential), "its keeper is left alone for a while"
            assert ask(credentials, to).done()
        put(file, "key-two")
        clock.advance(keyring.REST_S)
        await key_of(credentials, to)
        await settled(credentials)
        assert await key_of(credentials, to) == "key-two"

    asyncio.run(run())
    told = f"no key from file:{file}: {file} cannot be read: No such file or directory; the key of before is used"
    assert caplog.messages == [told]


def test_a_clock_that_was_set_back(file: Path) -> None:
    """A key that seems to come from the future is read anew, and nothing rests for hours."""

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{file}")
        await key_of(credentials, to)
        remove(file)
        clock.advance(keyring.FILE_S)
        await key_of(credentials, to)
        await settled(credentials)
        put(file, "key-two")
        clock.now -= 3600.0
        await key_of(credentials, to)
        await settled(credentials)
        assert await key_of(credentials, to) == "key-two"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"sk-one\nsk-two", "more than one line"),
        (b"sk-\xc3\xa9", "no header can hold"),
        (b"sk-\xff", "is no text"),
        (b"s" * 20_000, "longer than 16384 characters"),
    ],
    ids=["missing", "empty", "blank", "two lines", "not ASCII", "not text", "long"],
)
def test_no_key_is_a_failure_with_the_reason(content: bytes | None, why: str, tmp_path: Path) -> None:
    """AUTH, certainly not sent, set aside for seconds; it names the reference and nothing of what was read."""
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)

    async def run() -> Answer:
        return await ask(Credentials(), target(f"file:{path}"))

    failure = asyncio.run(run())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.sent, failure.cool_s) == (FailureKind.AUTH, False, keyring.REST_S)
    assert f"p/m was not asked: no key from file:{path}:" in failure.message
    assert why in failure.message
    assert "sk-" not in failure.message


def test_a_keeper_that_failed_is_left_alone_for_a_while(tmp_path: Path) -> None:
    """Those who come right after a failure fail at once; after some seconds it is tried again."""

    async def run() -> None:
        clock, path = ManualClock(1e9), tmp_path / "key"
        credentials, to = Credentials(clock=clock), target(f"file:{path}")
        assert "cannot be read" in await key_of(credentials, to)
        put(path, "key-one")
        assert ask(credentials, to).done() and "cannot be read" in await key_of(credentials, to)
        clock.advance(keyring.REST_S)
        assert await key_of(credentials, to) == "key-one"

    asyncio.run(run())


def test_a_keeper_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests fail after a time limit and the loop goes on meanwhile; a key that comes late is used."""
    monkeypatch.setattr(keyring, "READ_S_MAX", 0.05)
    pipe = tmp_path / "key"
    os.mkfifo(pipe)  # opening it waits for somebody who writes

    async def run() -> None:
        clock = ManualClock(1e9)
        credentials, to = Credentials(clock=clock), target(f"file:{pipe}")
        assert "there was no answer in 0.05 s" in await key_of(credentials, to)
        clock.advance(keyring.REST_S)
        assert "still under way" in await key_of(credentials, to)
        await asyncio.to_thread(pipe.write_text, "key-one")
        while credentials._keys[to.credential].held is None:
            await asyncio.sleep(0.001)
        assert await key_of(credentials, to) == "key-one"

    asyncio.run(run())


def test_bad_news_that_come_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading that was given up says nothing any more when it fails."""
    monkeypatch.setattr(keyring, "READ_S_MAX", 0.05)
    pipe = tmp_path / "key"
    os.mkfifo(pipe)

    async def run() -> None:
        credentials, to = Credentials(), target(f"file:{pipe}")
        told = await key_of(credentials, to)
        key = credentials._keys[to.credential]
        await asyncio.to_thread(pipe.write_text, "")
        while key._lock.locked():
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.001)
        assert await key_of(credentials, to) == told

    asyncio.run(run())


def test_a_client_with_a_defect() -> None:
    """What nobody foresaw is named by its kind alone: its words might hold anything."""
    told = asyncio.run(key_of(Credentials(), target("file:keys/\0sk-real-key")))
    assert told.endswith("reading it failed (ValueError)")


def test_too_many_wait(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The queue for a key has an end: who comes after it fails at once."""
    monkeypatch.setattr(keyring, "WAITING_MAX", 2)

    async def run() -> None:
        credentials, to = Credentials(), target(f"file:{file}")
        first, second, third = (ask(credentials, to) for _ in range(3))
        assert third.done() and not first.done()
        assert "too many requests wait" in str(await third)
        assert isinstance(await first, HttpRequest) and isinstance(await second, HttpRequest)

    asyncio.run(run())


def test_a_request_that_cannot_be_written(file: Path) -> None:
    """ValueError passes through where the key is known, and is a REQUEST failure where it had to be waited for."""

    def refuse(to: Target) -> HttpRequest:
        raise ValueError("no word for it")

    async def run() -> None:
        credentials, to = Credentials(), target(f"file:{file}")
        later = await ask(credentials, to, write=refuse)
        assert isinstance(later, Failure)
        assert (later.kind, later.sent) == (FailureKind.REQUEST, False)
        assert later.message == "p/m cannot be asked this: no word for it"
        with pytest.raises(ValueError, match="no word for it"):
            ask(credentials, to, write=refuse)

    asyncio.run(run())


def test_one_defect_does_not_stop_the_others_that_wait(file: Path) -> None:
    """What one request raises is reported to the loop, and everybody else has the key."""
    reported: list[Any] = []

    def defect(to: Target) -> HttpRequest:
        raise ZeroDivisionError

    async def run() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: reported.append(told["exception"]))
        credentials, to = Credentials(), target(f"file:{file}")
        ask(credentials, to, write=defect)
        return await key_of(credentials, to)

    assert asyncio.run(run()) == "key-one"
    assert [ZeroDivisionError] == [type(error) for error in reported]


def test_what_is_no_reference(caplog: pytest.LogCaptureFixture) -> None:
    """Somebody put the key itself where its name belongs: it is refused without being repeated."""

    async def run() -> list[str]:
        credentials = Credentials()
        return [await key_of(credentials, target(name)) for name in ("sk-real-key", "vault:sk-real-key")]

    plain, half = asyncio.run(run())
    assert "that is no reference to a key" in plain
    assert "a reference to a key reads vault:MOUNT/PATH#FIELD" in half
    assert "sk-real-key" not in plain + half + caplog.text


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says which reference needs what and how to install it."""
    import sys

    monkeypatch.setitem(sys.modules, "hvac", None)
    monkeypatch.delitem(sys.modules, "unbroken.credentials.vault", raising=False)
    told = asyncio.run(key_of(Credentials(), target("vault:secret/openai#key")))
    assert "no key from vault:secret/openai#key: it needs hvac" in told
    assert "pip install 'unbroken[secrets]'" in told


def test_the_keyring_needs_no_client_of_anybody() -> None:
    """The official clients are imported when a reference of theirs is first used, and in no other case."""
    import subprocess
    import sys

    code = """
import asyncio, sys
from unbroken.credentials import Credentials
from unbroken.types import Target
async def run():
    done = asyncio.Event()
    target = Target(name="", provider="", model="", credential="file:/no/such")
    Credentials().authorize(target, print, ready=lambda _: done.set())
    await done.wait()
asyncio.run(run())
print(sorted({"azure", "botocore", "boto3", "google", "hvac", "requests"} & set(sys.modules)))
"""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environ)
    assert ran.stdout.strip() == "[]"


# ----------------------------------------------------------------------------- tokens


class Google:
    """A token endpoint; each token is new, and `lasts_s` what it says of it."""

    def __init__(self) -> None:
        self.lasts_s: int = 3600
        self.refuses = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.given = 0

    def __call__(self, call: Call) -> Reply:
        assert call.form["grant_type"].endswith("jwt-bearer")
        self.may_answer.wait(PATIENCE_S)
        if self.refuses:
            return Reply({"error": "invalid_grant", "error_description": "Invalid JWT Signature."}, 400)
        self.given += 1
        return Reply({"access_token": f"ya29.token-{self.given}", "expires_in": self.lasts_s, "token_type": "Bearer"})


@pytest.fixture
def google() -> Iterator[Keeper]:
    with serving(Google()) as keeper:
        yield keeper


def test_two_hundred_requests_wait_for_one_token(google: Keeper, tmp_path: Path) -> None:
    """All of them are answered from a single reading, and the loop is free meanwhile."""
    account = google_account(tmp_path, f"{google.url}/token")
    said: Any = google.answer
    said.may_answer.clear()

    async def run() -> list[str]:
        credentials = Credentials()
        waiting = [asyncio.create_task(key_of(credentials, target(f"google:{account}"))) for _ in range(200)]
        while not google.calls:
            await asyncio.sleep(0.001)
        assert not any(task.done() for task in waiting)
        said.may_answer.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(run()) == ["ya29.token-1"] * 200
    assert len(google.calls) == 1


def test_a_token_is_renewed_before_it_ends(google: Keeper, tmp_path: Path) -> None:
    """With less than five minutes left a new one is fetched, once, while the old one is still used."""
    account = google_account(tmp_path, f"{google.url}/token")

    async def run() -> None:
        clock = ManualClock(time.time())
        credentials, to = Credentials(clock=clock), target(f"google:{account}")
        assert await key_of(credentials, to) == "ya29.token-1"
        clock.advance(3600 - keyring.EARLY_S - 60)
        assert await key_of(credentials, to) == "ya29.token-1"
        await settled(credentials)
        assert len(google.calls) == 1
        clock.advance(120)
        assert [ask(credentials, to).done() for _ in range(200)] == [True] * 200
        assert await key_of(credentials, to) == "ya29.token-1"
        await settled(credentials)
        assert len(google.calls) == 2
        assert await key_of(credentials, to) == "ya29.token-2"

    asyncio.run(run())


def test_a_token_that_cannot_be_renewed_is_used_to_its_end(google: Keeper, tmp_path: Path) -> None:
    """While it is valid nobody notices; then requests fail with the reason; then all is well again."""
    account = google_account(tmp_path, f"{google.url}/token")
    said: Any = google.answer

    async def run() -> None:
        clock = ManualClock(time.time())
        credentials, to = Credentials(clock=clock), target(f"google:{account}")
        assert await key_of(credentials, to) == "ya29.token-1"
        said.refuses = True
        clock.advance(3600 - 60)
        for _ in range(3):
            assert await key_of(credentials, to) == "ya29.token-1"
            await settled(credentials)
        assert len(google.calls) == 2, "a keeper that failed is left alone for a while"
        clock.advance(60)
        told = await key_of(credentials, to)
        assert f"no key from google:{account}: Google gives no token: invalid_grant: Invalid JWT" in told
        said.refuses, said.lasts_s = False, 9000  # beyond the end of the first, as the client's own clock has not moved
        clock.advance(keyring.REST_S)
        assert await key_of(credentials, to) == "ya29.token-2"

    asyncio.run(run())


def test_short_lived_tokens(google: Keeper, tmp_path: Path) -> None:
    """A token of two minutes is renewed after one; one that has ended when it comes is none."""
    account = google_account(tmp_path, f"{google.url}/token")
    said: Any = google.answer

    async def run() -> None:
        clock = ManualClock(time.time())
        credentials, to = Credentials(clock=clock), target(f"google:{account}")
        said.lasts_s = 120
        assert await key_of(credentials, to) == "ya29.token-1"
        clock.advance(50)
        assert await key_of(credentials, to) == "ya29.token-1"
        await settled(credentials)
        assert len(google.calls) == 1
        clock.advance(15)
        await key_of(credentials, to)
        await settled(credentials)
        assert await key_of(credentials, to) == "ya29.token-2"
        said.lasts_s = 1
        clock.advance(7200)
        assert "what it gave has ended already" in await key_of(credentials, to)

    asyncio.run(run())


# ----------------------------------------------------------------------------- secrecy


def test_a_secret_is_in_no_log_repr_or_error(
    file: Path, google: Keeper, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes well or wrong, at the lowest level of logging and in the loop's debug mode."""
    account = google_account(tmp_path, f"{google.url}/token")
    private = account.read_text().split("-----")[2][:60]
    caplog.set_level(logging.DEBUG)
    said: list[str] = []
    reported: list[Any] = []

    def spy(to: Target) -> HttpRequest:
        said.append(repr(to))
        return write(to)

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: reported.append(told))
        clock = ManualClock(time.time())
        credentials = Credentials(clock=clock)
        for to in (target(f"file:{file}"), target(f"google:{account}"), target(f"file:{file}", auth="sigv4")):
            for _ in range(3):
                answer = await ask(credentials, to, write=spy)
                said.append(str(answer) if isinstance(answer, Failure) else "")
                clock.advance(keyring.FILE_S)
                credentials.forget(to.credential)
        put(file, "key-one\nkey-two")
        clock.advance(7200)
        answer = await ask(credentials, target(f"file:{file}"))
        said.extend([repr(credentials), repr(vars(credentials)), str(answer) if isinstance(answer, Failure) else ""])
        said.extend(repr(getattr(key, name)) for key in credentials._keys.values() for name in key.__slots__)

    asyncio.run(run(), debug=True)
    everything = "\n".join([*said, caplog.text, repr(reported)])
    assert "its requests are signed" in everything, "the test looks where it thinks it does"
    for secret in ("key-one", "key-two", "ya29.", private):
        assert secret not in everything
