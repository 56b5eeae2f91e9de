"""Facts as lines of a log: what failed and who went on (info), what callers saw of it (warning)."""

from __future__ import annotations

import logging

from unbroken.facts import AttemptAbandoned, AttemptFailed, Continued, Fact, FlightEnded
from unbroken.failures import Fault

__all__ = ["Logs"]

_LOGGER = logging.getLogger("unbroken")


class Logs:
    """A sink that writes to the logger `unbroken`.  Keys are in no fact, so they are in no line."""

    def write(self, facts: list[Fact]) -> None:
        """A line for each fact that an operator would want to know of."""
        for fact in facts:
            level, line = _line(fact)
            if line:
                _LOGGER.log(level, "%s", line)


def _line(fact: Fact) -> tuple[int, str]:
    match fact:
        case AttemptFailed():
            seen = "after words were shown" if fact.shown else "unseen"
            return logging.INFO, f"{fact.flight} {fact.target.name} failed, {seen}: {_plain(str(fact.failure))}"
        case AttemptAbandoned(outrun=True):
            return logging.INFO, f"{fact.flight} {fact.target.name} was outrun after {fact.elapsed_s:.1f} s of silence"
        case Continued():
            how = f"after {fact.chars} characters, by {fact.mode}"
            return logging.INFO, f"{fact.flight} {fact.target.name} goes on for {fact.origin.name} {how}"
        case FlightEnded(failure=failure) if failure is not None and failure.verdict.fault is not Fault.CALLER:
            return logging.WARNING, f"{fact.flight} {fact.route} not answered: {_plain(str(failure))}"
        case _:
            return logging.NOTSET, ""


def _plain(text: str) -> str:
    """One line, whatever a provider wrote into its message."""
    return " ".join(text.split())
