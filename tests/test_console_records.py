"""Records in the console: who finds which, what its page says, and that nobody looks without being noted."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from html import unescape
from pathlib import Path

import asyncpg
import httpx
import pytest

from homeroom_server import operations, people
from homeroom_server.console.record import BODY_SHOWN_MAX
from homeroom_server.people import PersonRole
from homeroom_server.settings import Settings
from tests.access import CATALOGUE, enrol, settled
from tests.conftest import Core, open_core
from tests.records import Json, accepted, available, record
from tests.test_console import PASSWORD, browser, sign_in

MAPLE, ELK, PLAIN, MINISTRY = "S.0982", "S.0983", "S.0990", "O.1"
MORE = """
[types.Bulletin]
school_year = "optional"
id_format = "code"
audience = "public"

[types.Plan]
school_year = "required"
id_format = "uuid"
audience = "owner"
"""
PLAN = "0f0e0d0c-0b0a-4908-8706-050403020100"
HOSTILE = "<script>alert('\"&</script>"
STUDENT, ENROLMENT, DOCUMENT = "Student/123456789", "Enrolment.2027/e1", "Document/d.1_x-Y"
PATHS = (
    STUDENT,
    "StudentStatus/123456789",
    ENROLMENT,
    DOCUMENT,
    "DocumentStatus/d.1_x-Y",
    f"Plan.2027/{PLAN}",
    "Note/n1",
)


@pytest.fixture
async def records_core(database_of_test: str, settings: Settings, tmp_path: Path) -> AsyncIterator[Core]:
    """A student of Maple Ridge with a document, a plan and a note of the school's own, and a public bulletin."""
    path = tmp_path / "records.toml"
    path.write_text(CATALOGUE + MORE, encoding="utf-8")
    changed = replace(settings, catalogue=str(path), feed_poll_seconds=0.05, time_zone="UTC")
    async with open_core(database_of_test, changed) as core:
        connection = await core.connect()
        for name, role, codes in (
            ("olga", PersonRole.OPERATOR, []),
            ("amir", PersonRole.ADMINISTRATOR, ["A.3020"]),
            ("vera", PersonRole.VIEWER, [MAPLE]),
            ("pia", PersonRole.ADMINISTRATOR, ["A.3030"]),
        ):
            await people.create(connection, name, role, codes, PASSWORD)
        await settled(core.services)
        maple = await core.client(MAPLE)
        await accepted(maple, "Student", record("123456789", {"givenName": HOSTILE}))
        await settled(core.services)  # so that it came to see the student by having created it
        await enrol(maple, "e1", "123456789", MAPLE)
        await accepted(maple, "Document", record("d.1_x-Y", {"studentId": "123456789"}))
        await accepted(maple, "Plan.2027", record(PLAN, {"goal": "swim"}))
        await accepted(maple, "Note", record("n1", {"text": "of Maple Ridge alone"}))
        await accepted(maple, "Bulletin.2027", record("b1", {"text": "for all"}))
        await settled(core.services)
        yield core


@pytest.fixture
async def web(records_core: Core) -> AsyncIterator[httpx.AsyncClient]:
    async with await browser(records_core) as web:
        yield web


async def found(web: httpx.AsyncClient, wanted: str, **more: str) -> list[tuple[str, str]]:
    answer = await web.get("/console/records", params={"q": wanted, "as": "json", **more})
    assert answer.status_code == 200
    return [(row["typeName"], row["id"]) for row in answer.json()]


async def page_of(web: httpx.AsyncClient, path: str) -> str:
    answer = await web.get(f"/console/records/{path}")
    assert answer.status_code == 200, answer.text
    return unescape(answer.text)


async def noted(connection: asyncpg.Connection, name: str) -> list[str]:
    rows = await connection.fetch("select detail as what from audit_event where actor = $1 order by happened_at", name)
    return [row["what"] for row in rows if row["what"] != "signed in"]


@pytest.mark.parametrize("name", ["olga", "amir", "vera"])
async def test_a_student_and_all_that_names_them_is_found_by_number(
    web: httpx.AsyncClient, records_core: Core, name: str
) -> None:
    await sign_in(web, name)
    everything = [
        ("Document", "d.1_x-Y"),
        ("Enrolment", "e1"),
        ("Student", "123456789"),
        ("StudentStatus", "123456789"),
    ]
    assert await found(web, "123456789") == everything
    assert await found(web, " 123456789 ", type="student") == [("Student", "123456789")]
    assert await found(web, "123456789", type="Enrolment.2026") == []
    assert await found(web, "123456789", type="Enrolment.2027") == [("Enrolment", "e1")]
    assert await found(web, "12345678") == []
    page = await web.get("/console/records?q=123456789")
    assert page.text.count("<tr>") == 1 + len(everything)
    assert "is noted with your name" in page.text
    assert f'href="/console/records/{DOCUMENT}"' in page.text
    assert (await noted(await records_core.connect(), name))[0] == "looked for 123456789"


