"""What can be asked of a model, in no provider's words: a conversation, and every other kind of work.

    Chat        a conversation to be gone on with
    Texts       texts to be embedded
    Picture     a picture to be drawn
    Film        a video to be made
    Speech      words to be spoken
    Recording   a sound to be written down

A format reads its caller's body into one of these and writes it again in another's words.
Three sorts of fields have to be told apart there.  What is modelled here is either said or
makes the target ineligible.  `extras` are fields of the caller's own format that are not
modelled: only that format can say them.  `hints` change no answer (whose request it is, how
to cache it): whoever has no word for them may leave them out, and says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "Chat",
    "Film",
    "Json",
    "Media",
    "Message",
    "Opaque",
    "Part",
    "Picture",
    "Reasoning",
    "Recording",
    "Speech",
    "Text",
    "Texts",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Work",
]

Json = Any
"""A decoded JSON value."""


# ----------------------------------------------------------------- what messages hold


@dataclass(frozen=True, slots=True)
class Text:
    """Words in a message."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """An image, sound, video or document: a URL (http or data), or bytes as base64.

    `kind` is image, audio, video or document; `detail` is how closely to look at an image,
    or a document's name.
    """

    kind: str
    url: str = ""
    media_type: str = ""
    data: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """A model's thinking, where the format shows it.

    `signature` proves to `format`'s provider that it is unchanged; nobody else can use it.
    """

    text: str
    signature: str = ""
    format: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A call that a model asks for; `arguments` is JSON text, as models write it.

    `signature` is what Gemini puts beside a call and wants back.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool answered to the call with this id.

    `name` is the tool's where the format says it, `failed` whether it went wrong.
    """

    id: str
    parts: tuple[Part, ...]
    name: str = ""
    failed: bool = False


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


# ------------------------------------------------------------------ kinds of work


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A conversation and how it should be answered, in no provider's words.

    `tool_choice` is auto, none, required or `{"name": ...}`; `parallel_calls` whether one
    answer may hold several calls; `schema` is a JSON schema that the answer must obey
    (`json_object` alone is an empty schema).  `reasoning_effort` is none, minimal, low,
    medium, high, xhigh or max, `reasoning_tokens` a budget for it.  For `extras` and
    `hints` see the head of this file.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str | Mapping[str, str] | None = None
    parallel_calls: bool | None = None
    schema: Mapping[str, Json] | None = None
    schema_name: str = ""
    schema_strict: bool | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    reasoning_effort: str | None = None
    reasoning_tokens: int | None = None
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Texts to be embedded, as words or (where the caller counted them itself) as tokens.

    `purpose` is query, document, classification, clustering or similarity where the format
    knows the difference; `base64` whether the vectors are wanted as packed 32-bit floats.
    """

    texts: tuple[str, ...] = ()
    tokens: tuple[tuple[int, ...], ...] = ()
    dimensions: int | None = None
    purpose: str = ""
    base64: bool = False
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A picture to be drawn; `size` is `WIDTHxHEIGHT` in pixels, `media_type` such as `image/png`.

    `sources` are pictures to start from; `as_url` whether an address is wanted instead of bytes.
    """

    prompt: str
    count: int = 1
    size: str = ""
    seed: int | None = None
    negative_prompt: str = ""
    quality: str = ""
    media_type: str = ""
    as_url: bool = False
    sources: tuple[Media, ...] = ()
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Film:
    """A video to be made: how long in seconds, `size` as `WIDTHxHEIGHT`, perhaps from a first picture."""

    prompt: str
    seconds: float | None = None
    size: str = ""
    seed: int | None = None
    negative_prompt: str = ""
    start: Media | None = None
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Words to be spoken; `container` is mp3, wav, opus, flac, aac or pcm, `speed` 1.0 as usual."""

    text: str
    voice: str = ""
    container: str = ""
    speed: float | None = None
    instructions: str = ""
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A sound to be written down, in its own language or (`translate`) in English.

    `name` is the file's, whose ending says what it is; `language` an ISO 639-1 code;
    `answer` is json, text, srt, vtt or verbose_json.
    """

    data: bytes
    name: str = "audio.wav"
    media_type: str = ""
    language: str = ""
    prompt: str = ""
    temperature: float | None = None
    answer: str = "json"
    translate: bool = False
    extras: Mapping[str, Json] = field(default_factory=dict)
    hints: Mapping[str, Json] = field(default_factory=dict)


Work = Chat | Texts | Picture | Film | Speech | Recording
