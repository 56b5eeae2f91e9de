"""The callers of a scene of chaos, and the doors of the gateways that they come to.

Each asks one question after another, plain and streamed, at any of the doors, and compares what comes word for word
with what every provider would have said.  Whose gateway is killed meanwhile asks once more at another one, as a load
balancer would, and is counted apart; everything else that is not the answer is wrong.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random

import aiohttp
from benchmarks.chaos_checks import Answer, read_plain, read_stream

from unbroken.testing import essay

__all__ = ["CALLER", "PAUPER", "Callers", "Door"]

CALLER, PAUPER = "chaos-caller", "chaos-pauper"
"""Keys: of those who want words, and of those who spend a budget."""
PATIENCE_S = 60.0
SUBJECTS = ("a bridge", "the sea", "an old clock", "the ferry", "a letter", "the harbour", "two rivers", "a lamp")
TURNED_AWAY_S = 0.05
"""After which a caller whose budget is used up asks again."""
REFUSED = "refused"


@dataclass(slots=True)
class Door:
    """A gateway as callers know it; `ends` counts how often (a part of) it was killed, `open` whether it serves."""

    name: str
    url: str
    open: bool = True
    ends: int = 0
    ended_at_s: list[float] = field(default_factory=list)
    busy: int = 0

    def end(self, *, serves: bool = False) -> int:
        """It is killed now, or one of its workers is; how many requests are under way there."""
        self.open = serves
        self.ends += 1
        self.ended_at_s.append(time.monotonic())
        return self.busy


@dataclass
class Callers:
    """So many callers, some of them with a budget, until they are told to stop."""

    doors: list[Door]
    number: int
    paupers: int
    seed: int = 1
    answers: list[Answer] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    refused: int = 0
    again: int = 0
    cut_at_most: int = 0
    _stopping: bool = False

    @property
    def done(self) -> int:
        """Requests that are over."""
        return len(self.answers) + self.refused + len(self.wrong)

    def stop(self) -> None:
        """Nobody asks anything more, and all answers under way are read."""
        self._stopping = True

    def ended(self, door: Door, *, serves: bool = False) -> None:
        """This door's gateway is about to be killed, or one of its workers."""
        self.cut_at_most += door.end(serves=serves)

    async def run(self) -> None:
        """Until they are told to stop."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
        # A connection that is kept may be one to a process that was killed before: then nobody could say why it ends.
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session, asyncio.TaskGroup() as group:
            for number in range(self.number + self.paupers):
                key = CALLER if number < self.number else PAUPER
                group.create_task(self._ask_on(session, key, draw=Random(f"{self.seed}/{number}")))

    async def _ask_on(self, session: aiohttp.ClientSession, key: str, *, draw: Random) -> None:
        while not self._stopping:
            wrong = await self._one(session, key, draw=draw)
            if wrong == REFUSED and key == PAUPER:
                self.refused += 1
                await asyncio.sleep(TURNED_AWAY_S)
            elif wrong:
                self.wrong.append(wrong)
                await asyncio.sleep(TURNED_AWAY_S)

    async def _one(self, session: aiohttp.ClientSession, key: str, *, draw: Random) -> str:
        """A question at an open door, and once more at another one where that was killed; what is wrong, or nothing."""
        question = _Question(
            model="words" if key == CALLER else "purse", stream=draw.random() < 0.5,
            prompt=f"Tell me of {draw.choice(SUBJECTS)}, number {draw.randrange(10**9)}.",
        )  # fmt: skip
        for last in (False, True):
            door = draw.choice([door for door in self.doors if door.open] or self.doors)
            ends, door.busy = door.ends, door.busy + 1
            try:
                return await self._ask(session, door, question, key=key)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                if last or door.ends == ends:
                    return f"{door.name}, {question}: {error!r}"
                self.again += 1
            finally:
                door.busy -= 1
        raise AssertionError

    async def _ask(self, session: aiohttp.ClientSession, door: Door, question: _Question, *, key: str) -> str:
        body = {
            "model": question.model, "stream": question.stream,
            "messages": [{"role": "user", "content": question.prompt}],
        }  # fmt: skip
        url, headers = f"{door.url}/v1/chat/completions", {"authorization": f"Bearer {key}"}
        async with session.post(url, json=body, headers=headers) as answer:
            told = await answer.read()
        if answer.status == 429 and b"budget_exceeded" in told:
            return REFUSED
        if answer.status != 200:
            return f"{door.name}, {question}: status {answer.status}: {told[:300]!r}"
        words, wrong = (read_stream if question.stream else read_plain)(told)
        wanted = essay(question.prompt, sentences=1)
        if not wrong and words != wanted:
            wrong = f"{words!r} in place of {wanted!r}"
        if wrong:
            return f"{door.name}, {question}: {wrong}"
        request = answer.headers["x-unbroken-request-id"]
        self.answers.append(Answer(id=request, door=door.name, at_s=time.monotonic()))
        return ""


@dataclass(frozen=True, slots=True)
class _Question:
    model: str
    stream: bool
    prompt: str
