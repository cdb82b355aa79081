"""What is gone is forgotten after its retention; who was away for longer still ends up right (protocol 3 and 8)."""

import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest

from homeroom import Client, HomeroomError, MemoryStorage, NotificationType, Replica, version_hash
from homeroom_server import availability, collection
from homeroom_server.settings import Settings
from homeroom_server.store import bulk, hashes, records, streams
from homeroom_server.store import collection as store
from homeroom_server.store.hashes import DigestRow
from homeroom_server.store.streams import Delta, MovedRow
from tests.access import enrol, settled, write_catalogue
from tests.conftest import Core, open_core
from tests.records import accepted, available, note, pairs, record, rejected
from tests.test_access import see
from tests.test_is_data_available import until_held

MAPLE, ELK, PLAIN, FOOTHILLS, MINISTRY = "S.0982", "S.0983", "S.0990", "A.3020", "O.1"
DAYS = 400
WRONG_HASH = "0" * 32


@pytest.fixture
async def access_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with open_core(database_of_test, changed) as core:
        await settled(core.services)
        yield core


async def turn_old(core: Core, days: int = DAYS + 1) -> None:
    """Everything that has been written so far was written so many days ago."""
    async with core.services.pool.acquire() as connection:
        await connection.execute(
            """
            insert into version_mark (marked_at, version)
            select now() - make_interval(days => $1), last_value from core_version
            """,
            days,
        )


async def collect(core: Core) -> None:
    await collection.collect_gone(core.services.reading.primary.pools["usual"], DAYS)


async def turn_old_and_collect(core: Core) -> None:
    await turn_old(core)
    await collect(core)


async def horizon(core: Core, name: str) -> int:
    async with core.services.pool.acquire() as connection:
        found: int = await connection.fetchval(
            "select horizon from notification_type n join record_type r on r.number = n.record_type where r.name = $1",
            name,
        )
    return found


async def gone(core: Core, name: str, code: str = MAPLE) -> list[str]:
    """The ids of the tombstones and revocations in a stream, oldest first."""
    async with core.services.pool.acquire() as connection:
        rows = await connection.fetch(
            """
            select v.id from viewer v join organization o on o.number = v.organization
            join notification_type n on n.number = v.notification_type join record_type r on r.number = n.record_type
            where r.name = $1 and o.code = $2 and v.state <> 'live' order by v.version
            """,
            name,
            code,
        )
    return [row["id"] for row in rows]


async def live(core: Core, name: str, code: str) -> dict[str, int]:
    """What the Core has in a stream: read from the tables."""
    async with core.services.pool.acquire() as connection:
        rows = await connection.fetch(
            """
            select r.id, r.version from record r join record_type t on t.number = r.record_type
            where t.name = $1 and not r.deleted and ($2 = 'O.1' or exists (
                select from viewer v join organization o on o.number = v.organization
                where v.notification_type = r.notification_type and v.id = r.id and o.code = $2 and v.state = 'live'))
            """,
            name,
            code,
        )
    return {row["id"]: row["version"] for row in rows}


async def until_seen(core: Core, version: int) -> None:
    """Return when everyone has been woken for the notes up to a version."""
    with anyio.fail_after(10):
        while core.services.feed.seen(NotificationType("Note")) < version:
            await anyio.lowlevel.checkpoint()


async def delete(client: Client, notification_type: str, *ids: str) -> list[int]:
    """Delete records one after the other; the versions of their tombstones."""
    versions = []
    for record_id in ids:
        (found,) = (await client.get(notification_type, [{"id": record_id}])).records
        tombstone = record(record_id, None, found["coreVersion"], deleted=True)
        versions += await accepted(client, notification_type, tombstone)
    return versions


async def test_an_hour_is_marked_once_however_many_nodes_run(plain_core: Core) -> None:
    connection = await plain_core.connect()
    hour = "select date_trunc('hour', now())"
    counts: list[int] = []
    while not counts:  # again, should an hour end just now
        begun = await connection.fetchval(hour)
        await connection.execute("delete from version_mark")
        await accepted(await plain_core.client(MAPLE), "Note", note(f"at.{begun.timestamp()}"))
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(store.mark_version, await plain_core.connect())
        if begun == await connection.fetchval(hour):
            counts.append(await connection.fetchval("select count(*) from version_mark"))
    assert counts == [1]
    mark = await connection.fetchrow(
        """
        select version, (select last_value from core_version) as counter,
               marked_at - now() between interval '0' and interval '1 hour' as is_the_end_of_this_hour
        from version_mark
        """
    )
    assert mark is not None
    assert mark["version"] <= mark["counter"]
    assert mark["is_the_end_of_this_hour"], "a mark that called its versions older than they are would lose some"
    await connection.execute("update version_mark set marked_at = marked_at - interval '1 hour'")
    await store.mark_version(connection)
    assert await connection.fetchval("select count(*) from version_mark") == 2


