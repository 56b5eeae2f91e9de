"""`unbroken explain`, `unbroken ledger ...`, and the ledger that `unbroken serve` keeps by itself."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ledger.traffic import PRICES, chat, mixed, playing
from unbroken.config import Config, ConfigError, load
from unbroken.faces.cli.app import app
from unbroken.faces.cli.ledger import ledger_line, ledger_problem, with_ledger
from unbroken.ledger.record import decoded
from unbroken.sim.ledger import grouped, read_ledger
from unbroken.testing import Cut, Status

STRANGER = "req_nobody"


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("UNBROKEN_LEDGER", raising=False)
    monkeypatch.chdir(tmp_path)
    return CliRunner()


@pytest.fixture
def rescued(tmp_path: Path) -> str:
    """The id of a request that was cut at one provider, refused by the next, and finished by the third."""

    async def go() -> str:
        async with playing(tmp_path, "ledger.db") as scene:
            north, south, _ = scene.providers
            north.fail_with(Cut(after_tokens=9), times=1)
            south.fail_with(Status(503), times=1)
            told = await scene.ask("/v1/chat/completions", chat(1, stream=True))
            await mixed(scene, 60)
            return told.id

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        return asyncio.run(go())


def said(runner: CliRunner, *arguments: str, code: int = 0) -> str:
    ended = runner.invoke(app, [*arguments])
    assert ended.exit_code == code, ended.output
    return ended.stdout if code == 0 else ended.stderr


# ------------------------------------------------------------------- explain


def test_explain_tells_the_story(runner: CliRunner, rescued: str) -> None:
    """Who was asked when, with bars to scale, why, what it cost, and what the caller saw; plain when piped."""
    text = said(runner, "explain", rescued, "--ledger", "ledger.db")
    assert "route m (priority)" in text and "\x1b" not in text
    assert [name in text for name in ("#1 north/word-model", "#2 south/word-model", "#3 east/word-model")] == [True] * 3
    assert "overloaded 503" in text and "goes on after" in text and "our estimate" in text
    assert "rescued in the middle, by east/word-model (failover)" in text
    bars = [line.partition("|")[2].partition("|")[0] for line in text.splitlines() if line.startswith("#")]
    assert len({len(bar) for bar in bars}) == 1 and bars[0][0] in "░█" and bars[2].startswith(" ")


def test_explain_as_json(runner: CliRunner, rescued: str) -> None:
    """With --json it is the whole record, as the admin interface gives it."""
    record = decoded(json.loads(said(runner, "explain", rescued, "--json", "--ledger", "ledger.db")))
    assert record.id == rescued and [row.provider for row in record.attempts] == ["north", "south", "east"]


def test_explain_what_is_not_there(runner: CliRunner, rescued: str) -> None:
    """An unknown id and a ledger that is not there end with one clear line."""
    assert "knows no request req_nobody" in said(runner, "explain", STRANGER, "--ledger", "ledger.db", code=1)
    assert "no ledger at" in said(runner, "explain", STRANGER, "--ledger", "nowhere.db", code=1)
    assert "PostgreSQL" in said(runner, "explain", STRANGER, "--ledger", "mysql://x/y", code=2)
    Path("text.db").write_text("this is no database, " * 100)
    assert "cannot be read" in said(runner, "explain", STRANGER, "--ledger", "text.db", code=1)


def test_explain_finds_the_configured_ledger(runner: CliRunner, rescued: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --ledger it is the configuration's, which is what UNBROKEN_LEDGER says where there is no file."""
    assert rescued in said(runner, "explain", rescued, "--config", "unbroken.yaml")
    Path("unbroken.yaml").unlink()
    monkeypatch.setenv("UNBROKEN_LEDGER", "ledger.db")
    assert rescued in said(runner, "explain", rescued)
    monkeypatch.setenv("UNBROKEN_LEDGER", "off")
    assert "no ledger is kept" in said(runner, "explain", rescued, code=1)


# ------------------------------------------------------------------- sums and rows


def test_summary_adds_up(runner: CliRunner, rescued: str) -> None:
    """Day, route and target with their sums; the same as JSON; nothing of another time."""
    whole = json.loads(said(runner, "ledger", "summary", "--json", "--ledger", "ledger.db"))
    assert whole["totals"]["requests"] == 61 and whole["totals"]["rescued"] >= 1
    assert sum(row["cost_usd"] for row in whole["rows"]) == pytest.approx(whole["totals"]["cost_usd"])
    assert {row["target"].partition("/")[0] for row in whole["rows"]} == set(PRICES)
    table = said(runner, "ledger", "summary", "--since", "1h", "--ledger", "ledger.db")
    assert "north/word-model" in table and "61 requests" in table
    assert "0 requests" in said(runner, "ledger", "summary", "--until", "2001-01-01", "--ledger", "ledger.db")
    assert "no time" in said(runner, "ledger", "summary", "--since", "soon", "--ledger", "ledger.db", code=2)


