"""Going on with an answer that broke off: what was shown, whether to go on, where the new text joins.

The caller has seen some text.  Another target is brought to go on from there, and what it
says is joined so that nothing is lost, doubled or foreign.  A target may answer in three
ways, and only these are accepted:

  carries on      its text follows on from what was shown, perhaps after a few repeated words
  begins again    its text starts with what was shown; that much is swallowed
  takes up        it repeats the anchor (the last words shown), as it was asked to, then goes on

Anything else is DIVERGED: a failure of that attempt, not something to show.
"""

from __future__ import annotations

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Continuation, Delta, Mode, Request, Target, anchor_of

__all__ = ["Shown", "Splicer", "way_to_continue"]

OVERLAP_CHARS_MAX = 400
"""How far back repeated words are looked for, and how much of an answer may precede the anchor."""
CERTAIN_CHARS = 12
"""An overlap of so many characters is no coincidence."""
BLANKS_MAX = 8
"""How much white space may precede an anchor too short to be found among other words."""


class Shown:
    """What the caller has seen so far."""

    __slots__ = ("calls", "chars", "id", "media", "model", "pieces", "reasoning", "refusal")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.chars = 0
        self.calls = self.media = self.reasoning = self.refusal = False
        self.id = self.model = ""

    def add(self, delta: Delta) -> None:
        """Note a delta that was passed on."""
        if delta.text:
            self.pieces.append(delta.text)
            self.chars += len(delta.text)
        if delta.tool_calls:
            self.calls = True
        if delta.reasoning:
            self.reasoning = True
        if delta.media:
            self.media = True
        if delta.refusal:
            self.refusal = True
        if not self.id:
            self.id = delta.id
            self.model = delta.model

    @property
    def text(self) -> str:
        """The words, in one piece."""
        return "".join(self.pieces)

    @property
    def anything(self) -> bool:
        """Whether the caller has seen any of the answer."""
        return bool(self.pieces or self.calls or self.media or self.reasoning or self.refusal)


def way_to_continue(request: Request, target: Target, *, shown: Shown, prefix: bool = True) -> Continuation | None:
    """How this target could go on honestly from what was shown; None where it could not.

    `prefix` is False where the target has refused one.  Half a tool call or a picture cannot
    be carried on.  Of several answers at once we could not tell which text belongs where.
    JSON that must obey a schema is only carried on by a target that takes a prefix: asked
    for the rest, a model would begin anew.
    """
    if shown.calls or shown.media or shown.refusal or request.choices > 1:
        return None
    text = shown.text
    if not text:
        return Continuation(Mode.RESTART, "")
    if prefix and target.prefix != "none":
        return Continuation(Mode.PREFIX, text)
    if request.temperature == 0 and target.model == shown.model:
        return Continuation(Mode.RESTART, text)
    if "schema" in request.needs:
        return None
    return Continuation(Mode.ASK, text)