async def test_a_mark_speaks_of_what_was_given_out_before_it(plain_core: Core) -> None:
    connection = await plain_core.connect()
    await connection.execute("delete from version_mark")
    await store.mark_version(connection)
    assert await connection.fetchval("select version from version_mark") == 0, "nothing was"
    (version,) = await accepted(await plain_core.client(MAPLE), "Plan.2027", plan())
    await connection.execute("delete from version_mark")
    await store.mark_version(connection)
    assert await connection.fetchval("select version from version_mark") == version


def plan() -> dict[str, Any]:
    return note("6f9c0000-0000-4000-8000-000000000001")


async def test_only_what_is_older_than_the_retention_goes(plain_core: Core) -> None:
    school, ministry = await plain_core.client(MAPLE), await plain_core.client(MINISTRY)
    *_, kept = await accepted(school, "Note", note("a"), note("b"), note("c"))
    (old,) = await delete(school, "Note", "a")
    await turn_old(plain_core, DAYS + 1)
    (young,) = await delete(school, "Note", "b")
    await turn_old(plain_core, DAYS - 1)
    await collect(plain_core)
    assert await gone(plain_core, "Note") == await gone(plain_core, "Note", FOOTHILLS) == ["b"]
    assert await horizon(plain_core, "Note") == old
    delta = await available(school, "Note", old)
    assert (delta["reason"], pairs(delta)) == ("newer", [("b", young)])
    for cursor in (0, old - 1):
        found = await available(school, "Note", cursor)
        assert (found["reason"], pairs(found), found["maxCoreVersion"]) == ("mismatch", [("c", kept)], young)
    assert [await see(c, "Note", "a") for c in (school, ministry)] == ["Unknown", "Normal"]
    assert await horizon(plain_core, "Bulletin") is None, "no type is collected that has nothing to collect"


async def test_a_live_record_stays_however_old_it_is(plain_core: Core) -> None:
    school = await plain_core.client(MAPLE)
    versions = await accepted(school, "Note", note("a"), note("b"))
    await turn_old_and_collect(plain_core)
    assert pairs(await available(school, "Note")) == list(zip("ab", versions, strict=True))
    assert await horizon(plain_core, "Note") == 0


async def test_marks_older_than_the_one_of_the_retention_are_forgotten(plain_core: Core) -> None:
    connection = await plain_core.connect()
    for days in (900, 500, DAYS + 1, DAYS - 1, 7):
        await turn_old(plain_core, days)
    await collect(plain_core)
    ages = await connection.fetch(
        "select extract(day from now() - marked_at)::int as days from version_mark where marked_at < now() order by 1"
    )
    assert [age["days"] for age in ages] == [7, DAYS - 1, DAYS + 1]


