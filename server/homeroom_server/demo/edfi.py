"""A small reader of Ed-Fi interchange XML: schools, courses, students and sections of one district."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml.ElementTree import iterparse

from homeroom_server.demo.district import District, Edit, Load, Subscriber
from homeroom_server.refusal import RefusedError

_FILES = ("EducationOrganization.xml", "Student.xml", "MasterSchedule.xml")
_EDITS = 10

Json = dict[str, Any]


class EdfiError(RefusedError):
    """The folder holds no district that can be read; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class _Section:
    id: str
    school: str
    school_year: int
    body: Json


def read_district(folder: Path) -> District:
    """A district of the roster catalogue from the interchange files of a folder; raises EdfiError."""
    missing = [name for name in _FILES if not (folder / name).exists()]
    if missing:
        raise EdfiError(f"{folder} lacks {', '.join(missing)}")
    try:
        return _read(folder)
    except ParseError as fault:
        raise EdfiError(f"{folder} holds a file that is no XML: {fault}") from fault


def _read(folder: Path) -> District:
    organizations, students, schedule = (folder / name for name in _FILES)
    agencies = list(_elements(organizations, "LocalEducationAgency"))
    schools = {_text(school, "SchoolId"): school for school in _elements(organizations, "School")}
    sections = [_section(element) for element in _elements(schedule, "Section")]
    pupils = [_student(element) for element in _elements(students, "Student")]
    if not (agencies and schools and sections and pupils):
        raise EdfiError(f"{folder}: a district, schools, students and sections are needed, one of them is not there")
    agency, name = f"A.{_text(agencies[0], 'LocalEducationAgencyId')}", _text(agencies[0], "NameOfInstitution")
    year = max(section.school_year for section in sections)
    (busiest, _), *_ = Counter(section.school for section in sections).most_common()
    courses = [_course(element, agency) for element in _elements(organizations, "Course")]
    return District(
        title=f"{name}: {len(pupils):,} students, {len(sections):,} sections, {len(schools)} schools",
        catalogue="roster",
        organizations=_organizations(agency, name, schools),
        loads=[
            Load("School", [_new(number, agency, _named(school)) for number, school in schools.items()]),
            Load("Course", list({course["id"]: course for course in courses}.values())),
            Load("Student", [_new(pupil["id"], agency, pupil["body"]) for pupil in pupils]),
            *_section_loads(sections),
        ],
        subscribers=[
            Subscriber(name, agency, ["StudentStatus", f"SectionStatus.{year}", "Course"]),
            Subscriber(
                _text(schools[busiest], "NameOfInstitution"), f"S.{busiest}", [f"SectionStatus.{year}", "School"]
            ),
        ],
        edits=[_seats_edit(section) for section in sections if section.school_year == year][:_EDITS],
        status_edit=_seats_edit(next(section for section in sections if section.school_year == year), seats=99),
    )


def _organizations(agency: str, name: str, schools: dict[str, Element]) -> str:
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerows([("code", "name", "parent"), ("O.1", "Ministry", ""), (agency, name, "O.1")])
    rows.writerows((f"S.{number}", _text(school, "NameOfInstitution"), agency) for number, school in schools.items())
    return text.getvalue()


def _section_loads(sections: Sequence[_Section]) -> list[Load]:
    years = sorted({section.school_year for section in sections})
    return [
        Load(
            f"Section.{year}",
            [
                _new(section.id, f"S.{section.school}", section.body)
                for section in sections
                if section.school_year == year
            ],
        )
        for year in years
    ]


def _section(element: Element) -> _Section:
    """The key is the identifier with course, school and session: identifiers alone are shared."""
    identifier, course = _text(element, "SectionIdentifier"), _text(element, "LocalCourseCode")
    school, session = _text(element, "SchoolId"), _text(element, "SessionName")
    key = hashlib.sha256("\0".join((identifier, course, school, session)).encode()).hexdigest()[:12]
    safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in identifier)[:50]
    school_year = int(_text(element, "SchoolYear").rpartition("-")[2])
    body: Json = {"sectionCode": identifier, "localCourseCode": course, "schoolId": school, "sessionName": session}
    body["schoolYear"] = school_year
    if credit := _text(element, "Credits"):
        body["credits"] = float(credit)
    return _Section(f"{safe}.{key}", school, school_year, body)


def _student(element: Element) -> Json:
    members = {
        "firstName": _text(element, "FirstName"),
        "middleName": _text(element, "MiddleName"),
        "lastName": _text(element, "LastSurname"),
        "birthDate": _text(element, "BirthDate"),
    }
    return {"id": _text(element, "StudentUniqueId"), "body": {name: value for name, value in members.items() if value}}


def _course(element: Element, agency: str) -> Json:
    code = "".join(c if c.isascii() and c.isalnum() else "-" for c in _text(element, "CourseCode"))[:64]
    return _new(code, agency, {"title": _text(element, "CourseTitle"), "courseCode": _text(element, "CourseCode")})


def _named(element: Element) -> Json:
    return {"name": _text(element, "NameOfInstitution")}


def _seats_edit(section: _Section, seats: int = 30) -> Edit:
    what = f"{seats} seats in {section.body['localCourseCode']}"
    return Edit(f"Section.{section.school_year}", section.id, {"maximumSeats": seats}, what)


def _new(record_id: str, organization: str, body: Json) -> Json:
    return {"id": record_id, "expectedVersion": 0, "organization": organization, "body": body}


def _elements(file: Path, name: str) -> Iterator[Element]:
    """Every element of that name right below the root, whatever namespace the data standard puts it in."""
    depth = 0
    for event, element in iterparse(file, events=("start", "end")):
        depth += 1 if event == "start" else -1
        if event == "end" and depth == 1:
            if element.tag.rpartition("}")[2] == name:
                yield element
            else:
                element.clear()


def _text(element: Element, name: str) -> str:
    """The text of the first element of that name at any depth; empty if there is none."""
    return next(((found.text or "").strip() for found in element.iter() if found.tag.rpartition("}")[2] == name), "")
