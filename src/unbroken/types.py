"""The nouns that every layer shares: what is asked, what is answered, and by whom.

Nothing here does I/O or reads a clock.  All values are immutable; a value that a later
layer may not need (the parsed conversation of a request that is only passed on) is read
when it is first asked for, see `Request.chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeVar

from msgspec.structs import force_setattr

from unbroken.price import UNPRICED, Price
from unbroken.records import Record
from unbroken.work import (
    Chat,
    Json,
    Media,
    Message,
    Opaque,
    Part,
    Reasoning,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    Work,
)

__all__ = [
    "Allowance",
    "Attempt",
    "Bytes",
    "Chat",
    "Continuation",
    "Delta",
    "Finish",
    "Fix",
    "HttpReply",
    "HttpRequest",
    "Json",
    "Media",
    "Message",
    "Mode",
    "Opaque",
    "Output",
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
    "Work",
    "anchor_of",
    "fold",
]

Kind = TypeVar("Kind", bound=Work)


Bytes = bytes
"""Raw JSON as it stood in somebody's body."""


class Task(StrEnum):
    """The kinds of work a target can do; limits and rules differ by kind."""

    CHAT = "chat"
    EMBEDDING = "embedding"
    IMAGE = "image"
    VIDEO = "video"
    SPEECH = "speech"
    TRANSCRIPTION = "transcription"


class Finish(StrEnum):
    """Why an answer ended, in one vocabulary; the provider's own word stays beside it."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"
    ERROR = "error"


# ---------------------------------------------------------------- what is asked


class Source(Record):
    """A caller's body, field by field and undecoded, for a target that speaks the same format."""

    format: str
    fields: Mapping[str, Bytes]


class Request(Record, kw_only=True):
    """What a caller wants.

    Only what routing and limits need is read at once: `prompt_chars` is the size of the
    prompt in bytes of JSON, `max_tokens` the caller's own limit, `needs` the capabilities
    without which a target cannot answer (`tools`, `vision`, `audio`, `schema`), `choices` how many
    answers, `thinks` whether the caller asked for more thinking than a little.  `work` and
    `chat` read the rest when a target of another format asks for it.  `asker` says whose request
    it is where that matters (a hash of the key), `caller` whom of those behind one key.
    `include_usage` is whether the caller of a stream wants its tokens counted, `counted` whether we do.
    `cache` is `no-cache` where only a fresh answer will do, `no-store` where nothing may be kept of it either.
    """

    model: str
    task: Task = Task.CHAT
    stream: bool = False
    include_usage: bool = False
    counted: bool = False
    prompt_chars: int = 0
    max_tokens: int | None = None
    choices: int = 1
    thinks: bool = False
    temperature: float | None = None
    needs: frozenset[str] = frozenset()
    asker: str = ""
    caller: str = ""
    cache: str = ""
    source: Source | None = None
    read: Callable[[], Work] | None = None

    def asked_by(self, asker: str) -> Request:
        """The same request, with whose it is; only for one that nobody else has seen yet."""
        force_setattr(self, "asker", asker)
        return self

    @property
    def work(self) -> Work:
        """What is asked, in no provider's words; ValueError where the caller's body does not say it."""
        if self.read is None:
            raise ValueError(f"this {self.task} request can only be passed on as it came")
        return self.read()

    @property
    def chat(self) -> Chat:
        """The conversation, where the work is one; ValueError as with `work`."""
        return self.work_as(Chat)

    def work_as(self, kind: type[Kind]) -> Kind:
        """The work, which must be of this kind; ValueError where it is another."""
        work = self.work
        if not isinstance(work, kind):
            raise ValueError(f"a {self.task} request holds no {kind.__name__}")  # noqa: TRY004 - see `work`
        return work


# ------------------------------------------------------------- what is answered


class Usage(Record, kw_only=True):
    """What an answer took, as the provider counted it; `cost_usd` where it says so itself.

    `input_tokens` holds all of the input: `cached_tokens` (read from a cache),
    `cache_write_tokens` (put into one) and `input_audio_tokens` are parts of it.
    `output_tokens` holds all of the output, `reasoning_tokens` and `output_audio_tokens`
    are parts of it.  `seconds` of sound, video or computing, `images` and `characters` are
    counted where they are what is paid for.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float | None = None
    cache_write_tokens: int = 0
    input_audio_tokens: int = 0
    output_audio_tokens: int = 0
    images: int = 0
    characters: int = 0
    seconds: float = 0.0


class Output(Record, kw_only=True):
    """One thing that is no text: a picture, a film, a sound, or a text's vector.

    `kind` is image, video, audio or embedding.  A picture, film or sound has `data`, or a
    `url` that may not live long; an embedding has its `vector`.
    """

    kind: str
    data: Bytes = b""
    url: str = ""
    media_type: str = ""
    vector: tuple[float, ...] = ()
    note: str = ""


class ToolFragment(Record, kw_only=True):
    """A piece of a tool call; id and name come once, arguments in pieces, by index."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    signature: str = ""