async def test_the_oldest_go_first_so_many_at_once_and_the_horizon_with_them(
    access_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await access_core.client(MAPLE)
    ids = [f"n{i}" for i in range(5)]
    await accepted(school, "Note", *(note(i) for i in ids))
    tombstones = await delete(school, "Note", *reversed(ids))
    await turn_old(access_core)
    remove_gone = store.remove_gone
    seen: list[tuple[int, list[str], int]] = []

    async def removed(*arguments: Any) -> int:
        """Looks from outside before the commit; what it says then is what the last commit left."""
        count = await remove_gone(*arguments)
        seen.append((count, await gone(access_core, "Note"), await horizon(access_core, "Note")))
        return count

    monkeypatch.setattr(store, "remove_gone", removed)
    monkeypatch.setattr(collection, "_ROWS_AT_ONCE_MAX", 4)  # of ten: each is in two streams
    await collect(access_core)
    assert seen == [(4, ids[::-1], 0), (4, ids[2::-1], tombstones[1]), (2, ids[0:1], tombstones[3])]
    assert (await gone(access_core, "Note"), await horizon(access_core, "Note")) == ([], tombstones[-1])


async def test_the_horizon_never_falls(access_core: Core) -> None:
    school = await access_core.client(MAPLE)
    (until,) = await accepted(school, "Note", note("a"))
    await delete(school, "Note", "a")
    connection = await access_core.connect()
    await connection.execute("update notification_type set horizon = watermark + 5 where watermark > $1", until)
    before = await horizon(access_core, "Note")
    await turn_old_and_collect(access_core)
    assert (await gone(access_core, "Note"), await horizon(access_core, "Note")) == ([], before)


async def test_a_collection_waits_for_the_writer_who_has_the_type(plain_core: Core) -> None:
    school = await plain_core.client(MAPLE)
    await accepted(school, "Note", note("a"))
    await delete(school, "Note", "a")
    await turn_old(plain_core)
    writer, other = await plain_core.connect(), await plain_core.connect()
    number = await other.fetchval("select number from notification_type where watermark > 0 order by 1 limit 1")
    async with anyio.create_task_group() as tasks, writer.transaction():
        await records.lock_type(writer, number)
        tasks.start_soon(collect, plain_core)
        with anyio.fail_after(5):
            while not await other.fetchval("select count(*) from pg_locks where not granted"):
                await anyio.sleep(0.01)
        assert await gone(plain_core, "Note") == ["a"]
    assert await gone(plain_core, "Note") == []


async def test_nodes_that_collect_at_once_do_each_others_work(
    access_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await access_core.client(MAPLE)
    await accepted(school, "Note", *(note(f"n{i}") for i in range(9)))
    *_, last = await delete(school, "Note", *(f"n{i}" for i in range(9)))
    await turn_old(access_core)
    remove_gone = store.remove_gone
    counts: list[int] = []

    async def removed(*arguments: Any) -> int:
        counts.append(await remove_gone(*arguments))
        return counts[-1]

    monkeypatch.setattr(store, "remove_gone", removed)
    monkeypatch.setattr(collection, "_ROWS_AT_ONCE_MAX", 2)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(collect, access_core)
    assert sum(counts) == 18
    assert (await gone(access_core, "Note"), await horizon(access_core, "Note")) == ([], last)


async def test_a_node_collects_by_itself(database_of_test: str, settings: Settings, any_catalogue: str) -> None:
    running = replace(settings, catalogue=any_catalogue, retention_days=DAYS)
    async with open_core(database_of_test, running) as core:
        school = await core.client(MAPLE)
        await accepted(school, "Note", note("a"))
        await delete(school, "Note", "a")
        await school.submit("Note", [note("b")], idempotency_key=uuid4())
        connection = await core.connect()
        await connection.execute("update idempotent_call set called_at = now() - interval '31 days'")
        await settled(core.services)
        await turn_old(core)
    async with open_core(database_of_test, running) as core:
        connection = await core.connect()
        with anyio.fail_after(10):
            while await connection.fetchval("select count(*) from idempotent_call"):
                await anyio.sleep(0.01)
        assert await gone(core, "Note") == await gone(core, "NoteStatus") == []


async def test_the_hash_stays_what_it_was(plain_core: Core) -> None:
    school, authority = await plain_core.client(MAPLE), await plain_core.client(FOOTHILLS)
    a, b = await accepted(school, "Note", note("a"), note("b"))
    assert (await available(school, "Note", b, versionHash=version_hash([a, b])))["reason"] == "none"
    (cursor,) = await delete(school, "Note", "a")
    for clients in ([authority], [authority, school]):  # the school's highest version is again what it was at first
        for client in clients:
            assert (await available(client, "Note", cursor, versionHash=version_hash([b])))["reason"] == "none"
            wrong = await available(client, "Note", cursor, versionHash=WRONG_HASH)
            assert (wrong["reason"], pairs(wrong)) == ("mismatch", [("b", b)])
        await turn_old_and_collect(plain_core)


async def test_a_hash_that_is_read_after_a_collection_is_judged_all_the_same(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await plain_core.client(MAPLE)
    await accepted(school, "Note", note("a"), note("b"))
    (cursor,) = await delete(school, "Note", "a")
    await until_seen(plain_core, cursor)
    read_digest = hashes.read_digest

    async def late(*arguments: Any) -> DigestRow:
        await turn_old_and_collect(plain_core)
        return await read_digest(*arguments)

    monkeypatch.setattr(hashes, "read_digest", late)
    with anyio.fail_after(10):
        found = await available(school, "Note", cursor, 300, versionHash=WRONG_HASH)
    assert found["reason"] == "mismatch"


async def test_a_long_delta_read_after_a_collection_leaves_out_no_deletion(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await plain_core.client(MAPLE)
    (cursor, *_) = await accepted(school, "Note", *(note(f"n{i}") for i in range(6)))
    await delete(school, "Note", "n0")
    read_deltas = streams.read_deltas
    reads: list[Delta] = []

    async def late(*arguments: Any) -> list[Delta]:
        if reads:
            await turn_old_and_collect(plain_core)
        found = await read_deltas(*arguments)
        reads.extend(found)
        return found

    monkeypatch.setattr(availability, "_FIRST_LOOK", 2)
    monkeypatch.setattr(streams, "read_deltas", late)
    found = await available(school, "Note", cursor)
    assert len(reads) == 2
    assert (found["reason"], [i for i, _ in pairs(found)]) == ("mismatch", [f"n{i}" for i in range(1, 6)])


async def test_a_held_request_is_told_of_what_was_collected_before_its_node_looked(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that slept through the retention, as far as a stream can: the tombstone goes before it is announced."""
    school, authority = await plain_core.client(MAPLE), await plain_core.client(FOOTHILLS)
    a, b = await accepted(school, "Note", note("a"), note("b"))
    await until_seen(plain_core, b)
    read_moved = streams.read_moved
    answers = []

    async def late(*arguments: Any) -> list[MovedRow]:
        await turn_old_and_collect(plain_core)
        return await read_moved(*arguments)

    async def hold() -> None:
        answers.append(await available(school, "Note", b, 300))
        answers.append(await available(school, "Note", answers[0]["maxCoreVersion"], 300))

    monkeypatch.setattr(streams, "read_moved", late)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            await accepted(authority, "Note", record("a", None, a, deleted=True))
    assert [(answer["reason"], pairs(answer)) for answer in answers] == [("none", []), ("mismatch", [("b", b)])]


async def test_a_held_request_that_has_seen_what_was_collected_goes_on_with_the_delta(plain_core: Core) -> None:
    school, other = await plain_core.client(MAPLE), await plain_core.client(PLAIN)
    (a,) = await accepted(school, "Note", note("a"))
    answers = []

    async def hold() -> None:
        answers.append(await available(school, "Note", a, 300))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            await accepted(other, "Note", note("theirs"))
            (gone,) = await delete(other, "Note", "theirs")
            await until_seen(plain_core, gone)
            await turn_old_and_collect(plain_core)
            (b,) = await accepted(school, "Note", note("b"))
    assert (answers[0]["reason"], pairs(answers[0])) == ("newer", [("b", b)])
    assert answers[0]["maxCoreVersion"] == b


async def test_a_snapshot_of_a_window_below_the_horizon_starts_over(plain_core: Core) -> None:
    school = await plain_core.client(MAPLE)
    *_, until = await accepted(school, "Note", note("a"), note("b"))
    (bookmark,) = await delete(school, "Note", "a")
    await turn_old_and_collect(plain_core)
    with pytest.raises(HomeroomError) as failure:
        _ = [line async for line in school.snapshot("Note", after=0, until=until)]
    assert failure.value.code == 2003
    lines = [line async for line in school.snapshot("Note")]
    assert ([line.get("id") for line in lines], lines[-1]) == ([None, "b", None], {"bookmark": bookmark})


async def test_a_snapshot_whose_window_falls_below_the_horizon_is_cut(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await plain_core.client(MAPLE)
    await accepted(school, "Note", note("a"), note("b"))
    read_page = bulk.read_page

    async def late(*arguments: Any) -> bulk.Page:
        await delete(school, "Note", "a")
        await turn_old_and_collect(plain_core)
        return await read_page(*arguments)

    monkeypatch.setattr(bulk, "read_page", late)
    lines = [line async for line in school.snapshot("Note")]
    assert [list(line) for line in lines] == [["until", "epoch"]], "no bookmark: it was cut"


async def test_a_replica_away_for_longer_than_the_retention_ends_up_right(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    await accepted(maple, "Student", *(record(f"s{i}", {}) for i in range(4)))
    enrolled = [await enrol(plain, f"e{i}", f"s{i}", "0990") for i in range(4)]
    await accepted(maple, "Document", *(record(f"d{i}", {"studentId": f"s{i}"}) for i in range(4)))
    await settled(access_core.services)
    storage = MemoryStorage()
    async with Replica(storage, plain, ["Document", "StudentStatus"], follow=False) as replica:
        await replica.sync()
        assert len(dict(storage.live("Document"))) == len(dict(storage.live("Student"))) == 4
        cursor = {summary.kind.name: summary.state.cursor for summary in await replica.status()}["Document"]
        await delete(maple, "Document", "d0")
        await enrol(plain, "e1", "s1", "0990", enrolled[1], exit="2021-06-30")
        await settled(access_core.services)
        assert [await see(plain, kind, "s1") for kind in ("Student", "StudentStatus")] == ["NoAccess"] * 2
        await turn_old_and_collect(access_core)
        assert [await see(plain, kind, "s1") for kind in ("Student", "StudentStatus")] == ["Unknown"] * 2
        assert await see(plain, "Document", "d1") == "Unknown"
        assert (await available(plain, "Document", cursor))["reason"] == "mismatch"
        await replica.sync()
        for kind, count in (("Document", 2), ("StudentStatus", 3), ("Student", 3)):
            assert dict(storage.live(kind)) == await live(access_core, kind, PLAIN)
            assert len(dict(storage.live(kind))) == count


async def test_what_is_undeleted_after_its_tombstone_went_comes_to_everyone_it_should(access_core: Core) -> None:
    maple, elk, plain, foothills = [await access_core.client(code) for code in (MAPLE, ELK, PLAIN, FOOTHILLS)]
    await accepted(maple, "Student", record("s1", {}))
    await enrol(maple, "e1", "s1", "0982")
    left = await enrol(plain, "e2", "s1", "0990")
    await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await accepted(maple, "Note", record("n1", {}))
    await settled(access_core.services)
    for kind, record_id in (("Note", "n1"), ("Document", "d1"), ("Student", "s1")):
        await delete(maple, kind, record_id)
    await settled(access_core.services)
    await enrol(plain, "e2", "s1", "0990", left, exit="2021-06-30")
    await enrol(elk, "e3", "s1", "0983")
    await settled(access_core.services)
    await turn_old_and_collect(access_core)
    everyone = (maple, foothills, plain, elk)
    for kind in ("Note", "Document", "DocumentStatus", "Student", "StudentStatus"):
        assert await gone(access_core, kind) == []
        assert {await see(c, kind, f"{kind[0].lower()}1") for c in everyone} == {"Unknown"}
    cursors = {kind: (await available(maple, kind))["maxCoreVersion"] for kind in ("Note", "Document", "Student")}
    await accepted(maple, "Note", record("n1", {"back": True}))
    assert [await see(c, "Note", "n1") for c in everyone] == ["Normal", "Normal", "Unknown", "Unknown"]
    assert await rejected(plain, "Student", record("s1", {"back": True})) == [9020]
    await accepted(maple, "Student", record("s1", {"back": True}))
    await accepted(maple, "Document", record("d1", {"studentId": "s1", "back": True}))
    await settled(access_core.services)
    for kind in ("Document", "DocumentStatus", "Student", "StudentStatus"):
        seen = [await see(c, kind, f"{kind[0].lower()}1") for c in everyone]
        assert seen == ["Normal", "Normal", "Unknown", "Normal"], kind
    for kind, cursor in cursors.items():
        assert [i for i, _ in pairs(await available(maple, kind, cursor))] == [f"{kind[0].lower()}1"]


@pytest.mark.parametrize("seed", range(3))
async def test_whenever_it_is_collected_replicas_hold_exactly_their_streams(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(collection, "_ROWS_AT_ONCE_MAX", 3)
    chance = random.Random(seed)
    schools = [await plain_core.client(code) for code in (MAPLE, ELK)]
    stands: dict[str, int] = {}
    deleted: set[str] = set()
    storages = {code: MemoryStorage() for code in (MAPLE, FOOTHILLS, MINISTRY)}

    async def change() -> None:
        number = chance.randrange(12)
        name, school = f"n{number}", schools[number % 2]
        if name in stands and name not in deleted and chance.random() < 0.5:
            await accepted(school, "Note", record(name, None, stands[name], deleted=True))
            deleted.add(name)
        else:
            version = 0 if name in deleted else stands.get(name, 0)
            (stands[name],) = await accepted(school, "Note", note(name, str(chance.random()), version))
            deleted.discard(name)

    async with anyio.create_task_group() as tasks:
        replicas = [
            Replica(storages[code], await plain_core.client(code), ["NoteStatus", "Note"], follow=False)
            for code in storages
        ]
        for replica in replicas:
            await replica.__aenter__()
        for _ in range(60):
            match chance.random():
                case p if p < 0.1:
                    await settled(plain_core.services)  # no status lags behind for as long as the retention
                    await turn_old(plain_core)
                    tasks.start_soon(collect, plain_core)
                case p if p < 0.25:
                    await chance.choice(replicas).sync()
                case _:
                    await change()
    await settled(plain_core.services)
    await turn_old_and_collect(plain_core)
    for replica, (code, storage) in zip(replicas, storages.items(), strict=True):
        await replica.sync()
        for name in ("Note", "NoteStatus"):
            assert dict(storage.live(name)) == await live(plain_core, name, code)
        await replica.__aexit__(None, None, None)
    assert await horizon(plain_core, "Note") > 0
