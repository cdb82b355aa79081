"""Which nodes and pipelines work on which schema, and what each says where it does not."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom import Client
from homeroom_merge.store import place
from homeroom_merge.store import schema as merge_schema
from homeroom_server import database, migration
from homeroom_server.backup import files, making
from homeroom_server.backup.progress import Progress
from homeroom_server.command.invocation import note as note_of_operator
from homeroom_server.settings import Settings
from homeroom_server.store import schema
from tests.access import write_catalogue
from tests.conftest import Core, open_core
from tests.merge.test_merge_command import COMMAND
from tests.migrations import command, connected, made, make_core, make_merges
from tests.processes import Node, running_node
from tests.records import accepted, available, note, pairs
from tests.test_is_data_available import until_held


@pytest.fixture
async def empty(postgres_url: str) -> AsyncIterator[str]:
    async with made(postgres_url, "migrated") as url:
        yield url


@pytest.mark.parametrize("arguments", [["serve", "--port", "0"], ["status"], ["backup", "nowhere"]])
async def test_nodes_and_commands_refuse_an_older_schema_and_say_what_to_do(
    empty: str, tmp_path: Path, arguments: list[str]
) -> None:
    async with connected(empty) as connection:
        await make_core(connection, 1)
    arguments = [str(tmp_path) if each == "nowhere" else each for each in arguments]
    said = await command(*arguments, "--database-url", empty, code=1)
    assert "the database has schema 1" in said
    assert "run 'homeroom migrate'" in said


async def test_a_node_works_on_a_newer_schema_that_says_so_and_refuses_any_other(database_of_test: str) -> None:
    newer = schema.SCHEMA_VERSION + 1
    async with connected(database_of_test) as connection:
        await connection.execute("update core set schema_version = $1", newer)
        assert "0 clients" in await command("status", "--database-url", database_of_test)
        assert f"has schema {newer}" in await command("migrate", "--database-url", database_of_test)
        await connection.execute("update core set works_from = $1", newer)
        for arguments in (["status"], ["migrate"], ["migrate", "--check"], ["serve", "--port", "0"]):
            said = await command(*arguments, "--database-url", database_of_test, code=1)
            assert f"has schema {newer}, which needs a homeroom of schema {newer} or newer" in said
            assert "use a newer homeroom" in said
            assert await connection.fetchval("select schema_version from core") == newer


async def test_merges_work_on_a_newer_state_that_says_so_and_refuse_any_other(empty: str) -> None:
    newer = merge_schema.SCHEMA_VERSION + 1
    async with connected(empty, merges=True) as connection:
        await merge_schema.apply(connection)
        await connection.execute("update state set schema_version = $1", newer)
        await merge_schema.apply(connection)
        await connection.execute("update state set works_from = $1", newer)
        with pytest.raises(merge_schema.OtherSchemaError, match="install a newer one"):
            await merge_schema.apply(connection)


async def test_nothing_is_migrated_while_a_node_runs_that_could_not_go_on(empty: str) -> None:
    async with connected(empty) as connection:
        await make_core(connection, 3)
        await connection.execute("update node set heard_at = now()")
        said = await command("migrate", "--database-url", empty, code=1)
        assert "cannot work on schema 5 (here/1): end them first" in said
        assert await schema.read_version(connection) == 3
        await connection.execute("update node set heard_at = now() - interval '16 seconds'")
        await command("migrate", "--database-url", empty)


async def test_a_running_node_serves_while_its_database_is_migrated(plain_core: Core) -> None:
    """All files since schema 3 are run beside it; somebody's long transaction stands in their way for a while."""
    connection, other = await plain_core.connect(), await plain_core.connect()
    await connection.execute("update core set schema_version = 1; drop table student_key; drop index record_erased")
    async with other.transaction():
        await other.fetch("select id from record")
        told = await _served_while_migrating(plain_core, other)
    assert any("waits for others" in each and "oldest transaction" in each for each in told)
    assert await schema.read_version(connection) == schema.SCHEMA_VERSION
    assert await connection.fetchval("select indisvalid from pg_index where indexrelid = 'record_erased'::regclass")


