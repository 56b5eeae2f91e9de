"""Keys that stand in somebody else's configuration: ours says where they are, and never repeats them."""

from __future__ import annotations

from dataclasses import dataclass, field

from unbroken.imports.draft import Place, literal, variable
from unbroken.imports.report import Report
from unbroken.imports.source import Item

__all__ = ["Secrets", "variable_of"]

ENVIRONMENT = "os.environ/"
"""How LiteLLM says that a value is in the environment."""
_NO_KEYS = frozenset(
    {"", "none", "null", "empty", "dummy", "fake", "fake-key", "na", "no-key", "not-needed", "ignored"}
)
"""What people write where a server wants no key."""


def variable_of(item: Item) -> str:
    """The variable that a value of a LiteLLM configuration names; empty where it is the value itself."""
    return item.text.removeprefix(ENVIRONMENT) if item.text.startswith(ENVIRONMENT) else ""


@dataclass(slots=True)
class Secrets:
    """Each key of the source gets a variable of the environment; the same key the same one."""

    report: Report
    _variables: dict[str, str] = field(default_factory=dict)

    def text(self, item: Item | None) -> str:
        """A value that is no secret, as it is written in our file; empty for None."""
        if item is None:
            return ""
        name = variable_of(item)
        return f"${{{name}}}" if name else literal(item.text)

    def key(self, item: Item | None, *, words: str) -> str:
        """A reference to this key; empty where there is none.  `words` are what a new variable is called after."""
        if item is None:
            return ""
        if name := variable_of(item):
            self.report.kept(item, f"read from the environment: {name}")
            return f"${{{name}}}"
        if item.text.lower() in _NO_KEYS:
            self.report.kept(item, "no key is sent")
            return ""
        name = self._new(item.text, words)
        self.report.differs(item, f"keys are not copied: set {name} to it")
        self.report.needed(name, item, text=f"the value of `{item.path}`")
        return f"${{{name}}}"

    def options(self, place: Place, item: Item) -> None:
        """Say which options of an account have to come from the environment."""
        for option, name in place.unset.items():
            self.report.needed(name, item, text=f"the option `{option}` of {place.like}")

    def _new(self, value: str, words: str) -> str:
        if value not in self._variables:
            first = variable(words)
            names = (first, *(f"{first}_{number}" for number in range(2, 10_000)))
            self._variables[value] = next(name for name in names if name not in self._variables.values())
        return self._variables[value]
