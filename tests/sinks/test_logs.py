"""The log tells an operator what failed, and nothing that must not be told."""

from __future__ import annotations

import logging

import pytest

from unbroken.facts import AttemptAbandoned, AttemptFailed, AttemptStarted, Continued, Fact, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.sinks.logs import Logs
from unbroken.types import Mode, Target, Why

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
    """A healthy gateway is silent, and so is one whose callers make mistakes."""
    caplog.set_level(logging.DEBUG, "unbroken")
    Logs().write(
        [AttemptStarted(1.0, "r", 1, A, Why.FIRST), AttemptAbandoned(1.0, "r", 1, A, 1.0), ended(None), ended(CALLER)]
    )

    assert not caplog.records
