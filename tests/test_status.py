"""Statuses, alerts and acknowledgements, through the front door."""

from datetime import date, timedelta
from typing import Any
from uuid import uuid4

import anyio
import pytest

from homeroom import Client, HomeroomError, NotificationType
from homeroom.answers import RecordAnswer, Result
from homeroom_server.auth import Role
from homeroom_server.changes import Committed, Decision
from homeroom_server.status.calculation import CalculatedStatus, Calculation
from homeroom_server.store.triggers import SourceRecord, Trigger
from tests.conftest import Core
from tests.records import Json, accepted, available, note, pairs, record

ASN = "123456789"
YEAR = 2027


def student(**members: Any) -> Json:
    body = {"studentNames": [{"firstName": "Ada", "lastName": "King"}], "isDeactivated": False, "gender": "Female"}
    return record(ASN, body | {"birthDate": "2012-04-01"} | members)


def enrolment(school: str = "0982", **members: Any) -> Json:
    body = {"stateProvinceId": ASN, "schoolCode": school, "schoolYear": YEAR, "grade": "09"}
    return record(str(uuid4()), body | {"registrationStartDate": "2026-09-01"} | members)


def course_enrolment(section: str, **members: Any) -> Json:
    body = {"stateProvinceId": ASN, "courseCode": "MAT1791", "sectionRefId": section}
    return record(str(uuid4()), body | {"courseEnrolmentStatus": "Registered", "creditsAttempted": 5} | members)


def section(**members: Any) -> Json:
    return record(str(uuid4()), {"schoolCode": "0982", "schoolYear": YEAR, "courseCodes": ["MAT1791"]} | members)


async def status_of(client: Client, status_type: str, record_id: str, source_version: int) -> RecordAnswer:
    """The status as soon as it was calculated from that version of its source."""
    cursor = 0
    with anyio.fail_after(15):
        while True:
            answer = await client.get(status_type, [{"id": record_id, "knownSourceVersion": 0}])
            (found,) = answer.records
            if found.get("sourceVersion", 0) >= source_version:
                return found
            cursor = (await available(client, status_type, cursor, 5))["maxCoreVersion"]


async def until_codes(client: Client, status_type: str, record_id: str, codes: list[int]) -> RecordAnswer:
    """The status as soon as it carries just these alerts."""
    cursor = 0
    with anyio.fail_after(15):
        while True:
            cursor = (await available(client, status_type, cursor, 5))["maxCoreVersion"]
            (found,) = (await client.get(status_type, [{"id": record_id}])).records
            if found["availability"] == "Normal" and codes_of(found) == codes:
                return found


def codes_of(status: RecordAnswer) -> list[int]:
    return [alert["alertCode"] for alert in status["body"]["alerts"]]


