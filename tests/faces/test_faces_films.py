"""Films as jobs, by openai's client: made with failover, asked about, fetched, listed, deleted, forgotten in time."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from faces.running import Running, config_for, running
from unbroken.faces import films
from unbroken.faces.film_store import MEMORY_BYTES_MAX, PIECE_BYTES, Reading, stored
from unbroken.testing import FakeProvider, Hang, JobFailed, Page, Status
from unbroken.testing.samples import CLIP

pytestmark = pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
"""OpenAI's own films are announced to end; the format is what others speak too."""
KEYS = ("one-key", "other-key")
FAST: Any = {"poll_interval_ms": 10}


def visit(
    tmp_path: Path, ask: Callable[[AsyncOpenAI, Running], Awaitable[Any]], *fakes: FakeProvider, **server: Any
) -> Any:
    """What openai's client gets from a gateway over these providers."""

    async def go() -> Any:
        for fake in fakes:
            await fake.start()
        try:
            async with (
                running(config_for(fakes, tmp_path, server={"keys": list(KEYS), **server})) as gateway,
                AsyncOpenAI(base_url=gateway.url, api_key=KEYS[0], max_retries=0) as client,
            ):
                return await ask(client, gateway)
        finally:
            for fake in fakes:
                await fake.close()

    return asyncio.run(go())


def test_a_film_is_made_and_fetched(tmp_path: Path) -> None:
    """Create, poll, download: as at OpenAI, while the first provider is broken."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Status(500))

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        made = await client.videos.create(model="m", prompt="A gull.", seconds="8", size="1280x720")
        assert (made.status, made.progress, made.seconds, made.size) == ("queued", 0, "8", "1280x720")
        assert made.created_at > 1_600_000_000
        done = await client.videos.poll(made.id, **FAST)
        assert (done.id, done.status, done.progress, done.prompt) == (made.id, "completed", 100, "A gull.")
        assert (done.expires_at or 0) > (done.completed_at or 0) >= made.created_at
        film = await client.videos.download_content(made.id)
        assert (film.read(), film.response.headers["content-type"]) == (CLIP, "video/mp4")

    visit(tmp_path, ask, broken, well)
    assert broken.seen


def test_create_and_poll_is_one_call(tmp_path: Path) -> None:
    """The client's own way of waiting ends with the film, and with a picture to start from the same."""

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        start = ("start.png", b"\x89PNG\r\n\x1a\n" + bytes(8), "image/png")
        done = await client.videos.create_and_poll(model="m", prompt="A gull.", input_reference=start, **FAST)
        assert done.status == "completed"

    visit(tmp_path, ask, FakeProvider("far"))


def test_a_job_that_fails_says_why(tmp_path: Path) -> None:
    """Who fails terminally is replaced; when nobody is left the job has failed, with the reason."""
    first, second = FakeProvider("first"), FakeProvider("second")
    first.fail_with(JobFailed(message="no gulls today"))
    second.fail_with(JobFailed(message="no gulls either"))

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        done = await client.videos.create_and_poll(model="m", prompt="A gull.", **FAST)
        assert done.status == "failed"
        assert done.error is not None
        assert "no gulls either" in done.error.message
        with pytest.raises(openai.NotFoundError, match="its job is failed"):
            await client.videos.download_content(done.id)

    visit(tmp_path, ask, first, second)
    assert (len(first.seen) > 0, len(second.seen) > 0) == (True, True)


def test_progress_is_shown(tmp_path: Path) -> None:
    """What the provider says of its job is what the caller is told, and nothing can be fetched before its end."""
    fake = FakeProvider("far")
    fake.desk.polls = 100_000
    waits = b'{"id": "job", "object": "video", "status": "in_progress", "progress": 40}'
    fake.desk.put("GET /v1/videos/job", Page(body=waits, headers={"openai-poll-after-ms": "50"}))
    fake.desk.put("POST /v1/videos", Page(body=waits, headers={"openai-poll-after-ms": "50"}))

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        made = await client.videos.create(model="m", prompt="A gull.")
        while (now := await client.videos.retrieve(made.id)).status == "queued":
            await asyncio.sleep(0.01)
        assert (now.status, now.progress) == ("in_progress", 40)
        with pytest.raises(openai.NotFoundError, match="its job is in_progress"):
            await client.videos.download_content(made.id)
        await client.videos.delete(made.id)

    visit(tmp_path, ask, fake)


def test_jobs_are_listed_and_deleted(tmp_path: Path) -> None:
    """Newest first, in pages; a deleted one is gone, and what was done for it is stopped."""
    fake = FakeProvider("far")

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        ids = [(await client.videos.create(model="m", prompt=f"Gull {n}.")).id for n in range(3)]
        assert [job.id async for job in client.videos.list(limit=2)] == ids[::-1]
        assert [job.id async for job in client.videos.list(order="asc")] == ids
        gone = await client.videos.delete(ids[0])
        assert (gone.id, gone.deleted, gone.object) == (ids[0], True, "video.deleted")
        with pytest.raises(openai.NotFoundError, match="known to this process"):
            await client.videos.retrieve(ids[0])
        fake.fail_with(Hang())
        stuck = await client.videos.create(model="m", prompt="A gull that hangs.")
        while not (found := [seen for seen in fake.seen if b"hangs" in seen.body]):
            await asyncio.sleep(0.01)
        await client.videos.delete(stuck.id)
        while not found[0].hung_up:
            await asyncio.sleep(0.01)

    visit(tmp_path, ask, fake)


