"""Rewrite the parts of docs/architecture.md and docs/providers.md that are drawn from the code (make docs).

Each part stands between `<!-- NAME: generated -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable, Mapping
from pathlib import Path

from unbroken.catalog import Provider, providers
from unbroken.core.breaker import TABLE, State
from unbroken.failures import VERDICTS, FailureKind, Same, Scope, Verdict

ROOT = Path(__file__).resolve().parent.parent
DOCUMENT = ROOT / "docs" / "architecture.md"

SAME = {Same.NEVER: "no", Same.ONCE: "after a back-off", Same.HINTED: "if it said when, and soon"}


def imports() -> str:
    """Who may import whom, from the test that enforces it."""
    table = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["table"]
    return str(table())


def verdicts() -> str:
    """What follows from each kind of failure."""
    lines = [
        "| Kind | Whose fault | Same target again? | Elsewhere? | Counts against | Set aside at once | Caller sees |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join(lines + [_verdict(kind, verdict) for kind, verdict in VERDICTS.items()])


def _verdict(kind: FailureKind, verdict: Verdict) -> str:
    elsewhere = "another model" if verdict.other_model else "yes" if verdict.elsewhere else "no"
    counts = "nothing" if verdict.counts is Scope.NONE else verdict.counts
    cools = "nothing" if verdict.cools is Scope.NONE else f"{verdict.cools}, {_duration(verdict.cool_s)}"
    cells = (f"`{kind}`", verdict.fault, SAME[verdict.same], elsewhere, counts, cools, str(verdict.status))
    return f"| {' | '.join(cells)} |"


def _duration(seconds: float) -> str:
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"


def breaker() -> str:
    """The states of a breaker, as a diagram; what an operator forces comes last."""
    forced = {State.FORCED_OPEN, State.FORCED_CLOSED}
    edges: dict[tuple[State, State], list[str]] = {}
    for (before, event), after in TABLE.items():
        if before not in forced and after not in forced:
            edges.setdefault((before, after), []).append(event.value)
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CLOSED}"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in edges.items()]
    return "\n".join([*lines, "```"])


def rows() -> str:
    """The providers that are known by name."""
    lines = ["| Provider | Format | Address | Key | Default model |", "|---|---|---|---|---|"]
    return "\n".join(lines + [_row(row) for row in providers().values()])


def _row(row: Provider) -> str:
    key = ", ".join(f"`{name}`" for name in row.key_env)
    shown = f", in `{row.auth}`" if row.auth not in {"", "bearer"} else ""
    address = f"`{row.base_url}`" if row.base_url else "made of its options"
    cells = (f"`{row.name}`", f"`{row.format}`", address, ("" if row.key_needed else "none, or ") + key + shown)
    return f"| {' | '.join(cells)} | {f'`{row.model}`' if row.model else ''} |"


PARTS = {"imports": imports, "verdicts": verdicts, "breaker": breaker}
PROVIDERS = ROOT / "docs" / "providers.md"
PROVIDERS_PARTS = {"rows": rows}


def renewed(text: str, parts: Mapping[str, Callable[[], str]] = PARTS) -> str:
    """A document with each part as the code says it now; ValueError where a part has no place."""
    for name, part in parts.items():
        block = re.compile(f"(<!-- {name}: generated -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"there is no place for {name!r}")
        content = part()
        text = block.sub(lambda found, content=content: f"{found[1]}\n{content}\n\n{found[2]}", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    for document, its_parts in ((DOCUMENT, PARTS), (PROVIDERS, PROVIDERS_PARTS)):
        document.write_text(renewed(document.read_text(encoding="utf-8"), its_parts), encoding="utf-8")
        print(document.relative_to(ROOT))