class Delta(Record, kw_only=True):
    """One step of an answer.

    `raw` holds the bytes that it was decoded from, in `format`: a writer of the same
    format passes them on as they are.  `choice` is the index of the answer it belongs to
    where several were asked for.  `body` marks a whole plain answer in `raw`.  `media`
    counts what is no text, and `outputs` holds it where somebody needs to see it.
    `signature` belongs to the reasoning; `progress` (0 to 1) is how far a job has come.
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
    outputs: tuple[Output, ...] = ()
    signature: str = ""
    progress: float | None = None

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
    signature: str = ""
    outputs: tuple[Output, ...] = ()


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
        signature="".join(delta.signature for delta in mine),
        outputs=tuple(output for delta in mine for output in delta.outputs),
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
            signature=next((f.signature for f in call if f.signature), ""),
        )
        for _, call in sorted(pieces.items())
    )


# ------------------------------------------------------------------ by whom


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a key may take; what is not given is learned from the provider, or unlimited."""

    requests_per_min: int | None = None
    """Requests in any minute."""
    tokens_per_min: int | None = None
    """Tokens in any minute, in and out."""
    requests_per_day: int | None = None
    """Requests in any 24 hours."""
    concurrent_max: int | None = None
    """Requests under way at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One way to get an answer: a provider, a model there, and a key to it.

    `name` is what routes and headers call it.  `endpoint`, `model_scope`, `key_scope` and
    `quota_scope` name the four things that can be ill on their own: the provider's address,
    the model there, the key, and the key's share of that model.  `prefix` says how the
    target continues an answer that was begun: `assistant` (a last assistant message is
    carried on), `flag` (the same with `"prefix": true`), `vllm` (the same with vLLM's own
    fields), `none` (it must be asked to).
    `capabilities` names what it can do (`tools`, `vision`, `audio`, `schema`, `reasoning`, `local`);
    empty means unknown, and then nothing is ruled out.
    `format` is what it speaks, or the family of formats where it speaks another one for each
    kind of work.  `auth` says how the key is shown: `bearer`, `sigv4`, or the name of a
    header; empty is the format's own way.  `credential` names a key that is fetched when it
    is needed, in place of `key`.  `options` are settings that only its format understands
    (`region`, `api_version`).  `may_drop` names what may be left out of a request where the
    format has no word for it (`seed`; `*` for everything), instead of not asking it at all.
    `same_target_max` is how often it is asked again, where it is not as the route says.
    `regions` names where it answers from (`eu-west-1`); none means that it is not known.
    `limits` is what its key may take of this model, `key_limits` what it may take of all
    models together; keys of one quota group share both.
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
    price: Price = UNPRICED
    weight: float = 1.0
    deadlines: Mapping[str, float] = field(default_factory=dict)
    auth: str = ""
    credential: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    may_drop: frozenset[str] = frozenset()
    same_target_max: int | None = None
    regions: tuple[str, ...] = ()
    limits: Allowance | None = None
    key_limits: Allowance | None = None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """How a request has to be changed for the target to take it, by the names of its body's fields.

    `thoughts` leaves out what models thought in earlier turns, `key` asks again with a newer key.
    """

    drop: tuple[str, ...] = ()
    rename: Mapping[str, str] = field(default_factory=dict)
    put: Mapping[str, Json] = field(default_factory=dict)
    thoughts: bool = False
    key: bool = False


class Why(StrEnum):
    """Why an attempt was made."""

    FIRST = "first"
    RETRY = "retry"
    FIX = "fix"
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


class Attempt(Record, kw_only=True):
    """One try at one target, numbered from 1 within its request."""

    number: int
    target: Target
    why: Why
    continuation: Continuation | None = None
    fix: Fix | None = None


# ------------------------------------------------------------------- HTTP, as values


class HttpRequest(Record, kw_only=True):
    """A request as bytes; header names are lower case.  `unsaid` is what was left out of it."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = b""
    unsaid: tuple[str, ...] = ()


class HttpReply(Record, kw_only=True):
    """A whole answer that was not the one hoped for; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
