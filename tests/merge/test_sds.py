"""Microsoft School Data Sync: both file sets, read and written."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from homeroom_merge.connectors.csv_folder import CsvFolder
from homeroom_merge.connectors.csv_sds import school_year, sds_v1, sds_v2
from homeroom_merge.formatters import kit
from homeroom_merge.formatters.codes import OWN
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.sds import load_codes, sds_v1_formatters, sds_v2_formatters
from tests.merge.declared import DeclaredSuite
from tests.merge.tables import fetched, put, verified
from tests.samples import SDS, needs_sds

CODES = load_codes()
V1, V2 = sds_v1_formatters(CODES), sds_v2_formatters(CODES)
COUNTS_V1 = {
    "School": 2,
    "Course": 28,
    "Student": 86,
    "Staff": 12,
    "Section": 28,
    "StaffSection": 28,
    "CourseEnrolment": 602,
}
COUNTS_V2 = {
    "SchoolAuthority": 1,
    "School": 2,
    "Course": 3,
    "Student": 4,
    "Staff": 2,
    "Contact": 3,
    "StudentSchoolEnrolment": 4,
    "Section": 2,
    "StaffSection": 2,
    "CourseEnrolment": 4,
}


@pytest.mark.parametrize("entity", V1)
class TestPromisesOfTheFirstVersion(DeclaredSuite):
    formatters, codes = V1, CODES


@pytest.mark.parametrize("entity", V2)
class TestPromisesOfTheSecondVersion(DeclaredSuite):
    formatters, codes = V2, CODES


@needs_sds
class TestSamples:
    @pytest.mark.parametrize(("entity", "count"), COUNTS_V1.items())
    async def test_the_first_version_is_read_without_a_fault(self, entity: str, count: int) -> None:
        await self.check(CsvFolder(SDS / "v1_100_users", sds_v1(CODES.lists)), V1[entity], count)

    @pytest.mark.parametrize(("entity", "count"), COUNTS_V2.items())
    async def test_the_second_version_is_read_without_a_fault(self, entity: str, count: int) -> None:
        await self.check(CsvFolder(SDS / "v2.1", sds_v2(CODES.lists)), V2[entity], count)

    async def check(self, connector: CsvFolder, formatter: DeclaredFormatter, count: int) -> None:
        fetch, read = await verified(connector, formatter)
        assert (fetch.failure, fetch.complete, len(read)) == ("", True, count)
        assert [record.faults for record in read if record.faults] == []
        _, rows = await fetched(connector, formatter.entity)
        assert fetch.coverage.pairs is not None
        for row, record in zip(rows, read, strict=True):
            kit.check_steady(formatter, row.row)
            kit.check_no_secrets(formatter, row.row, ["P@ssw"])
            assert formatter.write(record.reading.key, record.reading.body, row.row) == row.row, "nothing changes"
            owned = (record.reading.school, record.reading.school_year)
            assert owned in fetch.coverage.pairs or owned[0] is None

    async def test_a_student_of_the_first_version(self) -> None:
        _, read = await verified(CsvFolder(SDS / "v1_100_users", sds_v1(CODES.lists)), V1["Student"])
        assert read[0].reading.body == {
            "firstName": "Ora",
            "middleName": "Christopher",
            "lastName": "Klein",
            "username": "OKlein",
            "status": "active",
            "identifiers": [{"system": "state", "code": "WA"}],
            "studentNumber": "13001",
            "schoolId": "10001",
            "gradeLevel": "09",
            "birthDate": "2000-04-02",
            "graduationYear": 2019,
        }
        assert (read[0].place, read[0].reading.number, read[0].reading.school) == (
            "Student.csv row 2",
            "13001",
            "S.10001",
        )

    async def test_a_student_of_the_second_version(self) -> None:
        fetch, read = await verified(CsvFolder(SDS / "v2.1", sds_v2(CODES.lists)), V2["Student"])
        assert read[0].reading.body == {
            "firstName": "Jack",
            "lastName": "Craig",
            "username": "jcraig@classrmtest31.org",
            "sex": "male",
            "birthDate": "2001-07-02",
            "birthCity": "Woodenville",
            "birthState": "WA",
            "birthCountry": "US",
            "flags": ["iep"],
            "schoolId": "110003",
        }
        assert "users without a role in this export, left out: 2" in fetch.notes


def test_a_school_year_is_named_by_the_year_in_which_it_ends() -> None:
    assert [school_year(day) for day in ("7/1/2017", "6/30/2018", "2021-08-24", "soon", None)] == [
        "2018",
        "2018",
        "2022",
        "",
        "",
    ]


async def test_an_unknown_role_names_the_line_to_add_and_nobody_counts_as_gone(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "orgs": "sourcedId,name,type,parentSourcedId\n91,Raven,school,\n",
            "users": "sourcedId,username,givenName,familyName\n1,ada,Ada,Bear\n2,eve,Eve,Elk\n",
            "roles": "userSourcedId,orgSourcedId,role\n1,91,student\n2,91,wizard\n",
        },
    )
    fetch, read = await verified(CsvFolder(tmp_path, sds_v2(CODES.lists)), V2["Student"])
    assert ([each.reading.key for each in read], fetch.complete) == (["1"], False)
    (note,) = [note for note in fetch.notes if "wizard" in note]
    assert note == (
        'the code list PersonKind does not have "wizard", absence not counted; add the line "wizard" = "Contact" or '
        '"Staff" or "Student" or "neither" to the table [PersonKind] of a file of your own, which codes = "codes.toml" '
        "names under [connector]"
    )
    (tmp_path / "own.toml").write_text('[PersonKind]\nwizard = "Staff"\n[StaffRole]\nwizard = "wizard"\n')
    codes = load_codes(tmp_path / "own.toml")
    fetch, read = await verified(CsvFolder(tmp_path, sds_v2(codes.lists)), sds_v2_formatters(codes)["Staff"])
    assert ([each.reading.key for each in read], fetch.complete) == (["2"], True)


def test_an_unknown_grade_is_a_fault_that_names_the_line_to_add() -> None:
    row: Mapping[str, object] = {"SIS ID": "1", "Grade": "Form 3"}
    (fault,) = V1["Student"].read(row).faults
    assert (fault.pointer, fault.detail) == ("/gradeLevel", 'the code list Grade does not have "Form 3"')
    assert fault.cure == f'add the line "Form 3" = "the hub\'s word" to the table [Grade] of {OWN.file}'
