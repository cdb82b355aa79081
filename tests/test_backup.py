"""Backups of the Core: what they hold, who can read them, and a Core that is restored from one."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import asyncpg
import pytest

from homeroom import Client, Replica
from homeroom.replica.verification import Outcome
from homeroom_merge.store import queue_schema
from homeroom_merge.store import schema as merge_schema
from homeroom_server import operations
from homeroom_server.backup import programs
from homeroom_server.backup.blocks import read_blocks
from homeroom_server.backup.files import BackupError, read_manifest
from homeroom_server.settings import Settings
from homeroom_server.store import student_keys
from homeroom_server.store.backup import KEYRING, LEFT_OUT, SEALED
from homeroom_server.store.history import STEP
from tests.access import settled
from tests.conftest import PROVINCE, Core, database_url, open_core
from tests.processes import HOMEROOM, homeroom, prepare_node, running_node
from tests.records import Json, accepted, record, rejected

IN_THE_CLEAR = """
api_key client client_certificate client_network client_organization core history notification_type organization
organization_move person person_organization record_type version_mark
"""
"""Tables of the Core that speak of no student: pg_dump reads them."""

EMMA, NOAH = "100000001", "200000002"
SECRET = "Emma lives at 12 Birch Lane"


def mark(record_id: str, student: str, text: str = "", version: int = 0, **members: object) -> Json:
    return record(record_id, {"child": student, "text": text}, version, **members)


@pytest.fixture
def catalogue(tmp_path: Path) -> str:
    path = tmp_path / "children.toml"
    path.write_text(
        """
        [types.Child]
        school_year = "none"
        id_format = "code"
        audience = "student"
        student = "@id"
        status = true

        [types.Mark]
        school_year = "none"
        id_format = "code"
        audience = "owner"
        student = "child"

        [types.Course]
        school_year = "none"
        id_format = "code"
        audience = "public"
        """,
        encoding="utf-8",
    )
    return str(path)


@pytest.fixture
def children(settings: Settings, catalogue: str) -> Settings:
    return replace(settings, catalogue=catalogue)


@pytest.fixture
async def core(database_of_test: str, children: Settings) -> AsyncIterator[Core]:
    async with open_core(database_of_test, children) as core:
        yield core


@pytest.fixture
def backups(tmp_path: Path) -> Path:
    return tmp_path / "backups"


@pytest.fixture
async def empty(postgres_url: str, database_of_test: str) -> AsyncIterator[str]:
    """An empty database beside the one of the test."""
    url = database_of_test.partition("?")[0].rpartition("/")[2] + "_restored"
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(f"create database {url}")
    try:
        yield database_url(postgres_url, url)
    finally:
        await connection.execute(f"drop database {url} with (force)")
        await connection.close()


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def command(*arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run `homeroom` while the Core of the test goes on."""
    return await anyio.to_thread.run_sync(lambda: homeroom(*map(str, arguments), check=check))


async def back_up(url: str, folder: Path, *flags: str) -> Json:
    return dict(json.loads((await command("backup", folder, "--database-url", url, "--json", *flags)).stdout))


async def restore(folder: Path, url: str, *flags: str | Path) -> Json:
    return dict(json.loads((await command("restore", folder, "--database-url", url, "--json", *flags)).stdout))


async def refused(*arguments: str | Path) -> str:
    """What a command says that refuses."""
    done = await command(*arguments, check=False)
    assert done.returncode == 1, done.stdout
    return done.stderr


async def everything(url: str) -> dict[str, str]:
    """All rows of all tables, as text."""
    async with connected(url) as connection:
        tables = await connection.fetch(
            """
            select format('%I.%I', table_schema, table_name) as name from information_schema.tables
            where table_type = 'BASE TABLE' and table_schema not in ('pg_catalog', 'information_schema')
            """
        )
        return {
            table["name"]: await connection.fetchval(
                f"select coalesce(string_agg(t::text, e'\\n'), '') from {table['name']} t"
            )
            for table in tables
        }


def open_to_others(folder: Path) -> list[Path]:
    return [file for file in (folder, *folder.rglob("*")) if file.stat().st_mode & 0o077]


def all_bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