class Splicer:
    """Joins what a target says to what was shown.

    Text is held until it is known how it joins; usage and the end pass, thoughts do not: the
    caller has seen, or done without, those of the answer that was begun.
    """

    __slots__ = ("_anchor", "_anchor_ends_max", "_held", "_id", "_joined", "_mode", "_shown")

    def __init__(self, continuation: Continuation, shown: Shown) -> None:
        self._mode = continuation.mode
        self._shown = continuation.text
        self._anchor = anchor_of(continuation.text)
        preface_max = OVERLAP_CHARS_MAX if len(self._anchor) >= CERTAIN_CHARS else BLANKS_MAX
        self._anchor_ends_max = preface_max + len(self._anchor)
        self._id = shown.id
        self._held = ""
        self._joined = not continuation.text

    def feed(self, deltas: list[Delta]) -> list[Delta] | Failure:
        """The deltas that may be shown, made to belong to the stream that was begun."""
        out: list[Delta] = []
        for delta in deltas:
            joined = self._take(delta)
            if isinstance(joined, Failure):
                return joined
            if joined.has_content or joined.usage or joined.finish:
                out.append(joined)
        return out

    def close(self) -> list[Delta] | Failure:
        """The answer is over; text that is still held either joins now or never."""
        if self._joined:
            return []
        text = self._join(final=True)
        if text is None:
            return _diverged("it ended before it came to what was shown")
        return [Delta(text=text, id=self._id)] if text else []

    def _take(self, delta: Delta) -> Delta | Failure:
        mine = replace(delta, id=self._id or delta.id, raw=b"", reasoning="")
        if self._joined:
            return mine
        if delta.refusal or delta.media:
            return _diverged("it gave something else than words")
        self._held += delta.text
        text = self._join(final=delta.finish is not None)
        if text is None and delta.tool_calls:
            # A call may follow on anything that was said, but not stand inside it.
            if self._mode is Mode.RESTART or not self._shown.endswith(self._held):
                return _diverged("it called a tool before it came to what was shown")
            text = ""
        if text is None and delta.finish is not None:
            return _diverged("it ended before it came to what was shown")
        if text is None and self._is_hopeless():
            return _diverged("nothing in it joins what was shown")
        self._joined = text is not None
        return replace(mine, text=text or "")

    def _is_hopeless(self) -> bool:
        """Whether nothing that may yet come would make it join."""
        if self._shown.startswith(self._held):
            return False
        return self._mode is Mode.RESTART or len(self._held) > self._anchor_ends_max + len(self._gap)

    @property
    def _gap(self) -> str:
        """The white space at the end of what was shown, which the anchor leaves out."""
        return self._shown[len(self._shown.rstrip()) :]

    def _join(self, *, final: bool) -> str | None:
        """The new text, or None while it cannot be told where it begins."""
        held, shown = self._held, self._shown
        if held.startswith(shown):
            return held[len(shown) :]
        if shown.startswith(held) and not (final and self._mode is Mode.PREFIX):
            return None
        if self._mode is Mode.RESTART:
            return None
        repeats = held in self._tail and not final
        rest = None if repeats else self._said_again()
        if rest is not None:
            return rest
        if self._mode is Mode.PREFIX:
            return None if repeats else self._without_gap(held, final=final)
        return self._taken_up(final=final)

    def _without_gap(self, held: str, *, final: bool) -> str | None:
        """What follows a prefix.

        Some formats take none that ends in white space: then the model begins with what was shown.  After a single
        line break another one may as well be the second half of a paragraph's.
        """
        gap = self._gap
        if gap == "\n":
            return held
        return None if gap.startswith(held) and held and not final else held.removeprefix(gap)

    def _taken_up(self, *, final: bool) -> str | None:
        """What follows the anchor, which a preface may precede."""
        at = self._held.find(self._anchor, 0, self._anchor_ends_max)
        if at < 0 or (len(self._anchor) < CERTAIN_CHARS and self._held[:at].strip()):
            return None
        return self._after_gap(self._held[at + len(self._anchor) :], final=final)

    def _after_gap(self, rest: str, *, final: bool) -> str | None:
        """What follows the anchor, without the white space that was shown after it already."""
        gap = self._gap
        if rest.startswith(gap):
            return rest[len(gap) :]
        if gap.startswith(rest) and not final:
            return None
        return rest.lstrip()

    @property
    def _tail(self) -> str:
        return self._shown[-OVERLAP_CHARS_MAX:]

    def _said_again(self) -> str | None:
        """What follows the last words shown, if the answer begins with some of them."""
        held, tail = self._held, self._tail
        sizes = range(min(len(held), len(tail)), CERTAIN_CHARS - 1, -1)
        return next((held[size:] for size in sizes if tail.endswith(held[:size])), None)


def _diverged(why: str) -> Failure:
    return Failure(kind=FailureKind.DIVERGED, message=f"the answer could not be continued: {why}")
