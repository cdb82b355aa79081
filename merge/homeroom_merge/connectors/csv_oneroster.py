"""The file set of OneRoster 1.2: what each entity is read from, and what is joined to its rows."""

from collections.abc import Iterator

from homeroom_merge.connectors.csv_people import (
    ORGS,
    ROLES,
    org_of_kind,
    org_rows,
    own_id_of,
    placed,
    roles_of,
    spread_of,
    staff,
    students,
)
from homeroom_merge.connectors.csv_tables import FileSet, Join, Lists, Source, Tables
from homeroom_merge.formatters.flat import RELATION, SESSION, STUDENT
from homeroom_merge.formatters.formatter import DELETED, OWNER, UNREADABLE, YEAR

_COLUMNS = {
    "academicSessions": "title,type,startDate,endDate,parentSourcedId,schoolYear",
    "classes": (
        "title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds,subjects,"
        "subjectCodes,periods"
    ),
    "courses": "schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes",
    "demographics": (
        "birthDate,sex,americanIndianOrAlaskaNative,asian,blackOrAfricanAmerican,nativeHawaiianOrOtherPacificIslander,"
        "white,demographicRaceTwoOrMoreRaces,hispanicOrLatinoEthnicity,countryOfBirthCode,stateOfBirthAbbreviation,"
        "cityOfBirth,publicSchoolResidenceStatus"
    ),
    "enrollments": "classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate",
    "orgs": "name,type,identifier,parentSourcedId",
    "roles": "userSourcedId,roleType,role,beginDate,endDate,orgSourcedId,userProfileSourcedId",
    "users": (
        "enabledUser,username,userIds,givenName,familyName,middleName,identifier,email,sms,phone,agentSourcedIds,"
        "grades,password,userMasterIdentifier,resourceSourcedIds,preferredGivenName,preferredMiddleName,"
        "preferredFamilyName,primaryOrgSourcedId,pronouns"
    ),
}


def oneroster(codes: Lists) -> FileSet:
    """Its manifest says of each file whether it is whole or holds changes, and rows may say that a record is gone."""
    key, orgs = ("sourcedId",), ("orgs",)
    person = ("demographics", "orgs")
    beside = ("classes", "academicSessions")
    spread = spread_of(_named_sessions)
    sources = {
        **{
            kind: Source(
                "orgs", key, org_of_kind(kind), spread=org_rows(kind), joins_itself=True, own_id=own_id_of(kind)
            )
            for kind in ("SchoolAuthority", "School")
        },
        "Course": Source("courses", key, placed, also=orgs, spread=spread("courses")),
        "Student": Source("users", key, students("sourcedId"), (ROLES,), person, spread("users", "student")),
        "Staff": Source("users", key, staff("sourcedId"), (ROLES,), person, spread("users")),
        "Contact": Source("users", key, _contacts, (ROLES,), orgs, joins_itself=True),
        "StudentSchoolEnrolment": Source(ROLES, key, _school_enrolments, ("academicSessions",), orgs, spread(ROLES)),
        "Section": Source("classes", key, _sections, ("academicSessions",), orgs, spread("classes")),
        "StaffSection": Source("enrollments", key, _in_class(of_staff=True), beside, orgs, spread("enrollments")),
        "CourseEnrolment": Source("enrollments", key, _in_class(of_staff=False), beside, orgs, spread("enrollments")),
    }
    columns = {
        file: ("sourcedId", "status", "dateLastModified", *titles.split(",")) for file, titles in _COLUMNS.items()
    }
    return FileSet("OneRoster", columns, sources, codes, manifest=True, says_deleted=True)


def _named_sessions(tables: Tables) -> Iterator[tuple[str, str, str]]:
    for line in tables.sheets["academicSessions"].lines():
        yield line.cells.get("title", ""), line.cells.get("schoolYear", ""), line.cells.get("sourcedId", "")


def _contacts(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """A row for each person whom a student's row names as an agent, with what the agent's own row says."""
    student = row.get("sourcedId")
    roles = [] if DELETED in row else roles_of(tables, student, "Student")
    for agent in str(row.get("agentSourcedIds", "")).split(",") if roles else ():
        found = tables.one("users", "sourcedId", agent.strip())
        as_contact = roles_of(tables, agent.strip(), "Contact")
        if not found:
            tables.left_out["agents of students who are not in users.csv, left out"] += 1
            continue
        joined: dict[str, object] = {**found, STUDENT: student}
        if as_contact:
            joined[RELATION] = as_contact[0].get("role", "")
        if broken := row.get(UNREADABLE):
            joined[UNREADABLE] = broken
        ORGS.place(tables, joined, row.get("primaryOrgSourcedId") or roles[0].get("orgSourcedId"))
        yield joined


def _session(tables: Tables, row: dict[str, object], ids: object) -> str:
    """The school year of the first of some sessions, whose titles are put into the row."""
    found = [tables.one("academicSessions", "sourcedId", one.strip()) for one in str(ids or "").split(",")]
    if titles := [session["title"] for session in found if session.get("title")]:
        row[SESSION] = ", ".join(titles)
    return next((session["schoolYear"] for session in found if session.get("schoolYear")), "")


def _sections(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    year = _session(tables, row, row.get("termSourcedIds"))
    ORGS.place(tables, row, row.get("schoolSourcedId"), year)
    yield row


def _school_enrolments(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
    """Students' roles at schools, of the school year in which they begin, or of the only one that there is."""
    org = tables.one("orgs", "sourcedId", row.get("orgSourcedId"))
    if tables.word("PersonKind", row.get("role")) != "Student" or tables.word("OrgKind", org.get("type")) != "School":
        return
    years = tables.many("academicSessions", "type", "schoolYear")
    begin = str(row.get("beginDate", ""))
    within = [one for one in years if one.get("startDate", "") <= begin <= one.get("endDate", "")]
    chosen = within or (years if not begin else ())
    named = {one.get("schoolYear", "") for one in chosen}
    ORGS.place(tables, row, row.get("orgSourcedId"), named.pop() if len(named) == 1 else "")
    yield row


def _in_class(*, of_staff: bool) -> Join:
    def join(tables: Tables, row: dict[str, object]) -> Iterator[dict[str, object]]:
        if (row.get("role") == "student") is of_staff:
            return
        section = tables.one("classes", "sourcedId", row.get("classSourcedId"))
        year = _session(tables, {}, section.get("termSourcedIds"))
        own, told = row.get("schoolSourcedId"), dict[str, object]()
        ORGS.place(tables, told, own or section.get("schoolSourcedId"), year)
        row |= {title: cell for title, cell in told.items() if own or title in (OWNER, YEAR)}
        yield row

    return join
