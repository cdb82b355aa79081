"""What only a real PostgreSQL shows of a SIS's database: its types, its locks, its other sessions, its end."""

import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import cast
from uuid import UUID

import anyio
import pytest
import sqlalchemy as sa

from homeroom_merge.connectors.connector import Outcome, SourceRow
from homeroom_merge.connectors.sql import SqlDatabase
from homeroom_merge.connectors.sql_tables import SqlTable
from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind

MAKE = """
create table pupil (
    id char(8) primary key, born date, at timestamp, seen timestamptz, marks numeric(5, 2), ratio real, wide float8,
    is_new boolean, name text not null default '', token uuid, tags text[], more jsonb
);
insert into pupil values
    ('r1', '2014-03-02', '2026-11-22 08:00:00.5', '2026-11-22 08:00:00-07', 1.50, 0.1, 0.1, true, 'Ö"; --',
     '298fbd6b-ead7-4e7b-ac16-c975f348356c', '{a,b}', '{"a": 1}'),
    ('r2', null, null, null, null, null, null, null, '', null, null, null);
"""
END = "select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'"
RUNNING = """
select count(*) from pg_stat_activity
where query like '%pg_sleep%' and pid <> pg_backend_pid() and state = 'active'
"""
TABLES = {
    "Student": SqlTable("pupil", "id", changed="seen"),
    "Endless": SqlTable("", "id", query="select generate_series(1, 1000000000) as id", columns=("id",)),
    "Slow": SqlTable("", "id", query="select 1 as id, pg_sleep(20)", columns=("id",)),
}


@pytest.fixture
async def engine(database_of_test: str) -> AsyncIterator[sa.Engine]:
    engine = sa.create_engine(database_of_test.replace("postgresql://", "postgresql+psycopg://", 1))
    with engine.begin() as connection:
        connection.execute(sa.text(MAKE.replace(": 1", "\\: 1").replace("08:00:00", "08\\:00\\:00")))
    yield engine
    engine.dispose()


@pytest.fixture
async def database(engine: sa.Engine) -> AsyncIterator[SqlDatabase]:
    database = SqlDatabase(engine.url, TABLES, timeout_seconds=3)
    yield database
    await database.close()


async def row_of(database: SqlDatabase, key: str) -> Row:
    fetch = await database.fetch_by_id("Student", [key])
    (row,) = [row.row async for row in fetch.rows]
    return row


async def update(database: SqlDatabase, row: Row, **cells: object) -> Outcome:
    return await database.write("Student", Kind.UPDATE, str(row["id"]), {**row, **cells}, row)


async def test_every_type_is_read_written_and_held_against_what_stood_there(database: SqlDatabase) -> None:
    row = await row_of(database, "r1")
    assert row["id"] == "r1", "what a fixed width adds is no text"
    assert row["seen"] == datetime(2026, 11, 22, 15, tzinfo=UTC)
    written = {
        "born": "2014-12-24",
        "at": "2026-11-23T08:00:00",
        "seen": "2026-11-23T08:00:00-07:00",
        "marks": "2.25",
        "ratio": "0.2",
        "wide": "0.2",
        "is_new": "false",
        "name": "Ida\n'%s",
        "token": "00000000-0000-0000-0000-000000000001",
    }
    outcome = await update(database, row, **written)
    assert (outcome.result, outcome.detail) == ("done", "")
    shown = outcome.shown or {}
    assert (shown["born"], shown["at"]) == (date(2014, 12, 24), datetime(2026, 11, 23, 8))
    assert shown["marks"] == Decimal("2.25")
    assert (shown["ratio"], shown["wide"], shown["is_new"]) == (0.2, 0.2, False)
    assert (shown["seen"], shown["name"]) == (datetime(2026, 11, 23, 15, tzinfo=UTC), "Ida\n'%s")
    assert shown["token"] == UUID(int=1)
    assert (await update(database, row, name="Late")).result == "moved"
    assert (await update(database, shown, name="Now")).result == "done"