async def merge_state(connection: asyncpg.Connection) -> None:
    """Of a merge that keeps its state in the Core's database, and knows Emma."""
    await merge_schema.apply(connection)
    await queue_schema.apply(connection)
    await connection.execute("insert into homeroom_merge.feed (name, state_name) values ('sis', 'usual')")
    await connection.execute("insert into homeroom_merge.subject (feed, entity) values (1, 'Child')")
    await connection.execute(
        "insert into homeroom_merge.record (subject, hub_id, base_hub) values (1, $1, $2)", EMMA, SECRET
    )


async def until_caught_up(replica: Replica, client: Client, type_: str, record_id: str, version: int) -> None:
    with anyio.fail_after(30):
        while (found := await replica.get(type_, record_id)) is None or found.version < version:
            await anyio.sleep(0.02)
        await replica.in_step()


async def test_a_replica_follows_a_core_into_the_history_that_a_restore_begins(
    folder: Path, tmp_path: Path, catalogue: str, backups: Path
) -> None:
    node = prepare_node(folder, PROVINCE, "--catalogue", catalogue)
    restored = replace(node, data_dir=str(folder / "restored"))
    path = tmp_path / "replica.db"
    async with running_node(node) as one, one.client() as client:
        (first,) = await accepted(client, "Mark", mark("m1", NOAH, "before"))
        await accepted(client, "Mark", mark("m2", NOAH), mark("m3", EMMA))
        async with Replica(path, client, ["Mark"]) as replica:
            await replica.in_step()
            made = json.loads((await command("backup", backups, "--data-dir", node.data_dir, "--json")).stdout)
            (second,) = await accepted(client, "Mark", mark("m1", NOAH, "after", first))
            await accepted(client, "Mark", record("m2", version=first + 1, deleted=True))
            (lost,) = await accepted(client, "Mark", mark("lost", NOAH))
            await until_caught_up(replica, client, "Mark", "lost", lost)
        with anyio.fail_after(60):  # a node says within seconds that it lives
            while "a node runs on this" not in await refused("restore", backups, "--data-dir", node.data_dir):
                pass
    done = json.loads((await command("restore", backups, "--data-dir", restored.data_dir, "--json")).stdout)
    assert (done["backup"], done["erasedStudents"], done["rows"]) == (made["backup"], 0, made["rows"])
    async with running_node(restored) as two, two.client() as client, Replica(path, client, ["Mark"]) as replica:
        assert (await client.hello()).epoch == done["epoch"]
        with anyio.fail_after(30):
            while await replica.get("Mark", "lost") is not None:
                await anyio.sleep(0.02)
        await replica.in_step()
        assert [verdict.outcome for verdict in await replica.verify()] == [Outcome.IN_STEP]
        held = {name: await replica.get("Mark", name) for name in ("m1", "m2", "m3")}
        assert {name: found and found.body["text"] for name, found in held.items()} == {
            "m1": "before",
            "m2": "",
            "m3": "",
        }
        (after,) = await accepted(client, "Mark", mark("m1", NOAH, "again", first))
        assert after > lost + STEP > second
        await until_caught_up(replica, client, "Mark", "m1", after)
    histories = json.loads((await command("epoch", "--json", "--data-dir", restored.data_dir)).stdout)["histories"]
    assert [each["reason"] for each in histories] == ["made", f"restored from the backup {made['backup']}"]


async def test_all_but_what_is_of_the_moment_comes_back(core: Core, empty: str, backups: Path) -> None:
    writer = await core.client("S.0982")
    await accepted(writer, "Child", record(EMMA, {"name": "Emma", "raw": "a\\tb\n\\N \\. é"}), record(NOAH, {}))
    await accepted(writer, "Mark", mark("m1", EMMA), record("none", {"text": "of no student"}))
    await accepted(writer, "Course", record("c1", {"text": "Algebra"}))
    connection = await core.connect()
    await merge_state(connection)
    await connection.execute("insert into person (name, role, password_hash) values ('vera', 'operator', 'x')")
    await operations.grant(connection, "S.0990", EMMA, None)
    await settled(core.services)
    await back_up(core.database_url, backups)
    before = await everything(core.database_url)
    await restore(backups, empty)
    after = await everything(empty)
    changing = {"core", "history", "notification_type", "audit_event", *LEFT_OUT}
    assert before.keys() == after.keys()
    for name, rows in before.items():
        if name.removeprefix("public.") not in changing:
            assert sorted(after[name].splitlines()) == sorted(rows.splitlines()), name
    async with connected(empty) as restored:
        assert await restored.fetchval("select count(*) from homeroom_merge.record where number > 0") == 1
        number = "insert into homeroom_merge.record (subject, sis_key) values (1, 'new') returning number"
        assert await restored.fetchval(number) == 2, "sequences go on"
        with pytest.raises(asyncpg.RaiseError, match="only added to"):
            await restored.execute("delete from audit_event")


