"""The smallest pictures, films and sounds that are what they say, and what a fake provider makes of a wish for one."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from random import Random

from unbroken.records import replace
from unbroken.testing.essay import essay, tokens
from unbroken.testing.troubles import NotMedia, Trouble
from unbroken.types import Delta, Output, Request, Usage
from unbroken.work import Film, Picture, Recording, Speech, Texts

__all__ = ["CLIP", "PIXEL", "made_of", "sound"]

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""One transparent point, as a PNG."""
CLIP = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom" + b"\x00\x00\x00\x10mdat" + bytes(8)
"""An MP4 without a picture in it."""
_SILENCE = bytes(160)
_WAV = (
    b"RIFF" + (36 + len(_SILENCE)).to_bytes(4, "little") + b"WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
    b"\x40\x1f\x00\x00\x40\x1f\x00\x00\x01\x00\x08\x00data" + len(_SILENCE).to_bytes(4, "little") + _SILENCE
)  # fmt: skip
_SOUNDS: Mapping[str, tuple[str, bytes]] = {
    "mp3": ("audio/mpeg", b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x10\x00" + _SILENCE),
    "opus": ("audio/ogg", b"OggS\x00\x02" + _SILENCE),
    "aac": ("audio/aac", b"\xff\xf1\x50\x80" + _SILENCE),
    "flac": ("audio/flac", b"fLaC\x00\x00\x00\x22" + _SILENCE),
    "wav": ("audio/wav", _WAV),
    "pcm": ("audio/pcm", _SILENCE),
}


def sound(container: str = "mp3") -> Output:
    """A moment of silence in this container."""
    media_type, data = _SOUNDS.get(container, _SOUNDS["mp3"])
    return Output(kind="audio", data=data, media_type=media_type)


def made_of(request: Request, trouble: Trouble | None) -> list[Delta]:
    """What comes of a request that is no chat: the same for the same words."""
    work, usage = request.work, Usage(input_tokens=max(1, request.prompt_chars // 4))
    outputs: list[Output] = []
    match work:
        case Texts():
            outputs = [Output(kind="embedding", vector=_vector(str(text))) for text in work.texts or work.tokens]
        case Picture():
            outputs = [Output(kind="image", data=PIXEL, media_type="image/png")] * work.count
            usage = replace(usage, images=work.count)
        case Film():
            outputs = [Output(kind="video", data=CLIP, media_type="video/mp4")]
            usage = replace(usage, seconds=work.seconds or 0.0)
        case Speech():
            outputs = [sound(work.container)]
            usage = replace(usage, characters=len(work.text))
        case Recording():
            words = essay(str(len(work.data)), sentences=1)
            told = [Delta(text=word, model=request.model) for word in tokens(words)]
            return [*told, Delta(media=1, usage=usage, model=request.model)]
    if isinstance(trouble, NotMedia):
        outputs = [replace(output, data=trouble.body, media_type=trouble.content_type) for output in outputs]
    return [Delta(media=len(outputs), outputs=tuple(outputs), usage=usage, model=request.model)]


def _vector(text: str) -> tuple[float, ...]:
    draw = Random(text)
    return tuple(round(draw.uniform(-1, 1), 6) for _ in range(8))
