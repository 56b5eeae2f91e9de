"""What can be wrong with a provider: one small record per way of failing.

    no connection     Refused
    no answer         Hang, Reset
    an error          Status
    a bad answer      Html, Empty, NotMedia
    a bad job         JobFailed
    half an answer    Cut, Stall, ErrorEvent, Malformed    after so many tokens

Each is a frozen record, so they compare and print well, and parametrise tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

__all__ = [
    "Cut",
    "Empty",
    "ErrorEvent",
    "Hang",
    "Html",
    "JobFailed",
    "Malformed",
    "NotMedia",
    "Refused",
    "Reset",
    "Stall",
    "Status",
    "Trouble",
]

_WORDS: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request could not be understood."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    402: ("insufficient_quota", "insufficient_quota", "Insufficient balance."),
    403: ("permission_error", None, "This key may not use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("service_unavailable_error", "server_is_overloaded", "The server is overloaded, please try again later."),
}
"""Type, code and message that OpenAI's API gives with a status."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens: open connections are reset and new ones are refused."""


@dataclass(frozen=True, slots=True)
class Status:
    """An error status with a proper body.

    `retry_after_s` goes out as `Retry-After`; `code` and `message` replace what is usual
    for the status; `body` replaces the body altogether.
    """

    status: int
    retry_after_s: float | None = None
    code: str | None = None
    message: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None

    def content(self) -> bytes:
        """The body of the answer."""
        if self.body is not None:
            return self.body
        kind, code, message = _WORDS.get(self.status, ("server_error", None, f"Error {self.status}."))
        error = {"message": self.message or message, "type": kind, "param": None, "code": self.code or code}
        return msgspec.json.encode({"error": error})

    def fields(self) -> dict[str, str]:
        """The headers of the answer."""
        fields = {"content-type": "application/json", **self.headers}
        if self.retry_after_s is not None:
            fields["retry-after"] = f"{self.retry_after_s:g}"
        return fields


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is taken and never answered."""


@dataclass(frozen=True, slots=True)
class Reset:
    """The request is taken and the connection reset."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer breaks off: by a reset, or (`clean`) by an orderly end without the terminator."""

    after_tokens: int = 12
    clean: bool = False


@dataclass(frozen=True, slots=True)
class Stall:
    """The answer stops and the connection stays open."""

    after_tokens: int = 12


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error inside the answer, under a status of 200."""

    after_tokens: int = 12
    message: str = "The server had an error while processing your request."


@dataclass(frozen=True, slots=True)
class Malformed:
    """Half a step of the answer, which is no JSON, and then the end."""

    after_tokens: int = 12


@dataclass(frozen=True, slots=True)
class Html:
    """A web page under a status of 200, as from a proxy that means well."""


@dataclass(frozen=True, slots=True)
class Empty:
    """A proper answer without any content."""


@dataclass(frozen=True, slots=True)
class NotMedia:
    """Something else in place of a picture, film or sound, under a status of 200."""

    body: bytes = b'{"error": {"message": "The model is overloaded.", "type": "server_error", "code": null}}'
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True)
class JobFailed:
    """A job is accepted, worked at, and fails."""

    code: str = "server_error"
    message: str = "The video could not be generated."


Trouble = Refused | Status | Hang | Reset | Cut | Stall | ErrorEvent | Malformed | Html | Empty | NotMedia | JobFailed
