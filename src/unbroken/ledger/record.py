"""The decision record: what is known of one request when it is over, and of each of its attempts.

    Record   a request: who could have answered and why others were not asked, what came of it
    Try      one attempt of it: when, at whom, why, how it ended, what it took and cost

Times within a record are seconds after the request came in; `at` is seconds since 1970.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["ABANDONED", "ANSWERED", "COUNTED", "Record", "Try", "decoded", "told"]

ANSWERED, ABANDONED, UNDER_WAY = "answered", "abandoned", "under way"
COUNTED = ("provider", "estimate", "none")
"""How tokens are known: its provider counted them, they are our guess, or nothing was taken."""


class Try(msgspec.Struct, kw_only=True, gc=False):
    """One attempt.  Its fields stand in the order of the columns in `tables`.

    `outcome` is answered, abandoned (we hung up: another was faster, or the caller left), under
    way, or the kind of its failure.  `counted` is one of COUNTED.  `cost_usd` is None where no
    price is known.  `mode` is how it was brought to go on where another had broken off after
    `after_chars` characters; `left_out` is what it was not told for want of words.
    """

    number: int
    target: str
    provider: str
    model: str
    why: str
    start_s: float
    first_content_s: float | None = None
    total_s: float | None = None
    outcome: str = UNDER_WAY
    status: int | None = None
    message: str = ""
    shown: bool = False
    outrun: bool = False
    mode: str = ""
    after_chars: int = 0
    chars: int = 0
    counted: str = "none"
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    images: int = 0
    characters: int = 0
    seconds: float = 0.0
    cost_usd: float | None = None
    left_out: tuple[str, ...] = ()


class Record(msgspec.Struct, kw_only=True, gc=False):
    """One request.  Its fields stand in the order of the columns in `tables`, attempts last.

    `candidates` is the order in which targets were to be asked, `skipped` holds each other one
    with the reason.  `outcome` is answered, under way, or the kind of the failure that the
    caller was told; `status` is the HTTP status that this is (200 where it came within a
    stream that had begun, which is then `broken`).  `cache` is how it was answered where
    nobody was asked for it; `origin` is the request that had brought the answer.
    `estimated` is whether any of the tokens are our guess.  `notes` say in words what
    else befell it.  `prompt` and `answer` are empty unless the operator wants them kept.
    """

    id: str
    at: float
    route: str = ""
    strategy: str = ""
    task: str = "chat"
    stream: bool = False
    caller: str = ""
    prompt_chars: int = 0
    outcome: str = UNDER_WAY
    status: int | None = None
    message: str = ""
    target: str = ""
    failover: bool = False
    rescued: bool = False
    broken: bool = False
    cache: str = ""
    origin: str = ""
    age_s: float = 0.0
    first_content_s: float | None = None
    total_s: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    estimated: bool = False
    prompt: str = ""
    answer: str = ""
    candidates: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    attempts: list[Try] = msgspec.field(default_factory=list)


def told(record: Record) -> dict[str, Any]:
    """As plain values for JSON: every field of the record, and of each of its attempts."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


def decoded(plain: Any) -> Record:
    """A record from what `told` made of it; msgspec.ValidationError where it is none."""
    return msgspec.convert(plain, Record)
