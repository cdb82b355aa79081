"""Access is data: who gains sees a change, who loses a revocation, and nothing else ever (protocol 8)."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from homeroom import Change, Client, MemoryStorage, Replica
from homeroom_server import operations
from homeroom_server.settings import Settings
from tests.access import enrol, settled, turn_to, write_catalogue
from tests.conftest import Core, open_core
from tests.records import accepted, available, pairs, record

MAPLE, ELK, PLAIN, FOOTHILLS, PRAIRIE = "S.0982", "S.0983", "S.0990", "A.3020", "A.3030"


@pytest.fixture
async def access_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05)
    async with open_core(database_of_test, changed) as core:
        await settled(core.services)
        yield core


async def see(client: Client, notification_type: str, record_id: str) -> str:
    (found,) = (await client.get(notification_type, [{"id": record_id}])).records
    return found["availability"]


async def test_who_created_a_student_sees_it_until_somebody_enrols_it(access_core: Core) -> None:
    maple, elk, ministry = [await access_core.client(code) for code in (MAPLE, ELK, "O.1")]
    (created,) = await accepted(maple, "Student", record("s1", {"name": "Ada"}))
    await settled(access_core.services)
    assert [await see(c, "Student", "s1") for c in (maple, elk, ministry)] == ["Normal", "Unknown", "Normal"]
    cursor = (await available(maple, "Student"))["maxCoreVersion"]
    await enrol(elk, "e1", "s1", "0983")
    await settled(access_core.services)
    assert [await see(c, "Student", "s1") for c in (maple, elk)] == ["NoAccess", "Normal"]
    assert [await see(c, "StudentStatus", "s1") for c in (maple, elk)] == ["NoAccess", "Normal"]
    gained, lost = await available(elk, "Student"), await available(maple, "Student", cursor)
    assert [i for i, _ in pairs(gained)] == [i for i, _ in pairs(lost)] == ["s1"]
    assert pairs(gained)[0][1] > created
    assert pairs(lost)[0][1] > pairs(gained)[0][1], "a revocation has a version of its own"


async def test_an_old_record_comes_to_a_new_school_as_a_change(access_core: Core) -> None:
    maple, elk, plain = [await access_core.client(code) for code in (MAPLE, ELK, PLAIN)]
    await accepted(maple, "Student", record("s1", {}))
    await enrol(maple, "e1", "s1", "0982")
    await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await settled(access_core.services)
    cursor = (await available(plain, "Document"))["maxCoreVersion"]
    assert await see(plain, "Document", "d1") == "Unknown"
    await enrol(plain, "e2", "s1", "0990")
    await settled(access_core.services)
    for kind in ("Document", "DocumentStatus", "Student"):
        assert len(pairs(await available(plain, kind, cursor))) == 1
    assert await see(plain, "Enrolment.2027", "e1") == "Unknown", "enrolments stay with their schools"
    assert await see(elk, "Document", "d1") == "Unknown"


async def test_an_exit_counts_for_twelve_months_and_then_lapses(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    today = date.today()
    await accepted(plain, "Student", record("s1", {}))
    await enrol(plain, "e2", "s1", "0990")
    last = today + timedelta(days=10)
    left = last.replace(year=last.year - 1)
    await enrol(maple, "e1", "s1", "0982", exit=str(left))
    await settled(access_core.services)
    await turn_to(access_core.services, last)
    assert await see(maple, "Student", "s1") == "Normal", "the day itself still counts"
    await turn_to(access_core.services, last + timedelta(days=1))
    assert await see(maple, "Student", "s1") == "NoAccess"
    assert await see(plain, "Student", "s1") == "Normal"


async def test_an_enrolment_that_has_not_begun_gives_nothing_yet(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    start = date.today() + timedelta(days=30)
    await accepted(plain, "Student", record("s1", {}))
    await enrol(plain, "e2", "s1", "0990")
    await enrol(maple, "e1", "s1", "0982", start=str(start))
    await settled(access_core.services)
    assert await see(maple, "Student", "s1") == "Unknown"
    await turn_to(access_core.services, start)
    assert await see(maple, "Student", "s1") == "Normal"


async def test_a_grant_opens_and_its_end_closes(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    await accepted(maple, "Student", record("s1", {}))
    connection = await access_core.connect()
    last = date.today() + timedelta(days=3)
    await operations.grant(connection, PLAIN, "s1", last)
    await settled(access_core.services)
    assert await see(plain, "Student", "s1") == "Normal"
    await accepted(plain, "Student", record("s1", {"by": "an associated school"}, await version(plain, "s1")))
    await turn_to(access_core.services, last + timedelta(days=1))
    assert await see(plain, "Student", "s1") == "NoAccess"
    await operations.grant(connection, PLAIN, "s1", None)
    await settled(access_core.services)
    assert await see(plain, "Student", "s1") == "Normal"
    await operations.revoke(connection, PLAIN, "s1")
    await settled(access_core.services)
    assert await see(plain, "Student", "s1") == "NoAccess"
    with pytest.raises(operations.OperationError):
        await operations.revoke(connection, PLAIN, "s1")


async def version(client: Client, student: str) -> int:
    (found,) = (await client.get("Student", [{"id": student}])).records
    return found["coreVersion"]


async def test_a_mark_is_shared_while_it_is_approved(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    await accepted(plain, "Student", record("s1", {}))
    await enrol(plain, "e1", "s1", "0990")
    body = {"studentId": "s1", "decision": {"approved": False}}
    (first,) = await accepted(maple, "Mark", record("m1", body))
    await settled(access_core.services)
    assert await see(plain, "Mark", "m1") == "Unknown"
    (second,) = await accepted(maple, "Mark", record("m1", body | {"decision": {"approved": True}}, first))
    await settled(access_core.services)
    assert await see(plain, "Mark", "m1") == await see(plain, "MarkStatus", "m1") == "Normal"
    await accepted(maple, "Mark", record("m1", body, second))
    await settled(access_core.services)
    assert await see(plain, "Mark", "m1") == await see(plain, "MarkStatus", "m1") == "NoAccess"
    assert await see(maple, "Mark", "m1") == "Normal"


async def test_an_authority_loses_with_its_last_school(access_core: Core) -> None:
    maple, elk, plain, foothills = [await access_core.client(code) for code in (MAPLE, ELK, PLAIN, FOOTHILLS)]
    await accepted(plain, "Student", record("s1", {}))
    await enrol(plain, "e0", "s1", "0990")
    first, second = await enrol(maple, "e1", "s1", "0982"), await enrol(elk, "e2", "s1", "0983")
    await settled(access_core.services)
    assert len(pairs(await available(foothills, "Student"))) == 1, "once, through two schools"
    await enrol(maple, "e1", "s1", "0982", first, exit="2021-06-30")
    await settled(access_core.services)
    assert [await see(c, "Student", "s1") for c in (maple, elk, foothills)] == ["NoAccess", "Normal", "Normal"]
    await enrol(elk, "e2", "s1", "0983", second, exit="2021-06-30")
    await settled(access_core.services)
    assert [await see(c, "Student", "s1") for c in (elk, foothills, plain)] == ["NoAccess", "NoAccess", "Normal"]


async def test_a_school_that_changes_its_authority_takes_its_records_along(access_core: Core) -> None:
    maple, foothills, prairie = [await access_core.client(code) for code in (MAPLE, FOOTHILLS, PRAIRIE)]
    for number in range(7):
        await accepted(maple, "Note", record(f"n{number}", {}))
    await accepted(maple, "Student", record("s1", {}))
    await settled(access_core.services)
    assert len(pairs(await available(foothills, "Note"))) == 7
    connection = await access_core.connect()
    moved = "code,name,parent\nO.1,Ministry,\nA.3030,Prairie,O.1\nS.0982,Maple Ridge School,A.3030\n"
    await operations.load_organizations(connection, moved)
    await settled(access_core.services)
    assert len(pairs(await available(prairie, "Note"))) == 7
    assert [await see(c, "Note", "n3") for c in (maple, foothills, prairie)] == ["Normal", "NoAccess", "Normal"]
    assert [await see(c, "Student", "s1") for c in (maple, foothills, prairie)] == ["Normal", "NoAccess", "Normal"]
    assert [await see(c, "StudentStatus", "s1") for c in (foothills, prairie)] == ["NoAccess", "Normal"]


async def test_a_school_that_is_loaded_after_its_enrolments_sees_them(access_core: Core) -> None:
    maple = await access_core.client(MAPLE)
    await accepted(maple, "Student", record("s1", {}))
    await enrol(maple, "e1", "s1", "0982")
    await enrol(maple, "e2", "s1", "0777")
    await settled(access_core.services)
    connection = await access_core.connect()
    new = "code,name,parent\nO.1,Ministry,\nA.3030,Prairie,O.1\nS.0777,New School,A.3030\n"
    await operations.load_organizations(connection, new)
    await access_core.services.directory.refresh()
    with anyio.fail_after(10):
        while await connection.fetchval("select 1 from missing_organization"):
            await anyio.sleep(0.01)
    await settled(access_core.services)
    assert await see(await access_core.client("S.0777"), "Student", "s1") == "Normal"
    assert await see(await access_core.client(PRAIRIE), "Student", "s1") == "Normal"


async def test_deleting_and_undeleting_shows_to_whom_it_should(access_core: Core) -> None:
    maple, plain, elk = [await access_core.client(code) for code in (MAPLE, PLAIN, ELK)]
    await accepted(maple, "Student", record("s1", {}))
    enrolled = await enrol(maple, "e1", "s1", "0982")
    (made,) = await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    plain_enrolled = await enrol(plain, "e2", "s1", "0990")
    await settled(access_core.services)
    (gone,) = await accepted(maple, "Document", record("d1", None, await current(maple, "d1"), deleted=True))
    assert gone > made
    await enrol(plain, "e2", "s1", "0990", plain_enrolled, exit="2021-06-30")
    await enrol(elk, "e3", "s1", "0983")
    await settled(access_core.services)
    assert [await see(c, "Document", "d1") for c in (plain, elk)] == ["NoAccess", "Unknown"], (
        "nobody gains what is gone"
    )
    await accepted(maple, "Document", record("d1", {"studentId": "s1", "back": True}, 0))
    await settled(access_core.services)
    assert [await see(c, "Document", "d1") for c in (maple, plain, elk)] == ["Normal", "NoAccess", "Normal"]
    await accepted(maple, "Enrolment.2027", record("e1", None, enrolled, deleted=True))
    await settled(access_core.services)
    assert [await see(c, "Student", "s1") for c in (maple, elk)] == ["NoAccess", "Normal"]


async def test_a_replica_drops_what_its_school_loses_and_says_so(access_core: Core) -> None:
    maple, plain = await access_core.client(MAPLE), await access_core.client(PLAIN)
    await accepted(maple, "Student", record("s1", {"name": "Ada"}))
    await enrol(maple, "e0", "s1", "0982")
    enrolled = await enrol(plain, "e1", "s1", "0990")
    await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await settled(access_core.services)
    storage = MemoryStorage()
    async with Replica(storage, plain, ["StudentStatus", "Document"], follow=False) as replica:
        await replica.sync()
        first = news(storage)
        assert sorted((c.type, c.kind) for c in first) == [
            ("Document", "changed"),
            ("Student", "changed"),
            ("StudentStatus", "changed"),
        ]
        await enrol(plain, "e1", "s1", "0990", enrolled, exit="2021-06-30")
        await settled(access_core.services)
        await replica.sync()
        lost = news(storage)
        assert sorted((c.type, c.id, c.kind, c.new) for c in lost) == [
            ("Document", "d1", "dropped", None),
            ("Student", "s1", "dropped", None),
            ("StudentStatus", "s1", "dropped", None),
        ]
        assert next(c.old for c in lost if c.type == "Student") == {"name": "Ada"}
        assert await replica.get("Student", "s1") is None


def news(storage: MemoryStorage) -> list[Change]:
    """What a consumer of changes has not seen yet."""
    found = list(storage.changes("school", 100))
    for change in found:
        storage.acknowledge("school", change)
    return found


async def test_who_opens_very_many_records_is_named(database_of_test: str, settings: Settings, tmp_path: Path) -> None:
    changed = replace(settings, catalogue=write_catalogue(tmp_path), feed_poll_seconds=0.05, access_gains_alarm=5)
    async with open_core(database_of_test, changed) as core:
        maple, plain = await core.client(MAPLE), await core.client(PLAIN)
        await accepted(maple, "Student", *(record(f"s{n}", {}) for n in range(5)))
        with capture_logs() as said:
            for number in range(5):
                await enrol(plain, f"e{number}", f"s{number}", "0990")
            with anyio.fail_after(10):
                while not any("very many" in entry["event"] for entry in said):
                    await anyio.sleep(0.01)
        named = [(entry["organization"], entry["students"]) for entry in said if "very many" in entry["event"]]
        assert named == [(PLAIN, 5)]
        connection = await core.connect()
        rows = await connection.fetch(
            "select e.student, e.cause, e.source from access_event e join organization o on o.number = e.organization"
            " where o.code = $1 and e.begun order by 1",
            PLAIN,
        )
        assert [tuple(row) for row in rows] == [(f"s{n}", "enrolled", f"e{n}") for n in range(5)]


async def current(client: Client, record_id: str) -> int:
    (found,) = (await client.get("Document", [{"id": record_id}])).records
    return found["coreVersion"]


async def test_a_document_that_names_another_student_follows_that_one(access_core: Core) -> None:
    maple, plain, elk = [await access_core.client(code) for code in (MAPLE, PLAIN, ELK)]
    for student, client, code in (("s1", plain, "0990"), ("s2", elk, "0983")):
        await accepted(client, "Student", record(student, {}))
        await enrol(client, f"e{student}", student, code)
    (made,) = await accepted(maple, "Document", record("d1", {"studentId": "s1"}))
    await settled(access_core.services)
    assert [await see(c, "Document", "d1") for c in (plain, elk)] == ["Normal", "Unknown"]
    await accepted(maple, "Document", record("d1", {"studentId": "s2"}, made))
    await settled(access_core.services)
    assert [await see(c, "Document", "d1") for c in (maple, plain, elk)] == ["Normal", "NoAccess", "Normal"]
