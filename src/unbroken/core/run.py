"""One attempt under way: its phase, its limits, and what came of it that nobody has seen yet."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from unbroken.core.splice import Splicer
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Limits
from unbroken.types import Attempt, Delta, Finish, Usage

__all__ = ["Phase", "Run"]

AFTERWORD_S = 3.0
"""What comes after the end of an answer (its usage) comes at once; a caller should not wait for the line to close."""
CALL_CHARS = 4
"""What each piece of a tool call counts for beside its arguments."""
MEDIA_CHARS = 1_000
"""A picture says more than so many characters."""
SIGNS_MAX = 8
"""A row of the same sign that is longer is shown as it comes."""


class Phase(IntEnum):
    """What an attempt is waiting for."""

    CONNECTION = 0
    FIRST_BYTE = 1
    FIRST_CONTENT = 2
    MORE = 3


class Run:
    """The mutable half of an attempt."""

    __slots__ = (
        "_choices", "_finished", "_floor_at", "_floor_chars", "_floor_window_s", "_held", "_holding",
        "_last_at", "_limits", "_open", "_paused", "_phase", "attempt", "chars", "finish", "first_content_at",
        "has_content", "is_working", "pieces", "said_model", "splicer", "started", "usage",
    )  # fmt: skip

    def __init__(self, attempt: Attempt, limits: Limits, *, now: float, floor_window_s: float, choices: int) -> None:
        self.attempt, self._limits, self.started = attempt, limits, now
        self.splicer: Splicer | None = None
        self.first_content_at: float | None = None
        self.usage: Usage | None = None
        self.finish: Finish | None = None
        self.said_model = ""
        self.has_content = False
        self.is_working = False
        """A job was accepted: whoever starts another one elsewhere pays twice, so it has all the time there is."""
        self._phase = Phase.CONNECTION
        self._held: list[Delta] = []
        self._holding = self._open = self._paused = False
        self._last_at = now
        self.chars = self.pieces = 0
        """How much was written, and in how many pieces."""
        self._choices = choices
        self._finished: set[int] = set()
        self._floor_window_s = floor_window_s
        self._floor_at = 0.0
        self._floor_chars = 0

    # -- progress

    def connected(self) -> None:
        """The request is on its way."""
        if self._phase is Phase.CONNECTION:
            self._phase = Phase.FIRST_BYTE

    def opened(self) -> None:
        """A good status came."""
        if self._phase <= Phase.FIRST_BYTE:
            self._phase = Phase.FIRST_CONTENT

    def heard(self, deltas: Sequence[Delta], now: float) -> bool:
        """Deltas came: only content counts as progress, never a comment or an empty chunk.

        True when this was the first content.
        """
        progress = False
        for delta in deltas:
            if delta.text or delta.has_content:
                self.has_content = progress = True
                self.chars += _size(delta)
                self.pieces += 1
            if delta.usage is not None:
                self.usage = delta.usage
            if delta.progress is not None:
                self.is_working = True
            if delta.finish is not None:
                self.finish = delta.finish
                self._finished.add(delta.choice)
                progress = True
        if not progress:
            return False
        self._last_at = now
        if self.first_content_at is not None:
            return False
        self.first_content_at = now
        self.said_model = deltas[-1].model
        self._phase = Phase.MORE
        self._floor_at = now + self._floor_window_s
        return True

    def release(self, deltas: list[Delta], *, streaming: bool, whole_calls: bool) -> list[Delta]:
        """Of these and of what was kept back before, what may be shown now.

        A plain answer is shown when it is whole; a stream from its first content on, if that is
        more than a sign or two; tool calls, where they are wanted whole, when the answer has ended.
        """
        if whole_calls and not self._holding:
            self._holding = any(delta.tool_calls for delta in deltas)
        if not streaming or self._holding:
            self._held += deltas
            return []
        if not self._open:
            self._held += deltas
            self._open = _tells(self._held)
            return self.take_held() if self._open else []
        return deltas

    @property
    def holds(self) -> bool:
        """Whether anything is kept back."""
        return bool(self._held)

    @property
    def held(self) -> Sequence[Delta]:
        """What is kept back."""
        return self._held

    def keep(self, deltas: list[Delta]) -> None:
        """Keep these back again."""
        self._held = [*deltas, *self._held]

    def pause(self) -> None:
        """The caller reads too slowly and we stopped reading: silence is nobody's fault now."""
        self._paused = True

    def resume(self, now: float) -> None:
        """Reading again: the pause counts for nothing."""
        self._paused = False
        self._last_at = now
        self._floor_at = now + self._floor_window_s
        self._floor_chars = self.chars

    def take_held(self) -> list[Delta]:
        """What was kept back, once."""
        held, self._held = self._held, []
        return held

    @property
    def is_whole(self) -> bool:
        """Whether every answer that was asked for has said why it ended; what follows is only usage."""
        return len(self._finished) >= self._choices

    # -- time

    def due(self, deadline: float) -> float:
        """When this attempt is overdue if nothing happens; `deadline` is for its first content."""
        limits = self._limits
        if self.is_working and self.first_content_at is None:
            return deadline
        if self._phase is Phase.CONNECTION:
            return min(self.started + limits.connect_s, deadline)
        if self._phase is Phase.FIRST_BYTE:
            return min(self.started + min(limits.first_byte_s, limits.first_content_s), deadline)
        if self._phase is Phase.FIRST_CONTENT:
            return min(self.started + limits.first_content_s, deadline)
        ceiling_at = self.started + limits.ceiling_s
        return ceiling_at if self._paused else min(self._last_at + self._gap_s, self._floor_at, ceiling_at)

    def overdue(self, now: float, *, deadline: float) -> Failure | None:
        """What it has failed by now, if anything."""
        if self._phase is Phase.MORE:
            return self._lagging(now)
        if now < self.due(deadline):
            return None
        name, waited_s = self.attempt.target.name, now - self.started
        if self._phase is Phase.CONNECTION:
            message = f"{name}: no connection within {waited_s:.1f} s"
            return Failure(kind=FailureKind.CONNECT, message=message, sent=False)
        return Failure(kind=FailureKind.SILENT, message=f"{name}: no answer within {waited_s:.1f} s")

    @property
    def _gap_s(self) -> float:
        return min(self._limits.gap_s, AFTERWORD_S) if self.is_whole else self._limits.gap_s

    def _lagging(self, now: float) -> Failure | None:
        limits, name = self._limits, self.attempt.target.name
        if now >= self.started + limits.ceiling_s:
            return Failure(kind=FailureKind.SLOW, message=f"{name}: the stream took over {limits.ceiling_s:.0f} s")
        if self._paused:
            return None
        if now >= self._last_at + self._gap_s:
            message = f"{name}: the stream stalled for {limits.gap_s:.1f} s"
            return Failure(kind=FailureKind.STALLED, message=message)
        if now < self._floor_at:
            return None
        written = self.chars - self._floor_chars
        self._floor_at = now + self._floor_window_s
        self._floor_chars = self.chars
        if written >= limits.chars_per_s_min * self._floor_window_s:
            return None
        message = f"{name}: only {written:.0f} characters in {self._floor_window_s:.0f} s"
        return Failure(kind=FailureKind.SLOW, message=message)

    # -- the end

    def answered(self, flight: str, now: float, *, stream: bool) -> AttemptAnswered:
        """The fact that it ended well."""
        first_at = now if self.first_content_at is None else self.first_content_at
        return AttemptAnswered(
            now, flight, self.attempt.number, self.attempt.target,
            first_at - self.started, now - self.started, stream, self.usage, self.chars, self.pieces,
            "" if self.finish is None else self.finish.value, self.said_model,
        )  # fmt: skip

    def failed(self, flight: str, now: float, *, failure: Failure, shown: bool) -> AttemptFailed:
        """The fact that it failed; `shown` when the caller had seen some of it."""
        return AttemptFailed(
            now, flight, self.attempt.number, self.attempt.target, failure, now - self.started,
            shown, self.usage, self.chars, self.pieces,
        )  # fmt: skip

    def abandoned(self, flight: str, now: float, *, outrun: bool) -> AttemptAbandoned:
        """The fact that it was hung up on."""
        return AttemptAbandoned(
            now, flight, self.attempt.number, self.attempt.target, now - self.started,
            outrun, self.usage, self.chars, self.pieces,
        )  # fmt: skip


def _tells(begun: Sequence[Delta]) -> bool:
    """Whether there is content, and enough of it to be gone on with by somebody else.

    After `#`, a `#` may be said again or be the second one of a heading, and nobody could tell; a word hardly
    begins with the same letter twice.
    """
    text = "".join([delta.text for delta in begun])
    if not text or len(text) > SIGNS_MAX or text[0].isalpha() or len(set(text)) > 1:
        return any(delta.has_content for delta in begun)
    return any(delta.has_content and not delta.text for delta in begun)


def _size(delta: Delta) -> int:
    """How much a delta brings, in characters or what is worth as many."""
    words = len(delta.text) + len(delta.reasoning) + len(delta.refusal) + MEDIA_CHARS * delta.media
    return words + sum([CALL_CHARS + len(call.arguments) for call in delta.tool_calls]) if delta.tool_calls else words
