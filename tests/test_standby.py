"""Nodes that read on a hot standby: what it does not show yet is waited for, read on the primary, never passed over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import anyio
import httpx
import pytest

from homeroom import Client, HomeroomError
from homeroom_server import database, operations
from homeroom_server.settings import Settings
from tests.cluster import Cluster, Postgres
from tests.conftest import PROVINCE, Core, open_core
from tests.records import accepted, available, note, pairs
from tests.test_is_data_available import until_held

NEVER = 600.0
RECEIVED_MORE = "select pg_last_wal_receive_lsn() > pg_last_wal_replay_lsn()"


@pytest.fixture
async def province(cluster: Cluster) -> Cluster:
    """A cluster with the schema and the organisations."""
    await database.apply_schema(cluster.url)
    connection = await database.connect_to_primary(cluster.url)
    await operations.load_organizations(connection, PROVINCE)
    await connection.close()
    await until(cluster.caught_up)
    return cluster


@pytest.fixture
def reading(settings: Settings, any_catalogue: str, cluster: Cluster) -> Settings:
    """Those of a node that reads on the standby, however far behind that is."""
    return replace(
        settings,
        catalogue=any_catalogue,
        read_database_url=cluster.standby.url,
        standby_behind_seconds_max=NEVER,
        catch_up_seconds=0.3,
    )


@asynccontextmanager
async def nodes(cluster: Cluster, *settings: Settings) -> AsyncIterator[list[Core]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_core(cluster.url, each)) for each in settings]


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    with anyio.fail_after(seconds):
        while not await anyio.to_thread.run_sync(condition):
            await anyio.sleep(0.02)


async def pause_replay(standby: Postgres) -> None:
    standby.sql("select pg_wal_replay_pause()")
    await until(lambda: standby.sql("select pg_get_wal_replay_pause_state()") == "paused")


def resume_replay(standby: Postgres) -> None:
    standby.sql("select pg_wal_replay_resume()")


async def code_of(call: Callable[[], object]) -> int:
    with pytest.raises(HomeroomError) as failure:
        await call()  # type: ignore[misc]
    return failure.value.code.value


async def ready(core: Core) -> tuple[int, dict[str, object]]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(core.app), base_url="http://core") as http:
        answer = await http.get("/readyz")
        return answer.status_code, answer.json()


async def hear(client: Client, heard: list[list[tuple[str, int]]], since: int = 0) -> None:
    heard.append(pairs(await available(client, "Note", since, wait_seconds=300)))


async def test_a_wake_that_outruns_the_standby_waits_for_it_and_not_for_the_poll(
    province: Cluster, reading: Settings
) -> None:
    async with nodes(province, replace(reading, feed_poll_seconds=NEVER)) as (node,):
        reader, writer = await node.client("A.3020"), await node.client("S.0982")
        heard: list[list[tuple[str, int]]] = []
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear, reader, heard)
                await until_held(node)
                await pause_replay(province.standby)
                (version,) = await accepted(writer, "Note", note("a"))
                await until(lambda: province.standby.sql(RECEIVED_MORE) == "t")
                assert heard == []
                resume_replay(province.standby)
        assert heard == [[("a", version)]]


async def test_a_node_tells_nothing_that_its_standby_does_not_show(province: Cluster, reading: Settings) -> None:
    async with nodes(province, reading) as (node,):
        reader, writer = await node.client("A.3020"), await node.client("S.0982")
        (first,) = await accepted(writer, "Note", note("a"))
        await until(province.caught_up)
        await pause_replay(province.standby)
        (second,) = await accepted(writer, "Note", note("b"))  # nobody waits for this type at the moment
        assert (await available(reader, "Note", first))["maxCoreVersion"] == first
        heard: list[list[tuple[str, int]]] = []
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hear, reader, heard, first)
                await until_held(node)
                resume_replay(province.standby)
        assert heard == [[("b", second)]]


async def test_get_reads_the_primary_for_a_version_that_the_standby_lacks(province: Cluster, reading: Settings) -> None:
    async with nodes(province, reading) as (node,):
        writer = await node.client("S.0982")
        (first,) = await accepted(writer, "Note", note("a", "one"))
        await until(province.caught_up)
        await pause_replay(province.standby)
        (second,) = await accepted(writer, "Note", note("a", "two", first))
        got = await writer.get("Note", [{"id": "a", "expectedVersion": second}])
        assert got.records[0].get("body") == {"text": "two"}
        stopped = await writer.get("Note", [{"id": "a", "expectedVersion": first}])
        assert stopped.records[0].get("body") == {"text": "one"}, "the standby is what this node shows"
        await node.services.reading.primary.pools["usual"].expire_connections()
        province.primary.kill()
        assert await code_of(lambda: writer.get("Note", [{"id": "a", "expectedVersion": second}])) == 2002
        province.primary.start()
        resume_replay(province.standby)


async def test_a_cursor_that_another_node_gave_is_never_called_one_of_another_history(
    province: Cluster, reading: Settings
) -> None:
    async with nodes(province, reading) as (node,):
        writer = await node.client("S.0982")
        await pause_replay(province.standby)
        versions = [await accepted(writer, "Note", note(f"a{n}")) for n in range(40)]  # a standby's counter runs ahead
        cursor = versions[-1][-1]
        assert await code_of(lambda: available(writer, "Note", cursor)) == 2002
        assert await code_of(lambda: available(writer, "Note", cursor + 10_000)) == 2003
        province.primary.kill()
        assert await code_of(lambda: available(writer, "Note", cursor + 10_000)) == 2002, "nobody can tell"
        province.primary.start()
        resume_replay(province.standby)
        await until(province.caught_up)
        assert (await available(writer, "Note", cursor))["reason"] == "none"


async def test_a_key_is_known_before_the_standby_shows_it(province: Cluster, reading: Settings) -> None:
    async with nodes(province, reading) as (node,):
        await pause_replay(province.standby)
        client = await node.client("S.0982")
        assert (await client.hello()).organization == "S.0982"
        resume_replay(province.standby)


async def test_a_standby_that_falls_behind_or_dies_is_left_for_the_primary_until_it_is_back(
    province: Cluster, reading: Settings
) -> None:
    near = replace(reading, standby_behind_seconds_max=0.5, feed_poll_seconds=0.1)
    alone = replace(near, primary_read_connections_max=0)
    async with nodes(province, near, alone) as (node, strict):
        writer = await node.client("S.0982")
        await until(lambda: node.services.reading.place.name == "standby 1")
        await pause_replay(province.standby)
        (version,) = await accepted(writer, "Note", note("a"))
        await until(lambda: node.services.reading.place.name == "primary")
        assert pairs(await available(writer, "Note")) == [("a", version)]
        await until(lambda: bool(strict.services.reading.trouble))
        assert await ready(strict) == (503, {**(await ready(strict))[1], "status": "not ready"})
        assert (await ready(node))[1]["reads"] == "primary"
        resume_replay(province.standby)
        await until(lambda: node.services.reading.place.name == "standby 1")
        await until(lambda: not strict.services.reading.trouble)
        province.standby.kill()
        assert pairs(await available(writer, "Note")) == [("a", version)], "the same call is made again elsewhere"
        assert node.services.reading.place.name == "primary"
        province.standby.start()
        await until(lambda: node.services.reading.place.name == "standby 1")
        (second,) = await accepted(writer, "Note", note("b"))
        with anyio.fail_after(10):
            while pairs(await available(writer, "Note", version)) != [("b", second)]:
                await anyio.sleep(0.02)


async def test_reads_move_between_standby_and_primary_under_writes_and_nothing_is_passed_over(
    province: Cluster, reading: Settings
) -> None:
    near = replace(reading, standby_behind_seconds_max=0.3, feed_poll_seconds=0.05, catch_up_seconds=5.0)
    async with nodes(province, near) as (node,):
        writer, reader = await node.client("S.0982"), await node.client("A.3020")
        written: list[tuple[str, int]] = []
        told: list[tuple[str, int]] = []
        done = anyio.Event()

        async def write() -> None:
            for number in range(200):
                (version,) = await accepted(writer, "Note", note(f"n{number}"))
                written.append((f"n{number}", version))
                if number % 50 == 25:
                    await pause_replay(province.standby)
                elif number % 50 == 45:
                    await until(lambda: node.services.reading.place.name == "primary" and len(told) == len(written))
                    resume_replay(province.standby)
                    await until(lambda: node.services.reading.place.name == "standby 1")
            done.set()

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(write)
                cursor = 0
                while not done.is_set() or len(told) < len(written):
                    entry = await available(reader, "Note", cursor, wait_seconds=1)
                    told += pairs(entry)
                    assert entry["maxCoreVersion"] >= cursor
                    cursor = entry["maxCoreVersion"]
        assert told == written