def test_a_job_is_shown_to_the_key_that_made_it(tmp_path: Path) -> None:
    """Who has another key neither finds nor lists it."""

    async def ask(client: AsyncOpenAI, gateway: Running) -> None:
        made = await client.videos.create(model="m", prompt="A gull.")
        async with AsyncOpenAI(base_url=gateway.url, api_key=KEYS[1], max_retries=0) as other:
            with pytest.raises(openai.NotFoundError):
                await other.videos.retrieve(made.id)
            assert (await other.videos.list()).data == []

    visit(tmp_path, ask, FakeProvider("far"))


def test_what_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A wrong body, an unknown model, a target that makes no films, a variant that is not there."""

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        with pytest.raises(openai.BadRequestError, match="prompt"):
            await client.videos.create(model="m", prompt="")
        with pytest.raises(openai.NotFoundError, match="no route or target"):
            await client.videos.create(model="nobody", prompt="A gull.")
        done = await client.videos.create_and_poll(model="m", prompt="A gull.", **FAST)
        with pytest.raises(openai.NotFoundError, match="thumbnail"):
            await client.videos.download_content(done.id, variant="thumbnail")

    visit(tmp_path, ask, FakeProvider("far"))


def test_who_makes_no_films_is_no_job(tmp_path: Path) -> None:
    """Where no target can be asked the call fails, and no job is left behind."""

    async def ask(client: AsyncOpenAI, gateway: Running) -> None:
        with pytest.raises(openai.BadRequestError, match="does no video work"):
            await client.videos.create(model="m", prompt="A gull.")
        assert (await client.videos.list()).data == []

    async def go() -> None:
        async with FakeProvider("far") as fake:
            config = config_for([fake], tmp_path, provider={"tasks": ["chat"]})
            async with running(config) as gateway, AsyncOpenAI(base_url=gateway.url, api_key="k", max_retries=0) as c:
                await ask(c, gateway)

    asyncio.run(go())


def test_a_large_film_is_kept_in_a_file_and_read_in_pieces(tmp_path: Path) -> None:
    """What comes out is what went in, to the byte."""
    large = CLIP + bytes(range(256)) * (3 * MEMORY_BYTES_MAX // 256)
    fake = FakeProvider("far")

    fake.desk.put("GET /v1/videos/video_far_1/content", Page(body=large, content_type="video/mp4"))

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        done = await client.videos.create_and_poll(model="m", prompt="A long gull.", **FAST)
        film = await client.videos.download_content(done.id)
        assert film.read() == large

    visit(tmp_path, ask, fake)


def test_a_film_in_a_file_is_read_as_fast_as_its_reader() -> None:
    """Pieces come one after another, none while the reader pauses, and none after it left."""

    async def go() -> None:
        film = stored(bytes(3 * PIECE_BYTES - 1), "video/mp4")
        told: list[int] = []
        reading = Reading(film, [])
        reading.notify = lambda: told.append(len(reading.take()))
        reading.pause()
        assert len(reading.take()) == PIECE_BYTES
        await asyncio.sleep(0)
        assert told == []
        reading.resume()
        while not reading.over:
            await asyncio.sleep(0)
        assert told == [PIECE_BYTES, PIECE_BYTES - 1]
        assert reading.take() == b""
        left = Reading(film, [])
        left.take()
        left.leave()
        assert left.take() == b""

    asyncio.run(go())


def test_only_so_many_films_are_made_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit a caller is told to come back; jobs that ended make room, the oldest first."""
    monkeypatch.setattr(films, "JOBS_MAX", 1)
    fake = FakeProvider("far")

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        done = await client.videos.create_and_poll(model="m", prompt="A gull.", **FAST)
        fake.fail_with(Hang())
        await client.videos.create(model="m", prompt="Another gull.")
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(done.id)
        with pytest.raises(openai.InternalServerError, match="ask again") as raised:
            await client.videos.create(model="m", prompt="One gull too many.")
        assert (raised.value.status_code, raised.value.response.headers["retry-after"]) == (503, "30")

    visit(tmp_path, ask, fake)


@pytest.mark.parametrize("limit", ["KEEP_S", "BYTES_MAX"])
def test_films_are_forgotten(limit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept for a time, and as long as there is room."""
    monkeypatch.setattr(films, limit, 0)

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        made = await client.videos.create(model="m", prompt="A gull.")
        with pytest.raises(openai.NotFoundError, match="known to this process"):
            while True:
                await client.videos.retrieve(made.id)

    visit(tmp_path, ask, FakeProvider("far"))


def test_no_room_for_a_film_is_a_failed_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk costs the film and nothing else."""
    monkeypatch.setattr(films, "MEMORY_BYTES_MAX", 0)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))

    async def ask(client: AsyncOpenAI, _: Running) -> None:
        done = await client.videos.create_and_poll(model="m", prompt="A gull.", **FAST)
        assert (done.status, done.error is not None and done.error.message) == (
            "failed", "the film could not be kept: FileNotFoundError"
        )  # fmt: skip

    visit(tmp_path, ask, FakeProvider("far"))
