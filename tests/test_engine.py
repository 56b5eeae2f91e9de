"""The engine at its edge: what a leg makes of codecs that break their promise."""

from __future__ import annotations

import asyncio
from typing import Any

from unbroken.failures import Failure, FailureKind
from unbroken.leg import Leg
from unbroken.types import Attempt, Delta, HttpReply, HttpRequest, Request, Target, Why
from unbroken.wire import Format

TARGET = Target(name="a/m", provider="a", model="m")


class Ear:
    """Hears what a leg tells its drive."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []

    def opened(self, number: int) -> None:
        return None

    def failed(self, number: int, failure: Failure) -> None:
        self.failures.append(failure)


class Broken:
    """A decoder with a defect."""

    done = False

    def feed(self, data: bytes) -> list[Delta] | Failure:
        raise ZeroDivisionError

    def close(self) -> list[Delta] | Failure:
        raise ZeroDivisionError


def classify(reply: HttpReply) -> Failure:
    raise ZeroDivisionError


def write_request(request: Request, target: Target, *, continuation: Any = None) -> HttpRequest:
    raise NotImplementedError


BROKEN = Format(name="broken", write_request=write_request, decoder=lambda request, target: Broken(), classify=classify)


def test_a_codec_with_a_defect_costs_an_attempt_and_is_reported() -> None:
    """Whichever part of it raises, the flight hears of a failure at once and the loop of the defect."""
    reported: list[dict[str, Any]] = []

    async def run() -> list[Failure]:
        asyncio.get_running_loop().set_exception_handler(lambda loop, told: reported.append(told))
        ear = Ear()
        for status in (200, 200, 500):
            attempt = Attempt(number=1, target=TARGET, why=Why.FIRST)
            leg = Leg(ear, attempt, spoken=BROKEN, request=Request(model="m"))  # type: ignore[arg-type]
            leg.opened(status, {})
            if ear.failures:
                leg.ended()
            else:
                leg.data(b"x")
        return ear.failures

    failures = asyncio.run(run())

    assert [FailureKind.MALFORMED] * 3 == [failure.kind for failure in failures]
    assert [200, 200, 500] == [failure.status for failure in failures]
    assert [ZeroDivisionError] * 3 == [type(told["exception"]) for told in reported]
