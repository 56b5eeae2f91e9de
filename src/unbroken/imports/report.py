"""What became of each line of the source: kept, kept with a difference, or without a counterpart.

Nothing is dropped in silence: `Report.cover` finds every value of which nothing was said.
A note never repeats a value of the source that could be a secret.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from unbroken.imports.source import Item

__all__ = ["Note", "Outcome", "Report"]


UNKNOWN = "nothing here has this name or value"
"""Why a value is lost of which nothing is known."""


class Outcome(StrEnum):
    """What became of a value; the value of a member is the heading in the report."""

    TRANSLATED = "translated"
    DIFFERS = "differs"
    LOST = "no counterpart"
    NEEDED = "to be set in the environment"


@dataclass(frozen=True, slots=True)
class Note:
    """What became of the value at `key`, in line `line` of `file`; for NEEDED, `key` is the variable's name."""

    outcome: Outcome
    key: str
    text: str
    file: str
    line: int

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.key}: {self.text}" if self.key else f"{place}: {self.text}"


@dataclass(slots=True)
class Report:
    """The notes of one import."""

    file: str
    notes: list[Note] = field(default_factory=list)

    def kept(self, item: Item, text: str) -> None:
        """It means the same here, in these words."""
        self._add(Outcome.TRANSLATED, item, text=text)

    def differs(self, item: Item, text: str) -> None:
        """It was taken over, and is not quite the same."""
        self._add(Outcome.DIFFERS, item, text=text)

    def lost(self, item: Item, text: str) -> None:
        """There is nothing for it here, and why."""
        self._add(Outcome.LOST, item, text=text)

    def default(self, text: str, item: Item | None = None) -> None:
        """Something differs that the source does not mention, or not in one value: at most near this one."""
        place = (self.file, 0) if item is None else (item.file, item.line)
        self._append(Note(Outcome.DIFFERS, "", text, *place))

    def needed(self, variable: str, item: Item, *, text: str) -> None:
        """A variable that must be in the environment before the result can be used."""
        if variable not in self.variables:
            self._append(Note(Outcome.NEEDED, variable, text, item.file, item.line))

    def of(self, outcome: Outcome) -> list[Note]:
        """All notes of this outcome, in the order of the source."""
        return sorted((n for n in self.notes if n.outcome is outcome), key=lambda n: (n.line == 0, n.line))

    @property
    def variables(self) -> list[str]:
        """The variables that have to be set, each once."""
        return list(dict.fromkeys(note.key for note in self.of(Outcome.NEEDED)))

    def cover(self, root: Item, reasons: Mapping[str, str]) -> None:
        """Say of every value that nothing was said of so far that it has no counterpart.

        `reasons` says why, by the name of a key; what is inside such a key is not gone into.
        """
        for item, why in list(_silent(root, self._said, reasons=reasons, why=UNKNOWN)):
            self.lost(item, why)

    def says(self, item: Item) -> bool:
        """Whether there is a note on this very value."""
        return (item.file, item.path) in self._said

    @property
    def _said(self) -> Said:
        return {(note.file, note.key) for note in self.notes if note.key and note.outcome is not Outcome.NEEDED}

    def _add(self, outcome: Outcome, item: Item, *, text: str) -> None:
        self._append(Note(outcome, item.path, text, item.file, item.line))

    def _append(self, note: Note) -> None:
        if note not in self.notes:
            self.notes.append(note)

    def __str__(self) -> str:
        """For people: the notes under the four headings, and a line that counts them."""
        blocks = [
            "\n".join([f"{outcome} ({len(notes)})", *(f"  {note}" for note in notes)])
            for outcome in Outcome
            if (notes := self.of(outcome))
        ]
        counts = ", ".join(f"{len(self.of(outcome))} {outcome}" for outcome in Outcome if self.of(outcome))
        return "\n\n".join([*blocks, counts or "nothing in it"])


Said = Collection[tuple[str, str]]
"""Files and keys of which something was said."""


def _silent(item: Item, said: Said, *, reasons: Mapping[str, str], why: str) -> Iterator[tuple[Item, str]]:
    """The values of which nothing was said, neither of them nor of anything that they are in, and why they are lost."""
    if (item.file, item.path) in said:
        return
    known = reasons.get(item.name)
    if not item.inner or (known and not _touched(item, said)):
        yield item, known or (why if item.text else "nothing is said there")
        return
    for part in item.inner:
        yield from _silent(part, said, reasons=reasons, why=known or why)


def _touched(item: Item, said: Said) -> bool:
    """Whether something was said of a value in this one."""
    return any(file == item.file and key.startswith((f"{item.path}.", f"{item.path}[")) for file, key in said)
