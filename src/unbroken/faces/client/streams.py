"""A streamed answer in a reader's hands."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Self

from unbroken.faces.client.results import Answer, Chunk

__all__ = ["Stream"]

Source = Callable[[Callable[[Answer], None]], AsyncGenerator[Chunk, None]]


class Stream:
    """The chunks of an answer, as they come; nothing is asked before the first is waited for.

    `text` is what has come so far, `answer` all of it with how it came about, once the last
    chunk was read.  Whoever stops reading early closes it, or reads in an `async with`.
    """

    def __init__(self, source: Source) -> None:
        self.text = ""
        self._answer: Answer | None = None
        self._chunks = source(self._done)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        chunk = await anext(self._chunks)
        self.text += chunk.text
        return chunk

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Read no further; the provider is hung up on."""
        await self._chunks.aclose()

    async def whole(self) -> Answer:
        """Read the rest; the whole answer."""
        async for _ in self:
            pass
        return self.answer

    @property
    def answer(self) -> Answer:
        """The whole answer; RuntimeError before its end."""
        if self._answer is None:
            raise RuntimeError("the answer is not complete: read the stream to its end first")
        return self._answer

    def _done(self, answer: Answer) -> None:
        self._answer = answer
