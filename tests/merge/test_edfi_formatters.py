"""Ed-Fi records in the hub's shape, and back."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeroom_merge.formatters import Reading, kit
from homeroom_merge.formatters.edfi import Unwritable, code_key, edfi_formatters, load_codes
from homeroom_merge.formatters.edfi.people import role_id
from homeroom_merge.values import Json
from homeroom_merge.verification import Verifier, verify
from homeroom_server.catalogue import load_catalogue
from tests.merge.declared import DeclaredSuite
from tests.merge.interchanges import ORGANIZATIONS, fetched, put, student
from tests.samples import GRAND_BEND, needs_grand_bend

CODES = load_codes()
FORMATTERS = edfi_formatters(CODES)
ROSTER = load_catalogue("roster").types


@pytest.mark.parametrize("entity", FORMATTERS)
class TestPromises(DeclaredSuite):
    formatters, codes = FORMATTERS, CODES


class TestKeys:
    @given(st.lists(st.text(max_size=40), min_size=1, max_size=5))
    def test_keys_fit_the_hub(self, parts: list[str]) -> None:
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", code_key(*parts))

    @given(
        st.lists(st.text("aB1._- é", max_size=30), min_size=1, max_size=4),
        st.lists(st.text("aB1._- é", max_size=30), min_size=1, max_size=4),
    )
    def test_other_parts_have_other_keys(self, one: list[str], other: list[str]) -> None:
        if len(one) == len(other) and one != other:
            assert code_key(*one) != code_key(*other)

    def test_a_key_can_be_understood(self) -> None:
        assert code_key("604821") == "604821"
        assert code_key("ALG-1", "255901001") == "ALG-1.255901001"
        hashed = code_key("25590100102Trad220", "ALG-1", "255901001", "2021-2022 Fall Semester")
        assert re.fullmatch(r"25590100102Trad220\.ALG-1\.255901001\.2021-2022-Fall-S\.[0-9a-f]{12}", hashed)


class TestFaults:
    async def read(self, folder: Path, *more: str) -> Reading:
        put(folder, "EducationOrganization", ORGANIZATIONS)
        put(folder, "Student", student("1", *more))
        _, (row,) = await fetched(folder, "Student")
        return FORMATTERS["Student"].read(row.row)

    async def test_one_bad_row_is_a_fault_of_its_own(self, tmp_path: Path) -> None:
        put(tmp_path, "EducationOrganization", ORGANIZATIONS)
        bad = student("2", "<BirthData><BirthDate>13.11.2014</BirthDate></BirthData>")
        put(tmp_path, "Student", student("1") + bad + student("3"))
        fetch, rows = await fetched(tmp_path, "Student")
        schema = ROSTER["Student"].schema
        assert schema is not None
        read = [(FORMATTERS["Student"].read(row.row), row.place) for row in rows]
        verified = verify(read, Verifier(schema, FORMATTERS["Student"].fields))
        assert fetch.complete
        assert [record.valid for record in verified] == [True, False, True]
        (fault,) = verified[1].faults
        assert (verified[1].place, fault.pointer) == ("Student.xml line 4", "/birthDate")
        assert (fault.detail, fault.cure) == ("is no day", "a day reads YYYY-MM-DD")

    async def test_an_unknown_code_names_the_line_to_add(self, tmp_path: Path) -> None:
        code = "uri://ed-fi.org/VisaDescriptor#K1 - Fiancé Visa"
        reading = await self.read(tmp_path, f"<Citizenship><Visa>{code}</Visa></Citizenship>")
        (fault,) = reading.faults
        assert fault.pointer == "/visas"
        assert fault.detail == 'the code list VisaDescriptor does not have "K1 - Fiancé Visa"'
        assert '"K1 - Fiancé Visa" = ' in fault.cure
        assert "[VisaDescriptor]" in fault.cure

    async def test_the_line_added_to_a_districts_own_list_cures_it(self, tmp_path: Path) -> None:
        (tmp_path / "own.toml").write_text('[SexDescriptor]\n"uri://elk.example/SexDescriptor#X" = "other"\n')
        codes = load_codes(tmp_path / "own.toml")
        row = {
            "StudentUniqueId": "1",
            "BirthData": {"BirthSex": "uri://elk.example/SexDescriptor#X"},
        }
        assert [fault.pointer for fault in FORMATTERS["Student"].read(row).faults] == ["/birthSex"]
        reading = edfi_formatters(codes)["Student"].read(row)
        assert (reading.faults, reading.body["birthSex"]) == ((), "other")
        assert codes.word("SexDescriptor", "uri://ed-fi.org/SexDescriptor#Female") == "female"

    def test_a_code_list_of_another_form_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "own.toml").write_text("[SexDescriptor]\nX = 1\n")
        with pytest.raises(ValueError, match=re.escape("own.toml: [SexDescriptor] takes lines of the form")):
            load_codes(tmp_path / "own.toml")

    async def test_what_is_no_descriptor_is_not_repeated(self, tmp_path: Path) -> None:
        reading = await self.read(tmp_path, "<BirthData><BirthSex>Ada Bear, female</BirthSex></BirthData>")
        (fault,) = reading.faults
        assert fault.detail == "is no SexDescriptor"
        assert "Bear" not in repr(fault)

    def test_a_fault_in_a_list_says_which_item(self) -> None:
        phones = [
            {"TelephoneNumber": "5551234"},
            {"TelephoneNumberType": "uri://ed-fi.org/TelephoneNumberTypeDescriptor#Pager"},
        ]
        reading = FORMATTERS["Staff"].read({"StaffUniqueId": "1", "Telephone": phones})
        assert [fault.pointer for fault in reading.faults] == ["/phones/1/type"]

    def test_a_missing_part_of_the_key_is_a_fault(self) -> None:
        reading = FORMATTERS["Course"].read({"CourseCode": "ALG"})
        assert (reading.key, [fault.pointer for fault in reading.faults]) == ("", ["/schoolId"])

    def test_an_offering_whose_session_is_of_another_school_is_a_fault(self) -> None:
        def school(number: str) -> Json:
            return {"SchoolIdentity": {"SchoolId": number}}

        session = {"SessionIdentity": {"SessionName": "Fall", "SchoolReference": school("2")}}
        identity = {"LocalCourseCode": "ALG", "SchoolReference": school("1"), "SessionReference": session}
        row = {"SectionIdentifier": "1", "CourseOfferingReference": {"CourseOfferingIdentity": identity}}
        reading = FORMATTERS["Section"].read(row)
        assert ("/schoolId", "is said more than once, and differently") in [
            (fault.pointer, fault.detail) for fault in reading.faults
        ]

    def test_a_word_that_no_list_has_cannot_be_written(self) -> None:
        with pytest.raises(Unwritable, match="SexDescriptor"):
            FORMATTERS["Staff"].write("1", {"staffNumber": "1", "sex": "unheard"}, None)


class TestCoverage:
    def test_an_absent_element_says_nothing(self) -> None:
        reading = FORMATTERS["Student"].read({"StudentUniqueId": "1", "Name": {"FirstName": "Ada", "MiddleName": ""}})
        assert reading.covered == {"studentNumber", "firstName"}

    def test_a_nil_element_says_that_there_is_none(self) -> None:
        reading = FORMATTERS["Student"].read({"StudentUniqueId": "1", "Name": {"MiddleName": None}})
        assert reading.covered == {"studentNumber", "middleName"}
        assert "middleName" not in reading.body


def test_owners_and_years_are_told() -> None:
    row = {
        "StaffUniqueId": "1",
        "LocalEducationAgencyReference": {"LocalEducationAgencyIdentity": {"LocalEducationAgencyId": "9"}},
    }
    assert FORMATTERS["Staff"].read(row).school == "A.9"
    roles = [{"SchoolReference": {"SchoolIdentity": {"SchoolId": number}}} for number in ("91", "92")]
    assignment = "StaffEducationOrganizationAssignmentAssociation"
    assert FORMATTERS["Staff"].read({**row, assignment: roles[:1]}).school == "S.91"
    assert FORMATTERS["Staff"].read({**row, assignment: roles}).school == "A.9"
    enrolment = FORMATTERS["StudentSchoolEnrolment"].read({**roles[0], "SchoolYear": "2021-2022"})
    assert (enrolment.school, enrolment.school_year) == ("S.91", 2022)


def test_a_role_has_a_key_of_its_own() -> None:
    role = {"schoolId": "91", "role": "teacher", "beginDate": "2021-08-23"}
    assert role_id(role) == "91.teacher.2021-08-23"


class TestEnrolments:
    REFERENCES = """
    <StudentReference><StudentIdentity><StudentUniqueId>1</StudentUniqueId></StudentIdentity></StudentReference>
    <SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity></SchoolReference>
    """
    SECTION = """
    <SectionReference><SectionIdentity><SectionIdentifier>s 1</SectionIdentifier>
    <CourseOfferingReference><CourseOfferingIdentity><LocalCourseCode>ALG</LocalCourseCode>
    <SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity></SchoolReference>
    <SessionReference><SessionIdentity><SchoolReference><SchoolIdentity><SchoolId>91</SchoolId></SchoolIdentity>
    </SchoolReference><SchoolYear>2021-2022</SchoolYear><SessionName>Fall</SessionName></SessionIdentity>
    </SessionReference></CourseOfferingIdentity></CourseOfferingReference></SectionIdentity></SectionReference>
    """

    async def read(self, folder: Path, entity: str, element: str, content: str) -> Reading:
        put(folder, "EducationOrganization", ORGANIZATIONS)
        put(folder, "StudentEnrollment", f"<{element}>{content}</{element}>")
        fetch, (row,) = await fetched(folder, entity)
        reading = FORMATTERS[entity].read(row.row)
        schema = ROSTER[entity].schema
        assert schema is not None
        assert verify([(reading, row.place)], Verifier(schema))[0].faults == ()
        assert fetch.coverage.pairs == frozenset({("S.91", 2022)})
        assert (reading.school, reading.school_year) == ("S.91", 2022)
        return reading

    async def test_a_school_enrolment_is_read(self, tmp_path: Path) -> None:
        more = """<SchoolYear>2021-2022</SchoolYear><EntryDate>2021-08-23</EntryDate>
        <EntryGradeLevel>uri://ed-fi.org/GradeLevelDescriptor#Ninth grade</EntryGradeLevel>"""
        reading = await self.read(
            tmp_path, "StudentSchoolEnrolment", "StudentSchoolAssociation", self.REFERENCES + more
        )
        assert reading.key == "1.91.2021-08-23"
        assert reading.body == {
            "studentId": "1",
            "schoolId": "91",
            "schoolYear": 2022,
            "gradeLevel": "09",
            "entryDate": "2021-08-23",
        }

    async def test_a_course_enrolment_is_read(self, tmp_path: Path) -> None:
        more = "<BeginDate>2021-08-23</BeginDate><HomeroomIndicator>0</HomeroomIndicator>"
        content = self.REFERENCES.partition("<SchoolReference>")[0] + self.SECTION + more
        reading = await self.read(tmp_path, "CourseEnrolment", "StudentSectionAssociation", content)
        assert reading.body == {
            "studentId": "1",
            "sectionId": code_key("s 1", "ALG", "91", "Fall"),
            "schoolId": "91",
            "schoolYear": 2022,
            "entryDate": "2021-08-23",
            "isHomeroom": False,
        }


