"""The log tells an operator what failed, and nothing that must not be told."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
from dataclasses import replace

import aiohttp
import pytest

from sinks.collector import collecting
from sinks.mixed import ask, gateway, scraped
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Continued,
    Fact,
    FlightEnded,
    Probed,
)
from unbroken.failures import Failure, FailureKind
from unbroken.sinks.logs import JsonLines, Logs
from unbroken.sinks.plain import Plain
from unbroken.testing import FakeProvider, Status
from unbroken.types import Mode, Price, Target, Usage, Why

A = Target(name="a/m", provider="a", model="m", key="sk-planted-secret")
B = Target(name="b/m", provider="b", model="m")
SERVER = Failure(kind=FailureKind.SERVER, message="went\nwrong", status=500)
CALLER = Failure(kind=FailureKind.REQUEST, message="no such role", status=422)


def ended(failure: Failure | None) -> FlightEnded:
    return FlightEnded(1.0, "req_1", "chat", None, 2, 1.0, False, False, failure)


@pytest.mark.parametrize(
    ("fact", "level", "words"),
    [
        (
            AttemptFailed(1.0, "req_1", 1, A, SERVER, 0.5), logging.INFO,
            "req_1 a/m failed, unseen: server 500: went wrong",
        ),
        (AttemptAbandoned(1.0, "req_1", 1, A, 6.5, True), logging.INFO, "req_1 a/m was outrun after 6.5 s of silence"),
        (
            Continued(1.0, "req_1", 2, A, B, Mode.ASK, 40), logging.INFO,
            "req_1 b/m goes on for a/m after 40 characters, by ask",
        ),
        (ended(SERVER), logging.WARNING, "req_1 chat not answered: server 500: went wrong"),
        (
            Probed(1.0, A, True, 0.1, SERVER), logging.INFO,
            "a/m failed when it was asked how it is: server 500: went wrong",
        ),
    ],
)  # fmt: skip
def test_what_an_operator_wants_to_know_is_one_line(
    caplog: pytest.LogCaptureFixture, fact: Fact, level: int, words: str
) -> None:
    """Who failed, how and for which request, at a level that fits; never a key, never two lines."""
    caplog.set_level(logging.DEBUG, "unbroken")
    Logs().write([fact])

    assert [(level, words)] == [(record.levelno, record.getMessage()) for record in caplog.records]
    assert "planted" not in caplog.text


def test_what_is_well_or_the_callers_own_business_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A healthy gateway is silent, and so is one whose callers make mistakes; only the list of requests has them."""
    caplog.set_level(logging.DEBUG, "unbroken")
    Logs().write(
        [
            AttemptStarted(1.0, "r", 1, A, Why.FIRST), AttemptAbandoned(1.0, "r", 1, A, 1.0), ended(None),
            ended(CALLER), Probed(1.0, A, True, 0.1),
        ]
    )  # fmt: skip

    assert {record.name for record in caplog.records} == {"unbroken.requests"}


def test_every_request_is_a_line_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """At the level `info`, with route, target, attempts, kind, seconds and the cost of all its attempts."""
    caplog.set_level(logging.INFO, "unbroken")
    usage = Usage(input_tokens=1000, output_tokens=1000)
    dear = replace(B, price=Price(input_usd=1.0, output_usd=9.0))
    answered = AttemptAnswered(2.0, "req_1", 2, dear, 0.1, 0.4, stream=False, usage=usage)
    failed = AttemptFailed(1.0, "req_1", 1, dear, SERVER, 0.5, usage=usage)
    whole = FlightEnded(2.0, "req_1", "chat", dear, 2, 1.25, failover=True, rescued=False)
    Logs().write([failed, answered, whole])

    assert caplog.messages[-1] == "req_1 chat answered by b/m after 2 attempts, 1.250 s"
    fields = vars(caplog.records[-1])["fields"]
    assert fields.pop("cost_usd") == pytest.approx(0.02)
    assert fields == {
        "request_id": "req_1", "route": "chat", "attempts": 2, "target": "b/m", "failover": True, "rescued": False,
        "kind": "answered", "seconds": 1.25,
    }  # fmt: skip


