"""Rewrite the parts of docs/architecture.md that are drawn from the code (make docs).

Each part stands between `<!-- NAME: generated -->` and `<!-- end NAME -->`.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path

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


PARTS = {"imports": imports, "verdicts": verdicts, "breaker": breaker}


def renewed(text: str) -> str:
    """The document with each part as the code says it now; ValueError where a part has no place."""
    for name, part in PARTS.items():
        block = re.compile(f"(<!-- {name}: generated -->\n).*?(<!-- end {name} -->)", re.DOTALL)
        if not block.search(text):
            raise ValueError(f"{DOCUMENT.name} has no place for {name!r}")
        content = part()
        text = block.sub(lambda found, content=content: f"{found[1]}\n{content}\n\n{found[2]}", text)  # type: ignore[misc]
    return text


if __name__ == "__main__":
    DOCUMENT.write_text(renewed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    print(DOCUMENT.relative_to(ROOT))
