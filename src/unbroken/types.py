"""The nouns that every layer shares: what is asked, what is answered, and by whom.

Nothing here does I/O or reads a clock.  All values are immutable; a value that a later
layer may not need (the parsed conversation of a request that is only passed on) is read
when it is first asked for, see `Request.chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, dataclass_transform

__all__ = [
    "Attempt",
    "Bytes",
    "Chat",
    "Continuation",
    "Delta",
    "Finish",
    "HttpReply",
    "HttpRequest",
    "Json",
    "Media",
    "Message",
    "Mode",
    "Opaque",
    "Part",
    "Price",
    "Reasoning",
    "Request",
    "Response",
    "Source",
    "Target",
    "Task",
    "Text",
    "Tool",
    "ToolCall",
    "ToolFragment",
    "ToolResult",
    "Usage",
    "Why",
    "anchor_of",
    "fold",
    "record",
]

Json = Any
"""A decoded JSON value."""

Record = TypeVar("Record")


@dataclass_transform(frozen_default=True)
def record(*, kw_only: bool = False) -> Callable[[type[Record]], type[Record]]:
    """A frozen dataclass whose freezing costs nothing.

    Type checkers refuse assignment to its fields as to any frozen dataclass's; at run time
    nothing is checked.  A frozen `Delta` takes 1.75 us to make, this one 0.47 us, and several
    records are made for every event of a stream.
    """
    return partial(dataclass, slots=True, unsafe_hash=True, kw_only=kw_only)


Bytes = bytes
"""Raw JSON as it stood in somebody's body."""


class Task(StrEnum):
    """The kinds of work a target can do; limits and rules differ by kind."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    IMAGE = "image"
    VIDEO = "video"


class Finish(StrEnum):
    """Why an answer ended, in one vocabulary; the provider's own word stays beside it."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


# ---------------------------------------------------------------- what is asked


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a message."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, sound or document: either a URL (http or data) or bytes as base64."""

    kind: str
    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's thinking, where the format shows it."""

    text: str
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model asks for; `arguments` is JSON text, as models write it."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered to the call with this id."""

    id: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Something of one format that we do not model: only that format can write it again."""

    format: str
    value: Json


Part = Text | Media | Reasoning | ToolCall | ToolResult | Opaque


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn.  `role` is system, user, assistant or tool; `extras` are fields of its format."""

    role: str
    parts: tuple[Part, ...]
    extras: Mapping[str, Json] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The words of the message, without anything else in it."""
        return "".join(part.text for part in self.parts if isinstance(part, Text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Json = None
    strict: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation and how it should be answered, in no provider's words.

    `tool_choice` is auto, none, required or `{"name": ...}`; `schema` is a JSON schema
    that the answer must obey (`json_object` alone is an empty schema); `extras` holds the
    fields that we do not model, by name, for targets of the same format.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | Mapping[str, str] | None = None
    schema: Mapping[str, Json] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str | None = None
    extras: Mapping[str, Json] = field(default_factory=dict)


@record()
class Source:
    """A caller's body, field by field and undecoded, for a target that speaks the same format."""

    format: str
    fields: Mapping[str, Bytes]


@record(kw_only=True)
class Request:
    """What a caller wants.

    Only what routing and limits need is read at once: `prompt_chars` is the size of the
    prompt in bytes of JSON, `max_tokens` the caller's own limit, `needs` the capabilities
    without which a target cannot answer (`tools`, `vision`, `schema`), `choices` how many
    answers, `thinks` whether the caller asked for more thinking than a little.  `chat` reads
    the rest when a target of another format asks for it; it raises ValueError where the
    caller's body is not a conversation.
    """

    model: str
    task: Task = Task.CHAT
    stream: bool = False
    include_usage: bool = False
    prompt_chars: int = 0
    max_tokens: int | None = None
    choices: int = 1
    thinks: bool = False
    temperature: float | None = None
    needs: frozenset[str] = frozenset()
    source: Source | None = None
    read: Callable[[], Chat] | None = None

    @property
    def chat(self) -> Chat:
        """The conversation in no provider's words."""
        if self.read is None:
            raise ValueError(f"a {self.task} request holds no conversation")
        return self.read()


# ------------------------------------------------------------- what is answered


@record(kw_only=True)
class Usage:
    """Tokens as the provider counted them; `cost_usd` where it says so itself."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None


@record(kw_only=True)
class ToolFragment:
    """A piece of a tool call; id and name come once, arguments in pieces, by index."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


@record(kw_only=True)
class Delta:
    """One step of an answer.

    `raw` holds the bytes that it was decoded from, in `format`: a writer of the same
    format passes them on as they are.  `choice` is the index of the answer it belongs to
    where several were asked for.  `body` marks a whole plain answer in `raw`.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolFragment, ...] = ()
    usage: Usage | None = None
    finish: Finish | None = None
    raw_finish: str | None = None
    refusal: str = ""
    media: int = 0
    choice: int = 0
    model: str = ""
    id: str = ""
    format: str = ""
    raw: Bytes = b""
    body: bool = False

    @property
    def has_content(self) -> bool:
        """Whether a caller would see something of the answer itself in this delta."""
        return bool(self.text or self.tool_calls or self.reasoning or self.media or self.refusal)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A whole answer, folded from its deltas."""

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    usage: Usage | None = None
    finish: Finish | None = None
    raw_finish: str | None = None
    refusal: str = ""
    model: str = ""
    id: str = ""


