"""Protocol 6, through the front door."""

from dataclasses import replace
from datetime import date
from typing import Any
from uuid import uuid4

import anyio
import pytest

from homeroom import Client, HomeroomError
from homeroom.answers import RecordAnswer
from homeroom_server.auth import Role
from homeroom_server.settings import Settings
from tests.conftest import Core, open_core
from tests.records import accepted, available, note, pairs, record, rejected


async def get_one(client: Client, notification_type: str, record_id: str) -> RecordAnswer:
    answer = await client.get(notification_type, [{"id": record_id}])
    (found,) = answer.records
    return found


async def test_what_was_submitted_is_what_get_returns(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    body = {"text": "naïve ☃ \u0000", "n": [1, 2.5, -0.0, 1e300, None, True, {"": {}}], "big": 2**63 - 1}
    (version,) = await accepted(school, "Note", record("a", body))
    found = await get_one(school, "Note", "a")
    assert (found["coreVersion"], found["deleted"], found["body"]) == (version, False, body)


async def test_versions_rise_over_all_types(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    a, b = await accepted(school, "Bulletin", note("a"), note("b"))
    (c,) = await accepted(school, "Plan.2027", record(str(uuid4()), {}))
    assert 0 < a < b < c


async def test_each_record_stands_alone(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    answer = await school.submit("Note", [note("b"), note("a", "stale", a + 5), note("c")])
    codes = [[r["code"] for r in result["rejections"]] for result in answer.results]
    assert codes == [[], [3004], []]
    assert [i for i, _ in pairs(await available(school, "Note", since=a))] == ["b", "c"]


async def test_a_stale_version_is_rejected_with_both_versions(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a"))
    (a2,) = await accepted(school, "Note", note("a", "new", a))
    for stale in (0, a, a2 + 1):
        answer = await school.submit("Note", [note("a", "stale", stale)])
        (rejection,) = answer.results[0]["rejections"]
        assert (rejection["code"], rejection["expectedVersion"], rejection["coreVersion"]) == (3004, stale, a2)
        assert rejection["action"] == "resync"
    assert await rejected(school, "Note", note("new", "", 7)) == [3004]


async def test_an_update_that_changes_nothing_is_rejected(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", record("a", {"x": 1, "y": {"b": 1, "a": 2}}))
    assert await rejected(school, "Note", record("a", {"y": {"a": 2, "b": 1}, "x": 1}, a)) == [9023]
    assert await rejected(school, "Note", record("none", None, 0, deleted=True)) == [9023]


async def test_delete_and_undelete(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (a,) = await accepted(school, "Note", note("a", "kept"))
    (gone,) = await accepted(school, "Note", record("a", None, a, deleted=True))
    found = await get_one(school, "Note", "a")
    assert (found["availability"], found["deleted"], found["body"]) == ("Normal", True, {"text": "kept"})
    assert await rejected(school, "Note", record("a", None, gone, deleted=True)) == [9023]
    assert await rejected(school, "Note", note("a", "back", a)) == [3004]
    (back,) = await accepted(school, "Note", note("a", "back", 0))
    assert back > gone
    assert (await get_one(school, "Note", "a"))["deleted"] is False


async def test_only_the_owner_its_authority_and_the_ministry_write(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a"))
    for organization in ("A.3020", "O.1"):
        (version,) = await accepted(await plain_core.client(organization), "Note", note("a", organization, version))
    for organization in ("S.0983", "S.0990", "A.3030"):
        stranger = await plain_core.client(organization)
        assert await rejected(stranger, "Note", note("a", "mine", version)) == [9020]
        assert await rejected(stranger, "Note", note("a", "mine", 0)) == [9020]
        assert await rejected(stranger, "Note", note("x", "for others", organization="S.0982")) == [9020]
    assert await rejected(school, "Note", note("x", "", organization="S.0000")) == [9020]


async def test_an_authority_and_the_ministry_create_for_a_school(plain_core: Core) -> None:
    for index, organization in enumerate(("A.3020", "O.1")):
        client = await plain_core.client(organization)
        await accepted(client, "Note", note(f"n{index}", organization="S.0982"))
    school = await plain_core.client("S.0982")
    assert [i for i, _ in pairs(await available(school, "Note"))] == ["n0", "n1"]


async def test_the_owner_of_a_record_never_changes(plain_core: Core) -> None:
    authority = await plain_core.client("A.3020")
    (version,) = await accepted(authority, "Note", note("a", organization="S.0982"))
    assert await rejected(authority, "Note", note("a", "moved", version, organization="S.0983")) == [9020]
    await accepted(authority, "Note", note("a", "same owner", version, organization="S.0982"))


async def test_the_ids_of_a_type_are_unique_across_years(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    shared = str(uuid4())
    (version,) = await accepted(school, "Plan.2026", record(shared, {"year": 2026}))
    assert await rejected(school, "Plan.2027", record(shared, {"year": 2027})) == [3006]
    assert await rejected(school, "Plan.2027", record(shared, {"year": 2027}, version)) == [3006]
    assert (await get_one(school, "Plan.2027", shared))["availability"] == "Unknown"


async def test_upper_case_uuids_are_lowered(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    shared = str(uuid4())
    await accepted(school, "Plan.2026", record(shared.upper(), {}))
    assert pairs(await available(school, "Plan.2026"))[0][0] == shared
    assert (await get_one(school, "Plan.2026", shared.upper()))["id"] == shared


async def test_years_outside_the_window_are_closed(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    this_year = date.today().year
    for year, codes in ((this_year - 4, [9030]), (this_year - 3, []), (this_year + 1, []), (this_year + 2, [9030])):
        answer = await school.submit(f"Plan.{year}", [record(str(uuid4()), {})])
        assert [r["code"] for r in answer.results[0]["rejections"]] == codes


async def test_a_body_that_fails_its_schema_is_rejected_with_pointers(core: Core) -> None:
    school = await core.client("S.0982")
    body = {"stateProvinceId": "12", "courseCode": "", "creditsAttempted": "five", "courseEnrolmentMark": {}}
    answer = await school.submit("CourseEnrolment.2027", [record(str(uuid4()), body)])
    (rejection,) = answer.results[0]["rejections"]
    assert rejection["code"] == 9040
    pointers = {fault["pointer"] for fault in rejection["errors"]}
    assert {"/stateProvinceId", "/courseCode", "/creditsAttempted", "/courseEnrolmentMark", ""} == pointers
    assert "five" not in str(rejection)


async def test_a_foreign_record_answers_9020_and_nothing_else(core: Core) -> None:
    school, stranger = await core.client("S.0982"), await core.client("S.0990")
    shared = str(uuid4())
    body: dict[str, Any] = {"stateProvinceId": "123456789", "courseCode": "MAT", "sectionRefId": shared}
    body |= {"courseEnrolmentStatus": "Registered", "creditsAttempted": 5}
    await accepted(school, "CourseEnrolment.2027", record(shared, body))
    assert await rejected(stranger, "CourseEnrolment.2027", record(shared, {"bad": True}, 99)) == [9020]


async def test_status_types_cannot_be_submitted(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    with pytest.raises(HomeroomError) as failure:
        await school.submit("NoteStatus", [note("a")])
    assert failure.value.code == 3005


async def test_a_reader_may_not_write(plain_core: Core) -> None:
    reader = await plain_core.client("S.0982", Role.READER)
    assert (await available(reader, "Note"))["reason"] == "none"
    with pytest.raises(HomeroomError) as failure:
        await reader.submit("Note", [note("a")])
    assert (failure.value.code, failure.value.status) == (1007, 403)


class TestIdempotency:
    async def test_a_repeated_call_gets_the_first_answer(self, plain_core: Core) -> None:
        school, key = await plain_core.client("S.0982"), uuid4()
        call = [note("a"), note("b", "", 9)]
        first = await school.submit("Note", call, key)
        assert await school.submit("Note", call, key) == first
        assert len(pairs(await available(school, "Note"))) == 1

    async def test_the_same_key_with_another_body_is_refused(self, plain_core: Core) -> None:
        school, key = await plain_core.client("S.0982"), uuid4()
        await school.submit("Note", [note("a")], key)
        for notification_type, call in (("Note", [note("b")]), ("Bulletin", [note("a")])):
            with pytest.raises(HomeroomError) as failure:
                await school.submit(notification_type, call, key)
            assert failure.value.code == 3002

    async def test_keys_of_different_clients_do_not_meet(self, plain_core: Core) -> None:
        key = uuid4()
        for name in ("a", "b"):
            await accepted(await plain_core.client("S.0982"), "Note", note(name))
            answer = await (await plain_core.client("S.0982")).submit("Note", [note(name + "2")], key)
            assert answer.results[0]["rejections"] == []

    async def test_concurrent_calls_with_one_key_are_one_call(self, plain_core: Core) -> None:
        school, key = await plain_core.client("S.0982"), uuid4()
        answers: list[Any] = []

        async def call() -> None:
            answers.append(await school.submit("Note", [note("a")], key))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(call)
        assert answers == [answers[0]] * 10
        assert answers[0].results[0]["rejections"] == []

    async def test_concurrent_calls_on_two_nodes_are_one_call(
        self, database_of_test: str, settings: Settings, any_catalogue: str
    ) -> None:
        plain = replace(settings, catalogue=any_catalogue)
        async with open_core(database_of_test, plain) as one, open_core(database_of_test, plain) as two:
            api_key, key = await one.key("S.0982"), uuid4()
            answers: list[Any] = []

            async def call(core: Core) -> None:
                async with core.client_with(api_key) as school:
                    answers.append(await school.submit("Note", [note("a")], key))

            async with anyio.create_task_group() as tasks:
                for node in (one, two, one, two):
                    tasks.start_soon(call, node)
            assert answers == [answers[0]] * 4
            assert answers[0].results[0]["rejections"] == []


async def test_concurrent_writers_of_one_record_are_told_apart(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a"))
    outcomes: list[list[int]] = []

    async def write(text: str) -> None:
        answer = await school.submit("Note", [note("a", text, version)])
        outcomes.append([r["code"] for r in answer.results[0]["rejections"]])

    async with anyio.create_task_group() as tasks:
        for index in range(8):
            tasks.start_soon(write, f"writer {index}")
    assert sorted(outcomes) == [[]] + [[3004]] * 7


async def test_the_same_new_id_in_two_years_at_once_is_stored_once(
    database_of_test: str, settings: Settings, any_catalogue: str
) -> None:
    plain = replace(settings, catalogue=any_catalogue)
    async with open_core(database_of_test, plain) as core:
        school = await core.client("S.0982")
        for _ in range(10):
            shared = str(uuid4())
            outcomes: list[list[int]] = []

            async def write(year: int, record_id: str = shared, found: list[list[int]] = outcomes) -> None:
                answer = await school.submit(f"Plan.{year}", [record(record_id, {})])
                found.append([r["code"] for r in answer.results[0]["rejections"]])

            async with anyio.create_task_group() as tasks:
                for year in (2025, 2026, 2027):
                    tasks.start_soon(write, year)
            assert sorted(outcomes) == [[], [3006], [3006]]
