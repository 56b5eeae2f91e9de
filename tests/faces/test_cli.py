"""The command line: what it teaches, what it serves, and how its errors read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import unbroken
from unbroken.faces.cli.app import app
from unbroken.faces.cli.chat import chat_url
from unbroken.testing import Cut, FakeProvider, Refused, Speed, Status, essay

PATIENCE_S = 60.0


def commands(under: Any, *path: str) -> Iterator[str]:
    """Every command there is, as it is typed."""
    for name, command in getattr(under, "commands", {}).items():
        yield from commands(command, *path, name)
    if not hasattr(under, "commands"):
        yield " ".join(path)


COMMANDS = list(commands(get_command(app)))
SOURCE = str(Path(unbroken.__file__).parent.parent)
Cast = dict[str, FakeProvider]


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command line in an environment without keys, in an empty folder."""
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_KEY", "_TOKEN", "_HOST", "_KEYS", "_CONFIG", "_BASE_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return CliRunner()


class Backstage:
    """Two providers in an event loop of their own thread, and a configuration that leads to them."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.north, self.south = (FakeProvider(name, speed=Speed(tokens_per_s=2000)) for name in ("north", "south"))
        self.file = folder / "unbroken.yaml"
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def open(self) -> None:
        """Start, and write the configuration."""
        self._thread.start()
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.start(), self.loop).result(PATIENCE_S)
        self.file.write_text(
            f"providers:\n  north: {{base_url: {self.north.base_url}, model: m}}\n"
            f"  south: {{base_url: {self.south.base_url}, model: m, prefix: assistant}}\n"
        )

    def close(self) -> None:
        """Stop."""
        for provider in (self.north, self.south):
            asyncio.run_coroutine_threadsafe(provider.close(), self.loop).result(PATIENCE_S)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(PATIENCE_S)
        self.loop.close()

    def do(self, action: Callable[[], None]) -> None:
        """Something to a provider, in its own thread."""

        async def act() -> None:
            action()

        asyncio.run_coroutine_threadsafe(act(), self.loop).result(PATIENCE_S)


@pytest.fixture
def backstage(tmp_path: Path) -> Iterator[Backstage]:
    """Two providers behind a configuration file."""
    stage = Backstage(tmp_path)
    stage.open()
    yield stage
    stage.close()


# --------------------------------------------------------------------------- help


def test_help_teaches(runner: CliRunner) -> None:
    """The first screen names every command and how to begin."""
    for words in ([], ["--help"]):
        shown = runner.invoke(app, words).output
        assert all(command.split()[0] in shown for command in COMMANDS)
        assert "unbroken demo" in shown
    assert runner.invoke(app, ["--help"]).exit_code == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example(runner: CliRunner, command: str) -> None:
    """Each command's help shows a line that can be typed."""
    shown = runner.invoke(app, [*command.split(), "-h"])
    assert shown.exit_code == 0
    _, _, taught = shown.output.partition("Usage:")[2].partition("\n")
    assert f"unbroken {command}" in taught


def test_version(runner: CliRunner) -> None:
    """It says which version it is."""
    shown = runner.invoke(app, ["--version"])
    assert (shown.exit_code, shown.output.split()[0]) == (0, "unbroken")


# ------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["serve", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["serve", "--host", "0.0.0.0"], 2, "server.keys"),
        (["serve", "--log-level", "loud"], 2, "warning"),
        (["serve", "--hots", "x"], 2, "--host"),
        (["chat", "hi"], 2, "OPENAI_API_KEY"),
        (["chat", "hi", "--config", "nowhere.yaml"], 2, "nowhere.yaml"),
        (["chat", "hi", "--url", "ftp://x"], 2, "http://"),
        (["chat", "hi", "--url", "http://127.0.0.1", "--config", "x.yaml"], 2, "not both"),
        (["check", "nowhere.yaml"], 1, "nowhere.yaml"),
        (["serve", "--port", "99999"], 2, "--port"),
        (["simulate", "--trace", "no.csv"], 1, "no.csv: cannot be read: No such file"),
        (["simulate", "--csv", "no/such/a.csv"], 2, "there is no folder no/such"),
        (["simulate", "--route", "chat"], 2, "--config"),
        (["replay", "no.csv"], 1, "no.csv: cannot be read: No such file"),
        (["replay", "no.csv", "--json", "no/such/a.json"], 2, "there is no folder no/such"),
        (["ledger", "export", "--out", "no/such/a.csv"], 2, "there is no folder no/such"),
        (["catalog", "update", "no.json"], 1, "no.json: cannot be read: No such file"),
        (["bench"], 2, "--provider"),
    ],
)
def test_errors_are_clear(runner: CliRunner, words: list[str], code: int, says: str) -> None:
    """What was asked for wrongly ends with a code and a line that helps, never with a traceback."""
    ended = runner.invoke(app, words)
    assert ended.exit_code == code
    assert says in ended.output
    assert "Traceback" not in ended.output


