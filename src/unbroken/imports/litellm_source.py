"""The files of a LiteLLM configuration as one: what is included is part of it.

source = read_source(text, file="config.yaml", read=..., report=report)
source.setting("num_retries")        the Item that counts, from whichever section says it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from unbroken.config_file import ConfigError, Problem
from unbroken.imports.litellm_words import SECTIONS
from unbroken.imports.report import Report
from unbroken.imports.source import Item, problem_at, read_yaml

__all__ = ["Source", "read_source"]

INCLUDES_MAX = 50
"""Files of one configuration."""


@dataclass(slots=True)
class Source:
    """The files as one: lists are joined, and of a setting that is given twice the router's wins, then the first."""

    roots: list[Item]
    report: Report

    def list(self, name: str) -> Iterator[Item]:
        """The elements of a list, of all files."""
        for root in self.roots:
            if (item := root.get(name)) is not None:
                yield from item.parts

    def settings(self, *sections: str) -> Iterator[Item]:
        """These sections, wherever they are."""
        for section in sections:
            for root in self.roots:
                if (item := root.get(section)) is not None:
                    yield item

    def setting(self, *names: str, of: tuple[str, ...] = ("router_settings", "litellm_settings")) -> Item | None:
        """A setting of the first of these sections that has it, by the first of its names that is there."""
        found = [item for s in self.settings(*of) if (item := s.get(*names))]
        for other in found[1:]:
            self.report.lost(other, f"line {found[0].line} says it too, and wins")
        return found[0] if found else None

    def number(self, *names: str, text: str, zero: bool = False, exact: bool = False) -> float | None:
        """A setting that is a number, with a note of what it became; several names of one setting in their order.

        `zero` where nought means something, `exact` where it means the same here.
        """
        items = [item for name in names if (item := self.setting(name)) is not None]
        used = next((i for i in items if i.number is not None and i.number >= 0), None)
        for item in items:
            if item is not used:
                self.report.lost(item, "not a number" if used is None else f"line {used.line} says it too, and wins")
        if used is None or used.number is None:
            return None
        if used.number == 0 and not zero:
            self.report.lost(used, "nought has no meaning here")
            return None
        (self.report.kept if exact else self.report.differs)(used, text)
        return used.number


def read_source(text: str, *, file: str, read: Callable[[str], str], report: Report) -> Source:
    """The file and what it includes; ConfigError where it cannot be read or is no configuration of LiteLLM's."""
    root = read_yaml(text, file=file)
    if not SECTIONS & root.fields.keys():
        message = "no `model_list` here: is this a LiteLLM configuration?"
        raise ConfigError([Problem(file=file, line=root.line, key="", message=message)])
    return Source([root, *_included(root, read, report=report)], report)


def _included(root: Item, read: Callable[[str], str], *, report: Report) -> list[Item]:
    """The files that are included, and what they include."""
    found: list[Item] = []
    waiting = list(parts.parts) if (parts := root.get("include")) else []
    while waiting:
        item = waiting.pop(0)
        if len(found) >= INCLUDES_MAX:
            raise ConfigError([problem_at(item, f"more than {INCLUDES_MAX} files are included")])
        try:
            part = read_yaml(read(item.text), file=item.text)
        except (OSError, UnicodeDecodeError):
            raise ConfigError([problem_at(item, "this file cannot be read")]) from None
        report.kept(item, "read, and made one file with this")
        found.append(part)
        waiting += parts.parts if (parts := part.get("include")) else []
    return found
