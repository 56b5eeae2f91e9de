"""Draws docs/rescue.svg from a real run: one answer whose provider breaks off while it is given.

    python docs/record_rescue.py [FILE]

The demo's scene is played once (two providers, the gateway, one caller over HTTP), and what
the caller heard is drawn as it came, at its own times.  The picture moves by CSS alone and
shows its last state where that is not understood.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from pathlib import Path

from unbroken.faces.cli.demo import configuration, gateway_at, health_of
from unbroken.faces.cli.scene import Exchange, Notes, Play, Tally, providers

COLUMNS = 88
CELL_W, CELL_H = 8.4, 21.0
FONT_SIZE = 14
LEFT, TOP = 22.0, 66.0
HOLD_S = 6.0
"""How long the finished picture stays before it begins anew."""
LEAD_S = 1.2
"""From the question to the moment it is sent, so that it can be read."""
TITLE = "A streamed answer: one provider breaks off in the middle, another goes on, no word is lost"
INK = {
    "ground": "#11151c", "bar": "#1b212b", "text": "#d7dde5", "faint": "#7d8896", "alder": "#6fc6dc",
    "birch": "#e6b862", "bad": "#f07070", "good": "#7ccf86",
}  # fmt: skip


@dataclass
class Recording:
    """What happened, in seconds after the question: a view of the play."""

    words: list[tuple[float, str]] = field(default_factory=list)
    cut_s: float = 0.0
    _asked_s: float = 0.0

    def act(self, play: Play, title: str) -> None:
        """The provider breaks off."""
        del title
        self.cut_s = play.now - self._asked_s

    def heard(self, play: Play, exchange: Exchange, *, word: str) -> None:
        """A word came."""
        self._asked_s = exchange.began
        self.words.append((play.now - exchange.began, word))

    def over(self, play: Play, exchange: Exchange) -> None:
        """The answer ended."""

    def pause_s(self, chars: int) -> float:
        """How long the word took that came after so many characters."""
        at, before_s = 0, 0.0
        for time_s, word in self.words:
            if at >= chars:
                return time_s - before_s
            at, before_s = at + len(word), time_s
        return 0.0


async def record() -> tuple[Recording, Exchange, Tally]:
    """Play the scene."""
    recording = Recording()
    async with contextlib.AsyncExitStack() as stack:
        cast = [await stack.enter_async_context(provider) for provider in providers(1.0)[:2]]
        entries = {provider.name: (provider.base_url, "essayist", provider.accepts_prefix) for provider in cast}
        config = configuration(entries, patience=(5.0, 5.0))
        served, url = await stack.enter_async_context(gateway_at(config, 0))
        engine = served.gateway.engine
        play = Play(
            f"{url}/v1/chat/completions", cast, notes=Notes(engine.bus), view=recording,
            health=health_of(engine, config),
        )  # fmt: skip
        await play.in_the_light()
    exchange = play.exchanges[0]
    if not (exchange.whole and exchange.seams):
        raise SystemExit(f"the run is not worth a picture: {exchange.call.error or 'no seam'}")
    return recording, exchange, play.tally()


class Drawing:
    """An SVG of terminal text in cells; each text appears, and perhaps goes, at its time."""

    def __init__(self, total_s: float) -> None:
        self._total_s = total_s
        self._rules: list[str] = []
        self._texts: list[str] = []

    def text(self, column: int, row: float, words: str, *, ink: str, span: tuple[float, float] | None = None) -> None:
        """Words at a cell; `span` is when they are there, in seconds (until infinity: to the end)."""
        x, y = LEFT + column * CELL_W, TOP + row * CELL_H
        shown = words.rstrip()
        style = "" if span is None else f' class="{self._rule(*span)}"'
        self._texts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" fill="{INK[ink]}" textLength="{len(shown) * CELL_W:.1f}"'
            f' lengthAdjust="spacingAndGlyphs"{style}>{escape(shown)}</text>'
        )

    def _rule(self, start_s: float, end_s: float) -> str:
        """A class of its own: hidden, shown from `start_s`, and hidden again from `end_s` on."""
        name = f"t{len(self._rules)}"
        start, end = (100 * min(s, self._total_s) / self._total_s for s in (start_s, end_s))
        stays = end >= 100
        frames = f"0%,{start:.2f}%{{opacity:0}}{start + 0.01:.2f}%,{'100' if stays else f'{end:.2f}'}%{{opacity:1}}"
        frames += "" if stays else f"{end + 0.01:.2f}%,100%{{opacity:0}}"
        base = "" if stays else "opacity:0;"
        self._rules.append(f"@keyframes {name}{{{frames}}}.{name}{{{base}animation-name:{name}}}")
        return name

    def svg(self, rows: int) -> str:
        """The whole file."""
        width, height = LEFT * 2 + COLUMNS * CELL_W, TOP + rows * CELL_H
        dots = "".join(
            f'<circle cx="{24 + 20 * n}" cy="20" r="6" fill="{INK[ink]}"/>'
            for n, ink in enumerate(("bad", "birch", "good"))
        )
        font = f"{FONT_SIZE}px ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace"
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"',
            f' aria-label="{TITLE}">',
            "<style>",
            f"text{{font:{font};white-space:pre;animation:{self._total_s:.2f}s step-end infinite}}",
            "@media (prefers-reduced-motion:reduce){text{animation:none!important}}",
            *self._rules,
            "</style>",
            f'<rect width="100%" height="100%" rx="10" fill="{INK["ground"]}"/>',
            f'<path d="M0 40V10a10 10 0 0 1 10-10h{width - 20:.0f}a10 10 0 0 1 10 10v30z" fill="{INK["bar"]}"/>',
            dots,
            *self._texts,
            "</svg>",
        ]
        return "\n".join(lines) + "\n"


def placed(recording: Recording, exchange: Exchange, *, row: int) -> Iterator[tuple[int, int, str, str, float]]:
    """Column, row, word, ink and time of each word and of the mark, wrapped to the terminal's width."""
    seam = exchange.seams[0]
    mark = f" ✂ {seam.origin.provider} broke off, {seam.target.provider} goes on ✂"
    pieces: list[tuple[str, str, float]] = []
    at = 0
    for time_s, word in recording.words:
        if at == seam.chars:
            pieces += [(f" {part}", "bad", recording.cut_s) for part in mark.split()]
        pieces.append((word, seam.origin.provider if at < seam.chars else seam.target.provider, time_s))
        at += len(word)
    column = 0
    for word, ink, time_s in pieces:
        if column + len(word) > COLUMNS:
            column, row = 0, row + 1
        shown = word.lstrip() if column == 0 else word
        yield column + len(shown) - len(shown.lstrip()), row, shown.lstrip(), ink, time_s
        column += len(shown)


