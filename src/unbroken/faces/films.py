"""Films as jobs, in OpenAI's words: made in the background, asked about, fetched, listed, deleted.

    POST   /v1/videos                 a job, at once
    GET    /v1/videos                 the caller's jobs, newest first
    GET    /v1/videos/{id}            how it stands
    GET    /v1/videos/{id}/content    the film
    DELETE /v1/videos/{id}            forget it, and stop it if it is under way

A job is a flight like any other request's: with failover, and with the route's limits.  It lives
in the memory of this process: at most `JOBS_MAX` of them and `BYTES_MAX` of films, for `KEEP_S`
after their end.  Who has another key does not see it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from unbroken.engine import Drive, Engine, Finished
from unbroken.faces.film_store import MEMORY_BYTES_MAX, Film, Reading, stored
from unbroken.faces.pages import Call, Page, Routing, json_reply
from unbroken.faces.visitor import Reply, Visitor
from unbroken.facts import Fact, Progressed
from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Json, Output, Request
from unbroken.wire import Outcome, format_named

__all__ = ["Films", "Job"]

JOBS_MAX = 256
BYTES_MAX = 1024 * 1024 * 1024
KEEP_S = 3600.0
"""As long as OpenAI keeps a film's address alive."""
POLL_MS = 1000
"""How soon a client should ask again; clients of OpenAI's heed it."""
PAGE, PAGE_MAX = 20, 100

_SPOKEN = format_named("openai_videos")


@dataclass(slots=True, kw_only=True, eq=False)
class Job:
    """One film, from the wish to the bytes; `told` is what the caller is told of it, the engine tells it the rest.

    `ends_at` is when it is forgotten, on the clock of the store; None while it is under way.
    """

    id: str
    owner: str
    told: dict[str, Json]
    request: Request
    store: Films
    film: Film | None = None
    failure: Failure | None = None
    drive: Drive | None = None
    ends_at: float | None = None
    _outputs: list[Output] = field(default_factory=list)

    def show(self, deltas: Sequence[Delta]) -> None:
        """What was made."""
        self._outputs += [output for delta in deltas for output in delta.outputs]

    def finish(self, end: Finished) -> None:
        """The end, good or bad; a large film has to be put away first."""
        self.drive = None
        made = next((output for output in self._outputs if output.data), None)
        self._outputs.clear()
        if end.failure is not None or made is None:
            message = "the film was left in a store of the provider's, where it cannot be fetched from"
            self.fail(end.failure or Failure(kind=FailureKind.MALFORMED, message=message))
        elif len(made.data) <= MEMORY_BYTES_MAX:
            self.complete(Film(made.data, made.media_type))
        else:
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, stored, made.data, made.media_type).add_done_callback(self._put_away)

    def progress(self, share: float) -> None:
        """It has come so far; a job that starts anew elsewhere does not go back."""
        percent = max(self.told["progress"], min(99, round(100 * share)))
        self.told |= {"status": "in_progress", "progress": percent}

    def complete(self, film: Film) -> None:
        """It is done."""
        self.film = film
        self.told |= {"status": "completed", "progress": 100}
        self._end()

    def fail(self, failure: Failure) -> None:
        """It came to nothing."""
        self.failure = failure
        assert _SPOKEN.writer is not None
        outcome = Outcome(request_id=self.id, target="none", attempts=0, failover=False)
        body = msgspec.json.decode(_SPOKEN.writer(self.request).broken(failure, outcome))
        self.told |= {"status": "failed", "error": body["error"]}
        self._end()

    def _put_away(self, future: asyncio.Future[Film]) -> None:
        error = future.exception()
        if error is None:
            self.complete(future.result())
        else:
            self.fail(Failure(kind=FailureKind.INTERNAL, message=f"the film could not be kept: {type(error).__name__}"))

    def _end(self) -> None:
        self.told |= self.store.ended(self)