async def test_an_erased_student_is_in_no_backup_and_comes_back_from_none(
    core: Core, empty: str, backups: Path, tmp_path: Path, children: Settings
) -> None:
    writer, key = await core.client("S.0982"), await core.key("S.0982")
    await accepted(writer, "Child", record(EMMA, {"text": SECRET}), record(NOAH, {"text": "Noah"}))
    await accepted(writer, "Mark", mark("m-emma", EMMA, SECRET), mark("m-noah", NOAH))
    await writer.get("Child", [{"id": EMMA}, {"id": NOAH}])
    await merge_state(await core.connect())
    async with core.client_with(key) as reader, Replica(tmp_path / "r.db", reader, ["Mark", "Child"]) as replica:
        await replica.in_step()
        await settled(core.services)
        await core.services.audit.write()
        await back_up(core.database_url, backups)
    await command("erase-student", EMMA, "--reason", "asked to", "--yes", "--database-url", core.database_url)
    await back_up(core.database_url, tmp_path / "later")
    assert not any(word.encode() in all_bytes(tmp_path / "later") for word in (SECRET, EMMA, "m-emma"))
    said = await command("backup", backups, "--keyring-only", "--database-url", core.database_url)
    assert "keyring" in said.stdout
    held = all_bytes(backups)
    assert not any(word.encode() in held for word in (SECRET, EMMA, "m-emma"))
    done = await restore(backups, empty)
    assert done["erasedStudents"] == 2, "hers, and the common one of rows that nobody can tell apart"
    assert done["erasedRows"] > 4
    rows = await everything(empty)
    assert not [name for name, text in rows.items() if any(word in text for word in (SECRET, EMMA, "m-emma"))]
    assert NOAH in rows["public.record"]
    assert "sis" in rows["homeroom_merge.feed"]
    assert NOAH in rows["public.audit_event"], "of what was read together, what is left is told"
    async with (
        open_core(empty, children) as restored,
        restored.client_with(key) as reader,
        Replica(tmp_path / "r.db", reader, ["Mark", "Child"]) as replica,
    ):
        with anyio.fail_after(30):
            while await replica.get("Mark", "m-emma") is not None or await replica.get("Child", EMMA) is not None:
                await anyio.sleep(0.02)
        await replica.in_step()
        assert await replica.get("Child", NOAH) is not None
        assert await rejected(reader, "Child", record(EMMA, {"text": SECRET})) == [9020]


async def test_what_a_backup_holds_of_students_is_not_to_be_read_in_it(core: Core, backups: Path) -> None:
    writer = await core.client("S.0982")
    await accepted(writer, "Child", record(EMMA, {"text": SECRET}))
    await accepted(writer, "Mark", mark("m-emma", EMMA, SECRET))
    await operations.grant(await core.connect(), "S.0990", EMMA, None)
    await command("grant", "S.0983", EMMA, "--database-url", core.database_url)
    await command("audit", "query", "--record", EMMA, "--database-url", core.database_url)
    await settled(core.services)
    made = await back_up(core.database_url, backups)
    pg_restore, _ = programs.find("pg_restore", read_manifest(backups, made["backup"]).dumped_by)
    script = await anyio.run_process([pg_restore, "-f", "-", backups / made["backup"] / "dump"])
    sealed = (backups / made["backup"] / "students").read_bytes()
    keys = {line.split(b"\t")[0] for line in (backups / "keyring").read_bytes().splitlines()}
    assert EMMA.encode() in keys
    for word in (SECRET, EMMA, "m-emma"):
        assert word.encode() not in script.stdout
        assert word.encode() not in sealed
    manifest = read_manifest(backups, made["backup"])
    blocks = list(read_blocks(backups / manifest.name / "students", bytes.fromhex(manifest.id), {}))
    assert not any(block.text and EMMA.encode() in block.text for block in blocks), "what opens without a key"
    assert b"S.0983" in script.stdout, "the organisations are there"
    assert open_to_others(backups) == []