async def test_a_status_carries_its_source_and_a_later_version(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a", "text"))
    status = await status_of(school, "NoteStatus", "a", version)
    assert status["coreVersion"] > version
    assert status["sourceVersion"] == version
    assert status["body"] == {"alerts": []}
    assert status["source"] == {"id": "a", "coreVersion": version, "deleted": False, "body": {"text": "text"}}


async def test_the_source_comes_only_if_it_is_newer_than_known(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a"))
    await status_of(school, "NoteStatus", "a", version)
    for known, comes in ((None, True), (0, True), (version - 1, True), (version, False), (version + 5, False)):
        item = {"id": "a"} if known is None else {"id": "a", "knownSourceVersion": known}
        (found,) = (await school.get("NoteStatus", [item])).records
        assert ("source" in found) is comes


async def test_deleting_a_source_deletes_its_status_and_undeleting_brings_it_back(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a"))
    await status_of(school, "NoteStatus", "a", version)
    (gone,) = await accepted(school, "Note", record("a", None, version, deleted=True))
    assert (await status_of(school, "NoteStatus", "a", gone))["deleted"] is True
    (back,) = await accepted(school, "Note", note("a", "back", gone))
    assert (await status_of(school, "NoteStatus", "a", back))["deleted"] is False


async def test_triggers_coalesce_and_the_newest_source_wins(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (version,) = await accepted(school, "Note", note("a", "0"))
    for index in range(1, 30):
        (version,) = await accepted(school, "Note", note("a", str(index), version))
    status = await status_of(school, "NoteStatus", "a", version)
    assert status["source"]["body"] == {"text": "29"}
    connection = await plain_core.connect()
    with anyio.fail_after(10):
        while await connection.fetchval("select count(*) from status_trigger"):
            await anyio.sleep(0.01)
    assert await connection.fetchval("select count(*) from record where source_version is not null") == 1


async def test_a_status_is_never_replaced_by_one_that_saw_an_older_source(plain_core: Core) -> None:
    school = await plain_core.client("S.0982")
    (first,) = await accepted(school, "Note", note("a", "old"))
    await status_of(school, "NoteStatus", "a", first)
    (second,) = await accepted(school, "Note", note("a", "new", first))
    status = await status_of(school, "NoteStatus", "a", second)
    connection = await plain_core.connect()
    old = await connection.fetchrow("select record_type, owner from record where id = 'a' and source_version is null")
    assert old is not None
    stale = SourceRecord(old["record_type"], None, "a", first, old["owner"], None, False, "{}")
    trigger = Trigger(old["record_type"], "a", 1, changed=True)
    late = Calculation(NotificationType("NoteStatus"), [CalculatedStatus(trigger, stale, [], None)])
    await plain_core.services.committer.commit(late)
    assert (await school.get("NoteStatus", [{"id": "a"}])).records[0]["coreVersion"] == status["coreVersion"]


async def test_a_trigger_raised_during_its_calculation_is_not_lost(
    plain_core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    school = await plain_core.client("S.0982")
    decide = Calculation.decide
    again: list[int] = []

    def decide_late(self: Calculation, *given: Any) -> Decision:
        calculated.set()
        return decide(self, *given)

    calculated = anyio.Event()
    monkeypatch.setattr(Calculation, "decide", decide_late)
    commit = plain_core.services.committer.commit

    async def commit_slowly(change: Any, *of_call: Any) -> Committed:
        if isinstance(change, Calculation) and not again:
            again.extend(await accepted(school, "Note", note("a", "newer", first)))
        return await commit(change, *of_call)

    monkeypatch.setattr(plain_core.services.committer, "commit", commit_slowly)
    (first,) = await accepted(school, "Note", note("a"))
    await calculated.wait()
    status = await status_of(school, "NoteStatus", "a", again[0])
    assert status["source"]["body"] == {"text": "newer"}


class TestRules:
    async def test_student(self, core: Core) -> None:
        ministry = await core.client("O.1")
        wrong = {"birthDate": "2199-01-01", "isDeceased": True, "gender": "Unknown"}
        (version,) = await accepted(ministry, "Student", student(primaryStateProvinceId="987654321", **wrong))
        status = await status_of(ministry, "StudentStatus", ASN, version)
        assert codes_of(status) == [11001, 11002, 11003, 11004]
        assert status["body"]["alerts"][1]["arguments"] == {
            "StateProvinceId": ASN,
            "PrimaryStateProvinceId": "987654321",
        }

    async def test_student_school_enrolment(self, core: Core) -> None:
        ministry = await core.client("O.1")
        await accepted(ministry, "Student", student())
        await accepted(ministry, "StudentSchoolEnrolment.2026", enrolment(schoolYear=2026, grade="06"))
        wrong = enrolment(registrationStartDate="2025-10-01", registrationExitDate="2025-09-01")
        (version,) = await accepted(ministry, "StudentSchoolEnrolment.2027", wrong)
        status = await status_of(ministry, "StudentSchoolEnrolmentStatus.2027", wrong["id"], version)
        assert codes_of(status) == [10001, 10002, 10004]

    async def test_an_overlap_is_found_from_either_side(self, core: Core) -> None:
        ministry = await core.client("O.1")
        await accepted(ministry, "Student", student())
        here, there = enrolment("0982"), enrolment("0983")
        await accepted(ministry, "StudentSchoolEnrolment.2027", here)
        await until_codes(ministry, "StudentSchoolEnrolmentStatus.2027", here["id"], [])
        await accepted(ministry, "StudentSchoolEnrolment.2027", there)
        await until_codes(ministry, "StudentSchoolEnrolmentStatus.2027", here["id"], [10003])
        found = await until_codes(ministry, "StudentSchoolEnrolmentStatus.2027", there["id"], [10003])
        assert found["body"]["alerts"][0]["arguments"] == {"SchoolCode": "0982"}

    async def test_a_deactivated_student_alerts_those_enrolled(self, core: Core) -> None:
        ministry = await core.client("O.1")
        (version,) = await accepted(ministry, "Student", student())
        here = enrolment()
        await accepted(ministry, "StudentSchoolEnrolment.2027", here)
        await until_codes(ministry, "StudentSchoolEnrolmentStatus.2027", here["id"], [])
        await accepted(ministry, "Student", student(isDeactivated=True) | {"expectedVersion": version})
        await until_codes(ministry, "StudentSchoolEnrolmentStatus.2027", here["id"], [10005])

    async def test_section(self, core: Core) -> None:
        school = await core.client("S.0982")
        wrong = section(startDate="2027-06-01", endDate="2025-02-01", creditsOffered=40)
        (version,) = await accepted(school, "Section.2027", wrong)
        status = await status_of(school, "SectionStatus.2027", wrong["id"], version)
        assert codes_of(status) == [40101, 40102, 40103, 40105]

    async def test_what_was_missing_clears_its_alert_when_it_comes(self, core: Core) -> None:
        ministry = await core.client("O.1")
        taught = section()
        await accepted(ministry, "Section.2027", taught)
        await until_codes(ministry, "SectionStatus.2027", taught["id"], [40102])
        names = {"englishShortName": "Math 10", "englishFullName": "Mathematics 10", "firstSchoolYear": 2010}
        await accepted(ministry, "Course", record("MAT1791", names))
        found = await until_codes(ministry, "SectionStatus.2027", taught["id"], [])
        assert found["body"] == {"alerts": []}

    async def test_course_enrolment(self, core: Core) -> None:
        school = await core.client("S.0982")
        taught = section(courseCodes=["ELA1105"])
        await accepted(school, "Section.2027", taught)
        wrong = course_enrolment(
            taught["id"].upper(),
            entryDate="2026-02-01",
            exitDate="2026-01-01",
            courseEnrolmentMark={"markValue": "101", "markFormat": "Percentage", "isMarkApproved": False},
        )
        (version,) = await accepted(school, "CourseEnrolment.2027", wrong)
        status = await status_of(school, "CourseEnrolmentStatus.2027", wrong["id"], version)
        assert codes_of(status) == [42002, 42003, 42004, 42005]
        lost = course_enrolment(str(uuid4()), exitDate="2020-01-01")
        (version,) = await accepted(school, "CourseEnrolment.2027", lost)
        status = await status_of(school, "CourseEnrolmentStatus.2027", lost["id"], version)
        assert codes_of(status) == [42001, 42005, 40214]

    async def test_a_date_of_tomorrow_is_looked_at_again(self, core: Core) -> None:
        school = await core.client("S.0982")
        today = date.today()
        body = {"stateProvinceId": ASN, "courseCode": "X", "schoolYear": YEAR, "evaluationMethod": "Music"}
        day = (today + timedelta(days=3)).isoformat()
        mark = record(str(uuid4()), body | {"creditsAttempted": 5, "isMarkApproved": False, "markDate": day})
        (version,) = await accepted(school, "EvaluatedMark.2027", mark)
        status = await status_of(school, "EvaluatedMarkStatus.2027", mark["id"], version)
        assert codes_of(status) == [40302, 40303, 40304]
        connection = await core.connect()
        due = await connection.fetchval("select due_at from status_trigger where id = $1", mark["id"])
        assert due is not None
        await connection.execute("update status_trigger set due_at = now()")
        with anyio.fail_after(10):
            while (await available(school, "EvaluatedMarkStatus.2027", status["coreVersion"]))["reason"] == "none":
                await anyio.sleep(0.05)

    async def test_a_rule_that_fails_does_not_stop_the_others(self, core: Core) -> None:
        school = await core.client("S.0982")
        connection = await core.connect()
        (version,) = await accepted(school, "Section.2027", broken := section())
        await status_of(school, "SectionStatus.2027", broken["id"], version)
        await connection.execute("update record set body = '[]' where id = $1 and source_version is null", broken["id"])
        await connection.execute(
            "insert into status_trigger select record_type, id, 1, now() - interval '1 day', true from record"
            " where id = $1 and source_version is null",
            broken["id"],
        )
        (version,) = await accepted(school, "Section.2027", good := section())
        await status_of(school, "SectionStatus.2027", good["id"], version)
        assert await connection.fetchval("select count(*) from status_trigger where id = $1", broken["id"]) == 1


class TestAcknowledgement:
    @pytest.fixture
    async def school(self, core: Core) -> Client:
        return await core.client("S.0982")

    async def advice(self, client: Client) -> tuple[str, Json]:
        lost = course_enrolment(str(uuid4()))
        (version,) = await accepted(client, "CourseEnrolment.2027", lost)
        status = await status_of(client, "CourseEnrolmentStatus.2027", lost["id"], version)
        (alert,) = [alert for alert in status["body"]["alerts"] if alert["alertCode"] == 42005]
        return lost["id"], alert

    async def acknowledge(self, client: Client, record_id: str, alert: Json, **members: Any) -> Result:
        word = {"id": record_id, "alertCode": alert["alertCode"], "arguments": alert["arguments"]}
        return await client.acknowledge("CourseEnrolmentStatus.2027", word | {"state": "Acknowledged"} | members)

    async def test_an_advice_is_acknowledged_and_stays_so(self, core: Core, school: Client) -> None:
        record_id, alert = await self.advice(school)
        answer = await self.acknowledge(school, record_id, alert)
        assert answer["rejections"] == []
        (status,) = (await school.get("CourseEnrolmentStatus.2027", [{"id": record_id}])).records
        assert status["coreVersion"] == answer["coreVersion"]
        stands = next(a for a in status["body"]["alerts"] if a["alertCode"] == 42005)["acknowledgement"]
        assert (stands["state"], stands["organization"]) == ("Acknowledged", "S.0982")
        (source,) = (await school.get("CourseEnrolment.2027", [{"id": record_id}])).records
        changed = record(record_id, source["body"] | {"creditsAttempted": 3}, source["coreVersion"])
        (version,) = await accepted(school, "CourseEnrolment.2027", changed)
        status = await status_of(school, "CourseEnrolmentStatus.2027", record_id, version)
        after = next(a for a in status["body"]["alerts"] if a["alertCode"] == 42005)["acknowledgement"]
        assert after == stands

    async def test_what_does_not_match_is_rejected(self, core: Core, school: Client) -> None:
        record_id, alert = await self.advice(school)
        codes = []
        wrong: list[Json] = [
            {"alertCode": 1},
            {"arguments": {}},
            {"arguments": alert["arguments"] | {"SchoolYear": "2026"}},
            {"state": "Overridden"},
            {"state": "Unacknowledged"},
            {"id": str(uuid4())},
        ]
        for members in wrong:
            answer = await self.acknowledge(school, record_id, alert, **members)
            codes += [rejection["code"] for rejection in answer["rejections"]]
        assert codes == [12001, 12002, 12002, 12003, 9023, 9020]
        stranger = await core.client("S.0990")
        answer = await self.acknowledge(stranger, record_id, alert)
        assert [rejection["code"] for rejection in answer["rejections"]] == [9020]

    async def test_a_warning_is_overridden_by_the_ministry_only(self, core: Core, school: Client) -> None:
        record_id, _ = await self.advice(school)
        (status,) = (await school.get("CourseEnrolmentStatus.2027", [{"id": record_id}])).records
        warning = status["body"]["alerts"][0]
        assert warning["alertType"] == "Warning"
        assert (await self.acknowledge(school, record_id, warning))["coreVersion"] == 0
        ministry = await core.client("O.1")
        assert (await self.acknowledge(ministry, record_id, warning, state="Overridden"))["rejections"] == []

    async def test_it_takes_a_writer_and_a_status_type(self, core: Core, school: Client) -> None:
        word = {"id": str(uuid4()), "alertCode": 1, "arguments": {}, "state": "Acknowledged"}
        with pytest.raises(HomeroomError) as failure:
            await school.acknowledge("CourseEnrolment.2027", word)
        assert failure.value.code == 3005
        with pytest.raises(HomeroomError) as failure:
            await (await core.client("S.0982", Role.READER)).acknowledge("CourseEnrolmentStatus.2027", word)
        assert failure.value.code == 1007


async def test_statuses_are_listed_to_those_who_see_the_source(plain_core: Core) -> None:
    school, stranger = await plain_core.client("S.0982"), await plain_core.client("S.0990")
    (version,) = await accepted(school, "Note", note("a"))
    await status_of(school, "NoteStatus", "a", version)
    assert [i for i, _ in pairs(await available(school, "NoteStatus"))] == ["a"]
    assert pairs(await available(stranger, "NoteStatus")) == []
    assert (await stranger.get("NoteStatus", [{"id": "a"}])).records[0]["availability"] == "Unknown"
