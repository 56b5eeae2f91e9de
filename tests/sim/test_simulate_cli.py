"""`unbroken simulate` and `unbroken replay` from end to end: tables, files, pictures, and how their errors read."""

from __future__ import annotations

import csv
import gzip
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from unbroken.core.strategies import STRATEGIES
from unbroken.faces.cli.app import app
from unbroken.sim.results import COLUMNS

SMALL = ("--requests", "300", "--strategies", "priority,best")
LEDGER_HEAD = "at,route,target,input_tokens,output_tokens,first_content_s,total_s,outcome,cost_usd\n"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    """The command line in an empty folder, wide enough for its tables."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("UNBROKEN_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return CliRunner()


def configuration(folder: Path) -> Path:
    file = folder / "unbroken.yaml"
    file.write_text(
        "providers:\n  north: {base_url: 'http://127.0.0.1:1/v1', model: m}\n"
        "  groq: {model: llama, key: made-up}\n"
        "routes:\n  fast: {targets: [groq, north], strategy: best}\n  slow: {targets: [north, groq]}\n",
        encoding="utf-8",
    )
    return file


def ledger(folder: Path) -> Path:
    file = folder / "ledger.csv"
    rows = [
        f"{n},slow,north/m,100,20,,0.1,server,0" if 60 <= n < 120 else f"{n},slow,north/m,100,20,0.3,1.0,answered,0.001"
        for n in range(200)
    ]
    rows += [f"{n}.5,fast,groq/llama,100,20,0.2,0.6,answered,0.001" for n in range(0, 200, 4)]
    file.write_text(LEDGER_HEAD + "\n".join(rows) + "\n", encoding="utf-8")
    return file


def run(runner: CliRunner, *arguments: object) -> Result:
    return runner.invoke(app, [str(argument) for argument in arguments])


# ------------------------------------------------------------- simulate


def test_a_run_without_anything(runner: CliRunner) -> None:
    """Without a file or a name a small world is played: ours, oracles and baselines, with a digest at the end."""
    found = run(runner, "simulate", *SMALL, "--outage", "brown-out")
    assert found.exit_code == 0, found.output
    for name in ("priority", "best", "oracle: speed", "informed: speed", "~ shuffle", "~ lowest", "~ fallback"):
        assert name in found.stdout
    assert "brown-out of north" in found.stdout
    assert "digest " in found.stdout


def test_the_same_seed_prints_the_same_digest(runner: CliRunner) -> None:
    """And another one another."""
    digests = [
        next(line for line in run(runner, "simulate", *SMALL, "--seed", seed).stdout.splitlines() if "digest" in line)
        for seed in (1, 1, 2)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_numbers_as_files(runner: CliRunner, tmp_path: Path) -> None:
    """The CSV has a row for each strategy, the JSON the shares of targets and what went wrong when besides."""
    found = run(runner, "simulate", *SMALL, "-o", "flapping", "--csv", "a.csv", "--json", "a.json", "--no-baselines")
    assert found.exit_code == 0, found.output
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["strategy"] for row in rows] == ["priority", "best", "oracle: speed", "informed: speed"]
    document = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert document["digest"] in found.stdout
    assert [change["what"] for change in document["changes"]] == ["flapping of north", "end of flapping of north"]
    assert set(document["strategies"][0]["shares"]) == {"north", "south", "west", "east"}


def test_pictures_are_what_they_say(runner: CliRunner, tmp_path: Path) -> None:
    """SVG is XML, PNG is a PNG, and the page holds picture and table and asks nobody for anything."""
    for name in ("a.svg", "a.png", "a.html"):
        found = run(runner, "simulate", *SMALL, "--outage", "all-down", "--picture", name)
        assert found.exit_code == 0, found.output
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 - written a moment ago
    assert "Requests answered" in svg
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    page = (tmp_path / "a.html").read_text(encoding="utf-8")
    seen = Tags()
    seen.feed(page)
    assert {"svg", "table", "h1"} <= set(seen.opened)
    assert "script" not in seen.opened
    assert not seen.sources
    assert page.count("<tr>") == 1 + 2 + 2 + 3


class Tags(HTMLParser):
    """Which elements a page has, and what it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.sources += [
            value or "" for name, value in attrs if name in {"src", "href"} and not (value or "").startswith("#")
        ]


