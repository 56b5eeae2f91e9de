"""How the demo looks: a live picture in a terminal, plain lines anywhere else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from unbroken.faces.cli.scene import Exchange, Play, Tally, trouble_words

__all__ = ["LiveView", "PlainView", "picture", "spoken", "summary"]

SEAM = " ✂ {speaker} broke off, {following} goes on ✂"
"""Where one provider broke off and the next went on."""
LOG_LINES = 8
PICTURE_S = 0.08
"""Between two pictures; twelve a second look alive and cost little."""
COLOURS = ("cyan", "yellow", "magenta")


def spoken(exchange: Exchange, colour_of: Callable[[str], str]) -> Text:
    """An answer with a mark at each seam, each provider's words in its colour."""
    text, at, speaker = Text(), 0, exchange.call.target
    for seam in exchange.seams:
        speaker, following = seam.origin.provider, seam.target.provider
        text.append(exchange.text[at : seam.chars], style=colour_of(speaker))
        text.append(SEAM.format(speaker=speaker, following=following), style="bold red")
        text.append("" if exchange.text[seam.chars :].startswith(" ") else " ")
        at, speaker = seam.chars, following
    text.append(exchange.text[at:], style=colour_of(speaker))
    return text


def verdict(exchange: Exchange) -> str:
    """How it went, in words."""
    if exchange.total_s is None:
        return "..."
    if not exchange.whole:
        return f"NOT ANSWERED: {exchange.call.error or 'wrong words'}"
    if exchange.seams:
        return "whole, rescued in mid-answer by " + ", then ".join(seam.target.provider for seam in exchange.seams)
    if exchange.call.attempts > 1:
        return f"whole, at attempt {exchange.call.attempts}"
    if exchange.call.headers.get("x-unbroken-failover") == "true":
        return "whole, without the first choice"
    return "whole"


def summary(tally: Tally) -> list[tuple[str, str]]:
    """The numbers at the end, with what they are."""
    share = tally.attempts / tally.requests if tally.requests else 0.0
    rows = [
        ("requests", str(tally.requests)),
        ("answered whole, word for word", str(tally.whole)),
        ("failed over before the first word", str(tally.failed_over)),
        ("rescued in mid-answer", str(tally.rescued)),
        ("longest wait for a first word", f"{tally.first_word_s_max:.2f} s"),
        ("longest pause inside an answer", f"{tally.pause_s_max:.2f} s"),
        ("upstream attempts", f"{tally.attempts} ({share:.2f} a request)"),
        ("errors that callers saw", str(sum(tally.errors.values()))),
    ]
    return rows + [(f"  {error}", str(count)) for error, count in tally.errors.items()]


class PlainView:
    """One line for each thing that happens."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def act(self, play: Play, title: str) -> None:
        self._say(f"[{play.now:5.1f} s] -- {title}")

    def heard(self, play: Play, exchange: Exchange, *, word: str) -> None:
        """Words are shown when the answer is over."""

    def over(self, play: Play, exchange: Exchange) -> None:
        first = f"first word {exchange.first_s:.2f} s" if exchange.first_s is not None else "no word"
        self._say(f"[{play.now:5.1f} s] {exchange.number:3}  {exchange.call.target:16} {first}  {verdict(exchange)}")
        if exchange.spotlight:
            self._console.print(Panel(spoken(exchange, lambda _: ""), title=exchange.prompt, title_align="left"))

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveView:
    """A picture that is drawn anew some times a second, by the event loop itself: `draw` as a task."""

    def __init__(self, console: Console) -> None:
        self._play: Play | None = None
        self.live = Live(console=console, auto_refresh=False, get_renderable=self._picture)

    def act(self, play: Play, title: str) -> None:
        self._play = play

    def heard(self, play: Play, exchange: Exchange, *, word: str) -> None:
        """The next picture shows it."""

    def over(self, play: Play, exchange: Exchange) -> None:
        """The next picture shows it."""

    async def draw(self) -> None:
        """Keep the picture up to date until cancelled."""
        while True:
            self.live.refresh()
            await asyncio.sleep(PICTURE_S)

    def _picture(self) -> Group | Text:
        return Text("") if self._play is None else picture(self._play)


def picture(play: Play) -> Group:
    """The play as it stands."""
    names = [provider.name for provider in play.cast]
    colours = dict(zip(names, COLOURS, strict=False))

    def colour_of(target: str) -> str:
        return colours.get(target.partition("/")[0], "")

    parts: list[RenderableType] = [_heading(play), _cast_table(play, colour_of), _log(play, colour_of)]
    lit = play.spotlit
    if lit is not None:
        parts.append(
            Panel(spoken(lit, colour_of), title=f"“{lit.prompt}”", title_align="left", box=box.ROUNDED, padding=(0, 1))
        )
    return Group(*parts)


def _heading(play: Play) -> Table:
    bar = Table.grid(expand=True)
    bar.add_column()
    bar.add_column(justify="right")
    done = sum(exchange.total_s is not None for exchange in play.exchanges)
    whole = sum(exchange.whole for exchange in play.exchanges if exchange.total_s is not None)
    bar.add_row(Text(play.title, style="bold"), Text(f"{whole} of {done} answered whole   {play.now:4.0f} s"))
    return bar


def _cast_table(play: Play, colour_of: Callable[[str], str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    for heading in ("provider", "its state", "what the gateway thinks", "requests"):
        table.add_column(heading, justify="right" if heading == "requests" else "left")
    for provider in play.cast:
        trouble = trouble_words(provider)
        state = Text(f"✗ {trouble}", style="red") if trouble else Text("● well", style="green")
        thought = play.health(provider.name)
        table.add_row(
            Text(provider.name, style=colour_of(provider.name)), state,
            Text(thought or "healthy", style="red" if thought else "green"), str(len(provider.seen)),
        )  # fmt: skip
    return table


def _log(play: Play, colour_of: Callable[[str], str]) -> Table:
    table = Table(box=None, expand=True, pad_edge=False, show_header=False)
    table.add_column(justify="right", width=3)
    table.add_column(width=16, no_wrap=True)
    table.add_column(width=18, no_wrap=True)
    table.add_column(no_wrap=True, ratio=1)
    for exchange in play.exchanges[-LOG_LINES:]:
        target = exchange.call.target
        first = f"first word {exchange.first_s:.2f} s" if exchange.first_s is not None else "waiting"
        words = verdict(exchange)
        style = "red" if words.startswith("NOT") else "green" if exchange.seams else ""
        table.add_row(str(exchange.number), Text(target, style=colour_of(target)), first, Text(words, style=style))
    for _ in range(LOG_LINES - len(play.exchanges)):
        table.add_row("", "", "", "")
    return table
