"""A ledger of an older version is brought up to date without losing anything, and its view says what its rows say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from msgspec.structs import asdict, fields

from ledger.database import PostgreSQL
from unbroken.ledger import migrations, url_of
from unbroken.ledger.record import Record, Try
from unbroken.ledger.store import Store

AWKWARD = 'a "quoted" \\u0000 word,\nund noch eins: ü 🦉 \\'


@dataclass(frozen=True)
class Database:
    """A ledger's database: as unbroken sees it, and as anybody does."""

    store: Store
    engine: sa.Engine

    def ask(self, query: str) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.text(query)).mappings()]


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    server: PostgreSQL | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")
    url = url_of(server.new_database() if server else str(tmp_path / "ledger.db"))
    engine = sa.create_engine(url)
    store = Store(url)
    yield Database(store, engine)
    store.close()
    engine.dispose()


def bring_to(revision: str, engine: sa.Engine, *, way: Callable[[Config, str], None] = command.upgrade) -> None:
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        way(config, revision)


FIRST = Try(
    number=1, target="a/m", provider="a", model="m", why="first", start_s=0.125, first_content_s=0.5, total_s=1.75,
    outcome="broken", status=200, message=AWKWARD, shown=True, chars=321, counted="estimate", input_tokens=2**40,
    output_tokens=7, cost_usd=0.1 + 0.2, left_out=("seed", "top_k"),
)  # fmt: skip
SECOND = Try(
    number=2, target="b/m", provider="b", model="m", why="continuation", start_s=1.75, mode="prefix", outrun=True
)
WHOLE = Record(
    id="req_1", at=1_700_000_000.5, route="r", stream=True, message=AWKWARD, rescued=True, total_s=2.0,
    candidates=("a/m", "b/m"), attempts=[FIRST, SECOND],
)  # fmt: skip
BARE = Record(id="req_2", at=1_700_000_001.0, route="r", cache="hit", origin="req_1")


def as_before(one: Record | Try) -> dict[str, Any]:
    """The columns of the tables of version 0001."""
    lists = {"candidates": '["a/m","b/m"]', "skipped": "", "notes": "", "left_out": '["seed","top_k"]'}
    given = {name: lists[name] if value and name in lists else value for name, value in asdict(one).items()}
    return {name: "" if value == () else value for name, value in given.items() if name not in {"at", "attempts"}}


def test_what_was_written_before_is_found_after(database: Database) -> None:
    """Requests and attempts of a database of version 0001 come back as they were, to the last value."""
    bring_to("0001", database.engine)
    tables = sa.MetaData()
    tables.reflect(database.engine)
    with database.engine.begin() as connection:
        for record in (WHOLE, BARE):
            row = as_before(record) | {"at_ms": int(record.at * 1000)}
            connection.execute(sa.insert(tables.tables["requests"]).values(row))
        for one in (SECOND, FIRST):
            connection.execute(sa.insert(tables.tables["attempts"]).values(as_before(one) | {"request": WHOLE.id}))
    database.store.migrate()
    assert database.store.find(WHOLE.id) == WHOLE
    assert database.store.find(BARE.id) == BARE


def test_the_view_says_what_was_kept(database: Database) -> None:
    """`attempts` has a row for each attempt, with the fields of a Try, whatever stands in them."""
    database.store.migrate()
    spoilt = Try(number=1, target="a/m", provider="a", model="m", why="first", start_s=0.0, message="nul \x00 byte")
    database.store.keep([WHOLE, BARE, Record(id="req_3", at=1_700_000_002.0, attempts=[spoilt])])
    first, second, third = database.ask("SELECT * FROM attempts ORDER BY request, number")
    assert list(first) == ["request", *(of.name for of in fields(Try))]
    lists = {"left_out": '["seed","top_k"]'}
    assert first == {"request": "req_1", **asdict(FIRST)} | lists
    assert second == {"request": "req_1", **asdict(SECOND)} | {"left_out": "[]"}
    assert (third["request"], third["message"]) == ("req_3", "nul  byte")


def test_the_view_adds_up(database: Database) -> None:
    """A sum over `attempts` is the sum of what the attempts cost, and unknown costs are none."""
    database.store.migrate()
    database.store.keep([WHOLE, BARE])
    (found,) = database.ask("SELECT count(*) AS number, sum(cost_usd) AS usd FROM attempts WHERE target LIKE '%/m'")
    assert found == {"number": 2, "usd": FIRST.cost_usd}


def test_there_is_a_way_back(database: Database) -> None:
    """A ledger that is taken back to version 0001 and forth again has lost nothing."""
    database.store.migrate()
    database.store.keep([WHOLE, BARE])
    bring_to("0001", database.engine, way=command.downgrade)
    found = database.ask("SELECT request, number, target FROM attempts ORDER BY number")
    assert [tuple(row.values()) for row in found] == [("req_1", 1, "a/m"), ("req_1", 2, "b/m")]
    bring_to("0002", database.engine)
    assert (database.store.find(WHOLE.id), database.store.find(BARE.id)) == (WHOLE, BARE)
