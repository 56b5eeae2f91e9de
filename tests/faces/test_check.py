"""`unbroken check`: what it prints, and with which exit code."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from unbroken.faces.cli.check import check, differences
from unbroken.policy import Hedging, Policy

PLANTED = "planted4Secret7Value"
GOOD = f"""
server: {{keys: [{PLANTED}]}}
providers:
  mine:
    base_url: http://10.0.0.5:8000/v1
    keys: [${{OWN_KEY}}, {PLANTED}2]
    prefix: flag
    tasks: chat
    quota_group: q
routes:
  fast:
    targets: [{{target: mine/large, weight: 3, deadlines: {{gap_s: 1.5}}}}, openai/gpt-x, groq/y, ollama]
    strategy: weighted
    width: 2
    policy: {{hedging: {{after_s: 2}}}}
"""


def printed(tmp_path: Path, text: str, **environ: str) -> tuple[int, str]:
    file = tmp_path / "unbroken.yaml"
    file.write_text(text, encoding="utf-8")
    out = io.StringIO()
    code = check(file, environ=environ, console=Console(file=out, width=160))
    return code, out.getvalue()


def test_a_good_file(tmp_path: Path) -> None:
    """Targets with address and key source, routes with order and policy, warnings, and exit code 0."""
    code, out = printed(tmp_path, GOOD, OWN_KEY=PLANTED, OPENAI_API_KEY=PLANTED)

    assert code == 0
    for expected in (
        "listens on 127.0.0.1:4100, 1 key",
        "mine/large#1",
        "http://10.0.0.5:8000/v1",
        "OWN_KEY",
        "key 2 in the file",
        "OPENAI_API_KEY",
        "not found: GROQ_API_KEY",
        "none needed",
        "prefix flag; only chat; quota group q; gap_s 1.5",
        "weighted, 2 at once",
        "mine/large#2  (weight 1.5)",
        "hedging.after_s 2",
        "warning provider groq: no key found",
        "ok: 2 routes, 5 targets",
    ):
        assert expected in out, expected


def test_keys_are_never_printed(tmp_path: Path) -> None:
    """Whatever is right or wrong with a file, no key of it is in the output."""
    good = printed(tmp_path, GOOD, OWN_KEY=PLANTED, OPENAI_API_KEY=PLANTED)[1]
    bad = printed(tmp_path, GOOD + "    zzz: 1\nprovders: {}\n", OWN_KEY=PLANTED)[1]
    broken = printed(tmp_path, f"server: {{keys: [{PLANTED}]\n  x: {PLANTED}", OWN_KEY=PLANTED)[1]

    assert PLANTED not in good + bad + broken


def test_a_bad_file(tmp_path: Path) -> None:
    """Every error with its place, the line, and a mark under the spot; exit code 1."""
    code, out = printed(tmp_path, "server: {host: localhost, prt: 1}\nroutes: {a: {targets: [opnai/x]}}\n")
    lines = out.splitlines()

    assert code == 1
    assert f"error {tmp_path}/unbroken.yaml:1: server.prt: unknown key; did you mean `port`?" == lines[0]
    assert lines[1] == "    1 | server: {host: localhost, prt: 1}"
    assert lines[2].index("^") == lines[1].index("prt")
    assert lines[-1] == "2 errors"


def test_a_missing_file(tmp_path: Path) -> None:
    """A file that is not there is one error without a line."""
    out = io.StringIO()

    assert check(tmp_path / "none.yaml", environ={}, console=Console(file=out, width=200)) == 1
    assert "none.yaml: cannot be read" in out.getvalue()
    assert "1 error" in out.getvalue()


def test_the_environment_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file, what the environment comes to is shown."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MISTRAL_API_KEY", "k")
    monkeypatch.delenv("UNBROKEN_CONFIG", raising=False)

    assert check(None) == 0
    assert "environment: listens on" in capsys.readouterr().out


def test_differences() -> None:
    """Only what is not built in is named."""
    assert differences(Policy()) == []
    assert differences(Policy(hedging=Hedging(p95=True), on_empty="return")) == ["hedging.p95 True", "on_empty return"]
