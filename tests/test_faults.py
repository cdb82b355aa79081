"""A database that is slow, full, read-only or restarted: calls are told to come again, and nobody is lost."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import anyio
import asyncpg
import httpx
import pytest
from structlog.testing import capture_logs

from homeroom import Client, RetryLater
from homeroom_server import database, operations, people
from homeroom_server.people import PersonRole
from homeroom_server.settings import Settings
from tests.cluster import Postgres
from tests.conftest import PROVINCE, Core, database_url, open_core
from tests.records import Json, accepted, available, note, pairs
from tests.test_is_data_available import until_held

STATEMENT_SECONDS = 0.5
CALL_SECONDS_MAX = 4.0
"""What no call may take at these settings: a wait for a connection, a statement, a release, on a busy machine."""


@pytest.fixture
def settings(settings: Settings, any_catalogue: str) -> Settings:
    return replace(
        settings,
        catalogue=any_catalogue,
        statement_seconds_max=STATEMENT_SECONDS,
        write_transaction_seconds_max=STATEMENT_SECONDS,
        feed_poll_seconds=0.05,
        status_lease_seconds=1,
    )


@pytest.fixture
def postgres(folder: Path) -> Iterator[Postgres]:
    """A server of this test alone, to be frozen and restarted."""
    folder.chmod(0o755)
    server = Postgres(folder / "one")
    server.init()
    server.start()
    yield server
    if server.running:
        server.unpause()
        server.kill()


@pytest.fixture
async def lone_core(postgres: Postgres, settings: Settings) -> AsyncIterator[Core]:
    """A node on that server."""
    await database.apply_schema(postgres.url)
    connection = await database.connect_to_primary(postgres.url)
    await operations.load_organizations(connection, PROVINCE)
    await connection.close()
    async with open_core(postgres.url, settings) as core:
        yield core


@asynccontextmanager
async def visiting(core: Core) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://core") as http:
        yield http


async def readiness(core: Core) -> httpx.Response:
    async with visiting(core) as http:
        return await http.get("/readyz")


async def until_ready(core: Core, status: int, reason: str = "") -> None:
    """Once it answers with that status, for that reason."""
    with anyio.fail_after(20):
        while (answer := await readiness(core)).status_code != status or reason not in " ".join(
            answer.json()["reasons"]
        ):
            await anyio.sleep(0.01)
    assert ("retry-after" in answer.headers) == (status == 503)


async def until_trouble(core: Core, said: str) -> None:
    """Once /readyz tells of it and calls the node ready, as it is not while ended connections are missed."""
    with anyio.fail_after(20):
        while True:
            answer = (await readiness(core)).json()
            if said in " ".join(answer["troubles"]) and (answer["status"], answer["reasons"]) == ("ready", []):
                return
            await anyio.sleep(0.01)


async def told_to_come_again(client: Client, *records: Json, key: object = None) -> RetryLater:
    """Submit what cannot be stored, which is said soon enough."""
    begun = time.monotonic()
    with pytest.raises(RetryLater) as refused:
        await client.submit("Note", records, key)  # type: ignore[arg-type]
    assert time.monotonic() - begun < CALL_SECONDS_MAX
    assert (refused.value.code, refused.value.status) == (2001, 503)
    assert refused.value.retry_after_seconds is not None
    return refused.value


async def submitted(client: Client, key: object, *records: Json) -> list[Json]:
    """Submit again and again until it is taken."""
    with anyio.fail_after(20):
        while True:
            try:
                return list((await client.submit("Note", records, key)).results)  # type: ignore[arg-type]
            except RetryLater:
                await anyio.sleep(0.02)


@asynccontextmanager
async def one_held(core: Core, heard: list[list[tuple[str, int]]]) -> AsyncIterator[None]:
    """Somebody waits for changes of Bulletin, before the block and after it."""
    reader = await core.client("S.0990")
    cursor = (await available(reader, "Bulletin"))["maxCoreVersion"]

    async def hear() -> None:
        heard.append(pairs(await available(reader, "Bulletin", cursor, wait_seconds=300)))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hear)
            await until_held(core)
            yield


class TestSlow:
    async def test_a_lock_held_by_others_is_said_and_a_repeat_writes_once(
        self, database_of_test: str, settings: Settings
    ) -> None:
        heard: list[list[tuple[str, int]]] = []
        async with open_core(database_of_test, settings) as core, one_held(core, heard):
            client, key = await core.client("S.0982"), uuid4()
            blocker = await core.connect()
            async with blocker.transaction():
                await blocker.execute("lock table record in access exclusive mode")
                await told_to_come_again(client, note("a"), key=key)
                begun = time.monotonic()
                async with anyio.create_task_group() as tasks:
                    for number in range(3 * settings.read_connections_max):
                        tasks.start_soon(self.refused_get, client, str(number))
                assert time.monotonic() - begun < 2 * CALL_SECONDS_MAX
                await until_trouble(core, "the database is slow")
                assert core.services.waiters.held == 1
            first = await submitted(client, key, note("a"))
            assert await submitted(client, key, note("a")) == first
            assert await blocker.fetchval("select count(*) from record where id = 'a'") == 1
            (version,) = await accepted(client, "Bulletin", note("b"))
        assert heard == [[("b", version)]]

    @staticmethod
    async def refused_get(client: Client, record_id: str) -> None:
        with pytest.raises(RetryLater) as refused:
            await client.get("Note", [{"id": record_id}])
        assert refused.value.code == 2001

    async def test_a_server_that_hangs_is_waited_for_so_long_and_no_longer(
        self, postgres: Postgres, lone_core: Core
    ) -> None:
        heard: list[list[tuple[str, int]]] = []
        client, key = await lone_core.client("S.0982"), uuid4()
        await accepted(client, "Note", note("before"))
        async with one_held(lone_core, heard):
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(available, client, "Bulletin", 0, 2)  # whose wait ends meanwhile
                    await until_held(lone_core, 2)
                    postgres.pause()
                    await told_to_come_again(client, note("a"), key=key)
                    for number in range(8):
                        tasks.start_soon(self.refused_get, client, str(number))
                    await until_ready(lone_core, 503, "the database is slow")
                assert lone_core.services.waiters.held == 1
            finally:
                postgres.unpause()
            await until_ready(lone_core, 200)
            first = await submitted(client, key, note("a"))
            assert await submitted(client, key, note("a")) == first
            assert postgres.sql("select count(*) from record where id = 'a'") == "1"
            assert not heard
            (version,) = await accepted(client, "Bulletin", note("b"))
        assert heard == [[("b", version)]]

    async def test_a_node_ends_though_its_server_hangs(self, postgres: Postgres, settings: Settings) -> None:
        await database.apply_schema(postgres.url)
        try:
            async with open_core(postgres.url, settings):
                postgres.pause()
                begun = time.monotonic()
            assert time.monotonic() - begun < 20
        finally:
            postgres.unpause()


@pytest.mark.parametrize(
    ("state", "advice"),
    [
        ("53100", "make room on its disk"),
        ("53200", "the database is out of memory"),
        ("53300", "the database takes no more connections"),
        ("57P03", "the database is starting or stopping"),
        ("25006", "the database is read-only"),
        ("58030", "the database cannot be reached"),
    ],
)
async def test_what_the_database_refuses_is_told_to_the_caller_and_to_the_operator(
    database_of_test: str, settings: Settings, state: str, advice: str
) -> None:
    heard: list[list[tuple[str, int]]] = []
    async with open_core(database_of_test, settings) as core, one_held(core, heard):
        client, key, connection = await core.client("S.0982"), uuid4(), await core.connect()
        (before,) = await accepted(client, "Note", note("before"))
        await connection.execute(
            f"""
            create function refuse() returns trigger language plpgsql as
            $$ begin raise exception 'as if' using errcode = '{state}'; end $$;
            create trigger refuse before insert or update on record execute function refuse();
            """
        )
        with capture_logs() as logged:
            await told_to_come_again(client, note("a"), key=key)
        (reason,) = {line["reason"] for line in logged if line["event"] == "commit failed"}
        assert advice in reason
        await until_trouble(core, advice)
        (found,) = (await client.get("Note", [{"id": "before"}])).records
        assert found["coreVersion"] == before
        assert core.services.waiters.held == 1
        await connection.execute("drop trigger refuse on record")
        (stored,) = await submitted(client, key, note("a"))
        assert stored["coreVersion"] > before
        (version,) = await accepted(client, "Bulletin", note("b"))
    assert heard == [[("b", version)]]


async def test_a_node_that_gets_no_more_connections_says_so_and_goes_on_once_it_does(
    database_of_test: str, settings: Settings
) -> None:
    limited = database_of_test.replace("//postgres", "//of_few", 1)
    async with open_core(database_of_test, settings) as core:
        connection = await core.connect()
        await connection.execute(
            """
            drop role if exists of_few;
            create role of_few login connection limit 8;
            grant all on all tables in schema public to of_few;
            grant all on all sequences in schema public to of_few;
            """
        )
        try:
            async with open_core(limited, settings) as node:
                client = await node.client("S.0982")
                end = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'of_few'"
                await connection.execute("alter role of_few connection limit 0")
                await connection.execute(end)
                await told_to_come_again(client, note("a"))
                await until_ready(node, 503, "takes no more connections")
                await connection.execute("alter role of_few connection limit 8")
                await until_ready(node, 200)
                await accepted(client, "Note", note("a"))
        finally:
            await connection.execute("drop owned by of_few; drop role of_few")


class TestReadOnly:
    async def test_it_is_read_from_and_what_it_missed_is_made_up_for(
        self, postgres_url: str, database_of_test: str, settings: Settings
    ) -> None:
        heard: list[list[tuple[str, int]]] = []
        async with open_core(database_of_test, settings) as core, one_held(core, heard), visiting(core) as web:
            client = await core.client("S.0982")
            (before,) = await accepted(client, "Note", note("before"))
            connection = await core.connect()
            await people.create(connection, "olga", PersonRole.OPERATOR, [], "correct horse battery")
            await self.make_read_only(postgres_url, core, "on")
            await told_to_come_again(client, note("a"))
            await until_trouble(core, "the database is read-only")
            assert pairs(await available(client, "Note")) == [("before", before)]
            (found,) = (await client.get("Note", [{"id": "before"}])).records
            assert found["availability"] == "Normal"
            form = {"name": "olga", "password": "correct horse battery"}
            refused = await web.post("/console/sign-in", data=form)
            assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
            assert core.services.waiters.held == 1
            await self.make_read_only(postgres_url, core, "off")
            await submitted(client, uuid4(), note("a"))
            with anyio.fail_after(20):  # its worker lives
                while len(pairs(await available(client, "NoteStatus"))) < 2:
                    await anyio.sleep(0.02)
            (version,) = await accepted(client, "Bulletin", note("b"))
        assert heard == [[("b", version)]]

    async def test_a_node_starts_on_it(self, postgres_url: str, database_of_test: str, settings: Settings) -> None:
        async with open_core(database_of_test, settings) as core:
            (before,) = await accepted(await core.client("S.0982"), "Note", note("before"))
            key = await core.key("S.0982")
            await self.make_read_only(postgres_url, core, "on")
        await database.apply_schema(database_of_test)
        async with open_core(database_of_test, settings) as core, core.client_with(key) as client:
            assert pairs(await available(client, "Note")) == [("before", before)]
            await until_trouble(core, "the database is read-only")

    @staticmethod
    async def make_read_only(postgres_url: str, core: Core, value: str) -> None:
        """For all sessions from now on; those that there are end."""
        name = core.database_url.partition("?")[0].rpartition("/")[2]
        connection = await asyncpg.connect(database_url(postgres_url, "postgres"))
        await connection.execute(f"alter database {name} set default_transaction_read_only = {value}")
        await connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1 and application_name <> ''", name
        )
        await connection.close()


@pytest.mark.parametrize("how", ["fast", "immediate"])
async def test_the_held_outlive_a_restart_of_the_server(postgres: Postgres, lone_core: Core, how: str) -> None:
    heard: list[list[tuple[str, int]]] = []
    client, key = await lone_core.client("S.0982"), uuid4()
    (kept,) = await accepted(client, "Note", note("before"))
    async with one_held(lone_core, heard):
        postgres.stop(how)
        await told_to_come_again(client, note("a"), key=key)
        await until_ready(lone_core, 503)
        postgres.start()
        await until_ready(lone_core, 200)
        assert not heard
        assert lone_core.services.waiters.held == 1
        (found,) = (await client.get("Note", [{"id": "before"}])).records
        assert found["coreVersion"] == kept
        first = await submitted(client, key, note("a"))
        assert await submitted(client, key, note("a")) == first
        (version,) = await accepted(client, "Bulletin", note("b"))
    assert heard == [[("b", version)]]
