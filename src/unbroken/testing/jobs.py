"""What a fake provider has lying at addresses: jobs that are worked at, results, and pages of a test's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count

from unbroken.failures import Failure, FailureKind
from unbroken.testing.samples import CLIP
from unbroken.testing.troubles import JobFailed, NotMedia, Trouble
from unbroken.types import Delta, Request
from unbroken.wire import Outcome, format_named, path_values
from unbroken.wire.media import ending_of

__all__ = ["Desk", "Page"]

_JSON = "application/json"
_JOB, _CONTENT, _FILE = "/v1/videos/{id}", "/v1/videos/{id}/content", "/files/{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A whole answer."""

    body: bytes = b""
    status: int = 200
    content_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class _Job:
    """A film that is being made; it is done when it was asked about `left` times more."""

    request: Request
    left: int
    polls: int
    trouble: Trouble | None


class Desk:
    """Jobs, results and pages of one provider.

    polls       how often a job is asked about before it is done
    gives_urls  whether a picture is given as the address where it lies, on the provider's own host
    """

    def __init__(self, name: str) -> None:
        self.polls = 2
        self.gives_urls = False
        self._name = name
        self._pages: dict[str, list[Page]] = {}
        self._files: dict[str, Page] = {}
        self._jobs: dict[str, _Job] = {}
        self._numbers = count(1)

    def put(self, where: str, *pages: Page) -> None:
        """From now on `METHOD /path` is answered with these, one after another and the last for ever."""
        self._pages[where] = list(pages)

    def keep(self, data: bytes, media_type: str) -> str:
        """A result; the path where it can be fetched."""
        name = f"{next(self._numbers)}.{ending_of(media_type)}"
        self._files[name] = Page(body=data, content_type=media_type)
        return f"/files/{name}"

    def accept(self, request: Request, trouble: Trouble | None) -> Page:
        """A new job."""
        job_id = f"video_{self._name}_{next(self._numbers)}"
        self._jobs[job_id] = _Job(request=request, left=self.polls, polls=self.polls, trouble=trouble)
        return self._told(job_id)

    def free_page(self, method: str, path: str) -> Page | None:
        """What lies there for everybody, with a key or without; None where nothing does."""
        pages = self._pages.get(f"{method} {path}")
        if pages:
            return pages.pop(0) if len(pages) > 1 else pages[0]
        found = path_values(_FILE, path)
        return self._files.get(found["name"]) if found and method == "GET" else None

    def job_page(self, method: str, path: str) -> Page | None:
        """How a job stands, or what it made; None where there is no job."""
        found = path_values(_CONTENT, path) or path_values(_JOB, path)
        job = self._jobs.get(found["id"]) if found and method == "GET" else None
        if found is None or job is None:
            return None
        if path_values(_CONTENT, path):
            if isinstance(job.trouble, NotMedia):
                return Page(body=job.trouble.body, content_type=job.trouble.content_type)
            return Page(body=CLIP, content_type="video/mp4")
        job.left -= 1
        return self._told(found["id"])

    def _told(self, job_id: str) -> Page:
        job = self._jobs[job_id]
        make = format_named("openai_videos").writer
        assert make is not None
        outcome = Outcome(request_id=job_id.removeprefix("video_"), target=self._name, attempts=1, failover=False)
        writer, ready = make(job.request), job.left < 0 or not job.polls
        if ready and isinstance(job.trouble, JobFailed):
            failure = Failure(kind=FailureKind.SERVER, message=job.trouble.message, code=job.trouble.code)
            body = writer.broken(failure, outcome)
        else:
            share = 1.0 if ready else 1 - (job.left + 1) / (job.polls + 1)
            body = writer.whole([Delta(id=job_id, progress=share, media=int(ready))], outcome)
        return Page(body=body, headers={"openai-poll-after-ms": "0"})
