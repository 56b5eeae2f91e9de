"""The callers of a soak: every common face, plain and streamed, some of whom leave in the middle.

What a caller gets is read by the format's own client side and compared, word for word, with what any of the
providers would have said alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random

import aiohttp

from unbroken.failures import Failure
from unbroken.testing.essay import essay, prompt_of
from unbroken.types import Chat, Delta, Message, Request, Target, Task, Text
from unbroken.wire import Next, format_named
from unbroken.work import Texts, Work

__all__ = ["FACES", "Callers", "Face", "short_answer"]

KEPT = 20
"""Of what went wrong, so many are told in full."""
PATIENCE_S = 60.0
LEAVE_S = 0.02
"""A caller who leaves has waited at most so long."""
SUBJECTS = ("a bridge", "the sea", "an old clock", "the ferry", "a letter", "the harbour", "two rivers", "a lamp")


@dataclass(frozen=True, slots=True)
class Face:
    """A door of the gateway: its format, what follows its address, and how many of a hundred callers come by it."""

    name: str
    base: str
    share: int
    streamed: float = 0.5
    task: Task = Task.CHAT


FACES = (
    Face("openai_chat", "/v1", 40),
    Face("anthropic", "", 16),
    Face("openai_responses", "/v1", 12),
    Face("gemini", "/v1beta", 10),
    Face("ollama", "", 6),
    Face("openai_completions", "/v1", 4),
    Face("cohere", "", 4),
    Face("openai_embeddings", "/v1", 8, streamed=0.0, task=Task.EMBEDDING),
)


def short_answer(request: Request) -> str:
    """What a provider says in a soak: two sentences, so that the time goes to the gateway."""
    return essay(prompt_of(request.chat), sentences=1)


@dataclass
class Callers:
    """So many callers, each with a question after another, until they are told to rest or to stop.

    `done` counts requests by face and way; `wrong` are those that got anything but the answer.
    """

    address: str
    key: str
    number: int
    seed: int = 1
    done: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    errors: int = 0
    _busy: int = 0

    def __post_init__(self) -> None:
        self._open = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None

    @property
    def requests(self) -> int:
        """All of them so far."""
        return self.done.total()

    def complain(self, wrong: str) -> None:
        """Something was not as it should be."""
        self.errors += 1
        self.wrong += [wrong] if len(self.wrong) < KEPT else []

    def resume(self) -> None:
        """Come in again."""
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=PATIENCE_S)
        )
        self._open.set()

    async def rest(self) -> None:
        """Let every answer under way come, and hang up."""
        self._open.clear()
        while self._busy:
            await asyncio.sleep(0.05)
        if self._session is not None:
            await self._session.close()

    async def run(self) -> None:
        """For ever."""
        async with asyncio.TaskGroup() as group:
            for number in range(self.number):
                group.create_task(self._ask_on(Random(f"{self.seed}/{number}")))

    async def _ask_on(self, draw: Random) -> None:
        while True:
            await self._open.wait()
            self._busy += 1
            try:
                await self._one(draw)
            finally:
                self._busy -= 1

    async def _one(self, draw: Random) -> None:
        face = draw.choices(FACES, [face.share for face in FACES])[0]
        stream, leaves = draw.random() < face.streamed, draw.random() < 0.08
        name = f"{face.name}{' stream' if stream else ''}{' left' if leaves else ''}"
        prompt = f"Tell me of {draw.choice(SUBJECTS)}, number {draw.randrange(10**6)}."
        try:
            async with asyncio.timeout(draw.uniform(0.0, LEAVE_S) if leaves else PATIENCE_S):
                wrong = await self._ask(face, prompt, stream=stream)
        except TimeoutError:
            wrong = "" if leaves else f"no answer after {PATIENCE_S:.0f} s"
        except (aiohttp.ClientError, OSError) as error:
            wrong = repr(error)
        self.done[name] += 1
        if wrong:
            self.complain(f"{name}: {wrong}")

    async def _ask(self, face: Face, prompt: str, *, stream: bool) -> str:
        """Ask, and read the answer to its end; what is wrong with it, or nothing."""
        assert self._session is not None
        request = _request(face, prompt, stream=stream)
        wire = format_named(face.name)
        target = Target(
            name="gateway", provider="gateway", model=request.model, base_url=self.address + face.base, key=self.key
        )
        said = wire.write_request(request, target)
        decoder, deltas = wire.decoder(request, target), list[Delta]()
        async with self._session.request(said.method, said.url, data=said.body, headers=dict(said.headers)) as answer:
            if answer.status != 200:
                return f"status {answer.status}: {(await answer.text())[:300]}"
            if hasattr(decoder, "head"):
                decoder.head(200, {name.lower(): value for name, value in answer.headers.items()})
            async for piece in answer.content.iter_any():
                step = decoder.feed(piece)
                if isinstance(step, Failure):
                    return f"{step.kind.value}: {step.message}"
                deltas += step
        rest = decoder.close()
        if isinstance(rest, Failure | Next):
            return f"it ends with {rest!r}"[:300]
        return _judged([*deltas, *rest], prompt=prompt, task=face.task)


def _request(face: Face, prompt: str, *, stream: bool) -> Request:
    chat = Chat(messages=(Message(role="user", parts=(Text(text=prompt),)),))
    work: Work = Texts(texts=(prompt,)) if face.task is Task.EMBEDDING else chat
    return Request(
        model="vectors" if face.task is Task.EMBEDDING else "words", stream=stream, task=face.task,
        prompt_chars=len(prompt), read=partial(lambda given: given, work),
    )  # fmt: skip


def _judged(deltas: Sequence[Delta], *, prompt: str, task: Task) -> str:
    """What is wrong with a whole answer; nothing where it is what any provider would have said."""
    if task is Task.EMBEDDING:
        return "" if sum(delta.media for delta in deltas) == 1 else "not one vector"
    text, wanted = "".join(delta.text for delta in deltas), essay(prompt, sentences=1)
    return "" if text == wanted else f"{text!r} in place of {wanted!r}"


async def look_around(callers: Callers, operator: str, *, draw: Random) -> None:
    """An operator, for ever: metrics, status and events are read, and the events are left in the middle."""
    async with aiohttp.ClientSession(base_url=callers.address) as session:
        shown = {"authorization": f"Bearer {operator}"}
        while True:
            for path in ("/metrics", "/admin/status", "/admin/statistics", "/admin/requests?limit=50"):
                key = callers.key if path == "/metrics" else operator
                async with session.get(path, headers={"authorization": f"Bearer {key}"}) as answer:
                    await answer.read()
                    if answer.status != 200:
                        callers.complain(f"GET {path}: status {answer.status}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(draw.uniform(0.5, 2.0)), session.get("/admin/events", headers=shown) as told:
                    await told.read()
            await asyncio.sleep(1.0)