async def test_an_id_is_found_in_the_form_of_its_type(web: httpx.AsyncClient) -> None:
    await sign_in(web, "vera")
    assert await found(web, PLAN.upper()) == [("Plan", PLAN)]
    assert await found(web, "N1") == []
    assert await found(web, "n1") == [("Note", "n1")]
    assert "goal" in await page_of(web, f"plan.2027/{PLAN.upper()}")


async def test_what_somebody_may_not_see_is_answered_like_what_is_not_there(
    web: httpx.AsyncClient, records_core: Core
) -> None:
    await sign_in(web, "pia")
    nothing = await web.get("/console/records/Note/not-there")
    assert nothing.status_code == 404
    for path in PATHS:
        for way in (path, f"{path}?as=json", path.replace("/", "?id=")):
            answer = await web.get(f"/console/records/{way}")
            assert (answer.status_code, answer.text) == (404, nothing.text), way
        record_id = path.partition("/")[2]
        assert await found(web, record_id) == []
        page, empty = [(await web.get(f"/console/records?q={each}")).text for each in (record_id, "not-there")]
        assert page.replace(record_id, "not-there") == empty
    assert await found(web, "b1") == [("Bulletin", "b1")]
    assert "looked in vain for Student 123456789" in await noted(await records_core.connect(), "pia")


async def test_every_look_is_noted_with_who_looked(web: httpx.AsyncClient, records_core: Core) -> None:
    await sign_in(web, "vera")
    await web.get("/console/records?q=n1&type=Note")
    await page_of(web, "Note/n1")
    downloaded = await web.get("/console/records/Note/n1?as=json")
    assert downloaded.json() == {"text": "of Maple Ridge alone"}
    assert downloaded.headers["Content-Disposition"] == 'attachment; filename="Note-n1.json"'
    said = ["looked for n1 in Note", "looked at Note n1", "downloaded Note n1"]
    assert await noted(await records_core.connect(), "vera") == said


async def test_a_page_says_what_it_is_who_sees_it_and_why(web: httpx.AsyncClient, records_core: Core) -> None:
    await sign_in(web, "olga")
    page = await page_of(web, STUDENT)
    assert "S.0982 Maple Ridge School" in page
    assert "it is associated with student 123456789: enrolment record e1 (from 2020-09-01; still enrolled)" in page
    assert "its school S.0982 is associated with student 123456789" in page, "of A.3020"
    assert "it is the ministry, which sees everything" in page
    assert "A.3030" not in page
    assert "created 123456789" in page, "the event"
    own = await page_of(web, "Note/n1")
    assert "It is seen by its owner S.0982, the authorities of these and the ministry." in own
    assert "it owns the record" in own
    assert "Everybody sees it." in await page_of(web, "Bulletin.2027/b1")


async def test_people_see_the_reasons_of_their_own_organisations_alone(
    web: httpx.AsyncClient, records_core: Core
) -> None:
    await operations.grant(await records_core.connect(), PLAIN, "123456789", None)
    records_core.services.access_worker.wake()
    await settled(records_core.services)
    plain, maple = await records_core.client(PLAIN), await records_core.client(MAPLE)
    await available(plain, "Student"), await available(maple, "Student")
    await records_core.services.client_streams.write()
    await sign_in(web, "olga")
    everybody = await page_of(web, STUDENT)
    assert "S.0990" in everybody
    assert everybody.count("not yet") == 2, "told by clients who ask from version 0"
    await sign_in(web, "pia")
    theirs = await page_of(web, STUDENT)
    assert "it was granted this until revoked" in theirs
    assert "an organisation beyond yours" in theirs
    assert "there may be others" in theirs
    for other in (MAPLE, "A.3020", "enrolled", "Maple", "e1 ("):
        assert other not in theirs
    assert theirs.count("not yet") == 1
    assert (await web.get("/console/records/Enrolment.2027/e1")).status_code == 404
    rows = (await web.get("/console/records?q=123456789&type=Student&as=json")).json()
    assert rows[0]["owner"] is None


