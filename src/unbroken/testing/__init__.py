"""Fakes for tests and demonstrations; users get what we test with ourselves.

    ManualClock     a clock that moves when told to
    FakeProvider    an HTTP server on loopback that answers as a provider does, at its speed,
                    and fails in the ways that providers fail, when told to
    Trouble         what can be wrong with it: Refused, Status, Hang, Reset, Cut, Stall, ...
    Page            what it answers at an address of its own, which no format has
    Quota           how much it takes in a window, which it enforces and tells as a real one does
    essay, example  what it answers by default: the same words for the same prompt

    async with FakeProvider("north", speed=Speed(first_token_s=0.2, tokens_per_s=60)) as north:
        client = AsyncOpenAI(base_url=north.base_url, api_key="x")
        north.fail_with(Cut(after_tokens=12))

No mocking library is used, and no network but loopback.
"""

from unbroken.testing.clock import ManualClock
from unbroken.testing.essay import Answer, essay, example
from unbroken.testing.jobs import Page
from unbroken.testing.play import INSTANT, Seen, Speed
from unbroken.testing.provider import FakeProvider
from unbroken.testing.quota import Quota
from unbroken.testing.troubles import (
    Cut,
    Empty,
    ErrorEvent,
    Hang,
    Html,
    JobFailed,
    Malformed,
    NotMedia,
    Refused,
    Reset,
    Stall,
    Status,
    Trouble,
)

__all__ = [
    "INSTANT",
    "Answer",
    "Cut",
    "Empty",
    "ErrorEvent",
    "FakeProvider",
    "Hang",
    "Html",
    "JobFailed",
    "Malformed",
    "ManualClock",
    "NotMedia",
    "Page",
    "Quota",
    "Refused",
    "Reset",
    "Seen",
    "Speed",
    "Stall",
    "Status",
    "Trouble",
    "essay",
    "example",
]
