"""Version hashes of streams that are kept in memory, through the front door (protocol 4)."""

import random
import tracemalloc
from collections import Counter
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from homeroom import Client, NotificationType, version_hash
from homeroom_server.availability import Entry, Finding
from homeroom_server.hashes import hashing
from homeroom_server.hashes.hashing import Digest
from homeroom_server.store import hashes
from tests.conftest import Core
from tests.records import accepted, available, note, pairs, record
from tests.test_collection import turn_old_and_collect, until_seen
from tests.test_is_data_available import until_held

MAPLE, FOOTHILLS, MINISTRY = "S.0982", "A.3020", "O.1"
WRONG_HASH = "0" * 32


@pytest.fixture(autouse=True)
def every_stream_may_be_hot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashing, "_HOT_RECORDS_MIN", 1)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each statement ran."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> None:
        read = getattr(hashes, name)

        async def count_and_read(*arguments: Any) -> Any:
            counts[name] += 1
            return await read(*arguments)

        monkeypatch.setattr(hashes, name, count_and_read)

    for name in ("read_digest", "read_versions", "read_changes"):
        counted(name)
    return counts


async def live(core: Core, viewer: str | None) -> list[int]:
    """The versions of the live notes that an organisation sees; None: all."""
    async with core.services.pool.acquire() as connection:
        versions: list[int] = await connection.fetchval(
            """
            select coalesce(array_agg(r.version), '{}') from record r join record_type t on t.number = r.record_type
            where t.name = 'Note' and not r.deleted and ($1::text is null or exists (
                select from viewer v join organization o on o.number = v.organization
                where v.notification_type = r.notification_type and v.id = r.id and o.code = $1 and v.state = 'live'))
            """,
            viewer,
        )
    return versions


async def agrees(core: Core, client: Client, viewer: str | None, cursor: int) -> bool:
    hashed = version_hash(await live(core, viewer))
    return (await available(client, "Note", cursor, versionHash=hashed))["reason"] == "none"


async def heated(core: Core, client: Client, count: int = 8) -> tuple[dict[str, int], int]:
    """A stream of notes that is hot: their versions by id, and the cursor."""
    ids = [f"n{i}" for i in range(count)]
    versions = dict(zip(ids, await accepted(client, "Note", *map(note, ids)), strict=True))
    for text in ("cold", "hot"):
        (cursor,) = await accepted(client, "Note", note("n0", text, versions["n0"]))
        versions["n0"] = cursor
        assert await agrees(core, client, MAPLE, cursor)
    return versions, cursor


# Its status has the same id.
NUMBER_OF_NOTES = """
    select n.number from notification_type n join record_type r on r.number = n.record_type where r.name = 'Note'
"""


async def stream_of(core: Core) -> tuple[int, int]:
    connection = await core.connect()
    return (
        await connection.fetchval(NUMBER_OF_NOTES),
        await connection.fetchval("select number from organization where code = $1", MAPLE),
    )


async def entry(core: Core, cursor: int, versions: list[int] | None, viewer: str = MAPLE) -> Entry:
    connection = await core.connect()
    number = await connection.fetchval("select number from organization where code = $1", viewer)
    hashed = WRONG_HASH if versions is None else version_hash(versions)
    return Entry(NotificationType("Note"), number, cursor, hashed, None)


@pytest.mark.parametrize("seed", range(3))
async def test_it_stays_right_under_random_changes(plain_core: Core, reads: Counter[str], seed: int) -> None:
    chance = random.Random(seed)
    school = await plain_core.client(MAPLE)
    viewers = {MAPLE: school, FOOTHILLS: await plain_core.client(FOOTHILLS), None: await plain_core.client(MINISTRY)}
    versions: dict[str, int] = {}
    for _ in range(12):
        ids = chance.sample([f"n{i}" for i in range(40)], chance.randint(1, 20))
        changes = [
            record(i, None, versions[i], deleted=True)
            if i in versions and chance.random() < 0.3
            else note(i, str(chance.random()), versions.get(i, 0))
            for i in ids
        ]
        answer = await school.submit("Note", changes)  # to delete what is deleted changes nothing, and is refused
        versions |= {result["id"]: result["coreVersion"] for result in answer.results if result["coreVersion"]}
        cursor = max(versions.values())
        for viewer, client in viewers.items():
            assert await agrees(plain_core, client, viewer, cursor)
        wrong = await available(school, "Note", cursor, versionHash=WRONG_HASH)
        assert sorted(v for _, v in pairs(wrong)) == sorted(await live(plain_core, MAPLE))
    assert reads["read_versions"] == 3
    assert reads["read_changes"] >= 3 * 8


