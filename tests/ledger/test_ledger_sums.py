"""After many requests with faults the ledger says what the providers say, to the token and the cent."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ledger.database import PostgreSQL
from ledger.traffic import BROKEN_OFF, Scene, chat, cost_usd, mixed, playing
from unbroken.ledger import url_of
from unbroken.ledger.exports import attempt_rows, totals
from unbroken.ledger.record import Record
from unbroken.ledger.store import Store
from unbroken.testing import Hang

ALL = (None, None)


def played(folder: Path, ledger: Mapping[str, Any], number: int) -> Scene:
    """A run of so many requests, ended, with everything written."""

    async def go() -> Scene:
        async with playing(folder, ledger) as scene:
            await mixed(scene, number)
        return scene

    return asyncio.run(go())


def records(scene: Scene) -> list[Record]:
    store = Store(scene.ledger.url)
    try:
        return [record for told in scene.told if (record := store.find(told.id)) is not None]
    finally:
        store.close()


def compare(scene: Scene, number: int) -> None:
    """Every request is there, and its tokens and dollars are those that were served."""
    kept = records(scene)
    assert len(kept) == len({record.id for record in kept}) == number
    assert scene.ledger.state() | {"url": ""} == {
        "url": "", "queued": 0, "written": scene.ledger.written, "dropped": 0, "unread": 0, "error": None,
    }  # fmt: skip
    served: Counter[tuple[str, str]] = Counter()
    spent = 0.0
    for name, seen in scene.seen():
        if seen.usage is not None:
            how = "estimate" if isinstance(seen.trouble, BROKEN_OFF) else "provider"
            served[name, how] += 1
            served[f"{name} in", how] += seen.usage.input_tokens
            served[f"{name} out", how] += seen.usage.output_tokens
            spent += cost_usd(name, seen.usage.input_tokens, seen.usage.output_tokens)
    written: Counter[tuple[str, str]] = Counter()
    for row in (row for record in kept for row in record.attempts if row.counted != "none"):
        written[row.provider, row.counted] += 1
        written[f"{row.provider} in", row.counted] += row.input_tokens
        written[f"{row.provider} out", row.counted] += row.output_tokens
    assert written == served
    assert sum(record.cost_usd or 0.0 for record in kept) == pytest.approx(spent, abs=1e-9)
    store = Store(scene.ledger.url)
    whole = totals(store, ALL)
    store.close()
    assert whole["requests"] == number and whole["unrecorded"] == 0
    assert whole["cost_usd"] == pytest.approx(spent, abs=1e-9)
    assert whole["input_tokens"] == sum(count for (name, _), count in served.items() if name.endswith(" in"))
    assert whole["output_tokens"] == sum(count for (name, _), count in served.items() if name.endswith(" out"))


def test_sqlite_adds_up(tmp_path: Path) -> None:
    """Of 500 mixed requests with faults a file of SQLite holds each one, to the token and the cent."""
    compare(played(tmp_path, {"url": str(tmp_path / "ledger.db"), "flush_s": 0.2}, 500), 500)


def test_postgresql_adds_up(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """The same in PostgreSQL."""
    compare(played(tmp_path, {"url": postgresql.new_database(), "flush_s": 0.2}, 500), 500)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sqlite_adds_up_over_ten_thousand(tmp_path: Path) -> None:
    """The same after 10,000 requests."""
    compare(played(tmp_path, {"url": str(tmp_path / "ledger.db"), "flush_s": 0.5}, 10_000), 10_000)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_postgresql_adds_up_over_ten_thousand(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """The same in PostgreSQL, after 10,000 requests."""
    compare(played(tmp_path, {"url": postgresql.new_database(), "flush_s": 0.5}, 10_000), 10_000)


def test_what_nobody_counted_is_an_estimate(tmp_path: Path) -> None:
    """Who was hung up on for somebody faster, or because the caller left, is put down with a guess, marked as one."""

    async def go() -> Scene:
        async with playing(tmp_path, str(tmp_path / "ledger.db")) as scene:
            north = scene.providers[0]
            north.fail_with(Hang())
            await scene.ask("/v1/chat/completions", chat(3, model="hedged"))
            north.heal()
            north.answer = lambda _: "and on " * 5_000
            await scene.ask("/v1/chat/completions", chat(3, stream=True), leave_after=3_000)
        return scene

    hedged, left = records(asyncio.run(go()))
    loser, winner = hedged.attempts
    assert (loser.outcome, loser.counted, winner.counted, hedged.estimated) == (
        "abandoned",
        "estimate",
        "provider",
        True,
    )
    assert (loser.input_tokens, loser.output_tokens) == (winner.input_tokens, 0)
    (cut_off,) = left.attempts
    assert (left.outcome, left.status, cut_off.outcome, cut_off.counted) == ("cancelled", 499, "abandoned", "estimate")
    assert cut_off.output_tokens > 5


def test_a_kept_answer_costs_nothing_again(tmp_path: Path) -> None:
    """An answer from the cache is a request without an attempt, that names whose answer it was."""

    async def go() -> Scene:
        async with playing(tmp_path, str(tmp_path / "ledger.db")) as scene:
            for _ in range(2):
                await scene.ask("/v1/chat/completions", chat(1, model="kept"))
        return scene

    first, second = records(asyncio.run(go()))
    assert (first.cache, len(first.attempts), second.cache, second.attempts) == ("", 1, "hit", [])
    assert (second.origin, second.cost_usd, second.outcome, second.status) == (first.id, 0, "answered", 200)
    assert first.cost_usd and second.task == "chat" and second.caller == first.caller != ""


def test_exported_attempts_are_what_is_in_it(tmp_path: Path) -> None:
    """Every attempt is exported once, and the sums stay the same."""
    scene = played(tmp_path, {"url": str(tmp_path / "ledger.db")}, 60)
    store = Store(url_of(str(tmp_path / "ledger.db")))
    rows = list(attempt_rows(store, ALL))
    store.close()
    assert len(rows) == sum(len(record.attempts) for record in records(scene)) == len(scene.seen())