def test_a_picture_is_the_same_for_the_same_run(runner: CliRunner, tmp_path: Path) -> None:
    """Byte for byte: pictures can be kept with the code."""
    for name in ("a.svg", "b.svg"):
        run(runner, "simulate", *SMALL, "--picture", name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


def test_a_trace_of_ones_own(runner: CliRunner, tmp_path: Path) -> None:
    """All requests of the trace are played, packed or not, and denser where that is asked for."""
    text = "arrival_s,input_tokens,output_tokens\n" + "".join(f"{n},100,10\n" for n in range(50))
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("t.csv", "t.csv.gz"):
        found = run(runner, "simulate", "--trace", name, "--strategies", "priority", "--rate", 7)
        assert found.exit_code == 0, found.output
        assert f"50 requests of {name} in 7 s" in found.stdout


def test_ones_own_configuration(runner: CliRunner, tmp_path: Path) -> None:
    """A configuration's route is played as it is, beside the strategies, on its own targets."""
    file = configuration(tmp_path)
    found = run(runner, "simulate", "-c", file, *SMALL, "--outage", "regional:north/m", "--json", "a.json")
    assert found.exit_code == 0, found.output
    assert "yours: best" in found.stdout
    strategies = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["strategies"]
    assert set(strategies[0]["shares"]) == {"groq/llama", "north/m"}
    slow = run(runner, "simulate", "-c", file, *SMALL, "--route", "slow", "--no-baselines")
    assert "yours: priority" in slow.stdout


def test_a_scenario(runner: CliRunner, tmp_path: Path) -> None:
    """Laws, outages, traffic and weights come from a file; what weighs is what regret is measured by."""
    (tmp_path / "s.yaml").write_text(
        "providers:\n  a: {kind: fast, first_token_s: 0.2}\n  b: {kind: local}\n"
        "outages:\n  - {target: a, trouble: status, failure: overloaded, start_s: 0, end_s: 5, share: 0.5}\n"
        "  - {target: b, trouble: slow, times: 3, start_s: 1, end_s: 5}\n"
        "days: ['errors:b@3']\nworkload: {requests_per_s: 50, input_tokens: 100, streams: 1}\n"
        "weights: {speed: 1, cost: 0.5}\n",
        encoding="utf-8",
    )
    found = run(runner, "simulate", "--scenario", "s.yaml", *SMALL, "--no-baselines")
    assert found.exit_code == 0, found.output
    assert "informed: 1 speed and 0.5 cost" in found.stdout
    assert "errors of b from 3" in found.stdout


def test_reported_incidents(runner: CliRunner, tmp_path: Path) -> None:
    """A status page's incidents befall the targets."""
    (tmp_path / "i.csv").write_text(
        "incident_impact_level,provider,start_timestamp,close_timestamp\n"
        "3,openai,2023-01-01 10:00:00+00:00,2023-01-01 11:00:00+00:00\n",
        encoding="utf-8",
    )
    found = run(
        runner, "simulate", "--incidents", "i.csv", "--requests", 4000, "--strategies", "priority", "--no-baselines"
    )
    assert "north from 120 to 180 s" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("--strategies", "clever"), 2, "there is no strategy clever; there are priority"),
        (("--outage", "rain"), 2, "there is no outage called 'rain'; known are brown-out"),
        (("--picture", "a.gif"), 2, "ends in .svg, .png, .html, not in .gif"),
        (("--trace", "nowhere.csv"), 1, "nowhere.csv"),
        (("--trace", "bad.csv"), 1, "bad.csv:2:3: output_tokens: expected a number"),
        (("--incidents", "bad.csv"), 1, "neither incidents nor minutes"),
        (("--scenario", "nowhere.yaml"), 1, "cannot be read"),
        (("--config", "unbroken.yaml", "--route", "gone"), 2, "there is no route 'gone'; there are fast, slow"),
        (("--requests", "0"), 2, "--requests"),
    ],
)
def test_errors(runner: CliRunner, tmp_path: Path, arguments: tuple[str, ...], code: int, what: str) -> None:
    """Whatever is asked for wrongly is said in a line, before anything is played."""
    configuration(tmp_path)
    (tmp_path / "bad.csv").write_text("arrival_s,input_tokens,output_tokens\n0,1,few\n", encoding="utf-8")
    found = run(runner, "simulate", *arguments)
    assert found.exit_code == code, found.output
    assert what in found.output