async def test_a_revocation_takes_a_record_out(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    _, cursor = await heated(plain_core, school)
    connection = await plain_core.connect()
    revoked: int = await connection.fetchval(
        """
        with revoked as (
            update viewer v set state = 'revoked', version = nextval('core_version') from organization o
            where o.number = v.organization and o.code = $1 and v.id = 'n3' and v.notification_type = $3
            returning v.version
        ), moved as (
            update notification_type set watermark = (select version from revoked) where number = $3 and watermark = $2
        )
        select version from revoked
        """,
        MAPLE,
        cursor,
        (await stream_of(plain_core))[0],
    )
    assert await agrees(plain_core, school, MAPLE, revoked)
    assert reads["read_changes"] == 1


async def test_a_horizon_above_what_is_hot_loads_it_anew(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    versions, _ = await heated(plain_core, school)
    (cursor,) = await accepted(school, "Note", record("n4", None, versions["n4"], deleted=True))
    await turn_old_and_collect(plain_core)
    (last,) = await accepted(school, "Note", note("n5", "later", versions["n5"]))
    assert last > cursor
    assert await agrees(plain_core, school, MAPLE, last)
    assert reads["read_versions"] == 2


async def test_a_collection_of_what_is_known_to_be_gone_costs_nothing(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    versions, _ = await heated(plain_core, school)
    (cursor,) = await accepted(school, "Note", record("n4", None, versions["n4"], deleted=True))
    assert await agrees(plain_core, school, MAPLE, cursor)
    before = Counter(reads)
    await turn_old_and_collect(plain_core)
    assert await agrees(plain_core, school, MAPLE, cursor)
    assert reads == before


async def test_a_stream_is_hashed_once_however_many_ask(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    versions, _ = await heated(plain_core, school)
    for text in ("one", "two"):
        reads.clear()
        (cursor,) = await accepted(school, "Note", note("n1", text, versions["n1"]))
        versions["n1"] = cursor
        question = (await entry(plain_core, cursor, list(versions.values())),)
        found: list[Finding] = []

        async def ask(patience: float, question: tuple[Entry] = question, found: list[Finding] = found) -> None:
            found.append(await plain_core.services.availability.look(question, patience))  # none shares a look

        async with anyio.create_task_group() as tasks:
            for patience in range(50, 100):
                tasks.start_soon(ask, float(patience))
        assert [(f.has_news, list(f.unjudged)) for f in found] == [(False, [])] * 50
        assert reads == {"read_changes": 1}


async def test_who_asks_about_a_later_version_gets_no_earlier_hash(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A computation that read before a change lands after it."""
    school = await plain_core.client(MAPLE)
    versions, _ = await heated(plain_core, school)
    read_changes = hashes.read_changes
    read, go_on = anyio.Event(), anyio.Event()

    async def slow(*arguments: Any) -> Any:
        changes = await read_changes(*arguments)
        read.set()
        await go_on.wait()
        return changes

    async def look(cursor: int, found: list[Finding]) -> None:
        question = await entry(plain_core, cursor, list(versions.values()))
        found.append(await plain_core.services.availability.look((question,)))

    monkeypatch.setattr(hashes, "read_changes", slow)
    earlier: list[Finding] = []
    later: list[Finding] = []
    async with anyio.create_task_group() as tasks:
        (versions["n1"],) = await accepted(school, "Note", note("n1", "one", versions["n1"]))
        tasks.start_soon(look, versions["n1"], earlier)
        await read.wait()
        (versions["n2"],) = await accepted(school, "Note", note("n2", "two", versions["n2"]))
        tasks.start_soon(look, versions["n2"], later)
        await until_seen(plain_core, versions["n2"])
        go_on.set()
    assert not later[0].has_news


@pytest.mark.parametrize("wait_seconds", [0, 300])
async def test_nothing_is_said_of_a_hash_that_a_change_outran(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch, wait_seconds: int
) -> None:
    """Else who asks at once takes the silence for the proof that its hash agrees."""
    school = await plain_core.client(MAPLE)
    versions = await accepted(school, "Note", note("a"), note("b"))
    read_digest = hashes.read_digest
    later: list[int] = []

    async def late(*arguments: Any) -> Any:
        later.extend(await accepted(school, "Note", note("c")) if not later else [])
        return await read_digest(*arguments)

    monkeypatch.setattr(hashes, "read_digest", late)
    with anyio.fail_after(10):
        found = await available(school, "Note", versions[-1], wait_seconds, versionHash=WRONG_HASH)
    assert (found["reason"], pairs(found)) == ("newer", [("c", later[0])])


async def test_a_mismatch_is_said_on_postgresqls_word_alone(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    versions, cursor = await heated(plain_core, school)
    stream = await stream_of(plain_core)
    hot = plain_core.services.hashes._hashing._hot.get(stream)
    assert hot is not None
    hot.ascending[0] = 1  # memory is wrong
    (cursor,) = await accepted(school, "Note", note("n7", "later", versions["n7"]))
    assert await agrees(plain_core, school, MAPLE, cursor)
    assert plain_core.services.hashes._hashing._hot.get(stream) is None
    assert reads["read_digest"] == 2
    wrong = await available(school, "Note", cursor, versionHash=WRONG_HASH)
    assert wrong["reason"] == "mismatch"
    assert reads["read_digest"] == 2


async def test_a_wrong_hash_leaves_a_right_stream_hot(plain_core: Core, reads: Counter[str]) -> None:
    school = await plain_core.client(MAPLE)
    versions, _ = await heated(plain_core, school)
    for i in range(3):
        (cursor,) = await accepted(school, "Note", note("n7", str(i), versions["n7"]))
        versions["n7"] = cursor
        assert (await available(school, "Note", cursor, versionHash=WRONG_HASH))["reason"] == "mismatch"
        assert await agrees(plain_core, school, MAPLE, cursor)
    assert reads == {"read_digest": 1 + 3, "read_versions": 1, "read_changes": 3}


async def test_another_history_is_not_judged_by_what_was_known(plain_core: Core) -> None:
    school = await plain_core.client(MAPLE)
    versions, cursor = await heated(plain_core, school)
    connection = await plain_core.connect()
    await connection.execute("update core set epoch = gen_random_uuid()")
    await connection.execute("update record set deleted = true where id = 'n3'")  # no version says so
    await connection.execute("update viewer set state = 'deleted' where id = 'n3'")
    before = version_hash(versions.values())
    assert (await available(school, "Note", cursor, versionHash=before))["reason"] == "mismatch"
    assert await agrees(plain_core, school, MAPLE, cursor)


async def test_a_large_stream_is_put_off_and_judged_while_the_request_is_held(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_LARGE_RECORDS_MIN", 4)
    school = await plain_core.client(MAPLE)
    versions = await accepted(school, "Note", *(note(f"n{i}") for i in range(4)))
    answers = []

    async def hold(version_hash: str) -> None:
        answers.append(await available(school, "Note", versions[-1], 300, versionHash=version_hash))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            async with plain_core.services.bulk_pool.acquire():  # large streams have no other connection
                tasks.start_soon(hold, version_hash(versions))
                tasks.start_soon(hold, WRONG_HASH)
                await until_held(plain_core, 2)
                assert (await available(school, "Note", 0))["reason"] == "newer"  # nothing else waits for it
                assert not answers
            await until_held(plain_core, 1)
            while not answers:
                await anyio.lowlevel.checkpoint()
            assert (answers[0]["reason"], answers[0]["maxCoreVersion"]) == ("none", versions[-1])
            again = await available(school, "Note", versions[-1], 300, versionHash=WRONG_HASH)
            assert again["reason"] == "mismatch"
            assert plain_core.services.waiters.held == 1
            tasks.cancel_scope.cancel()


async def test_who_does_not_want_to_wait_is_judged_at_once_however_large(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_LARGE_RECORDS_MIN", 4)
    school = await plain_core.client(MAPLE)
    versions = await accepted(school, "Note", *(note(f"n{i}") for i in range(4)))
    assert (await available(school, "Note", versions[-1], versionHash=WRONG_HASH))["reason"] == "mismatch"


async def test_a_stream_that_is_there_does_not_wait_for_one_that_is_not(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashing, "_LARGE_RECORDS_MIN", 4)
    school = await plain_core.client(MAPLE)
    notes = await accepted(school, "Note", *(note(f"n{i}") for i in range(4)))
    (bulletin,) = await accepted(school, "Bulletin", note("b"))
    large = await entry(plain_core, notes[-1], None)
    small = Entry(NotificationType("Bulletin"), None, bulletin, WRONG_HASH, None)
    async with plain_core.services.bulk_pool.acquire():
        finding = await plain_core.services.availability.look((large, small), 2.0)
    assert [part.reason for part in finding.parts] == ["none", "mismatch"]
    assert len(finding.unjudged) == 1


async def test_a_failure_reaches_who_waits_and_wakes_who_was_put_off(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await plain_core.client(MAPLE)
    (cursor,) = await accepted(school, "Note", note("n0"))
    availability = plain_core.services.availability
    question = await entry(plain_core, cursor, [cursor])
    fail, woken = anyio.Event(), anyio.Event()

    async def failing(*arguments: Any) -> Any:
        await fail.wait()
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(hashes, "read_digest", failing)
        finding = await availability.look((question,), 0.05)
        availability.judge_later(finding.unjudged.values(), woken.set)
        fail.set()
        with anyio.fail_after(10):
            await woken.wait()
        with pytest.raises(TimeoutError):
            await availability.look((question,))
    assert not (await availability.look((question,))).has_news


async def test_a_stream_that_was_once_asked_for_takes_under_250_bytes(plain_core: Core) -> None:
    kept = plain_core.services.hashes
    organizations = list(range(1000, 4000))
    tracemalloc.start()
    for type_number in range(10):
        for viewer in organizations:
            kept._keep((type_number, viewer), Digest("e", 10**6 + viewer, 10**6, 7, bytes([type_number]) * 16, True), 0)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken / 30_000 < 250
