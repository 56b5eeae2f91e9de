"""The pure parts of the chaos suite and of the battery's start: what counts as a broken promise, and what as none."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.battery_start import balancer, configuration
from benchmarks.chaos_callers import Door
from benchmarks.chaos_checks import Account, Answer, Evidence, checks, most_in, read_plain, read_stream
from benchmarks.chaos_town import hours_in, read_ledger

GOOD = [Answer(id=f"r{number}", door="A" if number % 2 else "B", at_s=float(number)) for number in range(10)]


def evidence(**more: Any) -> Evidence:
    """A scene in which all went well, but for this."""
    return Evidence(**{"answers": GOOD, "recorded": {answer.id for answer in GOOD}, **more})


def broken(seen: Evidence) -> list[str]:
    return [check.what for check in checks(seen) if not check.good]


def chunk(text: str = "", why: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": why}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"


def test_a_scene_without_faults_breaks_no_promise() -> None:
    """Everything answered and recorded, nothing asked again."""
    assert broken(evidence()) == []


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"answers": [], "recorded": ()}, ["failed, cut, or shown twice"]),
        ({"wrong": ["status 500"]}, ["failed, cut, or shown twice"]),
        ({"answers": [*GOOD, GOOD[0]]}, ["ids given twice"]),
        ({"again": 3, "cut_at_most": 2}, ["asked again elsewhere"]),
        ({"again": 2, "cut_at_most": 2}, []),
        ({"accounts": [Account(name="cents", seen=9, limit=8)]}, ["cents"]),
        ({"accounts": [Account(name="cents", seen=9, limit=8, spare=1)]}, []),
        ({"damage": "row 5 is missing from index"}, ["the ledger is whole"]),
    ],
)
def test_each_broken_promise_is_named(more: dict[str, Any], what: list[str]) -> None:
    """What callers, providers and the database have seen decides, each by itself."""
    assert broken(evidence(**more)) == what


def test_records_may_only_be_missing_where_that_is_promised() -> None:
    """Just before the kill of whoever answered, or as many as the ledger itself says; nowhere else."""
    recorded = {answer.id for answer in GOOD} - {"r9", "r7"}
    missing = ["missing in the ledger"]
    assert broken(evidence(recorded=recorded)) == missing
    assert broken(evidence(recorded=recorded, unrecorded=2)) == []
    assert broken(evidence(recorded=recorded, killed_at_s={"A": [9.5]}, window_s=3.0)) == []
    assert broken(evidence(recorded=recorded, killed_at_s={"A": [9.5]}, window_s=1.0)) == missing
    assert broken(evidence(recorded=recorded, killed_at_s={"B": [9.5]}, window_s=3.0)) == missing
    assert broken(evidence(recorded=recorded, killed_at_s={"A": [8.0]}, window_s=3.0)) == missing
    assert broken(evidence(recorded=recorded, killed_at_s={"A": [8.9]}, window_s=3.0)) == [], "read a little later"


def test_a_window_slides() -> None:
    """The most of all windows, wherever one begins; its end does not belong to it."""
    assert most_in([]) == 0
    assert most_in([0.0, 10.0, 11.0, 12.0, 19.9, 20.0], 10.0) == 4


def test_a_stream_is_read_as_a_caller_would() -> None:
    """Words in their order, one finish, one end."""
    assert read_stream(chunk("Dear ") + b": ping\n\n" + chunk("me") + chunk(why="stop") + DONE) == ("Dear me", "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        chunk("Dear"),
        chunk("Dear") + DONE,
        chunk("Dear", "stop") + DONE + DONE,
        chunk("Dear", "stop") + chunk("me", "stop") + DONE,
        chunk("Dear", "length") + DONE,
        chunk("Dear") + b'data: {"error": {"message": "no"}}\n\n' + DONE,
        chunk("Dear", "stop") + DONE + chunk("me"),
    ],
)
def test_a_stream_that_ends_otherwise_is_wrong(body: bytes) -> None:
    """Cut off, ended twice or not at all, or with an error inside."""
    assert read_stream(body)[1]


def test_a_whole_answer_is_read_as_a_caller_would() -> None:
    """Words and a proper finish, or what is wrong."""
    body = {"choices": [{"message": {"content": "Dear me"}, "finish_reason": "stop"}]}
    assert read_plain(json.dumps(body).encode()) == ("Dear me", "")
    assert read_plain(json.dumps(body).replace("stop", "length").encode())[1]
    assert read_plain(b'{"error": {}}')[1] and read_plain(b"<html>")[1]


def test_a_killed_gateway_excuses_as_many_as_were_under_way() -> None:
    """A worker's end leaves the door open, its parent's does not."""
    door = Door("A", "http://127.0.0.1:1", busy=3)
    assert (door.end(serves=True), door.open, door.ends) == (3, True, 1)
    assert (door.end(), door.open, door.ends, len(door.ended_at_s)) == (3, False, 2, 2)


def test_a_ledger_tells_what_it_has_and_what_it_lacks(tmp_path: Path) -> None:
    """Ids, gaps, whether the file is whole, and the hours in which requests came."""
    file = str(tmp_path / "ledger.db")
    hour_ms = 3_600_000
    with closing(sqlite3.connect(file)) as database, database:
        database.execute("CREATE TABLE requests (id TEXT, at_ms INTEGER)")
        database.execute("CREATE TABLE gaps (dropped INTEGER)")
        assert read_ledger(file) == (set(), 0, "")
        rows = [("a", 36 * hour_ms), ("b", 36 * hour_ms + 5), ("c", 61 * hour_ms)]
        database.executemany("INSERT INTO requests VALUES (?, ?)", rows)
        database.executemany("INSERT INTO gaps VALUES (?)", [(3,), (4,)])
    assert read_ledger(file) == ({"a", "b", "c"}, 7, "")
    assert hours_in(file) == [12, 37]


def test_the_batterys_gateways_stand_behind_each_other() -> None:
    """The balancer asks all of them in turn and mends nothing; each has all routes, in the order of preference."""
    text = balancer(Path("/run/x"), 4100, to=[1, 2])
    assert "listen 127.0.0.1:4100" in text and "server 127.0.0.1:1 " in text and "server 127.0.0.1:2 " in text
    assert "proxy_next_upstream off" in text and text.count("{") == text.count("}")
    providers = [{"name": name, "base_url": f"http://{name}/v1", "keys": ["k"], "model": "f"} for name in "ab"]
    told = yaml.safe_load(configuration({"models": [{"model": "m1", "providers": providers}]}, 4100, "key"))
    assert told["routes"] == {"m1": {"targets": ["a/f", "b/f"]}} and told["server"]["keys"] == ["key"]
