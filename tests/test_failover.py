"""The database comes to another server: a new history, which clients verify, and an old primary that is fenced."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from homeroom import Client, HomeroomError, Replica, RetryLater
from homeroom_server import database
from homeroom_server.primary import urls_of_hosts
from homeroom_server.settings import Settings
from homeroom_server.store.history import STEP
from tests.cluster import Cluster, Postgres
from tests.conftest import Core, open_core
from tests.processes import homeroom
from tests.records import Json, accepted, available, note, pairs
from tests.test_is_data_available import until_held
from tests.test_standby import province, until

__all__ = ["province"]


@pytest.fixture
def plain(settings: Settings, any_catalogue: str) -> Settings:
    return replace(settings, catalogue=any_catalogue, feed_poll_seconds=0.1, primary_look_seconds=0.2)


@asynccontextmanager
async def open_node(cluster: Cluster, settings: Settings) -> AsyncIterator[Core]:
    """A node that does not mind if the database has gone when it ends."""
    async with open_core(cluster.url, settings) as core:
        yield core


def lose_what_comes(standby: Postgres) -> None:
    """From now on the standby receives nothing."""
    standby.sql("alter system set primary_conninfo = ''")
    standby.sql("select pg_reload_conf()")


async def cut_off(standby: Postgres) -> None:
    lose_what_comes(standby)
    await until(lambda: standby.sql("select count(*) from pg_stat_wal_receiver") == "0")


async def at_last(client: Client, *records: Json) -> list[int]:
    """Submit as soon as there is a primary again."""
    with anyio.fail_after(30):
        while True:
            try:
                return await accepted(client, "Note", *records)
            except RetryLater:
                await anyio.sleep(0.05)


def histories(cluster: Cluster) -> list[Json]:
    done = homeroom("epoch", "--json", "--database-url", cluster.url)
    return list(json.loads(done.stdout)["histories"])


async def test_a_type_that_was_lost_comes_again_on_a_node_that_knew_it(province: Cluster, plain: Settings) -> None:
    async with open_node(province, plain) as node:
        writer = await node.client("S.0982")
        await until(province.caught_up)
        await cut_off(province.standby)
        await accepted(writer, "Bulletin", note("lost"))
        await accepted(writer, "Note", note("lost"))
        province.primary.kill()
        province.standby.promote()
        (version,) = await at_last(writer, note("new"))
        with anyio.fail_after(10):
            assert pairs(await available(writer, "Note", STEP, 10)) == [("new", version)]


async def test_a_source_that_came_with_a_lost_status_goes_back_with_it(
    province: Cluster, plain: Settings, tmp_path: Path
) -> None:
    async with open_node(province, plain) as node:
        writer, key = await node.client("S.0982"), await node.key("S.0982")
        async with node.client_with(key) as reader, Replica(tmp_path / "r.db", reader, ["NoteStatus"]) as replica:
            (kept,) = await accepted(writer, "Note", note("a", "before"))
            await until_status_of(replica, kept)
            await until(province.caught_up)
            await cut_off(province.standby)
            (lost,) = await accepted(writer, "Note", note("a", "after", kept))
            await until_status_of(replica, lost)
            province.primary.kill()
            province.standby.promote()
            await until_status_of(replica, kept)
            await replica.in_step()
            source = await replica.get("Note", "a")
            assert source is not None
            assert source.version == kept


async def until_status_of(replica: Replica, version: int) -> None:
    """Return once the replica holds the status that saw this version of record `a`."""
    with anyio.fail_after(30):
        while True:
            await replica.in_step()
            found = await replica.get("NoteStatus", "a")
            if found is not None and found.source_version == version:
                return
            await anyio.sleep(0.02)


async def test_a_promotion_begins_a_history_that_clients_verify(
    province: Cluster, plain: Settings, tmp_path: Path
) -> None:
    async with open_node(province, plain) as node:
        writer, key = await node.client("S.0982"), await node.key("A.3020")
        async with node.client_with(key) as reader, Replica(tmp_path / "r.db", reader, ["Note"]) as replica:
            (kept,) = await accepted(writer, "Note", note("kept", "before"))
            await replica.in_step()
            await until(province.caught_up)
            await cut_off(province.standby)
            (lost,) = await accepted(writer, "Note", note("lost"))
            with anyio.fail_after(20):
                while await replica.get("Note", "lost") is None:
                    await anyio.sleep(0.02)
            province.primary.kill()
            await replica.submit("Note", "lost", {"text": "built upon what is about to be lost"})
            await replica.submit("Note", "kept", {"text": "mine"})
            province.standby.promote()
            (after,) = await at_last(writer, note("after"))
            with anyio.fail_after(30):
                while await replica.get("Note", "after") is None or await replica.get("Note", "lost") is not None:
                    await anyio.sleep(0.02)
                while await replica.waiting():
                    await anyio.sleep(0.02)
            await replica.in_step()
            (rejected,) = await replica.rejected()
            assert (rejected.write.id, [each["code"] for each in rejected.rejections]) == ("lost", [3004])
            mine = await replica.get("Note", "kept")
            assert mine is not None
            assert (mine.version > kept, mine.body) == (True, {"text": "mine"})
        assert after > lost + STEP // 2
        first, second = histories(province)
        assert (second["reason"], second["kept"]) == (
            "promoted on timeline 2",
            {"Note": kept, "NoteStatus": second["kept"]["NoteStatus"]},
        )
        assert kept <= second["kept"]["Note"] < lost
        assert first["epoch"] != second["epoch"]
        assert lost < second["begunAbove"] < after
        assert (await available(writer, "Note", lost))["reason"] == "newer"


async def test_held_requests_end_with_the_history_they_were_asked_in(province: Cluster, plain: Settings) -> None:
    async with open_node(province, plain) as node:
        writer, reader = await node.client("S.0982"), await node.client("A.3020")
        await accepted(writer, "Note", note("a"))
        entry = await available(reader, "Note")
        failures: list[HomeroomError] = []

        async def wait() -> None:
            with pytest.raises(RetryLater, match="history changed") as failure:
                await available(reader, "Note", entry["maxCoreVersion"], wait_seconds=300)
            failures.append(failure.value)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(wait)
                await until_held(node)
                done = await anyio.to_thread.run_sync(
                    lambda: homeroom("epoch", "--begin", "put back to Tuesday", "--database-url", province.url)
                )
                assert "put back to Tuesday" in done.stdout
        assert [failure.code.value for failure in failures] == [2001]
        answer = await reader.is_data_available(
            [{"notificationType": "Note", "maxCoreVersion": entry["maxCoreVersion"]}], 0
        )
        assert answer.types[0]["maxCoreVersion"] > STEP
        assert answer.epoch == histories(province)[-1]["epoch"]


async def test_an_old_primary_that_comes_back_is_fenced(province: Cluster, plain: Settings) -> None:
    async with open_node(province, plain) as node:
        writer = await node.client("S.0982")
        await accepted(writer, "Note", note("a"))
        await until(province.caught_up)
        province.primary.kill()
        province.standby.promote()
        (version,) = await at_last(writer, note("b"))
        province.primary.start()  # as a primary, by itself: nobody has told it
        await until(lambda: province.primary.sql("select fenced from core") != "")
        assert "took over on timeline 2" in province.primary.sql("select fenced from core")
        assert await at_last(writer, note("b", "again", version)) > [version]
        done = homeroom("status", "--database-url", province.primary.url, check=False)
        assert done.returncode == 1
        assert "fenced" in done.stderr
        assert province.primary.sql("select count(*) from record where id = 'b'") == "0"
        province.primary.stop()
        province.primary.follow_again(province.standby)
        province.primary.start()
        await until(lambda: province.primary.sql("select count(*) > 0 from record where id = 'b'") == "t")
    assert [each["reason"] for each in histories(province)] == ["made", "promoted on timeline 2"]


async def test_a_node_that_starts_between_two_primaries_takes_the_newer_one(province: Cluster, plain: Settings) -> None:
    province.primary.kill()
    province.standby.promote()
    province.primary.start()
    async with open_node(province, plain) as node:
        await accepted(await node.client("S.0982"), "Note", note("a"))
    assert province.standby.sql("select count(*) from record where id = 'a'") != "0"
    assert province.primary.sql("select fenced is not null from core") == "t"


async def test_a_database_restored_on_another_server_has_another_history(
    province: Cluster, plain: Settings, folder: Path
) -> None:
    async with open_node(province, plain) as node:
        (version,) = await accepted(await node.client("S.0982"), "Note", note("a"))
    other = Postgres(folder / "three")
    other.init()
    other.start()
    try:
        dump = await anyio.run_process([province.primary.program("pg_dump"), province.primary.url])
        restore: list[str | Path] = [
            province.primary.program("psql"),
            "-X",
            "-q",
            "-d",
            other.url,
            "-v",
            "ON_ERROR_STOP=1",
        ]
        await anyio.run_process(restore, input=dump.stdout)
        async with open_core(other.url, plain) as node:
            writer = await node.client("S.0982")
            (after,) = await accepted(writer, "Note", note("a", "again", version))
            assert after > STEP
    finally:
        other.kill()


async def test_no_primary_is_said_with_what_each_server_is(province: Cluster) -> None:
    province.primary.kill()
    with pytest.raises(database.DatabaseError, match="a standby") as failure:
        await database.connect_to_primary(province.url)
    assert f"127.0.0.1:{province.primary.port}" in str(failure.value)
    assert "postgres@" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("postgresql://u:p@a:1,b:2/d?x=y", ["postgresql://u:p@a:1/d?x=y", "postgresql://u:p@b:2/d?x=y"]),
        ("postgresql://a/d", ["postgresql://a/d"]),
        ("postgresql://postgres:@/postgres?host=/tmp/x", ["postgresql://postgres:@/postgres?host=/tmp/x"]),
        ("postgresql://[::1]:5432,h/d", ["postgresql://[::1]:5432/d", "postgresql://h/d"]),
    ],
)
def test_a_url_of_several_hosts_comes_apart(url: str, each: list[str]) -> None:
    assert urls_of_hosts(url) == each
