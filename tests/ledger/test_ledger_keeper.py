"""The ledger and its database: gone and back, killed, crowded, opened by many at once."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import unbroken
from ledger.database import PostgreSQL
from ledger.traffic import chat, playing
from unbroken.facts import AttemptAnswered, AttemptStarted, Fact, FlightEnded
from unbroken.ledger import Keeping, Ledger, shown, url_of
from unbroken.ledger.exports import totals
from unbroken.ledger.record import ANSWERED, Record
from unbroken.ledger.store import Store
from unbroken.testing import FakeProvider
from unbroken.types import Target, Usage, Why

ALL = (None, None)
PATIENCE_S = 60.0
A = Target(name="a/m", provider="a", model="m")


def facts(flight: str, *, route: str = "r") -> list[Fact]:
    """A request that was answered."""
    usage = Usage(input_tokens=3, output_tokens=5)
    return [
        AttemptStarted(1.0, flight, 1, A, Why.FIRST, False, 40, route),
        AttemptAnswered(1.5, flight, 1, A, 0.5, 0.5, False, usage),
        FlightEnded(1.5, flight, route, A, 1, 0.5, False, False),
    ]


def until(true: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    ends = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.01)


def file_ledger(folder: Path, **keeping: float) -> Ledger:
    return Ledger(url_of(str(folder / "ledger.db")), Keeping(**keeping), clock=time.monotonic)  # type: ignore[arg-type]


def record(number: int, at: float = 1_700_000_000.0) -> Record:
    return Record(id=f"req_{number:06}", at=at + number, route="r", outcome=ANSWERED, status=200, prompt="p" * 500)


# ------------------------------------------------------------------- gone


def test_requests_go_on_without_the_database(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """With PostgreSQL gone every request is answered, what cannot wait is counted, and it goes on by itself."""
    url, requests = postgresql.new_database(), 60

    async def go() -> tuple[Ledger, list[int]]:
        keeping = {"url": url, "queue_max": 20, "flush_s": 0.02}
        async with playing(tmp_path, keeping) as scene:
            await scene.ask("/v1/chat/completions", chat(0))
            await asyncio.to_thread(until, lambda: scene.ledger.written == 1)
            with postgresql.gone():
                for number in range(requests):
                    await scene.ask("/v1/chat/completions", chat(number))
                await asyncio.to_thread(until, lambda: bool(scene.ledger.error))
                await asyncio.to_thread(until, lambda: scene.ledger.dropped >= requests - 20)
                assert scene.ledger.state()["queued"] <= 20
            await asyncio.to_thread(until, lambda: not scene.ledger.error)
            return scene.ledger, [told.status for told in scene.told]

    ledger, statuses = asyncio.run(go())
    assert statuses == [200] * (requests + 1)
    assert ledger.written + ledger.dropped == requests + 1
    store = Store(url_of(url))
    found = totals(store, ALL)
    store.close()
    assert (found["requests"], found["unrecorded"]) == (ledger.written, ledger.dropped)


def test_a_file_that_cannot_be_opened_is_no_reason_to_fail(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A ledger whose place is taken by something else says so, once, and counts what it cannot keep."""
    (tmp_path / "ledger.db").mkdir()
    ledger = file_ledger(tmp_path, flush_s=0.01, queue_max=2)
    ledger.start()
    until(lambda: bool(ledger.error))
    for number in range(5):
        ledger.write(facts(f"req_{number}"))
    ledger.close()
    assert ledger.dropped == 5 and ledger.written == 0
    assert sum("requests go on" in line for line in caplog.messages) == 1


