"""OneRoster 1.2 files: whole and as changes, read and written."""

import csv
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from homeroom_merge.connectors.csv_dropoff import DropOff
from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_oneroster import oneroster
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.oneroster import load_codes, oneroster_formatters
from homeroom_merge.plan import Kind
from homeroom_merge.testing import FormatterSuite
from tests.merge.declared import DeclaredSuite
from tests.merge.tables import ROSTER, fetched, put, verified

CODES = load_codes()
FORMATTERS = oneroster_formatters(CODES)
FILES = {
    "orgs": (
        "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\n"
        "o9,,,Elk,district,9,\no91,,,Raven,school,91,o9\n"
    ),
    "academicSessions": (
        "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\n"
        "y,,,2026-2027,schoolYear,2026-09-01,2027-06-30,,2027\nf,,,Fall,term,2026-09-01,2026-12-20,y,2027\n"
    ),
    "courses": (
        "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects\n"
        'c1,,,y,Algebra,ALG,"09,10",o9,Math\n'
    ),
    "classes": (
        "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,"
        "termSourcedIds,subjects,subjectCodes,periods\n"
        'k1,,,Algebra A,09,c1,ALG-A,scheduled,R 1,o91,f,,,"1,3"\n'
    ),
    "users": (
        "sourcedId,status,dateLastModified,enabledUser,username,givenName,familyName,identifier,email,agentSourcedIds,"
        "grades,password,primaryOrgSourcedId\n"
        "u1,,,true,ada,Ada,Bear,1001,,u3,09,hunter2,o91\n"
        "u2,,,true,eve,Eve,Elk,77,eve@elk.example,,,hunter2,o91\n"
        "u3,,,true,ola,Ola,Bear,,ola@elk.example,,,hunter2,\n"
    ),
    "roles": (
        "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId\n"
        "r1,,,u1,primary,student,2026-09-01,,o91\nr2,,,u2,primary,teacher,2026-08-20,,o91\n"
        "r3,,,u2,secondary,administrator,,,o9\nr4,,,u3,primary,guardian,,,o91\n"
    ),
    "enrollments": (
        "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate\n"
        "e1,,,k1,o91,u1,student,,2026-09-01,\ne2,,,k1,o91,u2,teacher,true,,\n"
    ),
    "demographics": (
        "sourcedId,status,dateLastModified,birthDate,sex,asian,white,hispanicOrLatinoEthnicity,countryOfBirthCode\n"
        "u1,,,2014-03-02,female,true,false,false,CA\n"
    ),
}
COUNTS = {
    "SchoolAuthority": 1,
    "School": 1,
    "Course": 1,
    "Student": 1,
    "Staff": 1,
    "Contact": 1,
    "StudentSchoolEnrolment": 1,
    "Section": 1,
    "StaffSection": 1,
    "CourseEnrolment": 1,
}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def manifest(**modes: str) -> str:
    said = {**dict.fromkeys(FILES, "bulk"), **modes}
    lines = [f"file.{name},{mode}" for name, mode in said.items()]
    return "\n".join(["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2", *lines, ""])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put(tmp_path, {**FILES, "manifest": manifest()})
    return tmp_path


def connector(folder: Path, drop_off: DropOff | None = None) -> CsvFolder:
    return CsvFolder(folder, oneroster(CODES.lists), drop_off=drop_off)


