"""SDS v1: School, Section, Student, Teacher, StudentEnrollment, TeacherRoster. Courses stand within Section."""

from collections.abc import Iterator

from homeroom_merge.formatters.codes import CodeLists
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.flat import SCHOOL, SCHOOL_YEAR, owner
from homeroom_merge.formatters.kinds import Assigned, Code, Day, Id, Separated, Text, Year
from homeroom_merge.formatters.members import FlatItems, column

_DAY = Day(("%m/%d/%Y", "M/D/YYYY"))
_ID = "SIS ID"
_PERSON = (
    column("firstName", Text(), "First Name"),
    column("middleName", Text(), "Middle Name"),
    column("lastName", Text(), "Last Name"),
    column("username", Text(), "Username"),
    column("status", Code("Status"), "Status"),
    FlatItems("emails", "type", (("other", (column("address", Text(), "Secondary Email"),)),)),
    FlatItems("identifiers", "system", (("state", (column("code", Text(), "State ID"),)),)),
)
_ADDRESS = (
    column("line1", Text(), "Address"),
    column("city", Text(), "City"),
    column("state", Text(), "State"),
    column("postalCode", Text(), "Zip"),
    column("country", Text(), "Country"),
)
_SCHOOL = (
    column("name", Text(), "Name"),
    column("schoolNumber", Text(), "School Number"),
    column("principalId", Id(), "Principal SIS ID"),
    column("principalName", Text(), "Principal Name"),
    FlatItems(
        "identifiers",
        "system",
        (("nces", (column("code", Text(), "School NCES_ID"),)), ("state", (column("code", Text(), "State ID"),))),
    ),
    FlatItems("addresses", "type", (("physical", _ADDRESS),)),
    FlatItems("phones", "type", (("main", (column("number", Text(), "Phone"),)),)),
)
_COURSE = (
    column("title", Text(), "Course Name"),
    column("courseCode", Text(), "Course Number"),
    column("description", Text(), "Course Description"),
    column("subjects", Separated(Code("Subject")), "Course Subject"),
)
_STUDENT = (
    *_PERSON,
    column("studentNumber", Text(), "Student Number"),
    column("schoolId", Id(), SCHOOL),
    column("gradeLevel", Code("Grade"), "Grade"),
    column("birthDate", _DAY, "Birthdate"),
    column("graduationYear", Year(), "Graduation Year"),
)
_STAFF = (
    *_PERSON,
    column("staffNumber", Text(), "Teacher Number"),
    column("title", Text(), "Title"),
    column("roles", Assigned("teacher"), SCHOOL),
)
_SECTION = (
    column("sectionCode", Text(), "Section Number"),
    column("title", Text(), "Section Name"),
    column("schoolId", Id(), SCHOOL),
    column("courseId", Id(), "Course SIS ID"),
    column("sessionName", Text(), "Term Name"),
    column("classPeriods", Separated(Text()), "Periods"),
    column("beginDate", _DAY, "Term StartDate"),
    column("endDate", _DAY, "Term EndDate"),
    SCHOOL_YEAR,
)
_IN_SECTION = (column("schoolId", Id(), SCHOOL), SCHOOL_YEAR)
_ENROLMENT = (column("studentId", Id(), _ID), column("sectionId", Id(), "Section SIS ID"), *_IN_SECTION)
_ROSTER = (column("staffId", Id(), _ID), column("sectionId", Id(), "Section SIS ID"), *_IN_SECTION)


def formatters(codes: CodeLists) -> Iterator[DeclaredFormatter]:
    yield DeclaredFormatter(
        "School", _SCHOOL, codes, key_columns=(SCHOOL,), owner=owner, number=lambda body: body.get("schoolNumber")
    )
    yield DeclaredFormatter("Course", _COURSE, codes, key_columns=("Course SIS ID",), owner=owner)
    yield DeclaredFormatter(
        "Student", _STUDENT, codes, key_columns=(_ID,), owner=owner, number=lambda body: body.get("studentNumber")
    )
    yield DeclaredFormatter(
        "Staff", _STAFF, codes, key_columns=(_ID,), owner=owner, number=lambda body: body.get("staffNumber")
    )
    needs = ("schoolYear",)
    yield DeclaredFormatter("Section", _SECTION, codes, key_columns=(_ID,), owner=owner, needs=needs)
    yield DeclaredFormatter("StaffSection", _ROSTER, codes, key=("sectionId", "staffId"), owner=owner, needs=needs)
    yield DeclaredFormatter(
        "CourseEnrolment", _ENROLMENT, codes, key=("sectionId", "studentId"), owner=owner, needs=needs
    )