async def test_an_owner_elsewhere_is_not_named(web: httpx.AsyncClient, records_core: Core) -> None:
    body = {"studentId": "123456789", "decision": {"approved": True}}
    await accepted(await records_core.client(MAPLE), "Mark", record("m1", body))
    await operations.grant(await records_core.connect(), PLAIN, "123456789", None)
    records_core.services.access_worker.wake()
    await settled(records_core.services)
    await sign_in(web, "pia")
    page = await page_of(web, "Mark/m1")
    assert "It is seen by its owner, organisations associated with student 123456789 while its member" in page
    assert "it was granted this until revoked" in page
    assert MAPLE not in page
    await sign_in(web, "vera")
    assert "It is seen by its owner S.0982, organisations" in await page_of(web, "Mark/m1")


async def test_a_record_that_was_revoked_is_no_longer_there(web: httpx.AsyncClient, records_core: Core) -> None:
    connection = await records_core.connect()
    await operations.grant(connection, PLAIN, "123456789", None)
    records_core.services.access_worker.wake()
    await settled(records_core.services)
    await sign_in(web, "pia")
    assert await found(web, "d.1_x-Y") == [("Document", "d.1_x-Y"), ("DocumentStatus", "d.1_x-Y")]
    await page_of(web, DOCUMENT)
    await operations.revoke(connection, PLAIN, "123456789")
    records_core.services.access_worker.wake()
    await settled(records_core.services)
    nothing = await web.get("/console/records/Note/not-there")
    for path in PATHS:
        answer = await web.get(f"/console/records/{path}")
        assert (answer.status_code, answer.text) == (404, nothing.text)
    assert await found(web, "123456789") == []
    await sign_in(web, "olga")
    page = await page_of(web, DOCUMENT)
    assert "S.0990" in page
    assert "revoked" in page


async def test_who_created_a_student_that_left_sees_it_no_more(web: httpx.AsyncClient, records_core: Core) -> None:
    """The owner of a student's record is who brought it in: that alone shows it to nobody."""
    plain = await records_core.client(PLAIN)
    await accepted(await records_core.client(MAPLE), "Student", record("222222222", {}))
    await settled(records_core.services)
    await enrol(plain, "e2", "222222222", PLAIN)
    await settled(records_core.services)
    await sign_in(web, "vera")
    assert await found(web, "222222222") == []
    assert (await web.get("/console/records/Student/222222222")).status_code == 404
    await sign_in(web, "pia")
    assert "an organisation beyond yours" in await page_of(web, "Student/222222222")


async def test_a_deleted_record_is_shown_to_those_who_knew_it(web: httpx.AsyncClient, records_core: Core) -> None:
    maple = await records_core.client(MAPLE)
    version = (await available(maple, "Note"))["maxCoreVersion"]
    await accepted(maple, "Note", record("n1", None, version, deleted=True))
    await settled(records_core.services)
    await sign_in(web, "vera")
    page = await page_of(web, "Note/n1")
    assert "This is how it stood last" in page
    assert "of Maple Ridge alone" in page
    assert "deleted" in (await web.get("/console/records?q=n1")).text
    connection = await records_core.connect()
    await connection.execute("delete from viewer where id = 'n1'")  # as collection does after the retention
    assert (await web.get("/console/records/Note/n1")).status_code == 404
    assert await found(web, "n1") == []
    await sign_in(web, "olga")
    assert "of Maple Ridge alone" in await page_of(web, "Note/n1")


async def test_a_status_shows_its_alerts_and_leads_to_its_source(web: httpx.AsyncClient, records_core: Core) -> None:
    connection = await records_core.connect()
    alert = {"alertCode": 7_001, "alertType": "Advice", "description": HOSTILE, "arguments": {"grade": "<b>12"}}
    said: Json = {"state": "Acknowledged", "organization": MAPLE, "at": "2026-11-01T10:00:00.000Z"}
    await connection.execute(
        "update record r set body = $1 from record_type k where k.number = r.record_type and k.name = 'DocumentStatus'",
        json.dumps({"alerts": [{**alert, "acknowledgement": said}]}),
    )
    await sign_in(web, "vera")
    for path in (DOCUMENT, "DocumentStatus/d.1_x-Y"):
        raw = (await web.get(f"/console/records/{path}")).text
        assert "<script" not in raw
        assert "&lt;script&gt;" in raw
        assert "<b>12" not in raw
        assert "7001" in raw
        assert "acknowledged by S.0982" in raw
    assert 'href="/console/records/DocumentStatus/d.1_x-Y"' in await page_of(web, DOCUMENT)
    assert f'href="/console/records/{DOCUMENT}"' in await page_of(web, "DocumentStatus/d.1_x-Y")
    assert "no alerts" in await page_of(web, STUDENT)