def test_a_line_of_json_has_the_same_as_fields(caplog: pytest.LogCaptureFixture) -> None:
    """One object a line, with time, level and logger, for whoever collects logs by machine."""
    caplog.set_level(logging.INFO, "unbroken")
    Logs().write([AttemptFailed(1.0, "req_1", 1, A, SERVER, 0.5), ended(SERVER)])
    lines = [JsonLines().format(record) for record in caplog.records]
    told, last = (json.loads(line) for line in lines)

    assert all("\n" not in line for line in lines)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", told.pop("time"))
    assert told == {
        "level": "info", "logger": "unbroken", "message": caplog.messages[0], "request_id": "req_1", "target": "a/m",
        "attempt": 1, "seconds": 0.5, "kind": "server", "status": 500, "shown": False,
    }  # fmt: skip
    assert last["level"] == "warning" and last["kind"] == "server" and last["attempts"] == 2


def test_a_line_of_json_holds_an_exception_too() -> None:
    """A defect's traceback is a field, and no further lines."""
    try:
        int("a\nb")
    except ValueError:
        told = sys.exc_info()
    record = logging.LogRecord("x", logging.ERROR, __file__, 1, "it %s", ("broke",), told)
    line = JsonLines().format(record)

    assert json.loads(line)["message"] == "it broke" and "ValueError" in json.loads(line)["exception"]
    assert "\n" not in line


def test_costs_of_requests_whose_end_is_lost_do_not_add_up(caplog: pytest.LogCaptureFixture) -> None:
    """What is remembered of requests under way is bounded."""
    caplog.set_level(logging.INFO, "unbroken")
    dear, logs = replace(B, price=Price(input_usd=1.0)), Logs()
    usage = Usage(input_tokens=1)
    logs.write([AttemptAnswered(1.0, f"r{n}", 1, dear, 0.1, 0.1, stream=False, usage=usage) for n in range(20_500)])

    assert len(logs._costs) < 20_000


def test_no_planted_key_leaves(caplog: pytest.LogCaptureFixture) -> None:
    """Keys of providers, callers and the collector are in no log, metric or span, though providers repeat them."""

    async def go() -> tuple[str, bytes]:
        providers = [FakeProvider("north"), FakeProvider("south")]
        for fake in providers:
            repeated = f"Incorrect API key provided: sk-planted-{fake.name}, you sent sk-planted-{fake.name}"
            fake.fail_with(Status(401, message=repeated))
        async with collecting() as collector:
            more = {
                "server": {"keys": ["planted-gateway-key"]},
                "tracing": {"endpoint": collector.url, "headers": {"x-key": "planted-collector-key"}},
            }
            async with gateway(providers, more=more) as found:
                headers = {"Authorization": "Bearer planted-gateway-key"}
                async with aiohttp.ClientSession(headers=headers) as session:
                    for number in range(4):
                        await ask(session, found.url, number=number)
                        await ask(session, found.url, model="north/word-model")
                _, page = await scraped(found.url, **headers)
            assert collector.heads[0]["x-key"] == "planted-collector-key"
            return page, b"".join(collector.bodies)

    caplog.set_level(logging.DEBUG)
    page, sent = asyncio.run(go())
    lines = [JsonLines().format(record) for record in caplog.records if record.name.startswith("unbroken")]

    assert len(page) > 1000 < len(sent) and len(lines) > 4
    assert "planted" not in page and b"planted" not in sent
    assert "planted" not in "".join(lines) and "planted" not in caplog.text


def test_a_short_key_is_no_word_to_be_blanked_out() -> None:
    """Keys are blanked out wherever they stand; a key of three letters would only spoil the text."""
    plain = Plain()

    assert plain("the key sk-planted-secret\nis wrong", A) == "the key [key] is wrong"
    assert plain("sk-planted-secret again") == "[key] again"
    assert plain("abc", replace(B, key="abc")) == "abc"