def written(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("entity", FORMATTERS)
class TestPromises(DeclaredSuite):
    formatters, codes = FORMATTERS, CODES


@pytest.mark.parametrize("entity", FORMATTERS)
class TestPromisesForAnExport(FormatterSuite):
    secrets = ("hunter2",)

    @pytest.fixture(autouse=True)
    def exported(self, folder: Path, entity: str) -> None:
        self.formatter, self.schema = FORMATTERS[entity], ROSTER[entity].schema
        self.always = ("schoolYear", *FORMATTERS[entity].key)
        _, rows = anyio.run(fetched, connector(folder), entity)
        self.rows = [row.row for row in rows]


@pytest.mark.parametrize(("entity", "count"), COUNTS.items())
async def test_each_entity_is_read_without_a_fault(folder: Path, entity: str, count: int) -> None:
    fetch, read = await verified(connector(folder), FORMATTERS[entity])
    assert (fetch.failure, fetch.complete, len(read)) == ("", True, count)
    assert [record.faults for record in read] == [()] * count


async def test_a_student_is_joined_of_users_roles_and_demographics(folder: Path) -> None:
    fetch, (record,) = await verified(connector(folder), FORMATTERS["Student"])
    assert record.reading.body == {
        "firstName": "Ada",
        "lastName": "Bear",
        "username": "ada",
        "status": "active",
        "sex": "female",
        "birthDate": "2014-03-02",
        "isHispanicLatino": False,
        "races": ["asian"],
        "studentNumber": "1001",
        "gradeLevel": "09",
        "schoolId": "91",
        "birthCountry": "CA",
    }
    assert (record.reading.school, record.reading.number) == ("S.91", "1001")
    assert fetch.coverage.pairs == frozenset({("S.91", None)})
    assert "users.csv: the column password was dropped: it holds secrets" in fetch.notes


async def test_a_section_has_its_session_and_year(folder: Path) -> None:
    fetch, (record,) = await verified(connector(folder), FORMATTERS["Section"])
    assert (record.reading.body["sessionName"], record.reading.school_year) == ("Fall", 2027)
    assert record.reading.body["classPeriods"] == ["1", "3"]
    assert fetch.coverage.pairs == frozenset({("S.91", 2027)})


class TestChanges:
    async def test_a_file_of_changes_is_never_complete(self, folder: Path) -> None:
        put(folder, {"manifest": manifest(enrollments="delta")})
        fetch, rows = await fetched(connector(folder), "CourseEnrolment")
        assert (len(rows), fetch.complete, fetch.failure) == (1, False, "")

    async def test_a_row_to_be_deleted_is_gone_and_no_other(self, folder: Path) -> None:
        put(folder, {"enrollments": FILES["enrollments"].replace("e1,,", "e1,tobedeleted,"), "manifest": manifest()})
        _, (record,) = await verified(connector(folder), FORMATTERS["CourseEnrolment"])
        assert record.reading.deleted
        _, (record,) = await verified(connector(folder), FORMATTERS["StaffSection"])
        assert not record.reading.deleted

    async def test_without_a_manifest_nothing_is_read(self, folder: Path) -> None:
        (folder / "manifest.csv").unlink()
        fetch, rows = await fetched(connector(folder), "Student")
        assert rows == []
        assert fetch.failure == "there is no manifest.csv: nobody knows which files are whole; export it too"

    async def test_a_file_that_the_manifest_promises_and_that_is_not_there_is_a_failure(self, folder: Path) -> None:
        (folder / "demographics.csv").unlink()
        fetch, rows = await fetched(connector(folder), "Student")
        assert rows == []
        assert "promises demographics.csv" in fetch.failure


class TestDropOff:
    async def drop(self, folder: Path, entity: str, change: dict[str, object]) -> Path:
        out = folder / "out"
        put_to = DropOff(out, oneroster(CODES.lists), lambda: NOW)
        feed = connector(folder, put_to)
        assert (feed.abilities.write, feed.abilities.read_back) == (True, False)
        _, (row,) = await fetched(feed, entity)
        reading = FORMATTERS[entity].read(row.row)
        row_after = FORMATTERS[entity].write(reading.key, {**reading.body, **change}, row.row)
        outcome = await feed.write(entity, Kind.UPDATE, reading.key, row_after, row.row)
        assert (outcome.result, outcome.detail) == ("done", "")
        (batch,) = out.iterdir()
        return batch

    async def test_a_student_is_spread_over_its_files_with_a_manifest(self, folder: Path) -> None:
        batch = await self.drop(folder, "Student", {"firstName": "=1+1", "sex": "other"})
        assert sorted(path.name for path in batch.iterdir()) == ["demographics.csv", "manifest.csv", "users.csv"]
        (user,) = written(batch / "users.csv")
        assert (user["sourcedId"], user["status"], user["givenName"]) == ("u1", "active", "=1+1")
        assert (user["password"], user["dateLastModified"]) == ("", "2026-11-22T12:00:00.000Z")
        assert '"=1+1"' in (batch / "users.csv").read_text()
        assert not any(title.startswith("@") for title in user)
        (demographics,) = written(batch / "demographics.csv")
        assert (demographics["sourcedId"], demographics["sex"]) == ("u1", "other")
        said = {row["propertyName"]: row["value"] for row in written(batch / "manifest.csv")}
        assert (said["file.users"], said["file.orgs"], said["oneroster.version"]) == ("delta", "absent", "1.2")

    async def test_what_was_dropped_off_can_be_read_as_an_export(self, folder: Path) -> None:
        batch = await self.drop(folder, "Section", {"title": 'Algebra "B", new\nroom'})
        put(batch, {"orgs": FILES["orgs"], "academicSessions": FILES["academicSessions"]})
        put(batch, {"manifest": manifest(classes="delta")})
        _, (record,) = await verified(connector(batch), FORMATTERS["Section"])
        assert record.faults == ()
        assert record.reading.body["title"] == 'Algebra "B", new\nroom'

    async def test_a_delete_is_a_row_to_be_deleted(self, folder: Path) -> None:
        feed = connector(folder, DropOff(folder / "out", oneroster(CODES.lists), lambda: NOW))
        await feed.write("CourseEnrolment", Kind.DELETE, "e1", None, None)
        (batch,) = (folder / "out").iterdir()
        (row,) = written(batch / "enrollments.csv")
        assert (row["sourcedId"], row["status"]) == ("e1", "tobedeleted")

    async def test_a_section_of_a_session_that_the_sis_lacks_is_refused(self, folder: Path) -> None:
        feed = connector(folder, DropOff(folder / "out", oneroster(CODES.lists), lambda: NOW))
        row = FORMATTERS["Section"].write("k2", {"schoolId": "91", "schoolYear": 2030, "sessionName": "Fall"}, None)
        outcome = await feed.write("Section", Kind.CREATE, "k2", row, None)
        assert outcome.result == "refused"
        assert "add it to the SIS first" in outcome.detail

    async def test_a_section_finds_the_session_of_its_title_and_year(self, folder: Path) -> None:
        feed = connector(folder, DropOff(folder / "out", oneroster(CODES.lists), lambda: NOW))
        row = FORMATTERS["Section"].write("k2", {"schoolId": "91", "schoolYear": 2027, "sessionName": "Fall"}, None)
        outcome = await feed.write("Section", Kind.CREATE, "k2", row, None)
        assert outcome.result == "done"
        (batch,) = (folder / "out").iterdir()
        assert [row["termSourcedIds"] for row in written(batch / "classes.csv")] == ["f"]

    async def test_a_new_student_gets_the_role_of_one(self, folder: Path) -> None:
        feed = connector(folder, DropOff(folder / "out", oneroster(CODES.lists), lambda: NOW))
        row = FORMATTERS["Student"].write("u9", {"firstName": "Ola", "lastName": "Elk", "schoolId": "91"}, None)
        assert (await feed.write("Student", Kind.CREATE, "u9", row, None)).result == "done"
        (batch,) = (folder / "out").iterdir()
        (role,) = written(batch / "roles.csv")
        assert [role[title] for title in ("sourcedId", "userSourcedId", "orgSourcedId", "role")] == [
            "u9.o91.student",
            "u9",
            "o91",
            "student",
        ]

    async def test_a_changed_role_keeps_its_id(self, folder: Path) -> None:
        _, (record,) = await verified(connector(folder), FORMATTERS["Staff"])
        roles = [{**role, "endDate": "2027-06-30"} for role in record.reading.body["roles"]]
        batch = await self.drop(folder, "Staff", {"roles": roles})
        assert [(role["sourcedId"], role["endDate"]) for role in written(batch / "roles.csv")] == [
            ("r2", "2027-06-30"),
            ("r3", "2027-06-30"),
        ]

    async def test_a_reference_to_an_id_that_is_no_code_of_the_hub_is_refused(self, folder: Path) -> None:
        feed = connector(folder, DropOff(folder / "out", oneroster(CODES.lists), lambda: NOW))
        body = {"studentId": code_key("{ada bear}"), "sectionId": "k1", "schoolYear": 2027}
        row = FORMATTERS["CourseEnrolment"].write("e9", body, None)
        outcome = await feed.write("CourseEnrolment", Kind.CREATE, "e9", row, None)
        assert (outcome.result, (folder / "out").exists()) == ("refused", False)
        assert "own id for userSourcedId is not known" in outcome.detail

    async def test_a_folder_without_a_drop_off_is_only_read(self, folder: Path) -> None:
        outcome = await connector(folder).write("Student", Kind.UPDATE, "u1", {}, None)
        assert outcome.result == "refused"
