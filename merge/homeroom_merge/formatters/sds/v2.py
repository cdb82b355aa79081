"""SDS v2.1: orgs, academicSessions, users, roles, courses, classes, enrollments, relationships, demographics, flags."""

from collections.abc import Iterator

from homeroom_merge.formatters.codes import CodeLists
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.flat import AUTHORITY, SCHOOL, SCHOOL_YEAR, SESSION, owner
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Separated, SetOf, Text
from homeroom_merge.formatters.members import FlatItems, Items, column, member
from homeroom_merge.values import Json

_ID = ("sourcedId",)
_PLACES = (column("schoolId", Id(), SCHOOL), column("authorityId", Id(), AUTHORITY))
_EMAILS = FlatItems("emails", "type", (("other", (column("address", Text(), "email"),)),))
_PHONES = FlatItems(
    "phones",
    "type",
    (("main", (column("number", Text(), "phone"),)), ("mobile", (column("number", Text(), "sms"),))),
)
_NAMES = (
    column("firstName", Text(), "givenName"),
    column("middleName", Text(), "middleName"),
    column("lastName", Text(), "familyName"),
    column("username", Text(), "username"),
    _EMAILS,
    _PHONES,
)
_DEMOGRAPHICS = (
    member("sex", Code("Sex"), "demographics/sex"),
    member("birthDate", Day(), "demographics/birthDate"),
    member("races", Separated(Code("Race")), "demographics/raceCodes"),
)
_ORG = (column("name", Text(), "name"),)
_COURSE = (
    column("title", Text(), "title"),
    column("courseCode", Text(), "code"),
    column("subjects", Separated(Code("Subject")), "subject"),
    column("gradeLevels", Separated(Code("Grade")), "grade"),
    *_PLACES,
)
_STUDENT = (
    *_NAMES,
    *_DEMOGRAPHICS,
    member("birthCity", Text(), "demographics/birthCity"),
    member("birthState", Text(), "demographics/birthState"),
    member("birthCountry", Code("Country"), "demographics/birthCountry"),
    member("flags", SetOf(Code("Flag")), "flags/flag"),
    column("schoolId", Id(), SCHOOL),
)


def role_id(role: Json) -> str:
    """The item key of a staff member's role: where, as what and since when."""
    place = role.get("schoolId", role.get("authorityId", ""))
    return code_key(str(place), str(role.get("role", "")), str(role.get("beginDate", "")))


_ROLES = Items(
    (
        column("role", Code("StaffRole"), "role"),
        *_PLACES,
        column("isPrimary", Flag(("TRUE",), ("FALSE",)), "isPrimary"),
        column("beginDate", Day(), "roleStartDate"),
        column("endDate", Day(), "roleEndDate"),
    ),
    key="roleId",
    compose=role_id,
)
_STAFF = (*_NAMES, *_DEMOGRAPHICS, member("roles", _ROLES, "roles"))
_CONTACT = (
    *_NAMES,
    column("studentId", Id(), "@student"),
    column("contactNumber", Text(), "sourcedId"),
    column("relation", Code("Relation"), "@relation"),
)
_SCHOOL_ENROLMENT = (
    column("studentId", Id(), "userSourcedId"),
    column("schoolId", Id(), SCHOOL),
    column("gradeLevel", Code("Grade"), "grade"),
    column("isPrimary", Flag(("TRUE",), ("FALSE",)), "isPrimary"),
    column("entryDate", Day(), "roleStartDate"),
    column("exitDate", Day(), "roleEndDate"),
    SCHOOL_YEAR,
)
_SECTION = (
    column("title", Text(), "title"),
    column("sectionCode", Text(), "code"),
    column("courseId", Id(), "courseSourcedId"),
    column("schoolId", Id(), SCHOOL),
    column("sessionName", Text(), SESSION),
    SCHOOL_YEAR,
)
_IN_SECTION = (column("sectionId", Id(), "classSourcedId"), column("schoolId", Id(), SCHOOL), SCHOOL_YEAR)
_COURSE_ENROLMENT = (column("studentId", Id(), "userSourcedId"), *_IN_SECTION)
_STAFF_SECTION = (
    column("staffId", Id(), "userSourcedId"),
    column("role", Code("ClassRole"), "role"),
    *_IN_SECTION,
)


def formatters(codes: CodeLists) -> Iterator[DeclaredFormatter]:
    year = ("schoolYear",)
    yield DeclaredFormatter("SchoolAuthority", _ORG, codes, key_columns=(AUTHORITY,), owner=owner)
    yield DeclaredFormatter("School", (*_ORG, _PLACES[1]), codes, key_columns=(SCHOOL,), owner=owner)
    yield DeclaredFormatter("Course", _COURSE, codes, key_columns=_ID, owner=owner)
    yield DeclaredFormatter("Student", _STUDENT, codes, key_columns=_ID, owner=owner)
    yield DeclaredFormatter("Staff", _STAFF, codes, key_columns=_ID, owner=owner)
    yield DeclaredFormatter("Contact", _CONTACT, codes, key=("studentId", "contactNumber"), owner=owner)
    key = ("studentId", "schoolId", "schoolYear")
    yield DeclaredFormatter("StudentSchoolEnrolment", _SCHOOL_ENROLMENT, codes, key=key, owner=owner)
    yield DeclaredFormatter("Section", _SECTION, codes, key_columns=_ID, owner=owner, needs=year)
    in_class = ("sectionId", "staffId", "role")
    yield DeclaredFormatter("StaffSection", _STAFF_SECTION, codes, key=in_class, owner=owner, needs=year)
    yield DeclaredFormatter(
        "CourseEnrolment", _COURSE_ENROLMENT, codes, key=("sectionId", "studentId"), owner=owner, needs=year
    )