@needs_grand_bend
class TestGrandBend:
    async def records(self, standard: str, entity: str, faults: Sequence[str] = ()) -> dict[str, Json]:
        """By key, in the hub's shape; every one of them valid, but for these faults."""
        _, rows = await fetched(GRAND_BEND / standard, entity)
        schema = ROSTER[entity].schema
        assert schema is not None
        formatter = FORMATTERS[entity]
        for row in rows:
            kit.check_steady(formatter, row.row)
        verified = verify(((formatter.read(row.row), row.place) for row in rows), Verifier(schema, formatter.fields))
        assert [fault.pointer for record in verified for fault in record.faults] == list(faults)
        for record in verified:
            assert ROSTER[entity].canonical_id(record.reading.key) == record.reading.key
        return {record.reading.key: record.reading.body for record in verified}

    @pytest.mark.parametrize(
        ("entity", "common", "changed"),
        [
            ("SchoolAuthority", 1, {}),
            ("School", 3, {}),
            ("Student", 960, {("preferredFirstName", "preferredLastName"): 18}),
            (
                "Staff",
                68,
                {
                    ("races",): 33,
                    ("preferredFirstName", "preferredLastName", "races"): 25,
                    ("preferredFirstName", "preferredLastName"): 8,
                },
            ),
            ("Section", 532, {("sectionType",): 526, ("courseId", "sectionType"): 6}),
            ("StaffSection", 528, {}),
        ],
    )
    async def test_what_differs_between_the_standards(
        self, entity: str, common: int, changed: dict[tuple[str, ...], int]
    ) -> None:
        before, after = await self.records("ds3.3", entity), await self.records("ds5.2", entity)
        assert before.keys() == after.keys()
        assert len(before) == common
        assert differences(before, after) == changed

    async def test_one_course_has_another_code_and_the_number_it_had(self) -> None:
        before, after = await self.records("ds3.3", "Course"), await self.records("ds5.2", "Course")
        assert len(before.keys() & after.keys()) == 83
        assert differences(before, after) == {}
        assert (before.keys() - after.keys(), after.keys() - before.keys()) == (
            {"03100500.255901001"},
            {"ALG-1.255901001"},
        )
        numbers = []
        for standard, code in (("ds3.3", "03100500"), ("ds5.2", "ALG-1")):
            _, rows = await fetched(GRAND_BEND / standard, "Course")
            read = [FORMATTERS["Course"].read(row.row) for row in rows]
            assert len({reading.number for reading in read}) == 84
            numbers += [reading.number for reading in read if reading.body["courseCode"] == code]
        assert numbers == ["ALG-1.255901001", "ALG-1.255901001"]

    async def test_identifiers_are_shared_and_keys_are_not(self) -> None:
        sections = await self.records("ds5.2", "Section")
        assert len({body["sectionCode"] for body in sections.values()}) == 520
        courses = await self.records("ds5.2", "Course")
        assert {body["courseId"] for body in sections.values()} <= courses.keys()
        taught = await self.records("ds5.2", "StaffSection")
        assert {body["sectionId"] for body in taught.values()} <= sections.keys()

    async def test_contacts_name_students_that_are_there(self) -> None:
        spaces_in_emails = ["/emails/0/address"] * 3
        contacts = await self.records("ds5.2", "Contact", spaces_in_emails)
        students = await self.records("ds5.2", "Student")
        assert len(contacts) == 1872
        assert {body["studentId"] for body in contacts.values()} <= students.keys()


def differences(before: Mapping[str, Json], after: Mapping[str, Json]) -> Mapping[tuple[str, ...], int]:
    """How many records of both differ in which members."""
    differing = Counter(
        tuple(sorted(name for name in before[key].keys() | after[key].keys() if _other(before[key], after[key], name)))
        for key in before.keys() & after.keys()
    )
    return {names: count for names, count in differing.items() if names}


def _other(before: Json, after: Json, name: str) -> bool:
    return (name in before, before.get(name)) != (name in after, after.get(name))
