"""What callers write against the public names, for the type checkers: never executed.

If this file no longer checks, callers' code breaks.
"""

from __future__ import annotations

from random import Random
from typing import assert_type

from unbroken.core.strategies import STRATEGIES
from unbroken.failures import VERDICTS, Failure, FailureKind, TargetsExhausted, UnbrokenError, Verdict
from unbroken.policy import Breaking, Deadlines, Hedging, Limits, Policy, Retries, Route, Streaming
from unbroken.ports import Clock, Exchange, Listener, Sink, Transport
from unbroken.testing import FakeProvider, ManualClock
from unbroken.types import Delta, HttpReply, HttpRequest, Price, Request, Response, Target, Task, Usage, fold
from unbroken.wire import Decoder, Format, Writer, format_for


def values() -> None:
    """Nouns are made by keyword, and say what they hold."""
    target = Target(name="openai/gpt", provider="openai", model="gpt", base_url="https://provider.example/v1")
    policy = Policy(
        deadlines=Deadlines(total_s=38), retries=Retries(attempts_max=3), hedging=Hedging(p95=True),
        breaking=Breaking(open_s=4), stream=Streaming(rescue="error"),
    )  # fmt: skip
    route = Route(name="auto", targets=(target,), policy=policy)
    assert_type(route.policy.deadlines.limits(Request(model="auto"), target), Limits)
    assert_type(Price(input_usd=1.0).cost_usd(Usage(input_tokens=10)), float)
    assert_type(fold([Delta(text="a")]), Response)
    Target("openai/gpt")  # type: ignore[call-arg]
    target.name = "other"  # type: ignore[misc]


def failures(error: UnbrokenError) -> None:
    """A failure is a value with a verdict; faces raise it inside an exception."""
    assert_type(error.failure, Failure)
    assert_type(error.failure.verdict, Verdict)
    assert_type(VERDICTS[FailureKind.SERVER], Verdict)
    raise TargetsExhausted(Failure(kind=FailureKind.NO_TARGET, message="nobody is there"))


def formats(request: Request, target: Target, reply: HttpReply) -> None:
    """A format is a record of pure functions."""
    wire = format_for("openai_chat", Task.CHAT)
    assert_type(wire, Format)
    assert_type(wire.write_request(request, target), HttpRequest)
    assert_type(wire.decoder(request, target), Decoder)
    assert_type(wire.decoder(request, target).feed(b""), list[Delta] | Failure)
    assert_type(wire.classify(reply), Failure)
    if wire.writer is not None:
        assert_type(wire.writer(request), Writer)


def seams(transport: Transport, listener: Listener, sink: Sink) -> None:
    """The ports can be implemented by others."""
    assert_type(transport.send(HttpRequest(method="GET", url="", headers={}), listener), Exchange)
    sink.write([])
    clock: Clock = ManualClock()
    assert_type(clock(), float)


async def fakes() -> None:
    """The fakes are for users too."""
    async with FakeProvider("north") as north:
        assert_type(north.base_url, str)


def strategies(draw: Random) -> None:
    """Strategies are looked up by the name that a configuration uses."""
    assert_type("priority" in STRATEGIES, bool)
    assert_type(draw.random(), float)