def test_what_is_exported_can_be_replayed(runner: CliRunner, rescued: str) -> None:
    """The CSV of attempts is what `unbroken replay` reads, request by request."""
    said(runner, "ledger", "export", "--out", "day.csv", "--ledger", "ledger.db")
    with Path("day.csv").open(encoding="utf-8", newline="") as lines:
        rows = read_ledger(lines, name="day.csv")
    (mine,) = [request for request in grouped(rows) if request.rows[0].request == rescued]
    assert [row.outcome for row in mine.rows][1:] == ["overloaded", "answered"] and mine.rows[0].stream
    assert "61 requests" in said(runner, "ledger", "summary", "--ledger", "ledger.db")
    ended = runner.invoke(app, ["replay", "day.csv", "--config", "unbroken.yaml"])
    assert ended.exit_code == 0, ended.output


def test_requests_are_exported_too(runner: CliRunner, rescued: str) -> None:
    """With --requests each request is a row, those from the cache among them."""
    rows = list(csv.DictReader(io.StringIO(said(runner, "ledger", "export", "--requests", "--ledger", "ledger.db"))))
    assert len(rows) == 61 and rows[0]["id"] == rescued and rows[0]["rescued"] == "1"


def test_parquet_holds_the_same(runner: CliRunner, rescued: str) -> None:
    """A file of Parquet has the columns of the CSV, with numbers and instants as such."""
    from pyarrow import parquet

    said(runner, "ledger", "export", "--format", "parquet", "-o", "day.parquet", "--ledger", "ledger.db")
    table = parquet.read_table("day.parquet")
    rows = list(csv.DictReader(io.StringIO(said(runner, "ledger", "export", "--ledger", "ledger.db"))))
    assert table.column_names == list(rows[0]) and table.num_rows == len(rows)
    assert str(table.schema.field("at").type) == "timestamp[us, tz=UTC]"
    assert sum(table["output_tokens"].to_pylist()) == sum(int(row["output_tokens"]) for row in rows)
    assert "csv, parquet" in said(runner, "ledger", "export", "--format", "xml", "--ledger", "ledger.db", code=2)


def test_pruned_is_forgotten(runner: CliRunner, rescued: str) -> None:
    """`prune` deletes what is older than it is told."""
    assert "0 requests forgotten" in said(runner, "ledger", "prune", "--before", "1h", "--ledger", "ledger.db")
    assert "61 requests forgotten" in said(runner, "ledger", "prune", "--before", "0m", "--ledger", "ledger.db")
    assert "knows no request" in said(runner, "explain", rescued, "--ledger", "ledger.db", code=1)


# ------------------------------------------------------------------- configuration


def configured(folder: Path, ledger: object, environ: Mapping[str, str] | None = None) -> Config:
    file = folder / "some.yaml"
    file.write_text(f"providers: {{a: {{base_url: 'http://127.0.0.1:9/v1', model: m}}}}\nledger: {ledger}\n")
    return load(file, environ or {})


def test_off_is_off(tmp_path: Path) -> None:
    """`ledger: off` keeps none, in any spelling of YAML, and a path or a URL alone is enough."""
    for off in ("off", "no", "'off'", "false"):
        config = configured(tmp_path, off)
        assert config.ledger is not None and config.ledger.url == "off"
        assert ledger_line(with_ledger(config, {"HOME": str(tmp_path)}), {}) == "none"
    config = configured(tmp_path, "kept/ledger.db")
    assert config.ledger is not None and (config.ledger.url, config.ledger.retention_days) == ("kept/ledger.db", 30.0)


def test_serve_keeps_one_by_itself(tmp_path: Path) -> None:
    """Where nothing is said a gateway's ledger is in the user's data directory; a program's is nowhere."""
    config = configured(tmp_path, "")
    assert config.ledger is None
    environ = {"XDG_DATA_HOME": str(tmp_path)}
    assert ledger_line(with_ledger(config, environ), environ) == f"{tmp_path}/unbroken/ledger.db  (30 days)"
    assert ledger_problem(with_ledger(config, environ), environ) == ""
    assert with_ledger(config, {}).ledger is None and ledger_line(config, {}) == "none"


def test_what_is_wrong_with_it_is_said(tmp_path: Path) -> None:
    """A mistake in the section names its line, and no password is repeated."""
    for ledger, words in (
        ("mysql://me:secret@host/d", "PostgreSQL"),
        ("{url: x.db, prompts: all}", "none, text"),
        ("{url: x.db, retention_days: 0}", "retention_days"),
        ("{url: x.db, queue_max: 0}", "queue_max"),
        ("{file: x.db}", "unknown key"),
    ):
        with pytest.raises(ConfigError) as wrong:
            configured(tmp_path, ledger)
        told = "".join(f"{problem} {problem.source}" for problem in wrong.value.problems)
        assert words in told and "secret" not in told and ":2:" in told
    with pytest.raises(ConfigError, match="PostgreSQL"):
        Config.from_env({"UNBROKEN_LEDGER": "mysql://host/d"})


def test_a_password_is_in_no_repr(tmp_path: Path) -> None:
    """The address of a database may hold a password, so it is in no repr of the configuration."""
    config = configured(tmp_path, "postgresql://me:secret@host/d")
    assert config.ledger is not None and "secret" not in repr(config)