def test_what_no_database_can_hold_stops_nothing_else(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """A text with characters that cannot be stored is kept without them, and so are its neighbours."""
    for url in (str(tmp_path / "ledger.db"), postgresql.new_database()):
        ledger = Ledger(url_of(url), Keeping(), clock=time.monotonic)
        for number, route in enumerate(("fine", "a\x00b", "lone \ud800 half", "fine too")):
            ledger.write(facts(f"req_{number}", route=route))
        ledger.start()
        ledger.close()
        store = Store(ledger.url)
        kept = [found.route.replace("\x00", "") for number in range(4) if (found := store.find(f"req_{number}"))]
        store.close()
        assert kept == ["fine", "ab", "lone ? half", "fine too"] and ledger.dropped == 0


def test_a_full_queue_drops_the_oldest(tmp_path: Path) -> None:
    """What waits is bounded; the newest are kept, and the gap is in the ledger itself."""
    ledger = file_ledger(tmp_path, queue_max=3)
    for number in range(10):
        ledger.write(facts(f"req_{number}"))
    assert ledger.state()["queued"] == 3 and ledger.state()["dropped"] == 7
    ledger.start()
    ledger.close()
    store = Store(ledger.url)
    assert [store.find(f"req_{number}") is not None for number in range(10)] == [False] * 7 + [True] * 3
    assert totals(store, ALL)["unrecorded"] == 7
    store.close()


# ------------------------------------------------------------------- killed

SOURCE = str(Path(unbroken.__file__).parent.parent)


def ask(address: tuple[str, int], number: int) -> str:
    """One request to a gateway; the id that it got."""
    connection = http.client.HTTPConnection(*address, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(chat(number)))
        answer = connection.getresponse()
        answer.read()
        return answer.headers["x-unbroken-request-id"]
    finally:
        connection.close()


def test_kill_9_loses_no_more_than_what_was_not_flushed(tmp_path: Path) -> None:
    """After kill -9 in the middle the file is whole, and holds all that had been there for longer than `flush_s`."""
    ready = threading.Event()
    over = threading.Event()
    fake = FakeProvider("north", answer=lambda _: "Well.")

    async def provide() -> None:
        async with fake:
            ready.set()
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(provide()))
    thread.start()
    try:
        ready.wait(PATIENCE_S)
        file, database = tmp_path / "unbroken.yaml", tmp_path / "ledger.db"
        file.write_text(
            f"providers: {{north: {{base_url: {fake.base_url}, model: m}}}}\nroutes: {{m: {{targets: [north]}}}}\n"
            f"ledger: {{url: {database}, flush_s: 0.1}}\n"
        )
        ids = killed_in_the_middle(file, database)
    finally:
        over.set()
        thread.join()
    with sqlite3.connect(database) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        halves = "SELECT count(*) FROM requests WHERE id NOT IN (SELECT request FROM attempts)"
        assert connection.execute(halves).fetchone() == (0,)
    connection.close()
    store = Store(url_of(str(database)))
    store.migrate()
    assert all(store.find(request) for request in ids)
    store.close()


def killed_in_the_middle(file: Path, database: Path) -> list[str]:
    """Requests that were in the file for certain before their gateway was killed under load."""
    environ = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": SOURCE}
    command = [sys.executable, "-m", "unbroken", "serve", "--config", str(file), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "clients:" in line)
        host, _, port = line.partition("http://")[2].partition("/")[0].partition(":")
        address = (host, int(port))
        ids = [ask(address, number) for number in range(50)]
        until(lambda: count(database) >= 50)
        loads = [threading.Thread(target=keep_asking, args=(address,)) for _ in range(4)]
        for load in loads:
            load.start()
        until(lambda: count(database) >= 100)
        process.send_signal(signal.SIGKILL)
        for load in loads:
            load.join()
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stderr.close()
    return ids


def keep_asking(address: tuple[str, int]) -> None:
    """Until nobody answers any more."""
    number = 0
    while True:
        try:
            ask(address, number := number + 1)
        except (OSError, http.client.HTTPException):
            return


def count(database: Path) -> int:
    connection = sqlite3.connect(database, timeout=PATIENCE_S)
    try:
        return int(connection.execute("SELECT count(*) FROM requests").fetchone()[0])
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


# ------------------------------------------------------------------- schema, and what is old


def urls(folder: Path, server: PostgreSQL) -> list[str]:
    return [url_of(str(folder / "fresh.db")), url_of(server.new_database())]


