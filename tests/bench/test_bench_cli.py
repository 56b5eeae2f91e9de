"""`unbroken bench` from end to end: tables, files, pictures, an interruption, and how its errors read."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import unbroken
from bench.bench_world import Runner
from unbroken.faces.cli.app import app
from unbroken.testing import Hang, Status

PATIENCE_S = 30.0
SOURCE = str(Path(unbroken.__file__).parent.parent)


class Backstage:
    """Two providers in an event loop of their own thread, and a configuration that leads to them."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.north, self.south = Runner("north", first_s=0.002), Runner("south", first_s=0.01)
        self.file = folder / "unbroken.yaml"
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def open(self) -> None:
        self._thread.start()
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.start(), self.loop).result(PATIENCE_S)
        self.file.write_text(
            "providers:\n"
            f"  north: {{base_url: {self.north.base_url}, model: m, price: {{input_usd: 1, output_usd: 2}}}}\n"
            f"  south: {{base_url: {self.south.base_url}, model: m}}\n"
        )

    def close(self) -> None:
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.close(), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Backstage]:
    """Two providers behind a configuration file."""
    backstage = Backstage(tmp_path)
    backstage.open()
    yield backstage
    backstage.close()


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command line in an empty folder without keys, wide enough for its tables."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_TOKEN", "_HOST", "_CONFIG", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def run(runner: CliRunner, *arguments: object) -> Result:
    return runner.invoke(app, ["bench", "-c", "unbroken.yaml", *(str(argument) for argument in arguments)])


def test_two_providers(runner: CliRunner, stage: Backstage, tmp_path: Path) -> None:
    """Tables and a verdict on stdout, everything else in the files that were asked for."""
    (tmp_path / "prompts.txt").write_text("Why?\nHow?\nWhen?\n")
    found = run(
        runner, "--provider", "north", "--provider", "south", "--prompts", "prompts.txt", "--rounds", 4,
        "--csv", "b.csv", "--json", "b.json", "--html", "b.html", "--picture", "b.svg",
    )  # fmt: skip
    assert found.exit_code == 0, found.output
    for words in ("24 requests", "Answers", "Whole answer", "First token", "cost in dollars", "Compared"):
        assert words in found.stdout
    assert "No difference was shown in how often they answer" in found.stdout
    told = json.loads((tmp_path / "b.json").read_text())
    assert [provider["answered"] for provider in told["providers"]] == [12, 12]
    assert len(told["requests"]) == 26
    assert len((tmp_path / "b.csv").read_text().splitlines()) == 27
    assert ET.parse(tmp_path / "b.svg").getroot().tag.endswith("svg")  # noqa: S314 - we wrote it
    assert "<svg" in (tmp_path / "b.html").read_text()
    assert (stage.north.answers, stage.south.answers) == (13, 13)


@pytest.mark.parametrize("task", ["embedding", "image"])
def test_other_work(runner: CliRunner, stage: Backstage, task: str) -> None:
    """Embeddings and pictures are compared by time and cost, with our prompts where none are brought."""
    found = run(runner, "-p", "north", "-p", "south", "--task", task, "--rounds", 3, "--picture", "b.png")
    assert found.exit_code == 0, found.output
    assert "Whole answer" in found.stdout and "First token" not in found.stdout
    assert Path("b.png").read_bytes().startswith(b"\x89PNG")
    assert {seen.path for seen in stage.north.seen} == {
        "/v1/embeddings" if task == "embedding" else "/v1/images/generations"
    }


def test_a_picture_can_be_a_page(runner: CliRunner, stage: Backstage) -> None:
    """`--picture out.html` is the page."""
    assert run(runner, "-p", "north", "--rounds", 1, "--picture", "b.html").exit_code == 0
    assert "<details>" in Path("b.html").read_text()


def test_the_spend_limit_stops_it(runner: CliRunner, stage: Backstage) -> None:
    """It ends early, says so, and shows what is known so far."""
    found = run(runner, "-p", "north", "--stop-at-usd", 0.0008, "--max-tokens", 10)
    assert found.exit_code == 0, found.output
    assert "Ended early" in found.stdout and "0.0008 USD" in found.stdout
    assert 0 < stage.north.answers < 50


def test_nobody_answers(runner: CliRunner, stage: Backstage) -> None:
    """Failures are counted by kind, no log tears the bar apart, and the exit code is 1."""
    stage.loop.call_soon_threadsafe(stage.north.fail_with, Status(401))
    found = run(runner, "-p", "north", "--rounds", 1)
    assert found.exit_code == 1
    assert "10 auth" in found.stdout
    assert "not answered" not in found.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-p", "nobody"], "--provider: nobody: no provider, target or route of that name"),
        (["-p", "north", "-p", "north"], "named twice"),
        (["-p", "north", "--task", "poetry"], "--task poetry: expected chat, embedding, image"),
        (["-p", "north", "--prompts", "nowhere.txt"], "--prompts: nowhere.txt: cannot be read"),
        (["-p", "north", "--prompts", "bad.jsonl"], "bad.jsonl:2: not JSON"),
        (["-p", "north", "--picture", "b.gif"], "ends in .svg, .png, .html, not in .gif"),
        (["-p", "north", "--csv", "no/such/b.csv"], "there is no folder no/such"),
        (["-p", "south", "--stop-at-usd", "1"], "no price is known of south/m"),
        ([], "Missing option"),
    ],
)
def test_mistakes(runner: CliRunner, stage: Backstage, words: list[str], says: str) -> None:
    """What is asked for wrongly is told before anybody is asked, with exit code 2."""
    Path("bad.jsonl").write_text('{"prompt": "x"}\n{"prompt"\n')
    found = run(runner, *words)
    assert found.exit_code == 2
    assert says in found.output.replace("\n", " ")
    assert stage.north.seen == stage.south.seen == []


def test_help_shows_a_line_that_can_be_typed(runner: CliRunner) -> None:
    """The command's help begins with an example."""
    shown = runner.invoke(app, ["bench", "--help"])
    assert shown.exit_code == 0 and "unbroken bench" in shown.output


def test_an_interruption_shows_what_there_is(stage: Backstage, tmp_path: Path) -> None:
    """Ctrl-C in the middle: tables of what was answered until then, the files too, and 130."""

    def then_hang() -> None:
        say = stage.north.answer

        def answer(request: object) -> object:
            if stage.north.answers == 12:
                stage.north.fail_with(Hang())
            return say(request)  # type: ignore[arg-type]

        stage.north.answer = answer  # type: ignore[assignment]

    stage.loop.call_soon_threadsafe(then_hang)
    # Who runs these tests in the background has made us deaf to Ctrl-C, and our children with us.
    listen = "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run = f"{listen}; runpy.run_module('unbroken', run_name='__main__')"
    command = [sys.executable, "-c", run, "bench", "-c", str(stage.file), "-p", "north", "--json", "b.json"]
    environment = {**os.environ, "PYTHONPATH": SOURCE, "COLUMNS": "120"}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        patient_until = time.monotonic() + PATIENCE_S
        while len(stage.north.seen) < 14 and process.poll() is None and time.monotonic() < patient_until:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "12 requests" in out and "interrupted" in out and "Traceback" not in err
    assert len(json.loads((tmp_path / "b.json").read_text())["requests"]) == 13