async def test_nulls_and_empty_texts_are_two_things_and_both_are_compared(database: SqlDatabase) -> None:
    row = await row_of(database, "r2")
    assert (row["born"], row["name"]) == (None, "")
    outcome = await update(database, row, born="2014-01-01", name=None)
    assert (outcome.result, outcome.shown and outcome.shown["name"]) == ("done", ""), "it must have a text"
    assert (await update(database, row, born="2014-01-02")).result == "moved", "it was null"


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ({"born": "24.12.2014"}, "the column born takes days like 2026-09-01; leave format out of its mapping"),
        ({"is_new": "Y"}, "the column is_new takes true or false"),
        ({"marks": "much"}, "the column marks takes numbers"),
        ({"name": "a\0b"}, "NUL"),
    ],
)
async def test_what_a_column_cannot_take_is_refused(database: SqlDatabase, cells: dict[str, object], said: str) -> None:
    outcome = await update(database, await row_of(database, "r1"), **cells)
    assert outcome.result == "refused"
    assert said in outcome.detail


async def test_of_two_sessions_that_change_a_row_the_later_finds_that_it_has_moved(
    database: SqlDatabase, engine: sa.Engine
) -> None:
    row = await row_of(database, "r1")
    outcomes: list[Outcome] = []
    with engine.connect() as other:
        other.execute(sa.text("update pupil set name = 'Eve' where id = 'r1'"))
        async with anyio.create_task_group() as tasks:

            async def late() -> None:
                outcomes.append(await update(database, row, name="Ida"))

            tasks.start_soon(late)
            await anyio.to_thread.run_sync(_until_somebody_waits, engine)
            other.commit()
    assert [each.result for each in outcomes] == ["moved"]
    assert (await row_of(database, "r1"))["name"] == "Eve"


async def test_a_row_that_stays_locked_is_tried_again_later(database: SqlDatabase, engine: sa.Engine) -> None:
    row = await row_of(database, "r1")
    with engine.connect() as other:
        other.execute(sa.text("select 1 from pupil where id = 'r1' for update"))
        outcome = await update(database, row, name="Ida")
        assert (outcome.result, "lock timeout" in outcome.detail) == ("transient", True)
    assert (await update(database, row, name="Ida")).result == "done"


async def test_a_session_that_is_ended_while_it_writes_has_written_nothing(
    database: SqlDatabase, engine: sa.Engine
) -> None:
    row = await row_of(database, "r1")
    outcomes: list[Outcome] = []
    with engine.connect() as other:
        other.execute(sa.text("select 1 from pupil where id = 'r1' for update"))
        async with anyio.create_task_group() as tasks:

            async def cut() -> None:
                outcomes.append(await update(database, row, name="Ida"))

            tasks.start_soon(cut)
            await anyio.to_thread.run_sync(_until_somebody_waits, engine)
            other.execute(sa.text(END))
    assert [each.result for each in outcomes] == ["transient"]
    assert (await update(database, row, name="Ida")).result == "done", "the next connection is a new one"


async def test_rows_come_in_batches_as_the_database_makes_them(database: SqlDatabase) -> None:
    fetch = await database.fetch("Endless")
    seen = 0
    async with aclosing(cast(AsyncGenerator[SourceRow, None], fetch.rows)) as rows:
        async for row in rows:
            seen += 1
            assert row.row == {"id": seen}
            if seen == 1_200:
                break
    assert seen == 1_200, "of a thousand million, which nobody has waited for"


async def test_a_query_without_end_is_given_up_in_the_database_too(database: SqlDatabase, engine: sa.Engine) -> None:
    beats, ended = 0, threading.Event()

    async def beat() -> None:
        nonlocal beats
        while not ended.is_set():
            beats += 1
            await anyio.sleep(0.01)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(beat)
        fetch = await database.fetch("Slow")
        assert [row async for row in fetch.rows] == []
        ended.set()
    assert "statement timeout" in fetch.failure
    assert beats > 10, "the event loop was not blocked"
    with engine.connect() as connection:
        assert connection.execute(sa.text(RUNNING)).scalar() == 0


def _until_somebody_waits(engine: sa.Engine) -> None:
    waiting = sa.text("select count(*) from pg_stat_activity where wait_event_type = 'Lock'")
    with engine.connect() as connection:
        while not connection.execute(waiting).scalar():
            connection.rollback()
