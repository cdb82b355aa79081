"""Protocol 5, through the front door."""

from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
import pytest

from homeroom import Client
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import Json, accepted, note, record


async def test_items_are_answered_in_order(plain_core: Core) -> None:
    school, other = await plain_core.client("S.0982"), await plain_core.client("S.0990")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    await accepted(other, "Note", note("theirs"))
    asked: list[Json] = [{"id": "b", "expectedVersion": b}, {"id": "theirs"}, {"id": "none"}, {"id": "a"}]
    answer = await school.get("Note", asked)
    assert [(r["id"], r["availability"]) for r in answer.records] == [
        ("b", "Normal"),
        ("theirs", "Unknown"),
        ("none", "Unknown"),
        ("a", "Normal"),
    ]
    assert answer.stopped_at is None
    assert answer.records[3]["coreVersion"] == a


async def test_a_different_version_stops_the_call(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b, _ = await accepted(school, "Note", note("a"), note("b"), note("c"))
    await accepted(school, "Note", note("b", "moved", b))
    asked: list[Json] = [{"id": "a", "expectedVersion": a}, {"id": "b", "expectedVersion": b}, {"id": "c"}]
    answer = await school.get("Note", asked)
    assert ([r["id"] for r in answer.records], answer.stopped_at) == (["a"], 1)
    answer = await school.get("Note", [{"id": "b", "expectedVersion": 0}, {"id": "c"}])
    assert (len(answer.records), answer.stopped_at) == (2, None)


async def test_a_version_not_seen_yet_is_waited_for(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Bulletin", note("a"))
    answers = []

    async def ask() -> None:
        answers.append(await school.get("Bulletin", [{"id": "a", "expectedVersion": a + 2}]))

    reach, waiting = plain_core.services.feed.reach, anyio.Event()

    async def say_and_reach(*arguments: Any) -> None:
        waiting.set()
        await reach(*arguments)

    monkeypatch.setattr(plain_core.services.feed, "reach", say_and_reach)
    connection = await plain_core.connect()
    await connection.execute("select nextval('core_version')")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await waiting.wait()
        assert await accepted(school, "Bulletin", note("a", "new", a)) == [a + 2]
    assert answers[0].records[0]["coreVersion"] == a + 2


async def test_a_version_that_never_comes_stops_the_call_after_a_while(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    async with open_core(database_of_test, replace(settings, catalogue=any_catalogue, catch_up_seconds=0.2)) as core:
        school = await core.client("S.0982")
        (a,) = await accepted(school, "Note", note("a"))
        begun = anyio.current_time()
        answer = await school.get(
            "Note", [{"id": "none", "expectedVersion": a + 9}, {"id": "a", "expectedVersion": 99}]
        )
        assert 0.15 < anyio.current_time() - begun < 3
        assert ([r["availability"] for r in answer.records], answer.stopped_at) == (["Unknown"], 1)


async def test_changed_at_moves_with_the_body(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    first = (await school.get("Note", [{"id": "a"}])).records[0]["changedAt"]
    await accepted(school, "Note", note("a", "new", a))
    second = (await school.get("Note", [{"id": "a"}])).records[0]["changedAt"]
    assert first < second
    assert len(second) == len("2026-11-22T04:10:24.123Z")
    assert second.endswith("Z")


async def test_the_ministry_and_public_types_need_no_viewer_rows(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    await accepted(school, "Note", note("a"))
    await accepted(school, "Bulletin", note("b"))
    ministry, stranger = await plain_core.client("O.1"), await plain_core.client("S.0990")
    assert (await ministry.get("Note", [{"id": "a"}])).records[0]["availability"] == "Normal"
    assert (await stranger.get("Bulletin", [{"id": "b"}])).records[0]["availability"] == "Normal"


async def test_a_type_nobody_wrote_holds_nothing(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    answer = await school.get("Plan.2031", [{"id": str(uuid4())}])
    assert answer.records[0]["availability"] == "Unknown"


async def test_an_authority_acts_for_its_schools_and_no_others(plain_core: Core) -> None:
    await accepted(await plain_core.client("S.0983"), "Note", note("a"))
    key = await plain_core.key("A.3020")
    async with plain_core.client_with(key, "S.0983") as elk, plain_core.client_with(key, "S.0982") as maple:
        assert (await elk.get("Note", [{"id": "a"}])).records[0]["availability"] == "Normal"
        assert (await maple.get("Note", [{"id": "a"}])).records[0]["availability"] == "Unknown"
        await accepted(elk, "Note", record("b", {}))


class TestHerds:
    async def test_those_who_ask_the_same_with_the_same_eyes_share_one_read(self, plain_core: Core) -> None:
        school, colleague = await plain_core.client("S.0982"), await plain_core.client("S.0982")
        stranger = await plain_core.client("S.0990")
        await accepted(school, "Note", note("a"))
        seen: dict[str, list[str]] = {"school": [], "stranger": []}

        async def ask(client: Client, who: str) -> None:
            seen[who].append((await client.get("Note", [{"id": "a"}])).records[0]["availability"])

        pool = plain_core.services.reading.primary.pools["usual"]
        async with anyio.create_task_group() as tasks, AsyncExitStack() as busy:
            for _ in range(pool.get_max_size()):
                await busy.enter_async_context(pool.acquire())
            for _ in range(10):
                tasks.start_soon(ask, school, "school")
                tasks.start_soon(ask, colleague, "school")
                tasks.start_soon(ask, stranger, "stranger")
            await anyio.wait_all_tasks_blocked()
            reads = [key for key in plain_core.services.flights._boarding if isinstance(key, tuple) and "get" in key]
            assert len(reads) == 2
        assert seen == {"school": ["Normal"] * 20, "stranger": ["Unknown"] * 10}

    async def test_a_read_that_has_begun_is_not_joined(self, plain_core: Core) -> None:
        school = await plain_core.client("S.0982")
        await accepted(school, "Bulletin", note("a"))
        blocker, watcher = await plain_core.connect(), await plain_core.connect()

        async def blocked(count: int) -> None:
            waiting = "select count(*) from pg_locks where relation = 'record'::regclass and not granted"
            while await watcher.fetchval(waiting) != count:
                await anyio.sleep(0.01)

        async with anyio.create_task_group() as tasks, blocker.transaction():
            await blocker.execute("lock table record")
            with anyio.fail_after(5):
                for reads in (1, 2):
                    tasks.start_soon(school.get, "Bulletin", [{"id": "a"}])
                    await blocked(reads)
