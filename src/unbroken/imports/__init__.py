"""Other gateways' configurations as ours, with a report of what became of each line.

imported = import_litellm(text, file="config.yaml", read=...)
imported.yaml       a file that `unbroken check` accepts
imported.report     what was translated, what differs, what has no counterpart
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from unbroken.imports.draft import Draft
from unbroken.imports.litellm import litellm
from unbroken.imports.portkey import portkey
from unbroken.imports.report import Outcome, Report
from unbroken.imports.writing import write

__all__ = ["Imported", "import_litellm", "import_portkey"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A configuration of ours as text, and the report on how it came about."""

    yaml: str
    report: Report


def import_litellm(text: str, *, file: str, read: Callable[[str], str], partial: bool = False) -> Imported:
    """A configuration of the LiteLLM proxy; see `litellm.litellm` for the arguments and errors."""
    return _finished(*litellm(text, file=file, read=read, partial=partial), of="LiteLLM's")


def import_portkey(text: str, *, file: str, model: str = "", whose: Mapping[str, str] | None = None) -> Imported:
    """A config of Portkey's gateway; see `portkey.portkey` for the arguments and errors."""
    return _finished(*portkey(text, file=file, model=model, whose=whose), of="Portkey's")


def _finished(draft: Draft, report: Report, *, of: str) -> Imported:
    yaml = write(draft.document, comments=draft.comments, head=list(_head(report, of)), foot=list(_foot(report)))
    return Imported(yaml, report)


def _head(report: Report, of: str) -> Iterator[str]:
    """Where it comes from, and what has to be done before it can be used."""
    yield f"Made by `unbroken import` of {of} {report.file}."
    if report.variables:
        yield f"To be set in the environment: {', '.join(report.variables)}."
    if report.of(Outcome.DIFFERS) or report.of(Outcome.LOST):
        yield "What differs and what has no counterpart is listed at the end."


def _foot(report: Report) -> Iterator[str]:
    for outcome in (Outcome.DIFFERS, Outcome.LOST):
        notes = report.of(outcome)
        if notes:
            yield f"{outcome.value.capitalize()}:"
            yield from (f"- {note}" for note in notes)
