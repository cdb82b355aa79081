"""Protocol 3 and 4, through the front door; held the ordinary way, and parked."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import httpx
import pytest

from homeroom import HomeroomError, NotificationType, version_hash
from homeroom_server import availability, feed, operations
from homeroom_server.availability import Entry, Finding
from homeroom_server.held import waiters
from homeroom_server.held.answer import Answer
from homeroom_server.held.news import News
from homeroom_server.held.waiters import Held
from homeroom_server.settings import Settings
from homeroom_server.store import hashes
from tests.conftest import Core, open_core
from tests.records import accepted, available, note, pairs, record, versions_of

WRONG_HASH = "0" * 32


@pytest.fixture(params=["ordinary", "parked"])
async def plain_core(
    request: pytest.FixtureRequest, database_of_test: str, settings: Settings, any_catalogue: str
) -> AsyncIterator[Core]:
    """As everywhere else, in both ways in which a request can be held."""
    async with open_core(database_of_test, replace(settings, catalogue=any_catalogue)) as core:
        if request.param == "ordinary":
            yield core
        else:
            async with core.served():
                yield core


async def until_held(core: Core, count: int = 1) -> None:
    """Return once that many requests are held."""
    with anyio.fail_after(10):
        while core.services.waiters.held != count:
            await anyio.lowlevel.checkpoint()


async def until_seen(core: Core, version: int) -> None:
    """Return once the feed has passed a version of Note."""
    with anyio.fail_after(10):
        while core.services.feed.seen(NotificationType("Note")) < version:
            await anyio.lowlevel.checkpoint()


async def test_a_delta_lists_what_is_above_the_cursor_ascending_and_once_per_id(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b, c = await accepted(school, "Note", note("a"), note("b"), note("c"))
    (a2,) = await accepted(school, "Note", note("a", "again", a))
    found = await available(school, "Note")
    assert pairs(found) == [("b", b), ("c", c), ("a", a2)]
    assert (found["reason"], found["complete"], found["maxCoreVersion"]) == ("newer", True, a2)
    assert pairs(await available(school, "Note", since=c)) == [("a", a2)]


async def test_types_are_answered_in_order_and_in_canonical_spelling(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    await accepted(school, "Bulletin", note("b1"))
    asked = [
        {"notificationType": name, "maxCoreVersion": 0} for name in ("bulletin", "PLAN.2027", "note", "notestatus")
    ]
    answer = await school.is_data_available(asked, 0)
    assert [entry["notificationType"] for entry in answer.types] == ["Bulletin", "Plan.2027", "Note", "NoteStatus"]
    assert [entry["reason"] for entry in answer.types] == ["newer", "none", "none", "none"]


async def test_a_held_request_is_woken_by_a_submit(plain_core: Core) -> None:
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("A.3020")
    answers = []

    async def hold() -> None:
        answers.append(await available(reader, "Note", wait_seconds=300))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            versions = await accepted(writer, "Note", note("a"), note("b"))
    assert versions_of(pairs(answers[0])) == versions


async def test_a_change_committed_between_the_check_and_the_parking_is_answered_at_once(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
    look = plain_core.services.availability.look
    committed: list[int] = []

    async def look_then_commit(entries: tuple[Entry, ...], patience_seconds: float) -> Finding:
        finding = await look(entries, patience_seconds)
        if not committed:
            committed.extend(await accepted(writer, "Note", note("a")))
            with anyio.fail_after(10):  # past the wake as well: nothing else will come for this change
                while plain_core.services.feed.seen(entries[0].notification_type) < committed[0]:
                    await anyio.lowlevel.checkpoint()
        return finding

    monkeypatch.setattr(plain_core.services.availability, "look", look_then_commit)
    with anyio.fail_after(10):
        found = await available(reader, "Note", wait_seconds=300)
    assert pairs(found) == [("a", committed[0])]


async def test_another_organisations_change_wakes_nobody_but_moves_the_bookmark(plain_core: Core) -> None:
    school, other = await plain_core.client("S.0982"), await plain_core.client("S.0990")
    answers = []

    async def hold() -> None:
        answers.append(await available(school, "Note", wait_seconds=300))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await until_held(plain_core)
        (version,) = await accepted(other, "Note", note("theirs"))
        await until_seen(plain_core, version)
        assert not answers
        await plain_core.services.waiters.drain(0)
    assert (answers[0]["reason"], answers[0]["records"]) == ("none", [])
    assert answers[0]["maxCoreVersion"] == version


async def test_an_authority_sees_its_schools_and_the_ministry_sees_all(plain_core: Core) -> None:
    for organization in ("S.0982", "S.0983", "S.0990"):
        await accepted(await plain_core.client(organization), "Note", note(organization))
    seen = {
        organization: sorted(i for i, _ in pairs(await available(await plain_core.client(organization), "Note")))
        for organization in ("S.0982", "A.3020", "A.3030", "O.1")
    }
    assert seen == {
        "S.0982": ["S.0982"],
        "A.3020": ["S.0982", "S.0983"],
        "A.3030": ["S.0990"],
        "O.1": ["S.0982", "S.0983", "S.0990"],
    }


async def test_everybody_sees_a_public_type(plain_core: Core) -> None:
    await accepted(await plain_core.client("S.0982"), "Bulletin", note("b"))
    assert [i for i, _ in pairs(await available(await plain_core.client("S.0990"), "Bulletin"))] == ["b"]


async def test_deletes_are_in_deltas_but_not_in_the_hash_nor_in_full_lists(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    (gone,) = await accepted(school, "Note", record("a", None, a, deleted=True))
    assert pairs(await available(school, "Note", since=b)) == [("a", gone)]
    held = await available(school, "Note", since=gone, versionHash=version_hash([b]).upper())
    assert held["reason"] == "none"
    full = await available(school, "Note", since=gone, versionHash=WRONG_HASH)
    assert (full["reason"], pairs(full), full["maxCoreVersion"]) == ("mismatch", [("b", b)], gone)


async def test_the_hash_is_judged_only_when_nothing_is_newer(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    assert (await available(school, "Note", since=a, versionHash=WRONG_HASH))["reason"] == "newer"
    assert (await available(school, "Note", since=b, versionHash=WRONG_HASH))["reason"] == "mismatch"


async def test_an_empty_stream_has_the_hash_of_nothing(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    empty = version_hash([])
    assert (await available(school, "Note", versionHash=empty))["reason"] == "none"
    wrong = await available(school, "Note", versionHash=WRONG_HASH)
    assert (wrong["reason"], wrong["records"], wrong["complete"]) == ("mismatch", [], True)
    await accepted(await plain_core.client("S.0990"), "Note", note("theirs"))
    assert (await available(school, "Note", versionHash=empty))["reason"] == "none"


async def test_a_cut_delta_goes_on_from_its_cursor(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "LISTED_PER_TYPE_MAX", 3)
    school = await plain_core.client("S.0982")
    versions = await accepted(school, "Note", *(note(f"n{i}") for i in range(8)))
    cursor = 0
    listed: list[int] = []
    complete: list[bool] = []
    while not complete or not complete[-1]:
        found = await available(school, "Note", since=cursor)
        cursor = found["maxCoreVersion"]
        listed += versions_of(pairs(found))
        complete.append(found["complete"])
    assert listed == versions
    assert complete == [False, False, True]


async def test_a_type_cut_to_nothing_keeps_its_cursor(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "LISTED_PER_ANSWER_MAX", 3)
    school = await plain_core.client("S.0982")
    notes = await accepted(school, "Note", *(note(f"n{i}") for i in range(3)))
    await accepted(school, "Bulletin", note("b"))
    asked = [{"notificationType": name, "maxCoreVersion": 0} for name in ("Note", "Bulletin", "Plan.2027")]
    answer = await school.is_data_available(asked, 0)
    cut = [(len(e["records"]), e["complete"], e["maxCoreVersion"]) for e in answer.types]
    assert cut == [(3, True, notes[-1]), (0, False, 0), (0, True, 0)]


async def test_a_cut_full_list_goes_on_within_its_window(plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(availability, "LISTED_PER_TYPE_MAX", 3)
    school = await plain_core.client("S.0982")
    versions = await accepted(school, "Note", *(note(f"n{i}") for i in range(7)))
    window = versions[-1]
    first = await available(school, "Note", since=window, versionHash=WRONG_HASH)
    assert (versions_of(pairs(first)), first["complete"], first["maxCoreVersion"]) == (versions[:3], False, window)
    await accepted(school, "Note", record("n5", None, versions[5], deleted=True), note("new"))
    second = await available(school, "Note", since=window, wait_seconds=300, listAfter=versions[2])
    assert (second["reason"], second["maxCoreVersion"]) == ("mismatch", window)
    assert versions_of(pairs(second)) == [versions[3], versions[4], versions[6]]
    assert second["complete"] is True
    delta = await available(school, "Note", since=window)
    assert [i for i, _ in pairs(delta)] == ["n5", "new"]


async def test_a_cursor_below_the_horizon_gets_the_full_list(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Note", note("a"), note("b"))
    connection = await plain_core.connect()
    await connection.execute("update notification_type set horizon = $1 where watermark = $2", a, b)
    for cursor in (0, a - 1):
        found = await available(school, "Note", since=cursor)
        assert (found["reason"], pairs(found)) == ("mismatch", [("a", a), ("b", b)])
    assert (await available(school, "Note", since=a))["reason"] == "newer"


async def test_a_version_never_given_out_is_of_another_history(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    with pytest.raises(HomeroomError) as failure:
        await available(school, "Note", since=10**9)
    assert (failure.value.code, failure.value.action) == (2003, "resync")


async def test_a_node_that_is_behind_waits_and_then_says_so(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    quick = replace(settings, catalogue=any_catalogue, catch_up_seconds=0.2)
    async with open_core(database_of_test, quick) as core:
        school = await core.client("S.0982")
        await accepted(school, "Note", note("a"))
        (later,) = await accepted(school, "Bulletin", note("b"))
        with pytest.raises(HomeroomError) as failure:
            await available(school, "Note", since=later)
        assert (failure.value.code, failure.value.action) == (2002, "retry")
        assert failure.value.retry_after_seconds is not None


async def test_a_node_that_catches_up_answers(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    connection = await plain_core.connect()
    await connection.execute("select nextval('core_version')")
    answers = []

    async def ask() -> None:
        answers.append(await available(school, "Note", since=a + 1))

    with anyio.fail_after(4):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await accepted(school, "Note", note("b"))
    assert answers[0]["reason"] in ("newer", "none")


async def test_a_wait_that_ends_is_an_answer(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    begun = anyio.current_time()
    found = await available(school, "Note", since=a, wait_seconds=1)
    assert 0.85 <= anyio.current_time() - begun <= 3
    assert (found["reason"], found["records"], found["maxCoreVersion"]) == ("none", [], a)


async def test_a_key_disabled_meanwhile_is_refused_at_the_wake(plain_core: Core) -> None:
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
    name = (await reader.hello()).client
    codes = []

    async def hold() -> None:
        with pytest.raises(HomeroomError) as failure:
            await available(reader, "Note", wait_seconds=300)
        codes.append(failure.value.code)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(hold)
        await until_held(plain_core)
        await operations.set_client_disabled(await plain_core.connect(), name, disabled=True)
        await plain_core.services.directory.refresh()
        await accepted(writer, "Note", note("a"))
    assert codes == [1003]


async def test_a_change_too_large_for_one_read_is_told_in_parts_and_nothing_is_missed(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_RECORDS_PER_READ_MAX", 2)
    writer, reader = await plain_core.client("O.1"), await plain_core.client("S.0982")
    answers: list[Any] = []

    async def follow() -> None:
        while not answers or answers[-1]["records"][-1]["id"] != "last":
            since = answers[-1]["maxCoreVersion"] if answers else 0
            answers.append(await available(reader, "Note", since, 300))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(follow)
            await until_held(plain_core)
            mine = [note(name) | {"organization": "S.0982"} for name in ("a", "b", "last")]
            others = [note(f"o{i}") | {"organization": "S.0990"} for i in range(4)]
            versions = await accepted(writer, "Note", mine[0], *others, mine[1], mine[2])
    assert (answers[0]["complete"], pairs(answers[0])) == (False, [("a", versions[0])])
    assert answers[0]["maxCoreVersion"] == versions[0]
    assert [pair for answer in answers for pair in pairs(answer)] == [
        ("a", versions[0]),
        ("b", versions[5]),
        ("last", versions[6]),
    ]


class TestInStep:
    """A client known to be in step is held without a look at the database; nothing is missed by it."""

    @pytest.fixture
    def looks(self, plain_core: Core, monkeypatch: pytest.MonkeyPatch) -> list[object]:
        seen: list[object] = []
        look = plain_core.services.availability.look

        async def counted(entries: tuple[Entry, ...], patience_seconds: float) -> Finding:
            seen.append(entries)
            return await look(entries, patience_seconds)

        monkeypatch.setattr(plain_core.services.availability, "look", counted)
        return seen

    async def test_it_is_held_from_memory_and_woken(self, plain_core: Core, looks: list[object]) -> None:
        writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
        versions = await accepted(writer, "Note", note("a"), note("b"))
        held_hash = version_hash(versions)
        assert (await available(reader, "Note", versions[-1], versionHash=held_hash))["reason"] == "none"
        await until_seen(plain_core, versions[-1])
        looks.clear()
        answers = []

        async def hold() -> None:
            answers.append(await available(reader, "Note", versions[-1], 300, versionHash=held_hash))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold)
                await until_held(plain_core)
                assert looks == []
                (version,) = await accepted(writer, "Note", note("c"))
        assert pairs(answers[0]) == [("c", version)]

    async def test_a_type_that_nobody_ever_wrote_needs_no_look(self, plain_core: Core, looks: list[object]) -> None:
        writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
        answers = []

        async def hold() -> None:
            answers.append(await available(reader, "Note", 0, 300, versionHash=version_hash([])))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold)
                await until_held(plain_core)
                assert looks == []
                (version,) = await accepted(writer, "Note", note("a"))
        assert pairs(answers[0]) == [("a", version)]

    @pytest.mark.parametrize("watched", [True, False])
    async def test_what_has_moved_since_is_looked_at(
        self, plain_core: Core, looks: list[object], watched: bool
    ) -> None:
        """Whether or not the feed read which streams it was that moved."""
        writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
        versions = await accepted(writer, "Note", note("a"), note("b"))
        before = version_hash(versions)
        assert (await available(reader, "Note", versions[-1], versionHash=before))["reason"] == "none"
        async with anyio.create_task_group() as tasks:
            if watched:
                tasks.start_soon(available, await plain_core.client("S.0990"), "Note", 0, 300)
                await until_held(plain_core)
            (c,) = await accepted(writer, "Note", note("c"))
            await until_seen(plain_core, c)
            looks.clear()
            assert pairs(await available(reader, "Note", versions[-1], 300, versionHash=before)) == [("c", c)]
            wrong = await available(reader, "Note", c, 300, versionHash=before)
            assert (wrong["reason"], len(looks)) == ("mismatch", 2)
            tasks.cancel_scope.cancel()

    async def test_a_hash_that_is_computed_while_its_stream_moves_is_not_taken_for_the_new_one(
        self, plain_core: Core, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
        (a,) = await accepted(writer, "Note", note("a"))
        read_digest = hashes.read_digest
        moved: list[int] = []

        async def late(*arguments: Any) -> hashes.DigestRow:
            found = await read_digest(*arguments)
            if not moved:
                moved.extend(await accepted(writer, "Note", note("b")))
                await until_seen(plain_core, moved[0])
            return found

        monkeypatch.setattr(hashes, "read_digest", late)
        before = version_hash([a])
        with anyio.fail_after(10):
            first = await available(reader, "Note", a, 300, versionHash=before)
            assert pairs(first) == [("b", moved[0])]
            again = await available(reader, "Note", moved[0], 300, versionHash=before)
        assert again["reason"] == "mismatch"


class TestLimits:
    @pytest.fixture
    async def strict_core(self, database_of_test: str, settings: Settings, any_catalogue: str) -> AsyncIterator[Core]:
        strict = replace(settings, catalogue=any_catalogue, held_requests_per_client_max=2)
        async with open_core(database_of_test, strict) as core:
            yield core

    async def test_a_client_holds_only_so_many_requests_at_once(self, strict_core: Core) -> None:
        school, other = await strict_core.client("S.0982"), await strict_core.client("S.0982")
        cursor = 0
        for round_ in range(2):
            with anyio.fail_after(10):
                async with anyio.create_task_group() as tasks:
                    for held in (1, 2):
                        tasks.start_soon(available, school, "Bulletin", cursor, 300)
                        await until_held(strict_core, held)
                    with pytest.raises(HomeroomError) as failure:
                        await available(school, "Bulletin", cursor, 300)
                    assert failure.value.code == 2004
                    assert "held_requests_per_client_max" in failure.value.detail
                    assert failure.value.retry_after_seconds is not None
                    assert (await available(other, "Note"))["reason"] == "none"
                    (cursor,) = await accepted(other, "Bulletin", note(str(round_)))
            assert strict_core.services.waiters.held_by_one == 0

    async def test_a_node_holds_only_so_many_requests(
        self, database_of_test: str, settings: Settings, any_catalogue: str
    ) -> None:
        strict = replace(
            settings, catalogue=any_catalogue, held_requests_per_node_max=2, held_requests_per_client_max=1
        )
        async with open_core(database_of_test, strict) as core, anyio.create_task_group() as tasks:
            clients = [await core.client("S.0982") for _ in range(3)]
            for held in (1, 2):
                tasks.start_soon(available, clients[held], "Bulletin", 0, 300)
                await until_held(core, held)
            with anyio.fail_after(10), pytest.raises(HomeroomError) as failure:
                await available(clients[0], "Bulletin", wait_seconds=300)
            assert failure.value.code == 2001
            assert "held_requests_per_node_max" in failure.value.detail
            assert core.services.tally.refusals == {"held_requests_per_node_max": 1}
            assert core.services.waiters.held == 2
            (version,) = await accepted(clients[0], "Bulletin", note("a"))
            await until_held(core, 0)
            tasks.start_soon(available, clients[0], "Bulletin", version, 300)
            await until_held(core, 1)
            tasks.cancel_scope.cancel()


async def test_who_has_been_answered_watches_no_longer(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    assert (await available(school, "Note"))["reason"] == "none"
    assert not plain_core.services.waiters.watched(NotificationType("Note"))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(available, school, "Note", 0, 300)
        await until_held(plain_core)
        assert plain_core.services.waiters.watched(NotificationType("Note"))
        await accepted(school, "Note", note("a"))
    assert not plain_core.services.waiters.watched(NotificationType("Note"))


async def test_a_node_that_wakes_many_turns_to_others_in_between_and_counts_each_once(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiters, "_ANSWERED_AT_ONCE", 2)
    room, (school, writer) = plain_core.services.waiters, [await plain_core.client("S.0982") for _ in range(2)]
    seen: list[int] = []

    async def look() -> None:
        while room.held:
            seen.append(room.held)
            await anyio.lowlevel.checkpoint()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(available, school, "Note", 0, 300)
            await until_held(plain_core, 5)
            tasks.start_soon(look)
            await accepted(writer, "Note", note("a"))
    assert list(dict.fromkeys(seen)) == [5, 3, 1]
    assert room.wake_times.take().answers == 5


async def test_draining_releases_held_requests_with_bookmarks(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    answers = []

    async def hold() -> None:
        answers.append(await available(school, "Note", since=a, wait_seconds=300))

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(hold)
            await until_held(plain_core, 5)
            await plain_core.services.waiters.drain(0.1)
    assert [(e["reason"], e["maxCoreVersion"]) for e in answers] == [("none", a)] * 5
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        assert (await http.get("/readyz")).status_code == 503


async def test_a_node_gives_notice_before_it_drains(plain_core: Core) -> None:
    """Whoever balances nodes reads /readyz and sends nothing more; until it does, the node serves as before."""
    school = await plain_core.client("S.0982")
    answers = []

    async def hold() -> None:
        answers.append(pairs(await available(school, "Note", wait_seconds=300)))

    async with httpx.AsyncClient(transport=httpx.ASGITransport(plain_core.app), base_url="http://core") as http:
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(hold)
                await until_held(plain_core)
                tasks.start_soon(plain_core.services.waiters.drain, 0, 300)
                while (await http.get("/readyz")).status_code != 503:
                    await anyio.sleep(0.01)
                tasks.start_soon(hold)
                await until_held(plain_core, 2)
                (version,) = await accepted(school, "Note", note("a"))
                while len(answers) < 2:
                    await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
    assert answers == [[("a", version)]] * 2


async def test_a_change_that_comes_with_the_drain_is_not_passed_over(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiters = plain_core.services.waiters
    wake = waiters.wake
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
    answers = []

    async def drain_and_wake(news: News, learned_at: float) -> None:
        await waiters.drain(0)
        await wake(news, learned_at)

    async def hold() -> None:
        answers.append(await available(reader, "Note", wait_seconds=300))

    monkeypatch.setattr(waiters, "wake", drain_and_wake)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            (version,) = await accepted(writer, "Note", note("a"))
    assert (answers[0]["reason"], answers[0]["maxCoreVersion"] < version) == ("none", True)
    assert pairs(await available(reader, "Note", answers[0]["maxCoreVersion"])) == [("a", version)]


async def test_a_wait_that_ends_while_others_are_woken_does_not_pass_the_change(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiters = plain_core.services.waiters
    tell = waiters._tell
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0982")
    answers = []

    def tell_one(held: Held, answer: Answer) -> bool:
        was_told = tell(held, answer)
        for other in waiters._due.members():
            waiters.release(other)
        return was_told

    async def hold() -> None:
        answers.append(await available(reader, "Note", wait_seconds=300))

    monkeypatch.setattr(waiters, "_tell", tell_one)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(hold)
            await until_held(plain_core, 2)
            (version,) = await accepted(writer, "Note", note("a"))
    told, ended = sorted(answers, key=lambda answer: answer["reason"] == "none")
    assert pairs(told) == [("a", version)]
    assert (ended["reason"], ended["maxCoreVersion"] < version) == ("none", True)


async def test_a_wake_by_a_public_type_tells_nothing_of_what_moved_with_it_elsewhere(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, gate, began = plain_core.services.feed._read, anyio.Event(), anyio.Event()
    writer, reader = await plain_core.client("S.0982"), await plain_core.client("S.0990")
    answers: list[Any] = []

    async def read_and_wait(since: Any) -> News:
        news = await read(since)
        began.set()
        await gate.wait()  # so that the next read finds both types
        return news

    async def hold() -> None:
        asked = [{"notificationType": name, "maxCoreVersion": 0} for name in ("Note", "Bulletin")]
        answers.append((await reader.is_data_available(asked, 300)).types)

    monkeypatch.setattr(plain_core.services.feed, "_read", read_and_wait)
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            await accepted(writer, "Note", note("a"))
            await began.wait()
            await accepted(writer, "Note", note("b"))
            (version,) = await accepted(writer, "Bulletin", note("c"))
            gate.set()
    assert [pairs(entry) for entry in answers[0]] == [[], [("c", version)]]


@pytest.mark.parametrize("moves", ["Note", "Bulletin"])
async def test_who_asks_for_ones_own_and_for_what_all_see_is_woken_by_either(plain_core: Core, moves: str) -> None:
    school = await plain_core.client("S.0982")
    heard: list[Any] = []

    async def hold() -> None:
        asked = [{"notificationType": name, "maxCoreVersion": 0} for name in ("Note", "Bulletin")]
        heard.extend((await school.is_data_available(asked, 50)).types)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            (version,) = await accepted(school, moves, note("a"))
    assert {entry["notificationType"]: pairs(entry) for entry in heard if pairs(entry)} == {moves: [("a", version)]}


async def test_every_answer_names_the_epoch(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    epoch = (await school.hello()).epoch
    asked = [{"notificationType": "Plan.2027", "maxCoreVersion": 0}]
    assert (await school.is_data_available(asked, 0)).epoch == epoch
    assert (await school.submit("Plan.2027", [record(str(uuid4()), {})])).epoch == epoch


async def test_who_is_held_when_another_history_begins_is_sent_to_ask_again(plain_core: Core) -> None:
    school, connection = await plain_core.client("S.0982"), await plain_core.connect()
    refused: list[int] = []

    async def hold() -> None:
        with pytest.raises(HomeroomError) as failure:
            await available(school, "Note", 0, 300)
        refused.append(failure.value.code)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(hold)
            await until_held(plain_core, 2)
            await operations.begin_history(connection, "a test")
    assert refused == [2001, 2001]


async def test_a_type_that_another_history_has_lost_is_a_type_without_records(plain_core: Core) -> None:
    """What was put back is from before its first record."""
    school = await plain_core.client("S.0982")
    await accepted(school, "Bulletin", note("a"))
    await accepted(school, "Plan.2027", record(str(uuid4()), {}))
    connection, epoch = await plain_core.connect(), plain_core.services.feed.epoch
    await connection.execute("delete from viewer; delete from record; delete from notification_type")
    await operations.begin_history(connection, "a test")
    with anyio.fail_after(10):
        while plain_core.services.feed.epoch == epoch:
            await anyio.sleep(0.01)
    heard: list[Any] = []

    async def hold() -> None:
        asked = [
            {"notificationType": name, "maxCoreVersion": 0, "versionHash": version_hash([])}
            for name in ("Plan.2027", "Bulletin")
        ]
        heard.extend((await school.is_data_available(asked, 50)).types)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hold)
            await until_held(plain_core)
            (version,) = await accepted(school, "Bulletin", note("b"))
    assert [(pairs(entry), entry["maxCoreVersion"]) for entry in heard] == [([], 0), ([("b", version)], version)]
