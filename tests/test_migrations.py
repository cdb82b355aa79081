"""Databases of every released schema, brought to today's by `homeroom migrate`, and who may work on which."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from homeroom import version_hash
from homeroom_merge.store import migrations
from homeroom_merge.store import schema as merge_schema
from homeroom_server import database, migration
from homeroom_server.settings import Settings
from homeroom_server.store import schema
from tests.access import settled, write_catalogue
from tests.conftest import open_core
from tests.migrations import CORES, EPOCH, MERGES, command, connected, made, make_core, make_merges, rows_of, shape_of
from tests.records import Json, accepted, available, note, pairs

GONE = {"flip"}
"""Tables that are no more; nothing ever wrote into them."""
LEFT = {"refused", "expected", "decided_value", "decided_for", "decided_by", "decided_at", "sticky"}
"""Columns that are no more; nothing ever wrote into them."""


@pytest.fixture
async def empty(postgres_url: str) -> AsyncIterator[str]:
    async with made(postgres_url, "migrated") as url:
        yield url


def unlike(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[str]:
    """Rows that are no longer what they were, as far as their columns are still there."""
    wrong = []
    for table in before.keys() - GONE:
        now = [json.loads(row) for row in after[table]]
        wrong += [f"{table}: {row}" for row in before[table] if not any(is_in(json.loads(row), new) for new in now)]
    return wrong


def is_in(row: Json, new: Json) -> bool:
    return all(row[key] == new.get(key, ...) for key in row.keys() - LEFT - {"schema_version"})


def test_every_schema_before_today_s_is_kept() -> None:
    assert tuple(range(1, schema.SCHEMA_VERSION)) == CORES
    assert tuple(range(1, merge_schema.SCHEMA_VERSION)) == MERGES


@pytest.mark.parametrize("version", CORES)
async def test_each_released_schema_is_brought_to_that_of_a_fresh_database_and_keeps_its_rows(
    postgres_url: str, empty: str, version: int
) -> None:
    async with made(postgres_url, "fresh") as fresh, connected(fresh) as wanted, connected(empty) as connection:
        await schema.apply(wanted)
        await make_core(connection, version)
        before = await rows_of(connection, "public")
        assert all(before[table] for table in before.keys() - {"organization_move"}), "each table has a row"
        done = json.loads(await command("migrate", "--database-url", empty, "--json"))
        assert (done["core"]["from"], done["core"]["to"]) == (version, schema.SCHEMA_VERSION)
        assert await shape_of(connection, "public") == await shape_of(wanted, "public")
        assert unlike(before, await rows_of(connection, "public")) == []
        said = "select schema_version, works_from from core"
        assert await connection.fetchrow(said) == await wanted.fetchrow(said)


@pytest.mark.parametrize("version", MERGES)
async def test_each_released_state_of_merges_is_brought_to_that_of_a_fresh_one_and_keeps_its_rows(
    postgres_url: str, empty: str, version: int
) -> None:
    async with made(postgres_url, "fresh") as fresh, connected(fresh, merges=True) as wanted:
        await merge_schema.apply(wanted)
        async with connected(empty, merges=True) as connection:
            await make_merges(connection, version)
            before = await rows_of(connection, "homeroom_merge")
            done = await merge_schema.migrate(connection, print)
            assert done is not None
            assert (done.before, done.after) == (version, merge_schema.SCHEMA_VERSION)
            assert await shape_of(connection, "homeroom_merge") == await shape_of(wanted, "homeroom_merge")
            assert unlike(before, await rows_of(connection, "homeroom_merge")) == []
            conflicts = await connection.fetch("select pointer, subject, stands::text from conflict order by 1 desc")
            name = ("/name", 1, "decided" if version > 1 else "open")
            assert [tuple(row) for row in conflicts] == [name, ("", 1, "apart")]
            await merge_schema.apply(connection)


@pytest.mark.parametrize("version", CORES)
async def test_a_node_serves_what_was_written_under_each_released_schema(
    empty: str, settings: Settings, tmp_path: Path, version: int
) -> None:
    async with connected(empty) as connection:
        await make_core(connection, version)
    await command("migrate", "--database-url", empty)
    async with open_core(empty, replace(settings, catalogue=write_catalogue(tmp_path))) as core:
        await settled(core.services)
        async with core.client_with("maple-key") as maple:
            assert (await maple.hello()).epoch == EPOCH
            marks = await available(maple, "Mark", since=14, versionHash=version_hash([12]))
            assert (marks["reason"], marks["records"]) == ("none", [])
            assert pairs(await available(maple, "Mark")) == [("m1", 12), ("m2", 14)]
            got = (await maple.get("Note", [{"id": "n1"}])).records[0]
            assert (got["coreVersion"], got["body"]) == (16, {"text": "as it was stored"})
            assert pairs(await available(maple, "Student")) == [("100000001", 10)]
            assert await accepted(maple, "Note", note("n1", "now", 16)) > [17]
        async with core.client_with("elk-key") as elk:
            seen = pairs(await available(elk, "Student"))
            assert seen == ([] if version == 1 else [("100000001", 10)])


async def test_people_s_events_of_a_schema_between_two_are_in_the_audit(empty: str) -> None:
    async with connected(empty) as connection:
        await make_core(connection, 2)
        await connection.execute(
            """
            create table person_event (number bigint generated always as identity, happened_at timestamptz not null,
                                       person text not null, address text not null, what text not null);
            insert into person_event (happened_at, person, address, what)
            values ('2026-11-22', 'ada', '::1', 'signed in');
            """
        )
        await command("migrate", "--database-url", empty)
        found = await connection.fetchrow("select actor, address, action, detail from audit_event where actor = 'ada'")
        assert found is not None
        assert tuple(found) == ("ada", "::1", "did", "signed in")


async def test_a_migration_that_was_cut_after_any_step_goes_on(postgres_url: str, empty: str) -> None:
    async with made(postgres_url, "fresh") as fresh, connected(fresh) as wanted:
        await schema.apply(wanted)
        shape = await shape_of(wanted, "public")
    async with connected(empty) as connection:
        await make_core(connection, 1)
    steps = migrations.steps_from("homeroom_server", 1)
    for done in range(len(steps)):
        async with made(postgres_url, "cut") as url, connected(url) as connection:
            await make_core(connection, 1)
            await migrations.run(connection, steps[:done], print)
            await migration.migrate(url, print)
            assert await shape_of(connection, "public") == shape, f"cut after {done} steps"
            assert await connection.fetchval("select count(*) from history") == 1


async def test_of_two_migrations_at_once_the_second_finds_nothing_to_be_done(empty: str) -> None:
    told: list[str] = []
    done: list[migration.Brought] = []

    async def migrate() -> None:
        done.append(await migration.migrate(empty, told.append))

    async with connected(empty) as connection, connected(empty) as other:
        await make_core(connection, 1)
        async with other.transaction(), anyio.create_task_group() as tasks:
            await other.fetch("select id from record")  # the first cannot be done before the second has come
            tasks.start_soon(migrate)
            tasks.start_soon(migrate)
            with anyio.fail_after(20):
                while "another migration is going on; this one waits for it" not in told:
                    await anyio.sleep(0.01)
            await other.execute("rollback; begin")
        assert sorted((each.core.before, len(each.steps)) for each in done) == [(1, 9), (schema.SCHEMA_VERSION, 0)]


async def test_a_migration_that_cannot_have_its_tables_gives_up_and_names_who_holds_them(
    empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrations, "PATIENCE_SECONDS", 0)
    async with connected(empty) as connection, connected(empty) as other:
        await make_core(connection, 4)
        async with other.transaction():
            await other.fetch("select from core")
            with pytest.raises(database.DatabaseError, match=f"that of process {other.get_server_pid()} "):
                await migration.migrate(empty, print)
        assert await schema.read_version(connection) == 4
        await migration.migrate(empty, print)


async def test_an_index_that_was_left_half_made_is_made_anew(empty: str) -> None:
    async with connected(empty) as connection:
        await make_core(connection, 3)
        await connection.execute("alter table record add column erased boolean not null default false")
        await connection.execute("create index record_erased on record (id) where erased")
        await connection.execute("update pg_index set indisvalid = false where indexrelid = 'record_erased'::regclass")
        await command("migrate", "--database-url", empty)
        assert await connection.fetchval("select bool_and(indisvalid) from pg_index")


async def test_check_says_what_is_to_be_done_and_does_nothing(empty: str) -> None:
    assert json.loads(await command("migrate", "--check", "--json", "--database-url", empty, code=1))["steps"] is None
    async with connected(empty) as connection:
        await make_core(connection, 4)
        said = json.loads(await command("migrate", "--check", "--json", "--database-url", empty, code=1))
        assert said == {"upToDate": False, "steps": ["0005_works_from.sql"], "schema": 5, "worksFrom": 4}
        assert await schema.read_version(connection) == 4
    assert "0005_works_from.sql" in await command("migrate", "--check", "--database-url", empty, code=1)
    await command("migrate", "--database-url", empty)
    assert "nothing is to be done" in await command("migrate", "--check", "--database-url", empty)


async def test_merges_beside_the_core_are_migrated_with_it(empty: str) -> None:
    async with connected(empty, merges=True) as connection:
        async with connected(empty) as core:
            await make_core(core, 4)
        await make_merges(connection, 2)
        done = json.loads(await command("migrate", "--database-url", empty, "--json"))
        assert (done["merges"]["from"], done["merges"]["to"]) == (2, merge_schema.SCHEMA_VERSION)
        await merge_schema.apply(connection)


async def test_a_migration_is_in_the_audit_and_one_that_does_nothing_is_not(empty: str) -> None:
    async with connected(empty) as connection:
        await make_core(connection, 4)
        for _ in range(2):
            await command("migrate", "--database-url", empty)
        found = await connection.fetch("select detail from audit_event where actor_kind = 'operator'")
        assert [row["detail"] for row in found] == ["migrated the database to schema 5"]
