"""What is asked after the first answer: jobs, results, redirections, against real providers that fail in between."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from loops import in_loop
from unbroken import leg
from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.engine import Finished
from unbroken.failures import FailureKind
from unbroken.policy import Policy, Retries, Route
from unbroken.testing import FakeProvider, Hang, JobFailed, NotMedia, Page, Status
from unbroken.testing.samples import CLIP, PIXEL
from unbroken.types import Delta, Output, Request, Target, Task
from unbroken.work import Film, Picture

FILM = Film(prompt="Waves", seconds=4.0)
PICTURE = Picture(prompt="A cat")


@dataclass
class Ending:
    """A caller that waits for the end."""

    outputs: list[Output] = field(default_factory=list)
    over: asyncio.Future[Finished] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def show(self, deltas: Any) -> None:
        self.outputs += [output for delta in deltas for output in delta.outputs]

    def finish(self, end: Finished) -> None:
        self.over.set_result(end)


def at(fake: FakeProvider, **more: Any) -> Target:
    return Target(name=fake.name, provider=fake.name, model="m", **{"base_url": fake.base_url, "key": "k", **more})


async def fly(work: Film | Picture, *targets: Target) -> tuple[Finished, list[Output]]:
    """One request over these targets, in their order, and how it ended."""
    flying, caller = engine(Config(), seed=1), Ending()
    task = Task.VIDEO if isinstance(work, Film) else Task.IMAGE
    policy = Policy(retries=Retries(same_target_max=0))
    route = Route(name="r", targets=targets, policy=policy)
    flying.fly(Request(model="r", task=task, read=lambda: work), route, caller=caller, flight_id="f")
    try:
        return await caller.over, caller.outputs
    finally:
        await flying.close()


def paths(fake: FakeProvider) -> list[str]:
    return [seen.path.replace(f"video_{fake.name}_1", "ID") for seen in fake.seen]


POLLED = ["/v1/videos", "/v1/videos/ID", "/v1/videos/ID", "/v1/videos/ID"]


@in_loop
async def test_a_job_is_followed_to_its_film() -> None:
    """Made once, asked about until it is done, and fetched, with the key."""
    async with FakeProvider("north", keys=("k",)) as north:
        end, outputs = await fly(FILM, at(north))
        assert end.failure is None
        assert [output.data for output in outputs] == [CLIP]
        assert paths(north) == [*POLLED, "/v1/videos/ID/content"]


@in_loop
async def test_questions_that_fail_only_repeat_the_question() -> None:
    """Errors and pages in place of a job's state cost a question, never the job."""
    async with FakeProvider("north") as north:
        job = {"id": "j", "object": "video", "status": "in_progress", "progress": 10}
        working = Page(body=json.dumps(job).encode(), headers={"retry-after": "0"})
        done = Page(body=json.dumps({**job, "status": "completed"}).encode())
        error = Page(body=b'{"error": {"message": "overloaded"}}', status=503, headers={"retry-after": "0"})
        north.desk.put("POST /v1/videos", working)
        north.desk.put("GET /v1/videos/j", error, working, error, error, done)
        north.desk.put("GET /v1/videos/j/content", error, Page(body=CLIP, content_type="video/mp4"))
        end, outputs = await fly(FILM, at(north))
        assert end.failure is None
        assert [output.data for output in outputs] == [CLIP]
        assert paths(north).count("/v1/videos") == end.attempts == 1


@in_loop
async def test_a_page_in_place_of_a_state_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that brings no JSON is repeated; one that never brings it ends the job, not the target's health."""
    monkeypatch.setattr(leg, "ASK_AGAIN_S_MAX", 0.01)
    async with FakeProvider("north") as north:
        working = Page(body=b'{"id": "j", "status": "queued"}', headers={"retry-after": "0"})
        page = Page(body=b"<html>Bad gateway</html>", content_type="text/html")
        north.desk.put("POST /v1/videos", working)
        north.desk.put("GET /v1/videos/j", page, page, Page(body=b'{"id": "j", "status": "completed"}'))
        north.desk.put("GET /v1/videos/j/content", Page(body=CLIP))
        end, _ = await fly(FILM, at(north))
        assert end.failure is None
        north.desk.put("GET /v1/videos/j", page)
        north.seen.clear()
        end, _ = await fly(FILM, at(north))
        assert end.failure is not None
        assert len(north.seen) == 1 + leg.ASKED_MAX