async def test_every_table_of_the_core_is_dumped_sealed_or_left_out(core: Core) -> None:
    rows = await (await core.connect()).fetch(
        "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace"
    )
    known = {*IN_THE_CLEAR.split(), *SEALED, *LEFT_OUT, *KEYRING}
    assert {row["relname"] for row in rows} - known == set(), "a new table: does it speak of students? (decision 19)"


@pytest.fixture(scope="module")
def whole(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A backup that tests copy and spoil."""
    place, folder = f"of_a_backup_{os.getpid()}", tmp_path_factory.mktemp("whole") / "backups"
    url = database_url(postgres_url, place)

    async def sql(statement: str) -> None:
        async with connected(postgres_url) as connection:
            await connection.execute(statement)

    anyio.run(sql, f"create database {place}")
    try:
        (folder.parent / "province.csv").write_text(PROVINCE)
        homeroom("load-organizations", str(folder.parent / "province.csv"), "--database-url", url)
        homeroom("grant", "S.0982", EMMA, "--database-url", url)
        homeroom("backup", str(folder), "--database-url", url)
        yield folder
    finally:
        anyio.run(sql, f"drop database {place} with (force)")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("spoil", [flip, truncate, Path.unlink], ids=["flipped", "truncated", "missing"])
@pytest.mark.parametrize("name", ["dump", "students", "manifest.json", "keyring"])
def test_a_spoilt_file_is_refused_and_nothing_changed(
    whole: Path, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    shutil.copytree(whole, tmp_path / "b")
    (spoilt,) = (tmp_path / "b").rglob(name)
    spoil(spoilt)
    done = homeroom("restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "data"), check=False)
    assert (done.returncode, (tmp_path / "data").exists()) == (1, False)
    assert f"{spoilt}" in done.stderr
    assert "nothing was changed" in done.stderr


@pytest.mark.parametrize("name", ["manifest.json", "keyring"])
def test_a_newer_format_is_refused(whole: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(whole, tmp_path / "b")
    (file,) = (tmp_path / "b").rglob(name)
    newer = file.read_bytes().replace(b'"format_version": 1', b'"format_version": 2')
    newer = newer.replace(b'"format_version":1', b'"format_version":2')
    if name == "keyring":
        newer = newer[:-65] + hashlib.sha256(newer[:-65]).hexdigest().encode() + b"\n"
    file.write_bytes(newer)
    done = homeroom("restore", str(tmp_path / "b"), "--data-dir", str(tmp_path / "data"), check=False)
    assert (done.returncode, (tmp_path / "data").exists()) == (1, False)
    assert "2, and this version of homeroom reads 1" in done.stderr


async def test_a_keyring_that_is_older_than_the_backup_or_of_another_core_is_refused(
    core: Core, whole: Path, empty: str, backups: Path, tmp_path: Path
) -> None:
    await back_up(core.database_url, backups)
    shutil.copy(backups / "keyring", tmp_path / "old")
    await until_next_second()
    await back_up(core.database_url, backups)
    said = await refused("restore", backups, "--keyring", tmp_path / "old", "--database-url", empty)
    assert "take the newest keyring" in said
    assert "another Core" in await refused("restore", backups, "--keyring", whole / "keyring", "--database-url", empty)
    assert "another Core" in await refused("backup", whole, "--database-url", core.database_url)
    async with connected(empty) as connection:
        await connection.execute("create table something ()")
        assert "it has 1 tables and views" in await refused("restore", backups, "--database-url", empty)
        await connection.execute("drop table something")
    assert (await restore(backups, empty))["erasedStudents"] == 0


async def test_keys_of_merges_come_with_the_keyring_but_for_feeds_that_came_later(
    core: Core, empty: str, backups: Path
) -> None:
    connection = await core.connect()
    await merge_state(connection)
    await connection.execute(
        "create table if not exists homeroom_merge.student_key "
        "(feed integer not null references homeroom_merge.feed, student text not null, key bytea)"
    )
    add = "insert into homeroom_merge.student_key (feed, student) values ($1, $2)"
    await connection.execute(add, 1, NOAH)
    await back_up(core.database_url, backups)
    await connection.execute("insert into homeroom_merge.feed (name, state_name) values ('later', 'usual')")
    await connection.execute(add, 1, "came-later")
    await connection.execute(add, 2, EMMA)
    await command("backup", backups, "--keyring-only", "--database-url", core.database_url)
    await restore(backups, empty)
    async with connected(empty) as restored:
        found = await restored.fetch("select student from homeroom_merge.student_key order by 1")
    assert [row["student"] for row in found] == [NOAH, "came-later"]


async def until_next_second() -> None:
    """Backups are named by the second."""
    await anyio.sleep(1.01)


async def test_restoring_the_same_backup_twice_gives_no_version_twice(
    core: Core, empty: str, backups: Path, children: Settings
) -> None:
    key = await core.key("S.0982")
    async with core.client_with(key) as client:
        await accepted(client, "Course", record("a", {}))
    await back_up(core.database_url, backups)
    versions = []
    for _ in range(2):
        async with connected(empty) as connection:
            await connection.execute("drop schema public cascade; create schema public")
        await restore(backups, empty)
        async with open_core(empty, children) as restored, restored.client_with(key) as client:
            versions += await accepted(client, "Course", record("b", {}))
    assert versions[1] > versions[0] + STEP


@dataclass
class HeldUp:
    """A backup whose pg_dump waits for the last of its tables, and who holds that table."""

    process: anyio.abc.Process
    holder: asyncpg.Connection
    watcher: asyncpg.Connection

    async def cut(self, whose: str) -> None:
        """End the session of pg_dump, or the one that keeps the snapshot."""
        ended = await self.watcher.fetchval(
            """
            select count(pg_terminate_backend(pid)) from pg_stat_activity where datname = current_database()
            and application_name = $1 and (wait_event_type = 'Lock' or state = 'idle in transaction')
            """,
            "homeroom backup" if whose == "pg_dump" else "",
        )
        assert ended == 1

    async def let_go(self) -> None:
        await self.holder.execute("rollback")

    async def failed(self) -> str:
        """Let it go on and end; what it says."""
        await self.let_go()
        assert self.process.stderr is not None
        with anyio.fail_after(30):
            said = b"".join([piece async for piece in self.process.stderr]).decode()
            assert await self.process.wait() == 1
        return said


async def until_one_waits(watcher: asyncpg.Connection, query: str) -> None:
    """Return once a session with such a query waits for a table."""
    waiting = """
        select count(*) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock' and query ilike $1
        """
    with anyio.fail_after(30):
        while not await watcher.fetchval(waiting, query):
            await anyio.sleep(0.02)


@asynccontextmanager
async def held_up(core: Core, backups: Path, *flags: str) -> AsyncIterator[HeldUp]:
    arguments = [HOMEROOM, "backup", str(backups), *flags, "--database-url", core.database_url]
    async with connected(core.database_url) as holder, connected(core.database_url) as watcher:
        await holder.execute("set application_name = 'holder'; create table last_of_all ()")
        await holder.execute("begin; lock table last_of_all in access exclusive mode")
        async with await anyio.open_process(arguments) as process:
            try:
                await until_one_waits(watcher, "lock table%")
                yield HeldUp(process, holder, watcher)
            finally:
                with suppress(ProcessLookupError):
                    process.kill()


@pytest.mark.parametrize("whose", ["pg_dump", "homeroom"])
async def test_a_backup_whose_connection_is_cut_leaves_none(core: Core, backups: Path, whose: str) -> None:
    await accepted(await core.client("S.0982"), "Course", record("a", {}))
    async with held_up(core, backups) as backup:
        await backup.cut(whose)
        said = await backup.failed()
    assert ("pg_dump failed" if whose == "pg_dump" else "nothing is left of it") in said
    assert names(backups) == []
    assert "no whole backup" in await refused("restore", backups, "--data-dir", backups / "data")
    await back_up(core.database_url, backups)


async def test_a_backup_that_was_killed_is_none_and_in_nobodys_way(core: Core, backups: Path) -> None:
    async with held_up(core, backups) as backup:
        again = await refused("backup", backups, "--database-url", core.database_url)
        assert "wait until it has ended" in again
        backup.process.kill()
        await backup.process.wait()
        await backup.let_go()
    (part,) = names(backups)
    assert part.endswith(".part")
    assert "no whole backup" in await refused("restore", backups, "--data-dir", backups / "data")
    made = await back_up(core.database_url, backups)
    assert names(backups) == [made["backup"], "keyring"]


async def test_an_erasure_meanwhile_ends_a_backup(core: Core, backups: Path) -> None:
    await accepted(await core.client("S.0982"), "Child", record(EMMA, {"text": SECRET}))
    async with held_up(core, backups) as backup:
        async with connected(core.database_url) as connection, connection.transaction():
            await student_keys.destroy(connection, EMMA)
        said = await backup.failed()
    assert "a student was erased while the backup was made" in said
    assert names(backups) == []


async def test_an_erasure_after_all_was_read_ends_it_too(core: Core, backups: Path) -> None:
    await accepted(await core.client("S.0982"), "Child", record(EMMA, {"text": SECRET}))
    await merge_state(await core.connect())
    last = "begin; lock table homeroom_merge_queue.procrastinate_workers in access exclusive mode"
    async with held_up(core, backups) as backup, connected(core.database_url) as second:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(second.execute, last)
            await until_one_waits(backup.watcher, last)
            await backup.let_go()
        await until_one_waits(backup.watcher, "copy%procrastinate_workers%")
        async with connected(core.database_url) as connection, connection.transaction():
            await student_keys.destroy(connection, EMMA)
        await second.execute("rollback")
        said = await backup.failed()
    assert "a student was erased while the backup was made" in said
    assert names(backups) == []


async def test_no_more_than_so_many_backups_are_kept(core: Core, backups: Path) -> None:
    made = []
    for flags in ((), (), ("--keep", "2")):
        made.append(await back_up(core.database_url, backups, *flags))
        await until_next_second()
    assert [each["removed"] for each in made] == [[], [], [made[0]["backup"]]]
    assert names(backups) == [made[1]["backup"], made[2]["backup"], "keyring"]
    async with held_up(core, backups, "--keep", "1") as backup:
        await backup.cut("pg_dump")
        await backup.failed()
    assert names(backups) == [made[1]["backup"], made[2]["backup"], "keyring"], "one that failed removes none"


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


async def test_a_restore_that_fails_leaves_a_database_on_which_no_node_starts(
    core: Core, empty: str, backups: Path, catalogue: str
) -> None:
    writer = await core.client("S.0982")
    await accepted(writer, "Mark", mark("m1", EMMA))
    await back_up(core.database_url, backups)
    async with connected(empty) as connection:
        await connection.execute(
            """
            create function refuse() returns event_trigger language plpgsql as $$ begin raise 'no room'; end $$;
            create event trigger refuses on ddl_command_start when tag in ('CREATE INDEX') execute function refuse();
            """
        )
    said = await refused("restore", backups, "--database-url", empty)
    assert "no room" in said
    assert "half restored and no node starts on it" in said
    for arguments in (["serve", "--port", "0", "--catalogue", catalogue], ["status"], ["migrate"], ["backup", backups]):
        assert "half restored" in await refused(*arguments, "--database-url", empty)
    assert (await restore(backups, empty))["erasedStudents"] == 0
    found = json.loads((await command("status", "--json", "--database-url", empty)).stdout)
    assert [row["notificationType"] for row in found["types"]] == ["Mark"]


async def test_backup_and_restore_are_in_the_audit(core: Core, empty: str, backups: Path) -> None:
    made = await back_up(core.database_url, backups)
    await restore(backups, empty)
    for url, said in ((core.database_url, "made the backup"), (empty, "restored the backup")):
        async with connected(url) as connection:
            found = await connection.fetchval("select detail from audit_event where detail like $1", f"{said}%")
            assert found == f"{said} {made['backup']}"


@pytest.mark.parametrize(
    ("versions", "said"),
    [([], "there is none"), ([15, 17], "pg_dump is version 15"), ([17, 19, 18], "18"), ([15, 18], "18")],
    ids=["none", "older", "the-fitting-one", "one-of-two"],
)
def test_the_program_that_fits_the_server_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, versions: list[int], said: str
) -> None:
    folders = [tmp_path / str(version) for version in versions]
    for folder, version in zip(folders, versions, strict=True):
        folder.mkdir()
        (folder / "pg_dump").write_text(f"#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}.1'\n")
        (folder / "pg_dump").chmod(0o755)
    monkeypatch.setattr(programs, "embedded_programs", lambda: folders[1:])
    monkeypatch.setenv("PATH", os.pathsep.join(str(folder) for folder in folders[:1]))
    if 18 in versions:
        assert programs.find("pg_dump", 18) == (tmp_path / "18" / "pg_dump", 18)
    else:
        with pytest.raises(BackupError, match=said) as failure:
            programs.find("pg_dump", 18)
        assert "PostgreSQL 18 or newer is needed" in str(failure.value)
