"""What callers say, read into requests: messages and options in, a `Request` out.

Messages are those of OpenAI's chat format, and are read by its own reader, so that a caller
is told of a mistake in the words that are known.  ValueError says what is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import inf
from typing import Any, TypedDict

from unbroken.faces.client.choice import wrong
from unbroken.failures import Failure, FailureKind, RequestError
from unbroken.records import replace
from unbroken.types import Chat, Json, Media, Request, Task
from unbroken.wire import format_named
from unbroken.wire.media import size_of
from unbroken.work import Film, Picture, Texts

__all__ = [
    "ChatOptions",
    "Choosing",
    "CompleteOptions",
    "EmbedOptions",
    "ImageOptions",
    "Messages",
    "VideoOptions",
    "Weighing",
    "chat_request",
    "check_options",
    "completion_request",
    "film_request",
    "picture_request",
    "texts_request",
]

Messages = str | Sequence[Mapping[str, Any]]
"""A text, which stands for one message of the user, or messages as OpenAI's clients take them."""


class Choosing(TypedDict, total=False):
    """Who answers, and for how long that is waited for."""

    model: str
    """A route's name, `provider/model`, or a model's name alone; `auto` unless given."""
    provider: str | Sequence[str]
    """Exactly this one (no failover), these in this order, or `auto`."""
    prefer: str
    """This one first, and the others when it fails, or is silent for `prefer_timeout_s`."""
    prefer_timeout_s: float
    """For so long the preferred one is waited for (a plain answer has to be whole by then); it is asked once."""
    timeout_s: float
    """For the whole request; a stream's first words count."""


class Weighing(Choosing, total=False):
    """As above; and what is valued, from which the order follows."""

    requirements: Mapping[str, float]
    """Weights from 0 to 1 for any of `cost`, `speed` and `reliability`."""


class CompleteOptions(Weighing, total=False):
    """How words should be chosen, as OpenAI's formats have it."""

    max_tokens: int
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    stop: str | Sequence[str]
    seed: int
    extra: Mapping[str, Any]
    """Further fields, for targets that speak OpenAI's format."""


class ChatOptions(CompleteOptions, total=False):
    """How an answer should be, as OpenAI's chat format has it; and `schema`, a JSON schema that it must obey."""

    tools: Sequence[Mapping[str, Any]]
    tool_choice: str | Mapping[str, Any]
    parallel_tool_calls: bool
    response_format: Mapping[str, Any]
    schema: Mapping[str, Any]
    reasoning_effort: str


class EmbedOptions(Choosing, total=False):
    """How vectors should be; `purpose` is one of `PURPOSES`."""

    dimensions: int
    purpose: str


class ImageOptions(Weighing, total=False):
    """How a picture should be; `size` is `WIDTHxHEIGHT` in pixels, `as_url` asks for an address where there is one."""

    count: int
    size: str
    seed: int
    negative_prompt: str
    quality: str
    media_type: str
    as_url: bool
    sources: Sequence[str]
    """Addresses (http or data) of pictures to start from."""


class VideoOptions(Weighing, total=False):
    """How a film should be: how long, how large, and with which picture (an address) it begins."""

    seconds: float
    size: str
    seed: int
    negative_prompt: str
    start: str


Options = Mapping[str, Any]
_CHOOSING = frozenset(Weighing.__annotations__)


def check_options(call: str, options: Options, *, known: type) -> None:
    """TypeError for an option that the call has not, as Python has it for parameters; RequestError for a wrong value.

    What OpenAI's chat format knows too is left to its reader.
    """
    for name, value in options.items():
        if name not in known.__annotations__:
            raise TypeError(f"{call}() got an unexpected option {name!r}; known: {', '.join(known.__annotations__)}")
        what, fits = _MEANT.get(name, _ANYTHING)
        if value is not None and not fits(value):
            raise wrong(name, f"must be {what}")


