"""Pictures and sounds by openai's client, each while the first provider is broken."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from faces.running import config_for, running
from unbroken.testing import FakeProvider, NotMedia, Refused, Status, Trouble, essay
from unbroken.testing.samples import PIXEL, sound

pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
"""Translations and variations: clients that use them are there all the same."""
MODEL: Any = "m"
FILE = ("picture.png", PIXEL, "image/png")
VOICE = ("voice.wav", b"RIFF" + bytes(36), "audio/wav")
WORDS = essay(str(len(VOICE[1])), sentences=1)
"""What the fake hears in that voice."""


def visit(tmp_path: Path, ask: Callable[[AsyncOpenAI], Awaitable[Any]], trouble: Trouble) -> tuple[Any, list[Any]]:
    """What the client gets from a gateway whose first provider has this trouble, and what the second was asked."""

    async def go() -> tuple[Any, list[Any]]:
        async with FakeProvider("broken") as broken, FakeProvider("well") as well:
            broken.fail_with(trouble)
            async with (
                running(config_for([broken, well], tmp_path)) as gateway,
                AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0) as client,
            ):
                return await ask(client), well.seen

    return asyncio.run(go())


async def drawn(client: AsyncOpenAI) -> bool:
    answer = await client.images.generate(model=MODEL, prompt="A gull.", response_format="b64_json")
    return base64.b64decode((answer.data or [])[0].b64_json or "") == PIXEL


async def edited(client: AsyncOpenAI) -> bool:
    answer = await client.images.edit(model=MODEL, image=[FILE, FILE], prompt="Bluer.", n=2, response_format="b64_json")
    return [base64.b64decode(item.b64_json or "") for item in answer.data or []] == [PIXEL, PIXEL]


async def spoken(client: AsyncOpenAI) -> bool:
    answer = await client.audio.speech.create(model=MODEL, voice="alloy", input="Hello.", response_format="wav")
    return (answer.read(), answer.response.headers["content-type"]) == (sound("wav").data, "audio/wav")


async def written(client: AsyncOpenAI) -> bool:
    answer = await client.audio.transcriptions.create(model=MODEL, file=VOICE)
    return answer.text == WORDS


async def written_as_text(client: AsyncOpenAI) -> bool:
    answer = await client.audio.transcriptions.create(model=MODEL, file=VOICE, response_format="text")
    return str(answer).strip() == WORDS


async def written_bit_by_bit(client: AsyncOpenAI) -> bool:
    events = await client.audio.transcriptions.create(model=MODEL, file=VOICE, stream=True)
    return "".join([event.delta async for event in events if event.type == "transcript.text.delta"]) == WORDS


async def translated(client: AsyncOpenAI) -> bool:
    answer = await client.audio.translations.create(model=MODEL, file=VOICE)
    return answer.text == WORDS


CALLS = {
    "generations": drawn,
    "edits": edited,
    "speech": spoken,
    "transcriptions": written,
    "transcriptions as text": written_as_text,
    "transcriptions in a stream": written_bit_by_bit,
    "translations": translated,
}


@pytest.mark.parametrize("trouble", [Status(500), Refused()], ids=repr)
@pytest.mark.parametrize("name", CALLS)
def test_every_call_survives_its_provider(name: str, trouble: Trouble, tmp_path: Path) -> None:
    """The second provider is asked the same, form and files and all, and the caller notices nothing."""
    answered, seen = visit(tmp_path, CALLS[name], trouble)
    assert answered
    assert len(seen) == 1
    assert seen[0].path.split("/")[-1] == name.partition(" ")[0]


@pytest.mark.parametrize("name", ["generations", "edits", "speech"])
def test_what_is_no_picture_and_no_sound_is_not_handed_on(name: str, tmp_path: Path) -> None:
    """A page under a good status is a failure like any other."""
    answered, seen = visit(tmp_path, CALLS[name], NotMedia())
    assert (answered, len(seen)) == (True, 1)


def test_wrong_requests_are_told(tmp_path: Path) -> None:
    """What lacks its words or its file raises the client's own class; so does what is not served."""

    async def ask(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match="prompt"):
            await client.images.edit(model=MODEL, image=FILE, prompt="")
        with pytest.raises(openai.BadRequestError, match="input"):
            await client.audio.speech.create(model=MODEL, voice="alloy", input="")
        with pytest.raises(openai.NotFoundError, match="images/variations is not served"):
            await client.images.create_variation(model=MODEL, image=FILE)

    visit(tmp_path, ask, Status(500))
