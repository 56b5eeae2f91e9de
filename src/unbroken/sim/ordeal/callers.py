"""Who asks: reads what it is shown, slowly or not at all, and perhaps leaves before the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbroken.core.flight import Finished
from unbroken.drives import Drive
from unbroken.failures import Failure
from unbroken.sim.ordeal.upstream import QUESTION
from unbroken.types import Delta, Request
from unbroken.wire import format_named

__all__ = ["Asker", "Habits", "asked"]

_BODY = '{"model": "%s", "stream": %s, "max_tokens": 400, "messages": [{"role": "user", "content": "%s%d"}]}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """One request: when it comes, on which route, and what its caller does meanwhile, in seconds after that."""

    number: int
    at: float
    route: str
    stream: bool = True
    key: str = ""
    leaves_s: float | None = None
    pauses_s: float | None = None
    paused_s: float = 0.0


def asked(habits: Habits) -> Request:
    """The request as a face would read it."""
    read = format_named("openai_chat").read_request
    assert read is not None
    body = _BODY % (habits.route, str(habits.stream).lower(), QUESTION, habits.number)
    request = read("/v1/chat/completions", body.encode())
    assert not isinstance(request, Failure), request
    return request.asked_by(habits.key)


class Asker:
    """A `Caller`.  `ends` is how often it was told that it is over, `after_end` what came all the same."""

    def __init__(self, habits: Habits, *, replica: str) -> None:
        self.habits, self.replica = habits, replica
        self.drive: Drive | None = None
        self.pieces: list[str] = []
        self.finishes = self.ends = self.after_end = 0
        self.end: Finished | None = None
        self.has_left = False

    @property
    def text(self) -> str:
        """What it has seen."""
        return "".join(self.pieces)

    def show(self, deltas: Sequence[Delta]) -> None:
        self.after_end += self.ends
        for delta in deltas:
            if delta.text:
                self.pieces.append(delta.text)
            self.finishes += delta.finish is not None

    def finish(self, end: Finished) -> None:
        self.ends += 1
        self.end = end

    # -- what it does

    def leave(self) -> None:
        """It has waited enough."""
        if self.drive is not None and not self.ends:
            self.has_left = True
            self.drive.cancel()

    def pause(self) -> None:
        """It reads no more for now."""
        if self.drive is not None and not self.ends:
            self.drive.pause()

    def resume(self) -> None:
        """It reads on."""
        if self.drive is not None and not self.ends:
            self.drive.resume()
