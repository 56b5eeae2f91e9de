"""Facts as lines of a log: what failed and who went on (info), what callers saw of it (warning).

    unbroken            what an operator wants to know of; a healthy gateway is silent
    unbroken.requests   a line for every request that is over (info)

A line is words, and the same as fields for whoever collects logs by machine (`JsonLines`).
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, Continued, Fact, FlightEnded, Probed
from unbroken.failures import Fault
from unbroken.sinks.cost import cost_usd
from unbroken.sinks.plain import Plain

__all__ = ["JsonLines", "Logs"]

_LOGGER = logging.getLogger("unbroken")
_REQUESTS = logging.getLogger("unbroken.requests")

UNDER_WAY_MAX = 20_000
"""Requests whose cost is added up; more than can be under way."""

Fields = dict[str, Any]


class JsonLines(logging.Formatter):
    """Each record as one line of JSON: `time` (UTC), `level`, `logger`, `message`, and the fields that it has."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.gmtime(record.created)
        told: Fields = {
            "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', moment)}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["exception"] = self.formatException(record.exc_info)
        return json.dumps(told, ensure_ascii=False, default=str)


class Logs:
    """A sink that writes to the loggers.  Keys are in no fact's words, and would be blanked out if they were."""

    def __init__(self) -> None:
        self._plain = Plain()
        self._costs: dict[str, float] = {}
        self._tellers: Mapping[type, Callable[[Any], None]] = {
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            Continued: self._continued,
            FlightEnded: self._ended,
            Probed: self._probed,
        }

    def write(self, facts: list[Fact]) -> None:
        """A line for each fact that an operator would want to know of."""
        every = _REQUESTS.isEnabledFor(logging.INFO)
        for fact in facts:
            if every and isinstance(fact, AttemptAnswered | AttemptFailed | AttemptAbandoned):
                self._add_cost(fact)
            teller = self._tellers.get(type(fact))
            if teller is not None:
                teller(fact)

    def _failed(self, fact: AttemptFailed) -> None:
        failure, seen = fact.failure, "after words were shown" if fact.shown else "unseen"
        words = self._plain(str(failure), fact.target)
        fields = _attempt(fact) | {"kind": failure.kind.value, "status": failure.status, "shown": fact.shown}
        _tell(logging.INFO, f"{fact.flight} {fact.target.name} failed, {seen}: {words}", fields=fields)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        if fact.outrun:
            words = f"{fact.flight} {fact.target.name} was outrun after {fact.elapsed_s:.1f} s of silence"
            _tell(logging.INFO, words, fields=_attempt(fact) | {"kind": "outrun"})

    def _continued(self, fact: Continued) -> None:
        how = f"after {fact.chars} characters, by {fact.mode}"
        fields = {
            "request_id": fact.flight, "target": fact.target.name, "attempt": fact.number,
            "origin": fact.origin.name, "mode": fact.mode.value, "chars": fact.chars,
        }  # fmt: skip
        _tell(logging.INFO, f"{fact.flight} {fact.target.name} goes on for {fact.origin.name} {how}", fields=fields)

    def _ended(self, fact: FlightEnded) -> None:
        cost_usd, failure = self._costs.pop(fact.flight, None), fact.failure
        troubled = failure is not None and failure.verdict.fault is not Fault.CALLER
        if not (troubled or _REQUESTS.isEnabledFor(logging.INFO)):
            return
        fields: Fields = {
            "request_id": fact.flight, "route": self._plain(fact.route), "attempts": fact.attempts,
            "target": fact.target.name if fact.target is not None else None, "failover": fact.failover,
            "rescued": fact.rescued, "kind": failure.kind.value if failure is not None else "answered",
            "seconds": round(fact.total_s, 4), "cost_usd": cost_usd,
        }  # fmt: skip
        if failure is not None and troubled:
            words = f"{fact.flight} {fields['route']} not answered: {self._plain(str(failure))}"
            _tell(logging.WARNING, words, fields=fields)
        else:
            how = "answered" if failure is None else f"ended: {failure.kind}"
            by = f" by {fields['target']}" if fact.target is not None else ""
            words = f"{fact.flight} {fields['route']} {how}{by} after {fact.attempts} attempts, {fact.total_s:.3f} s"
            _tell(logging.INFO, words, fields=fields, logger=_REQUESTS)

    def _probed(self, fact: Probed) -> None:
        if (failure := fact.failure) is not None:
            words = f"{fact.target.name} failed when it was asked how it is: {self._plain(str(failure), fact.target)}"
            fields = {"target": fact.target.name, "kind": failure.kind.value, "status": failure.status}
            _tell(logging.INFO, words, fields=fields | {"free": fact.free, "seconds": round(fact.seconds, 4)})

    def _add_cost(self, fact: AttemptAnswered | AttemptFailed | AttemptAbandoned) -> None:
        usd = cost_usd(fact.usage, fact.target) if fact.usage is not None else None
        if usd is None:
            return
        if len(self._costs) >= UNDER_WAY_MAX:
            self._costs.clear()
        self._costs[fact.flight] = self._costs.get(fact.flight, 0.0) + usd


def _attempt(fact: AttemptFailed | AttemptAbandoned) -> Fields:
    return {
        "request_id": fact.flight,
        "target": fact.target.name,
        "attempt": fact.number,
        "seconds": round(fact.elapsed_s, 4),
    }


def _tell(level: int, words: str, *, fields: Fields, logger: logging.Logger = _LOGGER) -> None:
    said = {name: value for name, value in fields.items() if value is not None}
    logger.log(level, "%s", words, extra={"fields": said})
