"""A SIS's database, through SQLAlchemy: SQLite and PostgreSQL."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from homeroom_merge.connectors.connector import Connector, Fetch, Outcome
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.connectors.sql_engine import details
from homeroom_merge.connectors.sql_tables import SqlTable
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind

ODD = 'Name "of" the pupil; drop table'
METADATA = sa.MetaData()
PUPIL = sa.Table(
    "Odd pupil's",
    METADATA,
    sa.Column("id", sa.String(40), primary_key=True),
    sa.Column(ODD, sa.String(60)),
    sa.Column("grade", sa.Integer, sa.CheckConstraint("grade < 14")),
    sa.Column("changed at", sa.DateTime),
)
NUMBERED = sa.Table(
    "numbered",
    METADATA,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(60), nullable=False),
)
TABLES = {
    "Student": SqlTable("Odd pupil's", "id", changed="changed at"),
    "Staff": SqlTable("numbered", "number", gives_keys=True),
    "Older": SqlTable(
        "numbered",
        "number",
        query="select number, upper(name) as name, 'x' as joined from numbered where number > 10",
        columns=("number", "name", "joined"),
    ),
    "Missing": SqlTable("nowhere", "id"),
    "Wrong": SqlTable("numbered", "nothing"),
}
MONDAY = datetime(2026, 11, 23, 8)
KINDS = ["sqlite", "postgresql"]


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'sis.sqlite'}"
    found: str = request.getfixturevalue("database_of_test")
    return found.replace("postgresql://", "postgresql+psycopg://", 1)


@pytest.fixture
async def database(url: str) -> AsyncIterator[SqlDatabase]:
    engine = sa.create_engine(url)
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(sa.insert(PUPIL), [_pupil(number) for number in range(3)])
        connection.execute(sa.insert(NUMBERED), [{"number": 7, "name": "Seven"}, {"number": 17, "name": "Late"}])
    engine.dispose()
    database = SqlDatabase(url, TABLES)
    yield database
    await database.close()


def _pupil(number: int, **cells: object) -> dict[str, object]:
    return {"id": f"r{number}", ODD: "Ada", "grade": number, "changed at": MONDAY + timedelta(hours=number), **cells}


async def fetched(database: Connector, entity: str, cursor: str | None = None) -> tuple[Fetch, list[Row]]:
    fetch = await database.fetch(entity, cursor)
    return fetch, [row.row async for row in fetch.rows]


async def by_id(database: Connector, entity: str, keys: Sequence[str]) -> list[Row]:
    fetch = await database.fetch_by_id(entity, keys)
    found = [row.row async for row in fetch.rows]
    assert not fetch.failure
    return found


async def update(database: Connector, row: Row, expected: Row) -> Outcome:
    return await database.write("Student", Kind.UPDATE, str(expected["id"]), row, expected)


async def test_all_of_an_entity_is_fetched_with_its_columns(database: SqlDatabase) -> None:
    fetch, rows = await fetched(database, "Student")
    assert sorted(rows, key=lambda row: str(row["id"])) == [_pupil(number) for number in range(3)]
    assert (fetch.complete, fetch.failure) == (True, "")
    assert fetch.coverage.columns == frozenset({"id", ODD, "grade", "changed at"})


async def test_a_delta_has_what_changed_since_and_a_little_before(database: SqlDatabase) -> None:
    fetch, _ = await fetched(database, "Student")
    again, rows = await fetched(database, "Student", fetch.cursor)
    assert ([row["id"] for row in rows], again.complete) == (["r2"], False), "the overlap: seen twice, never missed"
    assert again.cursor == fetch.cursor
    late = MONDAY + timedelta(hours=2) - timedelta(minutes=4)
    await database.write("Student", Kind.CREATE, "r9", _pupil(9, **{"changed at": late}), None)
    _, rows = await fetched(database, "Student", fetch.cursor)
    assert {row["id"] for row in rows} == {"r2", "r9"}, "its transaction began earlier and ended later"


async def test_records_are_fetched_by_id_whatever_the_type_of_the_key(database: SqlDatabase) -> None:
    assert [row["id"] for row in await by_id(database, "Student", ["r1", "r'7", "nobody"])] == ["r1"]
    assert await by_id(database, "Staff", ["7", "x", "8"]) == [{"number": 7, "name": "Seven"}]
    many = [f"r{number}" for number in range(2_000)]
    assert len(await by_id(database, "Student", many)) == 3


async def test_a_query_reads_what_the_table_takes(database: SqlDatabase) -> None:
    _, rows = await fetched(database, "Older")
    assert rows == [{"number": 17, "name": "LATE", "joined": "x"}]
    assert await by_id(database, "Older", ["17"]) == rows
    plain = {**rows[0], "name": "Late"}
    outcome = await database.write("Older", Kind.UPDATE, "17", {**plain, "name": "Later"}, plain)
    assert (outcome.result, outcome.shown) == ("done", {"number": 17, "name": "LATER", "joined": "x"})


async def test_an_update_is_read_back_and_holds_against_what_stood_there(database: SqlDatabase) -> None:
    outcome = await update(database, _pupil(1, **{ODD: "Eve"}), _pupil(1))
    assert (outcome.result, outcome.shown) == ("done", _pupil(1, **{ODD: "Eve"}))
    again = await update(database, _pupil(1, **{ODD: "Ida"}), _pupil(1))
    assert (again.result, again.shown) == ("moved", _pupil(1, **{ODD: "Eve"}))
    nulled = await update(database, _pupil(1, grade=None), _pupil(1, **{ODD: "Eve"}))
    assert nulled.shown == _pupil(1, grade=None)
    assert (await update(database, _pupil(1, grade=3), _pupil(1, grade=None))).result == "done", "null is null"
    assert (await update(database, _pupil(8, grade=3), _pupil(8))).result == "moved"


async def test_what_no_column_says_otherwise_is_not_written(database: SqlDatabase) -> None:
    assert await update(database, _pupil(1), _pupil(1)) == Outcome("done", shown=_pupil(1))


async def test_records_are_made_and_deleted_once(database: SqlDatabase) -> None:
    made = await database.write("Student", Kind.CREATE, "r5", _pupil(5), None)
    assert (made.result, made.shown) == ("done", _pupil(5))
    again = await database.write("Student", Kind.CREATE, "r5", _pupil(5), None)
    assert (again.result, again.shown) == ("moved", _pupil(5))
    moved = await database.write("Student", Kind.DELETE, "r5", None, _pupil(5, grade=1))
    assert (moved.result, moved.shown) == ("moved", _pupil(5))
    assert (await database.write("Student", Kind.DELETE, "r5", None, _pupil(5))).result == "done"
    assert await by_id(database, "Student", ["r5"]) == []
    assert (await database.write("Student", Kind.DELETE, "r5", None, _pupil(5))).result == "done", "it is gone"


async def test_the_database_gives_a_key(database: SqlDatabase) -> None:
    made = await database.write("Staff", Kind.CREATE, "hub-id", {"number": "hub-id", "name": "New"}, None)
    assert made.result == "done"
    assert made.shown is not None
    assert made.shown["name"] == "New"
    assert await by_id(database, "Staff", [str(made.shown["number"])]) == [made.shown]


async def test_what_a_database_refuses_stays_with_its_record_and_repeats_no_value(database: SqlDatabase) -> None:
    outcome = await update(database, _pupil(1, grade=99), _pupil(1))
    assert outcome.result == "refused"
    assert "99" not in outcome.detail
    strange = await update(database, _pupil(1, shoe=44), _pupil(1))
    assert strange == Outcome("refused", "the table Odd pupil's has no column shoe")
    empty = await database.write("Staff", Kind.CREATE, "x", {"name": None}, None)
    assert empty.result == "refused"
    assert (await update(database, _pupil(1, grade=4), _pupil(1))).result == "done", "others go on"


def test_what_a_database_says_of_a_row_is_told_without_the_row() -> None:
    said = Exception('invalid input for type integer: "Ada Bear"\nDETAIL: Key (name)=(Ada Bear)')
    fault = sa.exc.DataError("update", {}, said)
    assert details(fault, {"name": "Ada Bear", "grade": None}) == 'Exception: invalid input for type integer: "…"'


async def test_what_is_not_there_fails_the_fetch_as_a_whole(database: SqlDatabase) -> None:
    reasons = {entity: (await fetched(database, entity))[0].failure for entity in ("Missing", "Wrong", "Unknown")}
    assert reasons.pop("Missing").startswith("the database has no table nowhere; ")
    assert reasons == {
        "Wrong": "the table numbered has no column nothing; there are name, number",
        "Unknown": "the settings name no table of Unknown",
    }
    assert (await database.write("Missing", Kind.DELETE, "x", None, {})).result == "refused"


async def test_a_database_that_is_away_is_an_error_of_the_connection(tmp_path: Path) -> None:
    database = SqlDatabase(f"sqlite:///{tmp_path / 'no' / 'folder'}", TABLES)
    with pytest.raises(ConnectionError):
        await database.fetch("Student")
    assert (await database.write("Student", Kind.DELETE, "x", None, {})).result == "transient"
    await database.close()


async def test_a_locked_database_is_tried_again_later(database: SqlDatabase, url: str) -> None:
    if not url.startswith("sqlite"):
        return
    await fetched(database, "Student")
    path = url.removeprefix("sqlite:///")
    impatient = SqlDatabase(sa.make_url(url).update_query_dict({"timeout": "0.05"}), TABLES)
    slow = SqlDatabase(url, TABLES, timeout_seconds=0.05)
    await fetched(impatient, "Student")
    await fetched(slow, "Student")
    with closing(sqlite3.connect(path)) as other:
        other.execute("begin immediate")
        assert (await update(impatient, _pupil(1, grade=5), _pupil(1))).result == "transient"
        assert (await update(slow, _pupil(1, grade=5), _pupil(1))).result == "unknown", "it may still arrive"
    await impatient.close()
    await slow.close()
