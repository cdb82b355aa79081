"""Where each entity stands in Ed-Fi interchange files, and what is joined to its records."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from homeroom_merge.connectors.connector import SourceRow
from homeroom_merge.connectors.edfi_joins import Joins, text_in
from homeroom_merge.connectors.edfi_xml import Record
from homeroom_merge.formatters.edfi.common import AUTHORITY, OFFERING, SCHOOL, SESSION
from homeroom_merge.formatters.keys import organization_code, school_year
from homeroom_merge.formatters.members import found

ORGANIZATION_INTERCHANGE = "InterchangeEducationOrganization"
_ASSIGNMENT = "StaffEducationOrganizationAssignmentAssociation"
_SECTION = "SectionReference/SectionIdentity/"


@dataclass(frozen=True, slots=True)
class Source:
    """One entity. `held`: records that are kept to be joined. `schools`, `authorities`, `year`: what a row covers.

    `of_district`: its records name no organisation, and are their district's.
    """

    elements: frozenset[str]
    interchanges: frozenset[str]
    held: frozenset[str] = frozenset()
    schools: str = ""
    authorities: str = ""
    year: str = ""
    of_district: bool = False

    def hold(self, joins: Joins, record: Record) -> None:
        """Keep a record that is joined to others."""

    def join(self, joins: Joins, record: Record) -> Iterator[SourceRow]:
        """The rows that a record becomes."""
        yield SourceRow(self.of_folder(joins, joins.whole(record)), record.place)

    def rest(self, joins: Joins) -> Iterator[SourceRow]:
        """Rows of what was held and found nothing to be joined to."""
        return iter(())

    def of_folder(self, joins: Joins, row: dict[str, object]) -> dict[str, object]:
        """The row, with a reference to the folder's authority if records of this kind name no organisation."""
        if self.of_district and (authority := joins.authority()) is not None:
            row["LocalEducationAgencyReference"] = authority
        return row

    def pairs(self, row: Mapping[str, object]) -> Iterator[tuple[str, int | None]]:
        """The (organisation code, school year) pairs that a row speaks of."""
        years = [school_year(year) for year in found(row, self.year.split("/")) if self.year]
        for letter, path in (("S", self.schools), ("A", self.authorities)):
            for number in found(row, path.split("/")) if path else ():
                if isinstance(number, str) and (code := organization_code(letter, number)):
                    yield code, years[0] if years else None


@dataclass(frozen=True, slots=True)
class _Staff(Source):
    """Staff with the assignments that say where they work."""

    def hold(self, joins: Joins, record: Record) -> None:
        row = joins.whole(record)
        joins.hold_beside(text_in(row.get("StaffReference"), "StaffUniqueId"), record.place, row)

    def join(self, joins: Joins, record: Record) -> Iterator[SourceRow]:
        row = joins.whole(record)
        if assignments := joins.beside.pop(str(row.get("StaffUniqueId")), []):
            row[_ASSIGNMENT] = [assignment for _, assignment in assignments]
        yield SourceRow(self.of_folder(joins, row), record.place)


@dataclass(frozen=True, slots=True)
class _Contact(Source):
    """A row for each student of a contact; contacts without one are nobody's."""

    def hold(self, joins: Joins, record: Record) -> None:
        row = joins.whole(record)
        joins.hold_beside(text_in(row.get("ContactReference"), "ContactUniqueId"), record.place, row)

    def join(self, joins: Joins, record: Record) -> Iterator[SourceRow]:
        contact = joins.whole(record)
        students = joins.beside.pop(str(contact.get("ContactUniqueId")), [])
        joins.alone += not students
        for place, row in students:
            yield SourceRow(self.of_folder(joins, {**row, "Contact": contact}), f"{record.place} with {place}")

    def rest(self, joins: Joins) -> Iterator[SourceRow]:
        for rows in joins.beside.values():
            for place, row in rows:
                yield SourceRow(self.of_folder(joins, dict(row)), place)


@dataclass(frozen=True, slots=True)
class _Section(Source):
    """Sections with the course that their offering is of."""

    def hold(self, joins: Joins, record: Record) -> None:
        joins.hold_course(joins.whole(record))

    def join(self, joins: Joins, record: Record) -> Iterator[SourceRow]:
        row = joins.whole(record)
        if (course := joins.course_of(row)) is not None:
            row["CourseReference"] = course
        yield SourceRow(row, record.place)


def _set(*names: str) -> frozenset[str]:
    return frozenset(names)


SOURCES: Mapping[str, Source] = {
    "SchoolAuthority": Source(
        _set("LocalEducationAgency"), _set(ORGANIZATION_INTERCHANGE), authorities="LocalEducationAgencyId"
    ),
    "School": Source(_set("School"), _set(ORGANIZATION_INTERCHANGE), schools="SchoolId"),
    "Course": Source(_set("Course"), _set(ORGANIZATION_INTERCHANGE), schools=SCHOOL, authorities=AUTHORITY),
    "Student": Source(_set("Student"), _set("InterchangeStudent"), authorities=AUTHORITY, of_district=True),
    "Staff": _Staff(
        _set("Staff"),
        _set("InterchangeStaffAssociation"),
        held=_set(_ASSIGNMENT),
        schools=f"{_ASSIGNMENT}/{SCHOOL}",
        authorities=AUTHORITY,
        of_district=True,
    ),
    "Contact": _Contact(
        _set("Contact", "Parent"),
        _set("InterchangeContact", "InterchangeParent"),
        held=_set("StudentContactAssociation", "StudentParentAssociation"),
        authorities=AUTHORITY,
        of_district=True,
    ),
    "Section": _Section(
        _set("Section"),
        _set("InterchangeMasterSchedule"),
        held=_set("CourseOffering"),
        schools=f"{OFFERING}/{SCHOOL}",
        year=f"{SESSION}/SchoolYear",
    ),
    "StaffSection": Source(
        _set("StaffSectionAssociation"),
        _set("InterchangeStaffAssociation"),
        schools=f"{_SECTION}{OFFERING}/{SCHOOL}",
        year=f"{_SECTION}{SESSION}/SchoolYear",
    ),
    "StudentSchoolEnrolment": Source(
        _set("StudentSchoolAssociation"), _set("InterchangeStudentEnrollment"), schools=SCHOOL, year="SchoolYear"
    ),
    "CourseEnrolment": Source(
        _set("StudentSectionAssociation"),
        _set("InterchangeStudentEnrollment"),
        schools=f"{_SECTION}{OFFERING}/{SCHOOL}",
        year=f"{_SECTION}{SESSION}/SchoolYear",
    ),
}