async def _served_while_migrating(core: Core, other: asyncpg.Connection) -> list[str]:
    """Submits, each of which wakes a held request, until the migration is over; what that said."""
    told: list[str] = []
    done, answered = anyio.Event(), 0

    async def migrate() -> None:
        await migration.migrate(core.database_url, told.append)
        done.set()

    writer, reader = await core.client("S.0982"), await core.client("A.3020")
    (version,) = await accepted(writer, "Note", note("n1"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(migrate)
        while not done.is_set():
            async with anyio.create_task_group() as held:
                held.start_soon(_is_woken, reader, version)
                await until_held(core)
                with anyio.fail_after(3):
                    (version,) = await accepted(writer, "Note", note("n1", str(answered), version))
            answered += 1
            if answered >= 20 and any("waits" in each for each in told):
                await other.execute("rollback; begin")  # until here, it cannot have what it needs
    assert answered >= 20
    return told


async def _is_woken(reader: Client, cursor: int) -> None:
    found = await available(reader, "Note", since=cursor, wait_seconds=60)
    assert [record_id for record_id, _ in pairs(found)] == ["n1"]


async def test_an_embedded_database_is_migrated_by_the_node_that_is_started_on_it(folder: Path) -> None:
    data_dir = folder / "data"
    with database.open_database(Settings(data_dir=str(data_dir))) as url:
        async with connected(url) as connection:
            await make_core(connection, 1)
    catalogue = write_catalogue(folder)
    said = await command("status", "--data-dir", str(data_dir), code=1)
    assert "run 'homeroom migrate'" in said
    flags = ("--catalogue", catalogue)
    async with running_node(Node(str(data_dir), flags, "maple-key")) as node, node.client() as maple:
        assert pairs(await available(maple, "Mark")) == [("m1", 12), ("m2", 14)]


async def test_an_embedded_state_of_merges_is_migrated_by_the_command_that_needs_it(folder: Path) -> None:
    with place.database("", folder, None) as url:
        async with connected(url, merges=True) as connection:
            await make_merges(connection, 1)
    done = await anyio.to_thread.run_sync(lambda: _merge("migrate", "--check", "--json", "--data-dir", str(folder)))
    assert (done.returncode, json.loads(done.stdout)["upToDate"]) == (1, False)
    done = await anyio.to_thread.run_sync(lambda: _merge("runs", "--feed", "elk", "--data-dir", str(folder)))
    assert done.returncode == 0, done.stderr
    assert "schema 3: 0003_1_tables.sql" in done.stderr
    done = await anyio.to_thread.run_sync(lambda: _merge("migrate", "--check", "--json", "--data-dir", str(folder)))
    assert (done.returncode, json.loads(done.stdout)["upToDate"]) == (0, True)


def _merge(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COMMAND, *arguments], capture_output=True, text=True, timeout=60, check=False)


async def test_a_backup_of_an_older_schema_is_migrated_as_it_is_restored(
    postgres_url: str, empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    backups, catalogue = tmp_path / "backups", write_catalogue(tmp_path)
    async with made(postgres_url, "older") as older, connected(older) as connection:
        await make_core(connection, 4)
        async with connected(older, merges=True) as merges:
            await make_merges(merges, 2)
        monkeypatch.setattr(schema, "SCHEMA_VERSION", 4)  # as the homeroom that made it
        with files.opened(backups):
            work = making.make(backups, older, None, note_of_operator, Progress())
            await anyio.to_thread.run_sync(asyncio.run, work)
        monkeypatch.undo()
    assert [files.read_manifest(backups, name).schema_version for name in files.names(backups)] == [4]
    await command("restore", str(backups), "--database-url", empty)
    assert "nothing is to be done" in await command("migrate", "--check", "--database-url", empty)
    async with open_core(empty, replace(settings, catalogue=catalogue)) as core, core.client_with("maple-key") as maple:
        assert (await maple.get("Mark", [{"id": "m1"}])).records[0]["coreVersion"] == 12
