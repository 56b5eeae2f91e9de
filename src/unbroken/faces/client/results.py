"""What callers of the Python client are given: typed records, made of an answer's deltas and of facts."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbroken.failures import Failure, Tried
from unbroken.price import Price
from unbroken.types import (
    Delta,
    Finish,
    Json,
    Media,
    Output,
    Part,
    Reasoning,
    Response,
    Task,
    Text,
    ToolCall,
    ToolFragment,
    Usage,
    fold,
)

__all__ = [
    "Answer",
    "Chunk",
    "Embeddings",
    "Estimate",
    "Health",
    "Made",
    "Model",
    "Result",
    "answer_of",
    "chunk_of",
    "cost_of",
    "embeddings_of",
    "made_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an answer came about.

    provider, target   who gave it: `groq`, and `groq/openai/gpt-oss-120b`
    model              what the provider says its model is called
    failover_occurred  whether it was not the first choice
    rescued            whether another target went on where a stream had broken
    attempts           every attempt, with why it was made, what came of it, and when
    usage              what the provider counted, where it did
    cost_usd           what all attempts together cost by their price lists; None where no price is known
    seconds            from the first attempt to the end of the last one
    left_out           what the target was not told for want of words for it
    cache              how a cache took part, where the route has one: hit, semantic, merged, stale or miss
    """

    provider: str = ""
    target: str = ""
    model: str = ""
    failover_occurred: bool = False
    rescued: bool = False
    attempts: tuple[Tried, ...] = ()
    usage: Usage | None = None
    cost_usd: float | None = None
    seconds: float = 0.0
    request_id: str = ""
    left_out: tuple[str, ...] = ()
    cache: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Result):
    """A model's answer; `str(answer)` is its text.

    `refusal` is what a model says that will not answer.  `finish` is why it ended.  `parts` has
    everything in it as the parts of a message.
    """

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: Finish | None = None
    parts: tuple[Part, ...] = ()

    def __str__(self) -> str:
        return self.text

    @property
    def message(self) -> dict[str, Json]:
        """The answer as a message to be appended to the conversation, before the results of its tool calls."""
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.tool_calls
        ]
        return {"role": "assistant", "content": self.text or None, **({"tool_calls": calls} if calls else {})}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """A step of a streamed answer; tool calls come in pieces, or whole where the route says so (the default)."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolFragment, ...] = ()
    finish: Finish | None = None

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings(Result):
    """A vector for each text, in their order."""

    vectors: tuple[tuple[float, ...], ...] = ()

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)

    def __len__(self) -> int:
        return len(self.vectors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made(Result):
    """Pictures or films: `data`, `url` and `media_type` are those of the first, `outputs` has all.

    One of `data` and `url` is filled; an address may not live long.
    """

    outputs: tuple[Output, ...] = ()

    @property
    def data(self) -> bytes:
        """The bytes of the first; none where there is but an address."""
        return self.outputs[0].data if self.outputs else b""

    @property
    def url(self) -> str:
        """The address of the first; empty where its bytes are here."""
        return self.outputs[0].url if self.outputs else ""

    @property
    def media_type(self) -> str:
        """Such as `image/png`; empty where nobody knows."""
        return self.outputs[0].media_type if self.outputs else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A name that can be asked for: a route (with the targets behind it), or one target.

    What is known of a target: its `tasks`, `capabilities` (empty: unknown), `context_tokens` and `price`.
    """

    id: str
    targets: tuple[str, ...]
    tasks: frozenset[Task] = frozenset(Task)
    capabilities: frozenset[str] = frozenset()
    context_tokens: int | None = None
    price: Price | None = None

    @property
    def is_route(self) -> bool:
        """Whether several targets may answer to this name."""
        return self.price is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a request would cost at each target, in order of preference; None where no price is known.

    Tokens are guessed from the length of the text, four characters each.
    """

    input_tokens: int
    output_tokens: int
    by_target: Mapping[str, float | None]

    @property
    def usd(self) -> float | None:
        """At the target that is asked first."""
        return next(iter(self.by_target.values()), None)

    @property
    def usd_max(self) -> float | None:
        """At the dearest target whose price is known."""
        return max((usd for usd in self.by_target.values() if usd is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a provider is: `ok`, and after how many seconds it answered; else the `failure`.

    `free` is False where a word of a model had to be paid for to know it.  True as a truth value where `ok`.
    """

    provider: str
    ok: bool
    free: bool = True
    seconds: float = 0.0
    failure: Failure | None = None

    def __bool__(self) -> bool:
        return self.ok


# ----------------------------------------------------------------------- how they are made


def chunk_of(delta: Delta) -> Chunk | None:
    """A step as callers see it; None where there is nothing in it for them."""
    if not (delta.has_content or delta.finish):
        return None
    text = delta.text or delta.refusal
    return Chunk(text=text, reasoning=delta.reasoning, tool_calls=delta.tool_calls, finish=delta.finish)


def answer_of(deltas: list[Delta], result: Result) -> Answer:
    """A conversation's answer from its steps."""
    said = fold(deltas)
    return Answer(
        **_shared(result, said),
        text=said.text,
        reasoning=said.reasoning,
        refusal=said.refusal,
        tool_calls=said.tool_calls,
        finish=said.finish,
        parts=_parts_of(said),
    )


def embeddings_of(deltas: list[Delta], result: Result) -> Embeddings:
    """Vectors from the steps that brought them."""
    said = fold(deltas)
    return Embeddings(**_shared(result, said), vectors=tuple(output.vector for output in said.outputs))


def made_of(deltas: list[Delta], result: Result) -> Made:
    """Pictures or films from the steps that brought them."""
    said = fold(deltas)
    return Made(**_shared(result, said), outputs=said.outputs)


def cost_of(costs: Sequence[float | None]) -> float | None:
    """The sum of what is known; None where nothing is."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known else None


def _shared(result: Result, said: Response) -> dict[str, Any]:
    """The fields that every kind of result has."""
    fields = {name: getattr(result, name) for name in Result.__dataclass_fields__}
    return {**fields, "usage": said.usage, "model": said.model or result.target.partition("/")[2]}


def _parts_of(said: Response) -> tuple[Part, ...]:
    thoughts = (Reasoning(said.reasoning, said.signature),) if said.reasoning else ()
    words = (Text(said.text),) if said.text else ()
    return (*thoughts, *words, *said.tool_calls, *map(_media, said.outputs))


def _media(output: Output) -> Media:
    data = base64.b64encode(output.data).decode()
    return Media(kind=output.kind, url=output.url, media_type=output.media_type, data=data)