def fold(deltas: list[Delta]) -> Response:
    """A whole answer from its steps (of choice 0)."""
    mine = [delta for delta in deltas if delta.choice == 0]
    return Response(
        text="".join(delta.text for delta in mine),
        reasoning="".join(delta.reasoning for delta in mine),
        tool_calls=_fold_calls(mine),
        usage=next((d.usage for d in reversed(deltas) if d.usage), None),
        finish=next((d.finish for d in reversed(mine) if d.finish), None),
        raw_finish=next((d.raw_finish for d in reversed(mine) if d.raw_finish), None),
        refusal="".join(delta.refusal for delta in mine),
        model=next((d.model for d in reversed(deltas) if d.model), ""),
        id=next((d.id for d in deltas if d.id), ""),
    )


def _fold_calls(deltas: list[Delta]) -> tuple[ToolCall, ...]:
    pieces: dict[int, list[ToolFragment]] = {}
    for delta in deltas:
        for fragment in delta.tool_calls:
            pieces.setdefault(fragment.index, []).append(fragment)
    return tuple(
        ToolCall(
            id=next((f.id for f in call if f.id), ""),
            name=next((f.name for f in call if f.name), ""),
            arguments="".join(f.arguments for f in call),
        )
        for _, call in sorted(pieces.items())
    )


# ------------------------------------------------------------------ by whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Dollars for a million tokens, and for a request or an image where that is the unit."""

    input_usd: float = 0.0
    output_usd: float = 0.0
    cached_usd: float | None = None
    request_usd: float = 0.0
    image_usd: float = 0.0

    def cost_usd(self, usage: Usage | None, *, images: int = 0) -> float:
        """What these tokens cost; a provider's own figure wins over the list."""
        if usage is None:
            return self.request_usd + images * self.image_usd
        if usage.cost_usd is not None:
            return usage.cost_usd
        cached_rate = self.input_usd if self.cached_usd is None else self.cached_usd
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        tokens = fresh * self.input_usd + usage.cached_tokens * cached_rate
        tokens += usage.output_tokens * self.output_usd
        return tokens / 1e6 + self.request_usd + images * self.image_usd


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One way to get an answer: a provider, a model there, and a key to it.

    `name` is what routes and headers call it.  `endpoint`, `model_scope`, `key_scope` and
    `quota_scope` name the four things that can be ill on their own: the provider's address,
    the model there, the key, and the key's share of that model.  `prefix` says how the
    target continues an answer that was begun: `assistant` (a last assistant message is
    carried on), `flag` (the same with `"prefix": true`), `vllm` (the same with vLLM's own
    fields), `none` (it must be asked to).
    `capabilities` names what it can do (`tools`, `vision`, `schema`, `reasoning`, `local`);
    empty means unknown, and then nothing is ruled out.
    """

    name: str
    provider: str
    model: str
    format: str = "openai_chat"
    base_url: str = ""
    key: str = ""
    key_name: str = ""
    quota_group: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tasks: frozenset[Task] = frozenset(Task)
    capabilities: frozenset[str] = frozenset()
    context_tokens: int | None = None
    prefix: str = "none"
    price: Price = Price()
    weight: float = 1.0
    deadlines: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        """The name and the address; never the key."""
        return f"Target({self.name!r}, {self.base_url!r})"

    @property
    def endpoint(self) -> str:
        return self.provider

    @property
    def model_scope(self) -> str:
        return f"{self.provider}/{self.model}"

    @property
    def key_scope(self) -> str:
        return f"{self.provider}#{self.quota_group or self.key_name}"

    @property
    def quota_scope(self) -> str:
        return f"{self.provider}/{self.model}#{self.quota_group or self.key_name}"


class Why(StrEnum):
    """Why an attempt was made."""

    FIRST = "first"
    RETRY = "retry"
    FAILOVER = "failover"
    HEDGE = "hedge"
    RACE = "race"
    CONTINUATION = "continuation"
    LAST_RESORT = "last_resort"


class Mode(StrEnum):
    """How a target is brought to go on with an answer that another one began."""

    PREFIX = "prefix"
    ASK = "ask"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Continuation:
    """The words a caller has already seen, and how the next target should go on from them."""

    mode: Mode
    text: str


ANCHOR_CHARS = 40
"""Long enough to occur once in a text as a rule, short enough for a model to repeat exactly."""


def anchor_of(text: str) -> str:
    """The last words of a text, which a target that is asked to go on has to repeat first."""
    tail = text.rstrip()[-ANCHOR_CHARS:]
    whole_words = tail[tail.find(" ") + 1 :]
    return whole_words if len(whole_words) >= ANCHOR_CHARS // 2 and len(text.rstrip()) > ANCHOR_CHARS else tail


@record(kw_only=True)
class Attempt:
    """One try at one target, numbered from 1 within its request."""

    number: int
    target: Target
    why: Why
    continuation: Continuation | None = None


# ------------------------------------------------------------------- HTTP, as values


@record(kw_only=True)
class HttpRequest:
    """A request as bytes; header names are lower case."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""


@record(kw_only=True)
class HttpReply:
    """A whole answer that was not the one hoped for; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