def test_replicas_that_start_together_migrate_once(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """Several that open an empty database at the same moment all find it ready, and none fails."""
    for url in urls(tmp_path, postgresql):
        wrong: list[Exception] = []

        def start(url: str = url, wrong: list[Exception] = wrong) -> None:
            try:
                store = Store(url)
                store.migrate()
                store.keep([record(threading.get_ident() % 100_000)])
                store.close()
            except Exception as error:  # noqa: BLE001 - told below
                wrong.append(error)

        threads = [threading.Thread(target=start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_migrations_lead_to_the_tables(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """What the migrations make is what the code describes, and HEAD is the last of them."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from unbroken.ledger import migrations
    from unbroken.ledger.tables import HEAD, metadata

    assert ScriptDirectory(str(Path(migrations.__file__).parent)).get_current_head() == HEAD
    for url in urls(tmp_path, postgresql):
        store = Store(url)
        store.migrate()
        with store._engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata) == []
        store.close()


def test_a_record_comes_back_as_it_went(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """What is read is what was written, twice or once, in both databases."""
    for url in urls(tmp_path, postgresql):
        store = Store(url)
        store.migrate()
        whole = record(1)
        whole.candidates, whole.skipped, whole.notes = ("a/m",), (("b/m", "breaker open"),), ("waited",)
        for _ in range(2):
            store.keep([whole])
        assert store.find(whole.id) == whole == store.latest(1)[0]
        assert store.find("req_nobody") is None
        store.close()


def test_old_requests_are_forgotten(tmp_path: Path, postgresql: PostgreSQL) -> None:
    """Retention deletes what is older, and a file that outgrows its limit loses its oldest."""
    for url in urls(tmp_path, postgresql):
        store = Store(url)
        store.migrate()
        store.keep([record(number) for number in range(1_000)])
        assert store.prune(1_700_000_500_000) == 500 and store.prune(1_700_000_500_000) == 0
        assert store.find("req_000499") is None and store.find("req_000500") is not None
        before = store.size_bytes()
        gone = store.prune_to(before - 1)
        assert gone == (50 if "sqlite" in url else 0)
        assert (store.find("req_000549") is None) is ("sqlite" in url)
        store.close()


def test_the_ledger_prunes_by_itself(tmp_path: Path) -> None:
    """What is older than `retention_days` is gone soon after the ledger is opened."""
    store = Store(url_of(str(tmp_path / "ledger.db")))
    store.migrate()
    store.keep([record(number) for number in range(10)])
    ledger = file_ledger(tmp_path, flush_s=0.01)
    ledger.start()
    until(lambda: not store.latest())
    ledger.close()
    store.close()


# ------------------------------------------------------------------- reading


def test_a_request_is_found_at_once_and_later(tmp_path: Path) -> None:
    """The record of a request that is over is there before it is written, and those of others after that."""
    store = Store(url_of(str(tmp_path / "ledger.db")))
    store.migrate()
    store.keep([record(1)])
    store.close()
    ledger = file_ledger(tmp_path, flush_s=0.01, retention_days=100_000)
    ledger.start()
    ledger.write(facts("req_a"))
    ledger.write(facts("req_b")[:1])
    until(lambda: ledger.written == 1)
    found = {name: ledger.find(name).result(PATIENCE_S) for name in ("req_a", "req_b", "req_000001", "req_none")}
    ledger.close()
    assert [(found[name] or {}).get("outcome", "under way") for name in ("req_a", "req_b", "req_000001")] == [
        "answered", "under way", "answered",
    ]  # fmt: skip
    assert found["req_none"] is None


def test_a_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """Nobody else on the machine can read what was asked."""
    ledger = file_ledger(tmp_path / "new" / "folder")
    ledger.write(facts("req_a"))
    ledger.start()
    ledger.close()
    assert (tmp_path / "new" / "folder" / "ledger.db").stat().st_mode & 0o777 == 0o600 and ledger.written == 1


def test_where_a_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths and URLs are understood as people write them, and shown without passwords."""
    monkeypatch.chdir(tmp_path)
    assert url_of("ledger.db") == f"sqlite:///{tmp_path}/ledger.db" == url_of(f"sqlite:///{tmp_path}/ledger.db")
    assert url_of("postgres://u:p@h/d") == "postgresql+psycopg://u:p@h/d"
    assert shown(url_of("postgresql://u:secret@host:5433/d")) == "postgresql://host:5433/d"
    with pytest.raises(ValueError, match="PostgreSQL"):
        url_of("mysql://host/d")