def test_a_port_that_is_taken(runner: CliRunner) -> None:
    """A port in use is named, with a way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = runner.invoke(app, ["serve", "--port", str(port)])
    assert ended.exit_code == 1
    assert f"127.0.0.1:{port}" in ended.output and "--port 0" in ended.output


# --------------------------------------------------------------------------- chat


def test_chat_in_process(runner: CliRunner, backstage: Backstage) -> None:
    """The words come on stdout, who gave them on stderr."""
    ended = runner.invoke(app, ["chat", "Hello?", "--config", str(backstage.file)])
    assert ended.exit_code == 0
    assert ended.stdout.strip() == essay("Hello?")
    assert "answered by north/m, 1 attempt" in ended.stderr


def test_chat_fails_over(runner: CliRunner, backstage: Backstage) -> None:
    """A provider that is down is not the caller's business, but it is told."""
    backstage.do(lambda: backstage.north.fail_with(Refused()))
    ended = runner.invoke(app, ["chat", "Hello?", "-c", str(backstage.file)])
    assert (ended.exit_code, ended.stdout.strip()) == (0, essay("Hello?"))
    assert "answered by south/m, 2 attempts, after a failover" in ended.stderr


def test_chat_is_rescued(runner: CliRunner, backstage: Backstage) -> None:
    """An answer that breaks off is carried on, word for word."""
    backstage.do(lambda: backstage.north.fail_with(Cut(after_tokens=20)))
    ended = runner.invoke(app, ["chat", "Hello?", "-c", str(backstage.file)])
    assert (ended.exit_code, ended.stdout.strip()) == (0, essay("Hello?"))
    assert "rescued" in ended.stderr


def test_chat_says_what_failed(runner: CliRunner, backstage: Backstage) -> None:
    """Where nobody answers, the code is 1 and the reason is shown."""
    for provider in (backstage.north, backstage.south):
        backstage.do(partial(provider.fail_with, Status(401)))
    ended = runner.invoke(app, ["chat", "Hello?", "-c", str(backstage.file)])
    assert ended.exit_code == 1
    assert ended.stderr.startswith("unbroken: ")
    unknown = runner.invoke(app, ["chat", "Hello?", "-m", "nothing", "-c", str(backstage.file)])
    assert unknown.exit_code == 1 and "404" in unknown.stderr


def test_a_conversation(runner: CliRunner, backstage: Backstage) -> None:
    """Without a message it converses until the input ends, and remembers what was said."""
    words = ["chat", "-c", str(backstage.file), "-m", "south/m", "--system", "Be brief."]
    ended = runner.invoke(app, words, input="one\ntwo\n")
    assert ended.exit_code == 0
    assert ended.stdout.split("\n")[:2] == [essay("one"), essay("two")]
    assert b"Be brief." in backstage.south.seen[1].body and essay("one").encode() in backstage.south.seen[1].body


def test_addresses_of_gateways() -> None:
    """However people write a gateway's address, it is found."""
    right = "http://127.0.0.1:4100/v1/chat/completions"
    for written in (
        "127.0.0.1:4100",
        "http://127.0.0.1:4100",
        "http://127.0.0.1:4100/",
        "http://127.0.0.1:4100/v1",
        right,
    ):
        assert chat_url(written) == right


# -------------------------------------------------------------------------- serve


@contextlib.contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`unbroken serve` as a process of its own, and what it said until it was ready."""
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": SOURCE}
    process = subprocess.Popen(
        [sys.executable, "-m", "unbroken", "serve", "--port", "0", *options],
        stderr=subprocess.PIPE, text=True, env=environ,
    )  # fmt: skip
    assert process.stderr is not None
    said: list[str] = []
    try:
        for line in process.stderr:
            said.append(line)
            if "clients:" in line:
                break
        yield process, said
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stderr.close()


def test_serve_says_what_it_serves(backstage: Backstage, runner: CliRunner) -> None:
    """A real process listens, names its routes, answers `chat --url`, and stops when told to."""
    with serving("--config", str(backstage.file)) as (process, said):
        banner = "".join(said)
        assert "auto" in banner and "north/m > south/m" in banner and "OPENAI_BASE_URL=http://127.0.0.1:" in banner
        url = next(word for word in banner.split() if word.startswith("http://"))
        backstage.do(lambda: backstage.north.fail_with(Cut(after_tokens=20)))
        ended = runner.invoke(app, ["chat", "Hello?", "--url", url])
        assert (ended.exit_code, ended.stdout.strip()) == (0, essay("Hello?"))
        assert "rescued" in ended.stderr
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0


def test_nobody_listens(runner: CliRunner) -> None:
    """A gateway that is not there is said to be not there."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ended = runner.invoke(app, ["chat", "hi", "--url", f"127.0.0.1:{port}"])
    assert ended.exit_code == 1
    assert f"nobody listens at 127.0.0.1:{port}" in ended.stderr
