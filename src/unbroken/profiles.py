"""Profiles: a strategy and a policy by one word, for people who want no knobs.

Each is what an answer to a few questions comes to; docs/strategies.md draws them as trees.
What a file says besides wins over the profile, field by field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["PROFILES", "Profile"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """`policy` holds fields of `Policy` as a file would, `about` is one line for people."""

    about: str
    strategy: str = "priority"
    requirements: Mapping[str, float] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)


PROFILES: Mapping[str, Profile] = {
    "predictable": Profile(
        about="the first target while it is well, the next only when it failed; nothing is sent twice at once",
    ),
    "available": Profile(
        about="an answer from somebody: who is late gets company, and whatever is wrong with an answer is repaired",
        strategy="best",
        requirements={"reliability": 1.0, "speed": 0.5},
        policy={
            "hedging": {"p95": True},
            "retries": {"attempts_max": 8},
            "on_refusal": "failover",
            "on_bad_arguments": "failover",
        },
    ),
    "cheapest": Profile(
        about="the cheapest that can do it; nothing is paid for twice except after a failure",
        strategy="cheapest",
        policy={"budget": {"ratio": 0.1}},
    ),
    "production": Profile(
        about="whoever does best by time and success, with company for whom is late",
        strategy="best",
        policy={"hedging": {"p95": True}},
    ),
}
"""By the name that configurations use."""