def test_errors_of_a_scenario(runner: CliRunner, tmp_path: Path) -> None:
    """Every mistake in a scenario is named with its line, at once."""
    (tmp_path / "s.yaml").write_text(
        "providers:\n  a: {kind: quick, spred: 1}\n"
        "outages:\n  - {target: a, trouble: rain, end_s: 5, share: 2}\n"
        "  - {target: a, trouble: status, failure: sad, start_s: 9, end_s: 5}\n",
        encoding="utf-8",
    )
    found = run(runner, "simulate", "--scenario", "s.yaml")
    assert found.exit_code == 1
    for line, key in ((2, "providers.a.kind"), (2, "providers.a.spred"), (4, "outages[0].trouble"),
                      (4, "outages[0].share"), (5, "outages[1].failure"), (5, "outages[1].end_s")):  # fmt: skip
        assert f"s.yaml:{line}: {key}" in found.stdout


@pytest.mark.parametrize("command", ["simulate", "replay"])
def test_help_teaches(runner: CliRunner, command: str) -> None:
    """The help has an example to copy."""
    found = run(runner, command, "--help")
    assert f"unbroken {command} " in found.stdout
    assert "--seed" in found.stdout


# ------------------------------------------------------------- replay


def test_a_replay(runner: CliRunner, tmp_path: Path) -> None:
    """It says what would be answered now, by whom, and what it assumed."""
    found = run(runner, "replay", ledger(tmp_path), "-c", configuration(tmp_path), "--json", "r.json")
    assert found.exit_code == 0, found.output
    assert "60 that failed would be answered, 0 that were answered would fail" in found.stdout
    assert "They had failed of: server 60" in found.stdout
    assert "What this assumes:" in found.stdout
    assert "GUESSED" not in found.stdout
    document = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert (len(document["saved"]), document["lost"]) == (60, [])
    assert document["then"]["answered"] + 60 == document["now"]["answered"] == document["requests"]
    assert document["digest"] in found.stdout


def test_a_replay_by_one_route_and_another_strategy(runner: CliRunner, tmp_path: Path) -> None:
    """All requests by one route, and every strategy that there is, can be tried out."""
    arguments = ("replay", ledger(tmp_path), "-c", configuration(tmp_path), "--route", "slow")
    found = run(runner, *arguments)
    assert "No such route in this configuration: fast; `slow` is played for them." in found.stdout
    outputs = {run(runner, *arguments, "--strategy", name).stdout for name in ("priority", "round-robin")}
    assert len(outputs) == 2
    assert "round-robin" in STRATEGIES


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (("nowhere.csv",), 1, "nowhere.csv"),
        (("ledger.csv", "--strategy", "clever"), 2, "there is no strategy 'clever'"),
        (("ledger.csv", "--route", "gone"), 2, "there is no route 'gone'; there are fast, slow, auto"),
        (("bad.csv",), 1, "bad.csv:1: the header has no at, route"),
        (("ledger.csv", "-c", "nowhere.yaml"), 1, "cannot be read"),
    ],
)
def test_errors_of_a_replay(
    runner: CliRunner, tmp_path: Path, arguments: tuple[str, ...], code: int, what: str
) -> None:
    """A wrong name or file is said in a line."""
    ledger(tmp_path)
    configuration(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n", encoding="utf-8")
    found = run(runner, "replay", *arguments)
    assert found.exit_code == code, found.output
    assert what in found.output


def test_a_configuration_without_targets(runner: CliRunner, tmp_path: Path) -> None:
    """There is nothing to try out."""
    (tmp_path / "empty.yaml").write_text(
        "server: {port: 1}\nproviders: {north: {base_url: 'http://127.0.0.1:1'}}\n", encoding="utf-8"
    )
    for arguments in (("replay", ledger(tmp_path), "-c", "empty.yaml"), ("simulate", "-c", "empty.yaml")):
        found = run(runner, *arguments)
        assert found.exit_code == 1
        assert "has no targets" in found.output
