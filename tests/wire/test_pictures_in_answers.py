"""What a model draws among its words: callers of every format get it."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from unbroken.types import Delta, Finish, Output, Request, fold
from unbroken.wire import format_named
from wire.reading import OUTCOME, PNG, deltas_of, told
from wire.test_openai_chat_recordings import TARGET

PICTURE = Output(kind="image", data=PNG, media_type="image/png")
PACKED = base64.b64encode(PNG).decode()
STEPS = [Delta(text="Look:", id="r"), Delta(media=1, outputs=(PICTURE,)), Delta(finish=Finish.STOP)]
FORMATS = (
    "openai_chat",
    "openai_completions",
    "openai_responses",
    "anthropic",
    "gemini",
    "bedrock",
    "ollama",
    "cohere",
)


def written(name: str, *, stream: bool) -> bytes:
    """The answer as a caller of this format gets it."""
    made = format_named(name).writer
    assert made is not None
    writer = made(Request(model="m", stream=stream))
    if not stream:
        return writer.whole(STEPS, OUTCOME)
    return b"".join(writer.write([step]) for step in STEPS) + writer.end(OUTCOME)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_no_picture_is_lost(name: str, stream: bool) -> None:
    """A picture among the words reaches the caller, whatever format it asked in."""
    assert PACKED in written(name, stream=stream).decode(errors="replace").replace("\\/", "/")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("name", ["openai_chat", "gemini"])
def test_pictures_come_back(name: str, stream: bool) -> None:
    """The formats that have a place for pictures in answers read there what they wrote."""
    reader = format_named(name).decoder(Request(model="m", stream=stream), TARGET)
    answer = fold(deltas_of(told(reader, written(name, stream=stream))))
    assert answer.text == "Look:"
    assert [output.url for output in answer.outputs] == [f"data:image/png;base64,{PACKED}"]


@pytest.mark.parametrize("name", ["anthropic", "bedrock", "ollama", "cohere", "openai_completions"])
def test_pictures_as_markdown(name: str) -> None:
    """Where a format has no place for them they stand in the text, as Markdown shows pictures."""
    reader = format_named(name).decoder(Request(model="m"), TARGET)
    answer = fold(deltas_of(told(reader, written(name, stream=False))))
    assert f"Look:\n![image](data:image/png;base64,{PACKED})" in answer.text


def test_pictures_as_items() -> None:
    """A caller of the Responses format gets a picture where one of its own tools would have put it."""
    body: dict[str, Any] = json.loads(written("openai_responses", stream=False))
    (drawn,) = [item for item in body["output"] if item["type"] == "image_generation_call"]
    assert (drawn["status"], drawn["result"]) == ("completed", PACKED)


@pytest.mark.parametrize("images", [5, [5], [{"image_url": 5}], [{"image_url": {"url": 5}}], [{}]])
def test_pictures_that_are_none(images: Any) -> None:
    """Whatever stands where pictures should does no harm to the words."""
    message = {"role": "assistant", "content": "Look:", "images": images}
    body = json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}).encode()
    found = deltas_of(told(format_named("openai_chat").decoder(Request(model="m"), TARGET), body))
    assert (fold(found).text, fold(found).outputs) == ("Look:", ())
