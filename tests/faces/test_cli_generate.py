"""`unbroken generate`: pictures and films into files, with real providers that fail."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from unbroken.faces.cli.app import app
from unbroken.testing import FakeProvider, Html, JobFailed, NotMedia, Refused, Status, Trouble
from unbroken.testing.samples import CLIP, PIXEL

PATIENCE_S = 60.0
PAGE = NotMedia(b"<!doctype html><h1>Sign in</h1>", "text/html")


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command line in an environment without keys, in an empty folder."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_KEY", "_TOKEN", "_HOST", "_KEYS", "_CONFIG", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return CliRunner()


class Studio:
    """Two providers in an event loop of their own thread, and a configuration that leads to them."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.north, self.south = FakeProvider("north"), FakeProvider("south")
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def open(self) -> None:
        """Start, and write the configuration."""
        self._thread.start()
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.start(), self.loop).result(PATIENCE_S)
        Path("unbroken.yaml").write_text(
            f"providers:\n  north: {{base_url: {self.north.base_url}, model: m}}\n"
            f"  south: {{base_url: {self.south.base_url}, model: m}}\n"
            "defaults: {retries: {same_target_max: 0}}\n",
            encoding="utf-8",
        )

    def close(self) -> None:
        """Stop."""
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.close(), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

    def breaks(self, trouble: Trouble) -> None:
        """From now on the first provider has this trouble."""

        async def act() -> None:
            self.north.fail_with(trouble)

        asyncio.run_coroutine_threadsafe(act(), self.loop).result(PATIENCE_S)


@pytest.fixture
def studio(runner: CliRunner) -> Iterator[Studio]:
    """Two providers behind a configuration file in the folder where the commands run."""
    _ = runner
    opened = Studio()
    opened.open()
    yield opened
    opened.close()


def typed(*words: str) -> list[str]:
    return ["generate", *words, "--config", "unbroken.yaml"]


# ------------------------------------------------------------------------- what it makes


@pytest.mark.usefixtures("studio")
def test_a_picture_into_the_next_free_file(runner: CliRunner) -> None:
    """Without --out a new name is taken, printed alone on stdout; who made it and what it is stands on stderr."""
    for name in ("image-1.png", "image-2.png"):
        done = runner.invoke(app, typed("image", "A cat"))
        assert (done.exit_code, done.stdout) == (0, f"{name}\n")
        assert Path(name).read_bytes() == PIXEL
        assert "made by north/m" in done.stderr
        assert "image/png, 1x1, 0.1 KB" in done.stderr


@pytest.mark.usefixtures("studio")
def test_several_pictures_are_numbered(runner: CliRunner) -> None:
    """Each goes to a file of its own; a missing ending is added."""
    done = runner.invoke(app, typed("image", "A cat", "--n", "2", "--size", "64x64", "--out", "cat"))
    assert (done.exit_code, done.stdout.split()) == (0, ["cat-1.png", "cat-2.png"])
    assert Path("cat-2.png").read_bytes() == PIXEL


@pytest.mark.usefixtures("studio")
def test_a_film(runner: CliRunner) -> None:
    """A job is followed to its film; an ending that says something else is told."""
    done = runner.invoke(app, typed("video", "Waves", "--seconds", "4", "--out", "waves.avi"))
    assert (done.exit_code, done.stdout) == (0, "waves.avi\n")
    assert Path("waves.avi").read_bytes() == CLIP
    assert "video/mp4" in done.stderr
    assert "although it is called .avi" in done.stderr


@pytest.mark.usefixtures("studio")
def test_onto_stdout(runner: CliRunner) -> None:
    """With `--out -` nothing but the picture goes to stdout."""
    done = runner.invoke(app, typed("image", "A cat", "--out", "-"))
    assert (done.exit_code, done.stdout_bytes) == (0, PIXEL)
    assert "made by north/m" in done.stderr


# ------------------------------------------------------------------------------ failover


@pytest.mark.parametrize("trouble", [Html(), NotMedia(), PAGE, Status(500), Status(429), Refused()], ids=repr)
def test_a_picture_survives_its_provider(runner: CliRunner, studio: Studio, trouble: Trouble) -> None:
    """Whatever comes in place of a picture, the next provider draws it, and the failover is told."""
    studio.breaks(trouble)
    done = runner.invoke(app, typed("image", "A cat", "--out", "cat.png"))
    assert done.exit_code == 0
    assert Path("cat.png").read_bytes() == PIXEL
    assert "north/m failed after" in done.stderr
    assert "made by south/m, 2 attempts, after a failover" in done.stderr


@pytest.mark.parametrize("trouble", [JobFailed(), NotMedia(), PAGE, Html(), Status(503)], ids=repr)
def test_a_film_survives_its_provider(runner: CliRunner, studio: Studio, trouble: Trouble) -> None:
    """A job that fails, or ends with something that is no film, is made by the next provider."""
    studio.breaks(trouble)
    done = runner.invoke(app, typed("video", "Waves", "--out", "waves.mp4"))
    assert done.exit_code == 0
    assert Path("waves.mp4").read_bytes() == CLIP
    assert "made by south/m, 2 attempts, after a failover" in done.stderr


def test_refusals_are_told(runner: CliRunner, studio: Studio) -> None:
    """What a safety system refuses is not tried elsewhere, and its words are shown."""
    studio.breaks(JobFailed(code="moderation_blocked", message="The prompt was blocked."))
    done = runner.invoke(app, typed("video", "Waves"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert "The prompt was blocked." in done.stderr
    assert not studio.south.seen


# -------------------------------------------------------------------------------- errors


@pytest.mark.usefixtures("studio")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (typed("image", " "), 2, "prompt is empty"),
        (typed("image", "A", "--size", "large"), 2, "1024x1024"),
        (typed("image", "A", "--n", "2", "--out", "-"), 2, "only one picture"),
        (typed("image", "A", "--n", "99"), 2, "--n"),
        (typed("video", "A", "--seconds", "0"), 2, "--seconds"),
        (typed("image", "A", "--model", "nobody"), 2, "there is auto"),
        (typed("image", "A", "--out", "no/such/folder/cat.png"), 1, "cannot be written"),
        (["generate", "image", "A", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
    ],
)
def test_errors_are_clear(runner: CliRunner, words: list[str], code: int, says: str) -> None:
    """Each says what is wrong, and ends with 2 where it was asked for wrongly, 1 where it could not be done."""
    done = runner.invoke(app, words)
    assert done.exit_code == code
    assert says in done.stderr


def test_without_any_target(runner: CliRunner) -> None:
    """It says what to set."""
    done = runner.invoke(app, ["generate", "image", "A"])
    assert done.exit_code == 2
    assert "OPENAI_API_KEY" in done.stderr


@pytest.mark.parametrize("words", [[], ["image"], ["video"]])
def test_help_teaches(runner: CliRunner, words: list[str]) -> None:
    """Each help shows a line that can be typed, or the commands there are."""
    shown = runner.invoke(app, ["generate", *words, "--help"])
    assert shown.exit_code == 0
    assert ("unbroken generate" in shown.output) or ("image" in shown.output and "video" in shown.output)