class Films:
    """The pages of films, and the jobs behind them.

    `clock` gives seconds since 1970, as callers are told them.
    """

    def __init__(self, engine: Engine, route: Routing, *, clock: Callable[[], float] = time.time) -> None:
        self._engine, self._route, self._clock = engine, route, clock
        self._jobs: dict[str, Job] = {}
        self._listens = False

    def pages(self) -> list[Page]:
        """As the head of this file lists them."""
        return [
            Page(method="POST", path="/v1/videos", answer=self._create),
            Page(method="GET", path="/v1/videos", answer=self._list),
            Page(method="GET", path="/v1/videos/{id}/content", answer=self._content),
            Page(method="GET", path="/v1/videos/{id}", answer=self._retrieve),
            Page(method="DELETE", path="/v1/videos/{id}", answer=self._delete),
        ]

    def write(self, facts: list[Fact]) -> None:
        """As a sink of facts: how far the jobs have come."""
        for fact in facts:
            if isinstance(fact, Progressed) and (job := self._jobs.get(fact.flight)) is not None and not job.ends_at:
                job.progress(fact.share)

    def ended(self, job: Job) -> dict[str, Json]:
        """Keep an ended job for its time; when it ended and when it goes, as the caller is told."""
        now = self._clock()
        job.ends_at = now + KEEP_S
        asyncio.get_running_loop().call_later(KEEP_S + 1, self._tidy)
        self._tidy()
        return {"completed_at": int(now), "expires_at": int(job.ends_at)}

    # -- pages

    def _create(self, call: Call) -> Reply | Failure:
        assert _SPOKEN.read_request is not None
        request = _SPOKEN.read_request(call.path, call.body)
        if isinstance(request, Failure):
            return request
        route = self._route(request, call)
        if isinstance(route, Failure):
            return route
        if not self._has_room():
            message = f"{JOBS_MAX} films are being made already; ask again when one of them is done"
            return Failure(kind=FailureKind.OVERLOADED, message=message, retry_after_s=30.0)
        job = self._job(request, call)
        drive = self._engine.fly(request, route, caller=job, flight_id=job.id)
        if job.failure is not None:  # nobody could even be asked
            del self._jobs[job.id]
            return job.failure
        job.drive = drive if job.ends_at is None else None
        return _told(call, job)

    def _job(self, request: Request, call: Call) -> Job:
        job_id = f"video_{os.urandom(12).hex()}"
        assert _SPOKEN.writer is not None
        outcome = Outcome(request_id=call.request_id, target="none", attempts=0, failover=False)
        told = msgspec.json.decode(_SPOKEN.writer(request).whole([Delta(id=job_id)], outcome))
        told["created_at"] = int(self._clock())
        job = self._jobs[job_id] = Job(id=job_id, owner=_owner(call), told=told, request=request, store=self)
        if not self._listens:
            self._listens = True
            self._engine.bus.add(self)
        return job

    def _retrieve(self, call: Call) -> Reply | Failure:
        job = self._found(call)
        return job if isinstance(job, Failure) else _told(call, job)

    def _list(self, call: Call) -> Reply:
        """Newest first unless `order=asc`; `after` is the last id of the page before."""
        query, owner = call.query, _owner(call)
        self._tidy()
        mine = [job for job in self._jobs.values() if job.owner == owner]
        if query.get("order") != "asc":
            mine.reverse()
        ids, limit = [job.id for job in mine], query.get("limit", "")
        size = min(int(limit), PAGE_MAX) if limit.isdecimal() and len(limit) < 9 else PAGE
        begin = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
        page = mine[begin : begin + size]
        ends = {"first_id": page[0].id, "last_id": page[-1].id} if page else {"first_id": None, "last_id": None}
        more = begin + size < len(mine)
        return json_reply(call, {"object": "list", "data": [job.told for job in page], **ends, "has_more": more})

    def _content(self, call: Call) -> Reply | Visitor | Failure:
        job = self._found(call)
        if isinstance(job, Failure):
            return job
        variant = call.query.get("variant", "video")
        if variant != "video":
            return _fault(404, f"there is no {variant[:40]!r} of a film here, only the video itself")
        if job.film is None:
            return _fault(404, f"the film {job.id} is not there: its job is {job.told['status']}", code="not_ready")
        headers = [("content-type", job.film.media_type), ("x-request-id", call.request_id)]
        if job.film.size <= MEMORY_BYTES_MAX:
            return Reply(200, headers, job.film.read(0, job.film.size))
        return Reading(job.film, headers)

    def _delete(self, call: Call) -> Reply | Failure:
        job = self._found(call)
        if isinstance(job, Failure):
            return job
        del self._jobs[job.id]
        if job.drive is not None:
            job.drive.cancel()
        return json_reply(call, {"id": job.id, "object": "video.deleted", "deleted": True})

    # -- the store

    def _found(self, call: Call) -> Job | Failure:
        self._tidy()
        job = self._jobs.get(call.values["id"])
        if job is not None and job.owner == _owner(call):
            return job
        message = (
            f"No video job {call.values['id'][:80]!r} is known to this process: jobs are kept where they were "
            f"made, in memory, for {KEEP_S / 60:.0f} minutes after their end, and shown to the key that made them."
        )
        return _fault(404, message, code="video_not_found")

    def _has_room(self) -> bool:
        self._tidy(jobs_max=JOBS_MAX - 1)
        return len(self._jobs) < JOBS_MAX

    def _tidy(self, *, jobs_max: int = JOBS_MAX) -> None:
        """Forget what is over its time, and of the rest the oldest that ended where they are too many or too large."""
        now = self._clock()
        for job in list(self._ended()):
            if job.ends_at is not None and job.ends_at <= now:
                del self._jobs[job.id]
        sizes = sum(job.film.size for job in self._jobs.values() if job.film is not None)
        for job in list(self._ended()):
            if len(self._jobs) <= jobs_max and sizes <= BYTES_MAX:
                break
            sizes -= job.film.size if job.film is not None else 0
            del self._jobs[job.id]

    def _ended(self) -> Iterator[Job]:
        return (job for job in self._jobs.values() if job.ends_at is not None)


def _told(call: Call, job: Job) -> Reply:
    reply = json_reply(call, job.told)
    if job.ends_at is None:
        reply.headers.append(("openai-poll-after-ms", str(POLL_MS)))
    return reply


def _owner(call: Call) -> str:
    """Whose a job is, without keeping the key itself."""
    return hashlib.sha256(call.key.encode()).hexdigest()


def _fault(status: int, message: str, *, code: str | None = None) -> Failure:
    return Failure(kind=FailureKind.REQUEST, message=message, status=status, code=code)
