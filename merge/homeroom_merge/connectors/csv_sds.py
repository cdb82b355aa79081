"""The file sets of Microsoft School Data Sync: what each entity is read from, and what is joined to its rows."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime

from homeroom_merge.connectors.csv_orgs import Organizations
from homeroom_merge.connectors.csv_people import (
    ROLES,
    contacts,
    org_of_kind,
    org_rows,
    placed,
    spread_of,
    staff,
    students,
    with_class,
)
from homeroom_merge.connectors.csv_tables import FileSet, Join, Lists, Source, Spread, Tables
from homeroom_merge.formatters.flat import SESSION
from homeroom_merge.formatters.formatter import YEAR, Row

_YEAR_BEGINS_MONTH = 7
_V1_SCHOOLS = Organizations("School", "SIS ID", "School Number", "School")
_V1_COLUMNS = {
    "School": (
        "SIS ID,Name,School Number,School NCES_ID,State ID,Grade Low,Grade High,Principal SIS ID,Principal Name,"
        "Principal Secondary Email,Address,City,State,Country,Zip,Phone,Zone"
    ),
    "Section": (
        "SIS ID,School SIS ID,Section Name,Section Number,Term SIS ID,Term Name,Term StartDate,Term EndDate,"
        "Course SIS ID,Course Name,Course Number,Course Description,Course Subject,Periods,Status"
    ),
    "Student": (
        "SIS ID,School SIS ID,First Name,Last Name,Username,State ID,Secondary Email,Student Number,Middle Name,Grade,"
        "Status,Birthdate,Graduation Year"
    ),
    "Teacher": (
        "SIS ID,School SIS ID,First Name,Last Name,Username,State ID,Teacher Number,Status,Middle Name,"
        "Secondary Email,Title,Qualification"
    ),
    "StudentEnrollment": "Section SIS ID,SIS ID",
    "TeacherRoster": "Section SIS ID,SIS ID",
}
_V2_COLUMNS = {
    "orgs": "sourcedId,name,type,parentSourcedId",
    "academicSessions": "sourcedId,title,type,schoolYear,startDate,endDate",
    "users": "sourcedId,username,givenName,familyName,email,phone,sms",
    "roles": "userSourcedId,orgSourcedId,role,sessionSourcedId,grade,isPrimary,roleStartDate,roleEndDate",
    "courses": "sourcedId,orgSourcedId,title,code,schoolYearSourcedId,subject,grade",
    "classes": "sourcedId,orgSourcedId,title,sessionSourcedIds,courseSourcedId",
    "enrollments": "classSourcedId,userSourcedId,role",
    "relationships": "userSourcedId,relationshipUserSourcedId,relationshipRole",
    "demographics": "userSourcedId,sex,birthDate,birthCity,birthState,birthCountry,ethnicityCodes,raceCodes",
    "userFlags": "userSourcedId,flag",
}


def school_year(day: object) -> str:
    """The year in which the school year of a day ends, in digits; empty if it is no day."""
    for form in ("%Y-%m-%d", "%m/%d/%Y"):
        try:
            found: date = datetime.strptime(str(day), form)
        except ValueError:
            continue
        return str(found.year + (found.month >= _YEAR_BEGINS_MONTH))
    return ""


def sds_v1(codes: Lists) -> FileSet:
    """School, Section, Student, Teacher, StudentEnrollment, TeacherRoster: always whole."""
    schools, key = ("School",), ("SIS ID",)
    roster = ("Section SIS ID", "SIS ID")
    sources = {
        "School": Source("School", key, _v1_school, spread=_v1_school_row),
        "Course": Source("Section", ("Course SIS ID",), _v1_course, also=schools),
        "Student": Source("Student", key, _v1_placed, also=schools, spread=_alone("Student", "School SIS ID")),
        "Staff": Source("Teacher", key, _v1_placed, also=schools, spread=_alone("Teacher", "School SIS ID")),
        "Section": Source("Section", key, _v1_section, also=schools, spread=_alone("Section", "School SIS ID")),
        "StaffSection": Source("TeacherRoster", roster, _v1_enrolled, ("Section",), schools, _alone("TeacherRoster")),
        "CourseEnrolment": Source(
            "StudentEnrollment", roster, _v1_enrolled, ("Section",), schools, _alone("StudentEnrollment")
        ),
    }
    return FileSet("SDS v1", _split(_V1_COLUMNS), sources, codes)


def _split(columns: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
    return {file: tuple(titles.split(",")) for file, titles in columns.items()}


def _alone(file: str, column: str = "") -> Spread:
    """All of a row stands in one file. `column`: the one that names its school."""

    def spread(row: dict[str, object], tables: Tables) -> Mapping[str, Sequence[Row]]:
        return {file: [_V1_SCHOOLS.put_back(tables, row, column)]}

    return spread


def _v1_school_row(row: dict[str, object], tables: Tables) -> Mapping[str, Sequence[Row]]:
    return {"School": [_V1_SCHOOLS.own_row(tables, row, "School")]}


def _v1_school(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    _V1_SCHOOLS.identify(tables, row, "School")
    yield row


def _v1_placed(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    _V1_SCHOOLS.place(tables, row, row.get("School SIS ID"))
    yield row


def _v1_section(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    _V1_SCHOOLS.place(tables, row, row.get("School SIS ID"), school_year(row.get("Term StartDate")))
    yield row


def _v1_course(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """Courses stand in the rows of their sections: the first of each is read."""
    course = str(row.get("Course SIS ID", ""))
    if tables.first(course):
        yield from _v1_placed(tables, row)


def _v1_enrolled(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    section = tables.one("Section", "SIS ID", row.get("Section SIS ID"))
    _V1_SCHOOLS.place(tables, row, section.get("School SIS ID"), school_year(section.get("Term StartDate")))
    yield row


def sds_v2(codes: Lists) -> FileSet:
    """Orgs, users, roles, classes and the like: always whole."""
    key, orgs = ("sourcedId",), ("orgs",)
    person = ("demographics", "orgs", "userFlags")
    spread = spread_of(_named_sessions)
    in_class = ("classSourcedId", "userSourcedId")
    beside = ("classes", "academicSessions")
    sources = {
        "SchoolAuthority": Source("orgs", key, org_of_kind("SchoolAuthority"), spread=org_rows("SchoolAuthority")),
        "School": Source("orgs", key, org_of_kind("School"), spread=org_rows("School")),
        "Course": Source("courses", key, placed, also=orgs, spread=spread("courses")),
        "Student": Source("users", key, students("userSourcedId"), (ROLES,), person, spread("users", "student")),
        "Staff": Source("users", key, staff("userSourcedId"), (ROLES,), person, spread("users")),
        "Contact": Source(
            "relationships", ("userSourcedId", "relationshipUserSourcedId"), _contacts(), ("users", ROLES), orgs
        ),
        "StudentSchoolEnrolment": Source(
            ROLES, ("userSourcedId", "orgSourcedId"), _school_enrolments, ("academicSessions",), orgs, spread(ROLES)
        ),
        "Section": Source("classes", key, _sections, ("academicSessions",), orgs, spread("classes")),
        "StaffSection": Source("enrollments", in_class, _in_class("ClassRole"), beside, orgs, spread("enrollments")),
        "CourseEnrolment": Source("enrollments", in_class, _in_class(""), beside, orgs, spread("enrollments")),
    }
    return FileSet("SDS v2.1", _split(_V2_COLUMNS), sources, codes, repeated=frozenset({"userFlags"}))


def _named_sessions(tables: Tables) -> Iterator[tuple[str, str, str]]:
    for line in tables.sheets["academicSessions"].lines():
        yield line.cells.get("title", ""), school_year(line.cells.get("startDate")), line.cells.get("sourcedId", "")


def _contacts() -> Join:
    return contacts("userSourcedId", "relationshipUserSourcedId", "relationshipRole")


def _session(tables: Tables, row: dict[str, object], ids: object) -> str:
    """The school year of the first of some sessions, whose titles are put into the row."""
    found = [tables.one("academicSessions", "sourcedId", one.strip()) for one in str(ids or "").split(",")]
    titles = [session["title"] for session in found if session.get("title")]
    if titles:
        row[SESSION] = ", ".join(titles)
    return next((year for session in found if (year := school_year(session.get("startDate")))), "")


def _sections(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    year = _session(tables, row, row.get("sessionSourcedIds"))
    for one in placed(tables, row):
        if year:
            one[YEAR] = year
        yield one


def _school_enrolments(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    org = tables.one("orgs", "sourcedId", row.get("orgSourcedId"))
    if tables.word("PersonKind", row.get("role")) != "Student" or tables.word("OrgKind", org.get("type")) != "School":
        return
    year = _session(tables, {}, row.get("sessionSourcedId"))
    for one in placed(tables, row):
        if year:
            one[YEAR] = year
        yield one


def _in_class(codes: str) -> Join:
    """Enrolments of teachers, whose roles a code list has, or of students."""

    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        is_student = row.get("role") == "student"
        if is_student is bool(codes):
            return
        section = tables.one("classes", "sourcedId", row.get("classSourcedId"))
        yield from with_class(tables, row, section, _session(tables, {}, section.get("sessionSourcedIds")))

    return join
