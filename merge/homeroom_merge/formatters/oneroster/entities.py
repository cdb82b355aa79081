"""OneRoster 1.2: orgs, academicSessions, courses, classes, users, roles, enrollments, demographics."""

from collections.abc import Iterator

from homeroom_merge.formatters.codes import CodeLists
from homeroom_merge.formatters.declared import DeclaredFormatter
from homeroom_merge.formatters.flat import AUTHORITY, RELATION, SCHOOL, SCHOOL_YEAR, SESSION, STUDENT, owner
from homeroom_merge.formatters.keys import code_key
from homeroom_merge.formatters.kinds import Code, Day, Flag, Id, Separated, Text
from homeroom_merge.formatters.members import AnyMember, FlagSet, FlatItems, Items, column, member
from homeroom_merge.values import Json

_PLACES = (column("schoolId", Id(), SCHOOL), column("authorityId", Id(), AUTHORITY))
_PRIMARY = Flag(("primary",), ("secondary",))
_NAMES = (
    column("firstName", Text(), "givenName"),
    column("middleName", Text(), "middleName"),
    column("lastName", Text(), "familyName"),
    column("preferredFirstName", Text(), "preferredGivenName"),
    column("preferredLastName", Text(), "preferredFamilyName"),
    column("pronouns", Text(), "pronouns"),
    column("username", Text(), "username"),
    FlatItems("emails", "type", (("other", (column("address", Text(), "email"),)),)),
    FlatItems(
        "phones",
        "type",
        (("main", (column("number", Text(), "phone"),)), ("mobile", (column("number", Text(), "sms"),))),
    ),
)
_RACES = {
    "americanIndianOrAlaskaNative": "demographics/americanIndianOrAlaskaNative",
    "asian": "demographics/asian",
    "blackOrAfricanAmerican": "demographics/blackOrAfricanAmerican",
    "nativeHawaiianOrPacificIslander": "demographics/nativeHawaiianOrOtherPacificIslander",
    "white": "demographics/white",
    "multiracial": "demographics/demographicRaceTwoOrMoreRaces",
}
_PERSON = (
    *_NAMES,
    column("status", Code("Enabled"), "enabledUser"),
    member("sex", Code("Sex"), "demographics/sex"),
    member("birthDate", Day(), "demographics/birthDate"),
    member("isHispanicLatino", Flag(), "demographics/hispanicOrLatinoEthnicity"),
    FlagSet("races", _RACES),
)
_AUTHORITY = (column("name", Text(), "name"), column("authorityNumber", Text(), "identifier"))
_SCHOOL = (column("name", Text(), "name"), column("schoolNumber", Text(), "identifier"), _PLACES[1])
_COURSE = (
    column("title", Text(), "title"),
    column("courseCode", Text(), "courseCode"),
    column("gradeLevels", Separated(Code("Grade")), "grades"),
    column("subjects", Separated(Code("Subject")), "subjects"),
    *_PLACES,
)
_STUDENT = (
    *_PERSON,
    column("studentNumber", Text(), "identifier"),
    column("gradeLevel", Code("Grade"), "grades"),
    column("schoolId", Id(), SCHOOL),
    member("birthCity", Text(), "demographics/cityOfBirth"),
    member("birthState", Text(), "demographics/stateOfBirthAbbreviation"),
    member("birthCountry", Code("Country"), "demographics/countryOfBirthCode"),
)


def role_id(role: Json) -> str:
    """The item key of a staff member's role: where, as what and since when."""
    place = role.get("schoolId", role.get("authorityId", ""))
    return code_key(str(place), str(role.get("role", "")), str(role.get("beginDate", "")))


_ROLES = Items(
    (
        column("role", Code("StaffRole"), "role"),
        *_PLACES,
        column("isPrimary", _PRIMARY, "roleType"),
        column("beginDate", Day(), "beginDate"),
        column("endDate", Day(), "endDate"),
    ),
    key="roleId",
    compose=role_id,
)
_STAFF = (*_PERSON, column("staffNumber", Text(), "identifier"), member("roles", _ROLES, "roles"))
_CONTACT = (
    *_NAMES,
    column("studentId", Id(), STUDENT),
    column("contactNumber", Text(), "sourcedId"),
    column("relation", Code("Relation"), RELATION),
)
_SCHOOL_ENROLMENT = (
    column("studentId", Id(), "userSourcedId"),
    column("schoolId", Id(), SCHOOL),
    column("isPrimary", _PRIMARY, "roleType"),
    column("entryDate", Day(), "beginDate"),
    column("exitDate", Day(), "endDate"),
    SCHOOL_YEAR,
)
_SECTION = (
    column("title", Text(), "title"),
    column("sectionCode", Text(), "classCode"),
    column("classType", Code("ClassType"), "classType"),
    column("courseId", Id(), "courseSourcedId"),
    column("schoolId", Id(), SCHOOL),
    column("location", Text(), "location"),
    column("gradeLevels", Separated(Code("Grade")), "grades"),
    column("subjects", Separated(Code("Subject")), "subjects"),
    column("classPeriods", Separated(Text()), "periods"),
    column("sessionName", Text(), SESSION),
    SCHOOL_YEAR,
)
_IN_CLASS = (
    column("sectionId", Id(), "classSourcedId"),
    column("schoolId", Id(), SCHOOL),
    column("isPrimary", Flag(), "primary"),
    SCHOOL_YEAR,
)
_COURSE_ENROLMENT = (
    column("studentId", Id(), "userSourcedId"),
    column("entryDate", Day(), "beginDate"),
    column("exitDate", Day(), "endDate"),
    *_IN_CLASS,
)
_STAFF_SECTION = (
    column("staffId", Id(), "userSourcedId"),
    column("role", Code("ClassRole"), "role"),
    column("beginDate", Day(), "beginDate"),
    column("endDate", Day(), "endDate"),
    *_IN_CLASS,
)


def formatters(codes: CodeLists) -> Iterator[DeclaredFormatter]:
    def of(
        entity: str,
        members: tuple[AnyMember, ...],
        number: str = "",
        needs: tuple[str, ...] = (),
        key: str = "sourcedId",
    ) -> DeclaredFormatter:
        return DeclaredFormatter(
            entity,
            members,
            codes,
            key_columns=(key,),
            owner=owner,
            needs=needs,
            number=lambda body: body.get(number),
        )

    year = ("schoolYear",)
    yield of("SchoolAuthority", _AUTHORITY, "authorityNumber", key=AUTHORITY)
    yield of("School", _SCHOOL, "schoolNumber", key=SCHOOL)
    yield of("Course", _COURSE)
    yield of("Student", _STUDENT, "studentNumber")
    yield of("Staff", _STAFF, "staffNumber")
    yield DeclaredFormatter("Contact", _CONTACT, codes, key=("studentId", "contactNumber"), owner=owner)
    yield of("StudentSchoolEnrolment", _SCHOOL_ENROLMENT, needs=year)
    yield of("Section", _SECTION, needs=year)
    yield of("StaffSection", _STAFF_SECTION, needs=year)
    yield of("CourseEnrolment", _COURSE_ENROLMENT, needs=year)