@in_loop
async def test_silence_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that is never answered is given up and repeated."""
    monkeypatch.setattr(leg, "QUIET_S", 0.05)
    monkeypatch.setattr(leg, "ASK_AGAIN_S_MAX", 0.01)
    async with FakeProvider("north") as north:
        flight = asyncio.create_task(fly(FILM, at(north)))
        while not north.seen:
            await asyncio.sleep(0)
        north.fail_with(Hang(), times=1)
        end, outputs = await flight
        assert (end.failure, outputs[0].data) == (None, CLIP)
        assert paths(north) == ["/v1/videos", *POLLED[1:], "/v1/videos/ID", "/v1/videos/ID/content"]


@in_loop
async def test_results_that_are_gone_say_nothing_of_the_model() -> None:
    """Where nothing lies any more, the attempt failed, and neither the model nor the caller's wish is to blame."""
    async with FakeProvider("north") as north:
        north.desk.polls = 0
        north.desk.put("GET /v1/videos/video_north_1/content", Page(status=302, headers={"location": "/files/1"}))
        end, _ = await fly(FILM, at(north))
        assert end.failure is not None
        assert end.failure.kind is FailureKind.MALFORMED


@in_loop
async def test_only_a_failed_job_is_made_elsewhere() -> None:
    """A job that says itself that it failed is made by the next target, and not again by the same."""
    async with FakeProvider("north") as north, FakeProvider("south") as south:
        north.fail_with(JobFailed())
        end, outputs = await fly(FILM, at(north), at(south))
        assert (end.failure, end.attempts, end.failover) == (None, 2, True)
        assert end.target is not None
        assert end.target.name == "south"
        assert [output.data for output in outputs] == [CLIP]
        assert (paths(north).count("/v1/videos"), paths(south).count("/v1/videos")) == (1, 1)


@in_loop
async def test_a_film_that_is_none_is_made_elsewhere() -> None:
    """A page or JSON where the film should lie fails at once."""
    async with FakeProvider("north") as north, FakeProvider("south") as south:
        for trouble in (NotMedia(), NotMedia(b"<html>Sign in</html>", "text/html")):
            north.fail_with(trouble)
            end, outputs = await fly(FILM, at(north), at(south))
            assert end.failure is None
            assert end.target is not None
            assert (end.target.name, outputs[0].data) == ("south", CLIP)


@in_loop
async def test_pictures_are_fetched_before_they_expire() -> None:
    """An address comes as the bytes that lie there; an expired one is no word about the key or the model."""
    async with FakeProvider("north") as north, FakeProvider("south") as south:
        north.desk.gives_urls = True
        end, outputs = await fly(PICTURE, at(north), at(south))
        assert (end.failure, outputs[0].data) == (None, PIXEL)
        assert [seen.path for seen in north.seen] == ["/v1/images/generations", "/files/1.png"]
        north.desk.put("GET /files/2.png", Page(status=403, body=b'{"error": {"message": "Signature expired"}}'))
        end, outputs = await fly(PICTURE, at(north), at(south))
        assert end.target is not None
        assert (end.failure, end.target.name, outputs[0].data) == (None, "south", PIXEL)


@in_loop
async def test_addresses_behind_our_walls_are_not_fetched() -> None:
    """A provider that points to another port of this machine is not believed."""
    async with FakeProvider("north") as north, FakeProvider("south") as south:
        inside = {"data": [{"url": f"http://127.0.0.1:{south.port}/files/1.png"}]}
        north.desk.put("POST /v1/images/generations", Page(body=json.dumps(inside).encode()))
        end, _ = await fly(PICTURE, at(north))
        assert end.failure is not None
        assert end.failure.kind is FailureKind.MALFORMED
        assert south.seen == []


