"""What the engine does beside answering where somebody keeps account: who asks is noted, and tokens are counted.

OpenAI's formats count the tokens of a stream only when they are asked to.  Where the caller
did not ask we do, and the writer hides the count from him.  Not every provider knows the
question: one that refuses it is asked once without, and never with it again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from unbroken.bus import Bus
from unbroken.core.flight import Finished
from unbroken.drives import Caller
from unbroken.facts import Asked, Said
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route
from unbroken.ports import Clock
from unbroken.records import replace
from unbroken.types import Attempt, Chat, Delta, Fix, Request, Target, Task, Work
from unbroken.work import Speech, Texts

__all__ = ["Counting"]

WORDS_CHARS_MAX = 20_000
"""Of a prompt, and of an answer, where they are kept: some ten pages each."""
NAMES_MAX = 10_000
"""Callers may name any model of a provider; beyond so many it is found out anew who counts."""
_UNASKED = Fix(drop=("stream_options",))
_REFUSED = frozenset((FailureKind.REQUEST, FailureKind.UNSUPPORTED))


class Counting:
    """Notes who asks, and has providers count.  `words` is whether prompts and answers are noted too."""

    def __init__(self, bus: Bus, clock: Clock, *, words: bool = False) -> None:
        self._bus, self._clock, self._words = bus, clock, words
        self._willing: set[str] = set()
        self._unwilling: set[str] = set()

    def begun(self, request: Request, route: Route, *, caller: Caller, flight_id: str) -> Caller:
        """A request came in: whom to tell of its answer."""
        now, task, stream = self._clock(), request.task, request.stream
        self._bus.publish(Asked(now, flight_id, route.name, task, stream, request.asker[:12], request.prompt_chars))
        return _Ear(caller, _words_of(request), then=partial(self._said, flight_id)) if self._words else caller

    def counted(self, request: Request) -> Request:
        """The request, with the wish that its tokens be counted."""
        plain = not request.stream or request.include_usage or request.task is not Task.CHAT
        return request if plain else replace(request, counted=True)

    def wording(self, request: Request, target: Target) -> Request:
        """The request as this target is asked it: without the wish where the target does not know it."""
        return replace(request, counted=False) if request.counted and target.name in self._unwilling else request

    def fix(self, failure: Failure, target: Target) -> Fix | None:
        """What may help where a request was refused that had the wish in it, and nothing better is known."""
        known = target.name in self._willing or target.name in self._unwilling
        names_another = failure.param is not None and not failure.param.startswith("stream_options")
        return None if known or names_another or failure.kind not in _REFUSED else _UNASKED

    def opened(self, attempt: Attempt) -> None:
        """A target took a request that had the wish in it, or had it taken out."""
        refused = attempt.fix is not None and "stream_options" in attempt.fix.drop
        names = self._unwilling if refused else self._willing
        if len(names) >= NAMES_MAX:
            names.clear()
        names.add(attempt.target.name)

    def _said(self, flight_id: str, words: tuple[str, str]) -> None:
        prompt, answer = words
        self._bus.publish(Said(self._clock(), flight_id, prompt, answer))


class _Ear:
    """Listens to an answer on its way to the caller, and says what was said when it is over."""

    __slots__ = ("_answer", "_caller", "_chars", "_prompt", "_then")

    def __init__(self, caller: Caller, prompt: str, *, then: Callable[[tuple[str, str]], None]) -> None:
        self._caller, self._prompt, self._then = caller, prompt, then
        self._answer: list[str] = []
        self._chars = 0

    def show(self, deltas: Sequence[Delta]) -> None:
        for delta in deltas:
            if delta.text and delta.choice == 0 and self._chars < WORDS_CHARS_MAX:
                self._answer.append(delta.text)
                self._chars += len(delta.text)
        self._caller.show(deltas)

    def finish(self, end: Finished) -> None:
        self._then((self._prompt, _shortened("".join(self._answer))))
        self._caller.finish(end)


def _words_of(request: Request) -> str:
    """What is asked, in words; nothing where it cannot be read."""
    try:
        return _shortened(_told(request.work))
    except ValueError:
        return ""


def _told(work: Work) -> str:
    match work:
        case Chat():
            return "\n\n".join(f"{message.role}: {message.text}" for message in work.messages)
        case Texts():
            return "\n\n".join(work.texts)
        case Speech():
            return work.text
        case _:
            return work.prompt


def _shortened(text: str) -> str:
    return text if len(text) <= WORDS_CHARS_MAX else text[: WORDS_CHARS_MAX - 1] + "…"
