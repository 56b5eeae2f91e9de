"""The demo: it runs to its end, everything is answered, and its numbers are honest."""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Sequence

import pytest
from rich.console import Console
from typer.testing import CliRunner

from unbroken.bus import Bus
from unbroken.faces.cli.app import app
from unbroken.faces.cli.caller import Call
from unbroken.faces.cli.demo import configuration, demo, gateway_at, health_of, shown
from unbroken.faces.cli.scene import Act, Exchange, Notes, Play, providers, questions
from unbroken.faces.cli.view import picture, spoken, summary, verdict
from unbroken.facts import Continued, FlightEnded
from unbroken.testing import Refused, Status, essay
from unbroken.types import Mode, Target

PATIENCE_S = 120.0


def test_the_whole_demo() -> None:
    """Without a terminal it prints plain lines, ends with 0, and all requests were answered whole."""
    ended = CliRunner().invoke(app, ["demo", "--speed", "10"])
    assert ended.exit_code == 0, ended.output
    numbers = dict(re.findall(r"^(.+): (\d+)", ended.output, re.MULTILINE))
    assert int(numbers["requests"]) > 10
    assert numbers["requests"] == numbers["answered whole, word for word"]
    assert numbers["errors that callers saw"] == "0"
    assert int(numbers["rescued in mid-answer"]) >= 1
    assert int(numbers["failed over before the first word"]) >= 1
    unwrapped = re.sub(r"[│\s]+", " ", ended.output)
    for words in ("refuses connections", "answers 500", "is rate limited", "stays silent", "broke off"):
        assert words in unwrapped


def test_without_the_local_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where the extra is absent, `--local` says what to install and ends with 1."""
    monkeypatch.setattr("unbroken.faces.cli.local.missing", lambda: "Run: pip install 'unbroken[local]'")
    assert demo(local=True, stay=False, seed=1, speed=1.0, port=0) == 1
    assert "unbroken[local]" in capsys.readouterr().out


def play_of(acts: Sequence[Act], *, speed: float = 20.0) -> tuple[Play, str]:
    """A short play to its end, and how the live picture looked then."""

    async def run() -> tuple[Play, str]:
        cast = providers(speed)
        for provider in cast:
            await provider.start()
        entries = {provider.name: (provider.base_url, "essayist", provider.accepts_prefix) for provider in cast}
        config = configuration(entries, patience=(5.0, 5.0))
        out = io.StringIO()
        console = Console(file=out, force_terminal=True, width=120, height=60, no_color=True)
        async with gateway_at(config, 0) as (served, url), shown(console) as view:
            engine = served.gateway.engine
            play = Play(
                f"{url}/v1/chat/completions", cast, notes=Notes(engine.bus), view=view,
                health=health_of(engine, config), speed=speed,
            )  # fmt: skip
            await play.run(acts)
            console.print(picture(play))
        for provider in cast:
            await provider.close()
        return play, out.getvalue()

    return asyncio.run(asyncio.wait_for(run(), PATIENCE_S))


def test_the_numbers_are_the_providers_own() -> None:
    """Attempts in the summary are what the providers saw, and every answer is word for word."""
    play, _ = play_of([Act(words="fails", trouble=Status(500), lasts_s=4.0)])
    tally = play.tally()
    assert tally.requests == tally.whole > 0
    assert tally.attempts == sum(len(provider.seen) for provider in play.cast)
    assert tally.failed_over > 0
    assert not tally.errors


def test_the_live_picture() -> None:
    """In a terminal: what is wrong, what the gateway thinks, who answered, and the seam."""
    acts = [
        Act(words="refuses", trouble=Refused(), lasts_s=4.0),
        Act(words="one answer", trouble=None, lasts_s=4.0, spotlight=True),
    ]
    play, screen = play_of(acts)
    lit = play.spotlit
    assert lit is not None and lit.seams and lit.whole
    assert "cuts answers off" in screen and "goes on" in screen and "answered whole" in screen


def test_troubles_that_nobody_survives_are_counted() -> None:
    """When all providers fail, the callers' errors are in the summary and nothing is called whole."""
    acts = [Act(words="fails", trouble=Status(400, message="no"), lasts_s=2.0)]
    play, _ = play_of(acts)
    tally = play.tally()
    assert tally.requests > tally.whole
    assert sum(tally.errors.values()) == tally.requests - tally.whole
    assert any("NOT ANSWERED" in verdict(exchange) for exchange in play.exchanges)
    assert any("400" in what for what, _ in summary(tally))


def exchange_of(text: str, seams: tuple[Continued, ...] = ()) -> Exchange:
    call = Call(url="", model="auto", messages=[], told={"target": "b/m"}, _done=True)
    return Exchange(number=1, prompt="p", call=call, began=0.0, text=text, seams=seams, expected=essay("p"))


def test_a_seam_is_marked_where_it_is() -> None:
    """The mark stands between the words of the two providers, and takes none of them away."""
    alder, birch = (Target(name=f"{name}/m", provider=name, model="m") for name in ("alder", "birch"))
    seam = Continued(at=0.0, flight="f", number=2, origin=alder, target=birch, mode=Mode.PREFIX, chars=9)
    marked = spoken(exchange_of("The river runs on.", (seam,)), lambda _: "").plain
    assert marked == "The river ✂ alder broke off, birch goes on ✂ runs on."


def test_wrong_words_are_not_whole() -> None:
    """A single word that is lost, doubled or foreign makes an answer not whole."""
    good = essay("p")
    assert exchange_of(good).whole
    for wrong in (good[:-1], good + " more", good.replace(" ", "  ", 1), ""):
        assert not exchange_of(wrong).whole


def test_notes_keep_the_last_try_at_one_place() -> None:
    """Two attempts to go on at the same place are one seam: the one that spoke."""
    targets = [Target(name=f"{name}/m", provider=name, model="m") for name in ("a", "b", "c")]

    async def run() -> None:
        bus = Bus()
        notes = Notes(bus)
        for number in (1, 2):
            bus.publish(Continued(0.0, "f", number, targets[0], targets[number], Mode.PREFIX, 9))
        bus.publish(FlightEnded(0.0, "f", "auto", targets[2], 3, 1.0, True, True))
        call = Call(url="", model="auto", messages=[], headers={"x-unbroken-request-id": "f"})
        assert [fact.target.provider for fact in notes.continued(call)] == ["c"]
        assert [fact.attempts for fact in notes.ended()] == [3]

    asyncio.run(run())


def test_questions_depend_on_the_seed() -> None:
    """The same seed asks the same questions."""
    first, again, other = questions(1), questions(1), questions(2)
    asked = [first() for _ in range(20)]
    assert asked == [again() for _ in range(20)] != [other() for _ in range(20)]