def _is_whole(value: object, least: float = -inf) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _are_texts(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


Meant = tuple[str, Callable[[Any], bool]]
PURPOSES = ("query", "document", "classification", "clustering", "similarity")
_ANYTHING: Meant = ("", lambda _: True)
_TEXT: Meant = ("a text", lambda value: isinstance(value, str))
_MAPPING: Meant = ("a mapping", lambda value: isinstance(value, Mapping))
_WHOLE: Meant = ("a whole number", _is_whole)
_COUNT: Meant = ("a whole number, 1 or more", partial(_is_whole, least=1))
_MEANT: Mapping[str, Meant] = {
    **dict.fromkeys(("model", "prefer", "negative_prompt", "quality", "media_type", "start"), _TEXT),
    **dict.fromkeys(("requirements", "extra", "schema"), _MAPPING),
    **dict.fromkeys(("max_tokens", "seed"), _WHOLE),
    **dict.fromkeys(("count", "dimensions"), _COUNT),
    "purpose": (f"one of {', '.join(PURPOSES)}", ("", *PURPOSES).__contains__),
    "seconds": ("a number above 0", lambda value: isinstance(value, int | float) and 0 < value < inf),
    "size": (
        "WIDTHxHEIGHT in pixels",
        lambda value: isinstance(value, str) and (not value or size_of(value) is not None),
    ),
    "sources": ("a list of addresses", _are_texts),
}
"""Options of our own: what each is, in words, and how that is told."""


def chat_request(messages: Messages, options: Options, *, stream: bool = False) -> Request:
    """A conversation to be gone on with; RequestError names the field that is wrong."""
    if not isinstance(messages, Sequence):
        raise wrong("messages", "must be a text or a list of messages")
    said = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
    fields = _said(options, "schema", "extra")
    if "schema" in options:
        form = {"name": "answer", "schema": options["schema"]}
        fields["response_format"] = {"type": "json_schema", "json_schema": form}
    body = {"messages": said, **fields, **(options.get("extra") or {})}
    return _in_all_words(_read("openai_chat", body, stream=stream))


def completion_request(prompt: str, options: Options) -> Request:
    """A text to be carried on, in OpenAI's old format; to a chat model it is a message."""
    return _read("openai_completions", {"prompt": prompt, **_said(options, "extra"), **(options.get("extra") or {})})


def texts_request(texts: str | Sequence[str], options: Options) -> Request:
    """Texts to be embedded."""
    words = (texts,) if isinstance(texts, str) else texts
    if not words or not _are_texts(words):
        raise wrong("texts", "must be a text or a list of texts")
    work = Texts(texts=tuple(words), **_said(options))
    return Request(model="", task=Task.EMBEDDING, prompt_chars=sum(map(len, words)), read=lambda: work)


def picture_request(prompt: str, options: Options) -> Request:
    """A picture to be drawn."""
    sources = tuple(Media(kind="image", url=url) for url in options.get("sources") or ())
    work = Picture(prompt=_some(prompt), sources=sources, **_said(options, "sources"))
    return Request(model="", task=Task.IMAGE, prompt_chars=len(prompt), choices=work.count, read=lambda: work)


def film_request(prompt: str, options: Options) -> Request:
    """A film to be made."""
    start = Media(kind="image", url=options["start"]) if options.get("start") else None
    work = Film(prompt=_some(prompt), start=start, **_said(options, "start"))
    return Request(model="", task=Task.VIDEO, prompt_chars=len(prompt), read=lambda: work)


def _said(options: Options, *others: str) -> dict[str, Any]:
    """What is said of the work itself."""
    return {
        name: value
        for name, value in options.items()
        if name not in _CHOOSING and name not in others and value is not None
    }


def _read(spoken: str, body: Mapping[str, Json], *, stream: bool = False) -> Request:
    if stream:
        body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    try:
        written = json.dumps({"model": "auto", **body}, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise wrong("messages" if "messages" in body else "prompt", f"cannot be written as JSON: {error}") from None
    reader = format_named(spoken).read_request
    assert reader is not None
    request = reader("", written)
    if isinstance(request, Failure):
        raise RequestError(request)
    if request.choices > 1:
        raise wrong("n", "must be 1: ask several times for several answers")
    return request


def _in_all_words(request: Request) -> Request:
    """A conversation in which everything is modelled is said to each target in its own words.

    One with fields of OpenAI's own goes on as it is, and only to those who understand them.
    """
    try:
        chat: Chat = request.chat
    except ValueError as error:
        raise RequestError(Failure(kind=FailureKind.REQUEST, message=str(error), sent=False)) from None
    if chat.extras or chat.hints or any(message.extras for message in chat.messages):
        return request
    return replace(request, source=None, read=lambda: chat)


def _some(prompt: str) -> str:
    if not isinstance(prompt, str) or not prompt.strip():
        raise wrong("prompt", "is empty: say what should be seen")
    return prompt
