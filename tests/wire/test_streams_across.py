"""A stream of one format, told in another, with the bytes that each step was decoded from still on it."""

from __future__ import annotations

import itertools
from functools import partial

import pytest

from unbroken.failures import Failure
from unbroken.testing import essay
from unbroken.types import Chat, Delta, Finish, Message, Request, Target, Text, Usage
from unbroken.wire import Next, Outcome, format_named

CHATS = ("openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "ollama", "cohere")
TARGET = Target(name="t", provider="p", model="m", base_url="https://x.invalid", key="k")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
CHAT = Chat(messages=(Message(role="user", parts=(Text(text="Why?"),)),))
STREAM = Request(model="m", stream=True, read=partial(lambda chat: chat, CHAT))


def told(deltas: list[Delta], name: str) -> bytes:
    make = format_named(name).writer
    assert make is not None
    writer = make(STREAM)
    return writer.write(deltas) + writer.end(OUTCOME)


def read(stream: bytes, name: str) -> list[Delta]:
    decoder = format_named(name).decoder(STREAM, TARGET)
    step = decoder.feed(stream)
    assert not isinstance(step, Failure), step
    rest = decoder.close()
    assert not isinstance(rest, Failure | Next), rest
    return [*step, *rest]


@pytest.mark.parametrize(("theirs", "ours"), list(itertools.product(CHATS, CHATS)))
def test_a_stream_of_any_format_is_whole_in_any_other(theirs: str, ours: str) -> None:
    """Words, finish and end of a stream are in the caller's format, whichever format the provider's bytes had."""
    words = [Delta(text=word + " ", id="a", model="m") for word in essay("Why?").split()]
    ending = Delta(finish=Finish.STOP, raw_finish="stop", usage=Usage(input_tokens=3, output_tokens=len(words)))
    answer = read(told([*words, ending], theirs), theirs)
    assert any(delta.raw for delta in answer)
    heard = read(told(answer, ours), ours)
    assert "".join(delta.text for delta in heard) == "".join(delta.text for delta in words)
    assert [delta.finish for delta in heard if delta.finish is not None][-1] is Finish.STOP