def draw(recording: Recording, exchange: Exchange, tally: Tally) -> str:
    """The picture of a recording."""
    seam = exchange.seams[0]
    first, second = seam.origin.provider, seam.target.provider
    end_s = recording.words[-1][0]
    forever, cut_s = float("inf"), LEAD_S + recording.cut_s
    sheet = Drawing(LEAD_S + end_s + HOLD_S)
    sheet.text(26, -1.95, "one streamed answer through unbroken", ink="faint")
    sheet.text(0, 0, f"> {exchange.prompt}", ink="text")
    for row, name in ((2, first), (3, second)):
        sheet.text(0, row, name, ink=name)
    sheet.text(9, 2, "● answering", ink="good", span=(LEAD_S + recording.words[0][0], cut_s))
    sheet.text(9, 2, "✗ connection reset in the middle of a sentence", ink="bad", span=(cut_s, forever))
    sheet.text(9, 3, "● ready", ink="faint", span=(0.0, cut_s))
    sheet.text(9, 3, "● is given the words so far, and goes on", ink="good", span=(cut_s, forever))
    row = 5
    for column, row, word, ink, time_s in placed(recording, exchange, row=5):
        sheet.text(column, row, word, ink=ink, span=(LEAD_S + time_s, forever))
    over = (LEAD_S + end_s + 0.4, forever)
    sheet.text(0, row + 2, "✓ answered whole, word for word", ink="good", span=over)
    pause_s = recording.pause_s(seam.chars)
    numbers = f"{tally.attempts} attempts · {pause_s:.2f} s pause at the seam · errors that the caller saw: 0"
    sheet.text(0, row + 3, numbers, ink="faint", span=over)
    return sheet.svg(row + 4)


def main() -> None:
    """Record, draw, write."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("rescue.svg")
    file.write_text(draw(*asyncio.run(record())), encoding="utf-8")
    print(f"{file}: {file.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