@in_loop
async def test_redirections_are_followed_so_far() -> None:
    """A result that lies elsewhere is followed there, but not in circles and not behind our walls."""
    async with FakeProvider("north") as north, FakeProvider("south") as south:
        north.desk.gives_urls = True
        north.desk.put("GET /files/1.png", Page(status=302, headers={"location": "/elsewhere"}))
        north.desk.put("GET /elsewhere", Page(body=PIXEL, content_type="image/png"))
        end, outputs = await fly(PICTURE, at(north))
        assert (end.failure, outputs[0].data) == (None, PIXEL)
        north.desk.put("GET /elsewhere", Page(status=307, headers={"location": "/elsewhere"}))
        north.desk.put("GET /files/2.png", Page(status=301, headers={"location": "/elsewhere"}))
        north.seen.clear()
        end, _ = await fly(PICTURE, at(north))
        assert end.failure is not None
        assert len(north.seen) == 1 + 1 + leg.HOPS_MAX
        north.desk.put(
            "GET /files/3.png", Page(status=302, headers={"location": f"http://127.0.0.1:{south.port}/files/1.png"})
        )
        end, _ = await fly(PICTURE, at(north))
        assert end.failure is not None
        assert south.seen == []


@in_loop
async def test_other_formats_fly_alike() -> None:
    """A picture by Hugging Face's and by Pollinations' words, and a job behind the router, end as the same bytes."""
    async with FakeProvider("north") as north:
        host = f"http://127.0.0.1:{north.port}"
        assert (await fly(PICTURE, at(north, format="huggingface", base_url=host)))[1][0].data == PIXEL
        assert (await fly(PICTURE, at(north, format="pollinations", base_url=host)))[1][0].data == PIXEL
        north.desk.put("POST /fal-ai/p/m?_subdomain=queue", Page(
            body=b'{"status": "IN_QUEUE", "response_url": "https://queue.fal.run/p/requests/r"}',
            headers={"retry-after": "0"},
        ))  # fmt: skip
        north.desk.put("GET /fal-ai/p/requests/r/status?_subdomain=queue", Page(
            body=b'{"status": "IN_PROGRESS"}', headers={"retry-after": "0"}), Page(
            body=b'{"status": "COMPLETED"}', headers={"retry-after": "0"}))  # fmt: skip
        path = north.desk.keep(CLIP, "video/mp4")
        north.desk.put(
            "GET /fal-ai/p/requests/r?_subdomain=queue",
            Page(body=json.dumps({"video": {"url": host + path}}).encode()),
        )
        by_fal = at(north, format="huggingface", base_url=host, options={"hf_provider": "fal-ai", "hf_model": "p/m"})
        end, outputs = await fly(FILM.__class__(prompt="Waves"), by_fal)
        assert (end.failure, outputs[0].data) == (None, CLIP)


@in_loop
async def test_a_caller_who_leaves_ends_the_asking() -> None:
    """Nobody asks about a job for somebody who is gone."""
    async with FakeProvider("north") as north:
        north.desk.put(
            "POST /v1/videos", Page(body=b'{"id": "j", "status": "queued"}', headers={"retry-after": "1"})
        )  # fmt: skip
        flying, caller = engine(Config(), seed=1), Ending()
        route = Route(name="r", targets=(at(north),), policy=Policy())
        drive = flying.fly(
            Request(model="r", task=Task.VIDEO, read=lambda: FILM), route, caller=caller, flight_id="f"
        )  # fmt: skip
        while not north.seen:
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        drive.pause()
        drive.resume()
        drive.cancel()
        await flying.close()
        assert [seen.path for seen in north.seen] == ["/v1/videos"]


@in_loop
async def test_refused_questions_are_the_keys_affair() -> None:
    """A key that is withdrawn while a job is under way fails as a key does."""
    async with FakeProvider("north") as north:
        north.desk.put("POST /v1/videos", Page(body=b'{"id": "j", "status": "queued"}', headers={"retry-after": "0"}))
        north.desk.put("GET /v1/videos/j", Page(status=401, body=Status(401).content()))
        end, _ = await fly(FILM, at(north))
        assert end.failure is not None
        assert end.failure.kind is FailureKind.AUTH


def test_progress_is_never_content() -> None:
    """How far a job has come is no part of an answer."""
    assert not Delta(progress=0.5).has_content