async def test_who_was_told_is_said_client_by_client(web: httpx.AsyncClient, records_core: Core) -> None:
    maple, elk, ministry = [await records_core.client(code) for code in (MAPLE, ELK, MINISTRY)]
    told = (await available(maple, "Note"))["maxCoreVersion"]
    await available(maple, "Note", told), await available(ministry, "Note"), await available(elk, "Note")
    await available(elk, "Bulletin.2027")
    await records_core.services.client_streams.write()
    await sign_in(web, "olga")
    page = await page_of(web, "Note/n1")
    assert page.index("not yet") < page.index("has been told"), "the ministry's asks from 0"
    assert "S.0983" not in page
    assert "S.0983" in await page_of(web, "Bulletin.2027/b1")
    await sign_in(web, "vera")
    assert "not yet" not in await page_of(web, "Note/n1")
    assert "No client of your organisations" in await page_of(web, "Bulletin.2027/b1")


async def test_large_bodies_are_cut_and_downloaded_whole(web: httpx.AsyncClient, records_core: Core) -> None:
    maple = await records_core.client(MAPLE)
    deep: list[object] = []
    for _ in range(60):
        deep = [deep]
    bodies: dict[str, Json] = {
        "long": {"text": "x" * 300_000},
        "wide": {"list": [HOSTILE] * 2_000},
        "deep": {"deep": [deep] * 400},
    }
    await accepted(maple, "Note", *(record(name, body) for name, body in bodies.items()))
    await sign_in(web, "vera")
    for name, body in bodies.items():
        answer = await web.get(f"/console/records/Note/{name}")
        assert f"Cut after {BODY_SHOWN_MAX:,} characters" in answer.text
        assert "<script" not in answer.text
        assert len(answer.content) < 200_000
        assert (await web.get(f"/console/records/Note/{name}?as=json")).json() == body


@pytest.mark.parametrize("record_id", [".", "..", "a.b_c-d", "-", "Z" * 64])
async def test_any_id_has_a_page(web: httpx.AsyncClient, records_core: Core, record_id: str) -> None:
    await accepted(await records_core.client(MAPLE), "Note", record(record_id, {"text": "here it is"}))
    await sign_in(web, "vera")
    page = (await web.get(f"/console/records?q={record_id}")).text
    _, _, after = page.partition('<td><a href="')
    place = unescape(after.partition('"')[0])
    shown = await web.get(place)
    assert "here it is" in shown.text
    _, _, after = shown.text.rpartition('href="?')
    download = await web.get(place.partition("?")[0] + "?" + unescape(after.partition('"')[0]))
    assert download.json() == {"text": "here it is"}


@pytest.mark.parametrize("wrong", ["%00", "x" * 5_000, "%ff", "..%2f..", "'%22%3e", "Note.99999999999999", "Note.2027"])
async def test_nothing_that_is_asked_for_is_an_error_of_ours(web: httpx.AsyncClient, wrong: str) -> None:
    await sign_in(web, "vera")
    for place in (f"{wrong}/n1", f"Note/{wrong}", f"Note?id={wrong}", wrong):
        answer = await web.get(f"/console/records/{place}")
        assert answer.status_code == 404, place
    for query in (f"q={wrong}", f"q=n1&type={wrong}", f"q=n1&page={wrong}", f"q={wrong}&as=csv", "q=&as=json"):
        assert (await web.get(f"/console/records?{query}")).status_code == 200, query


async def test_many_are_found_page_by_page(web: httpx.AsyncClient, records_core: Core) -> None:
    maple = await records_core.client(MAPLE)
    await accepted(maple, "Document", *(record(f"d{i:03}", {"studentId": "123456789"}) for i in range(60)))
    await settled(records_core.services)
    await sign_in(web, "vera")
    first, second = [(await web.get(f"/console/records?q=123456789&page={page}")).text for page in (1, 2)]
    assert (first.count("<tr>"), second.count("<tr>")) == (1 + 50, 1 + 14)
    assert 'href="?page=2&amp;q=123456789"' in first
    assert len(await found(web, "123456789")) == 64


async def test_who_is_not_signed_in_sees_nothing(web: httpx.AsyncClient) -> None:
    for place in ("/console/records?q=n1", "/console/records/Note/n1"):
        assert (await web.get(place)).status_code == 303
