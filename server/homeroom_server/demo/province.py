"""A province that never was: authorities, schools, students, sections and enrolments, the same for the same seed."""

import random
from collections.abc import Iterator
from datetime import date
from typing import Any
from uuid import UUID

from homeroom_server.demo.district import District, Edit, Load, Subscriber
from homeroom_server.status.rules.dates import school_year_of

_FIRST = ["Ada", "Bilal", "Chloe", "Dai", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonah", "Kaya", "Liam", "Mina"]
_LAST = ["Abbott", "Bear", "Cardinal", "Dhillon", "Evans", "Fraser", "Gill", "Hoang", "Ivanov", "Jensen", "Kaur", "Lam"]
_PLACES = [
    "Maple",
    "Elk",
    "Prairie",
    "Aspen",
    "Willow",
    "Badger",
    "Cedar",
    "Falcon",
    "Juniper",
    "Lark",
    "Pine",
    "Raven",
]
_COURSES = {
    "ELA1105": "English Language Arts 10-1",
    "MAT1791": "Mathematics 10C",
    "SCN1270": "Science 10",
    "SST1771": "Social Studies 10-1",
}
_STUDENTS_PER_SCHOOL = 200
_SCHOOLS_PER_AUTHORITY = 5
_STUDENTS_PER_SECTION = 25
_EDITS = 10

Json = dict[str, Any]


def generate_province(students: int, seed: int = 1) -> District:
    """A district of Alberta's catalogue with that many students (1 to 1,000,000)."""
    chance = random.Random(seed)
    year = school_year_of(date.today())
    schools = max(2, students // _STUDENTS_PER_SCHOOL)
    authorities = max(2, schools // _SCHOOLS_PER_AUTHORITY)
    names = {f"S.{1000 + i}": f"{_PLACES[i % len(_PLACES)]} School {i + 1}" for i in range(schools)}
    rows = ["code,name,parent", "O.1,Ministry,"]
    rows += [f"A.{3000 + i},Authority {i + 1},O.1" for i in range(authorities)]
    rows += [f"{code},{name},A.{3000 + i % authorities}" for i, (code, name) in enumerate(names.items())]
    classes = {code: list(_classes(chance, code, year, students // schools + 1)) for code in names}
    people = [_student(chance, 100_000_000 + 7 * i) for i in range(students)]
    schooling = [(person, list(names)[i % schools]) for i, person in enumerate(people)]
    enrolments = [_enrolment(chance, person, code, year) for person, code in schooling]
    courses = [entry for person, code in schooling for entry in _course_enrolments(chance, person, code, classes[code])]
    first, second = list(names)[:2]
    edited = [entry for entry in courses if entry["organization"] in (first, second)]
    loads = [
        Load("School", [_new(code[2:], code, {"names": [{"name": name}]}) for code, name in names.items()]),
        Load("Course", [_new(code, "O.1", _course(name)) for code, name in _COURSES.items()]),
        Load("Student", [_new(person["id"], code, person["body"]) for person, code in schooling]),
        Load(f"StudentSchoolEnrolment.{year}", enrolments),
        Load(f"Section.{year}", [section for sections in classes.values() for section in sections]),
        Load(f"CourseEnrolment.{year}", courses),
    ]
    kept = ["Student", f"StudentSchoolEnrolment.{year}", f"CourseEnrolmentStatus.{year}"]
    return District(
        title=f"a province of {students:,} students, {schools:,} schools, {authorities:,} authorities",
        catalogue="alberta",
        organizations="\n".join(rows),
        loads=loads,
        subscribers=[Subscriber(names[code], code, kept) for code in (first, second)],
        edits=[_mark_edit(chance, edited[i % len(edited)], year) for i in range(_EDITS)],
        status_edit=Edit(
            f"CourseEnrolment.{year}",
            edited[0]["id"],
            {"courseEnrolmentMark": {"markValue": "104", "markFormat": "Percentage", "isMarkApproved": False}},
            "a mark of 104 per cent",
        ),
    )


def _new(record_id: str, organization: str, body: Json) -> Json:
    return {"id": record_id, "expectedVersion": 0, "organization": organization, "body": body}


def _course(name: str) -> Json:
    return {"englishShortName": name[:20], "englishFullName": name, "firstSchoolYear": 2010}


def _student(chance: random.Random, number: int) -> Json:
    name = {"firstName": chance.choice(_FIRST), "lastName": chance.choice(_LAST)}
    body = {"studentNames": [name], "isDeactivated": False, "gender": chance.choice(["Female", "Male"])}
    return {
        "id": f"{number:09}",
        "body": body | {"birthDate": f"{chance.randint(2008, 2012)}-0{chance.randint(1, 9)}-15"},
    }


def _enrolment(chance: random.Random, person: Json, school: str, year: int) -> Json:
    body = {"stateProvinceId": person["id"], "schoolCode": school[2:], "schoolYear": year}
    return _new(_uuid(chance), school, body | {"grade": "10", "registrationStartDate": f"{year - 1}-09-02"})


def _classes(chance: random.Random, school: str, year: int, students: int) -> Iterator[Json]:
    for course in _COURSES:
        for _ in range(students // _STUDENTS_PER_SECTION + 1):
            body = {"schoolCode": school[2:], "schoolYear": year, "courseCodes": [course], "creditsOffered": 5}
            yield _new(_uuid(chance), school, body)


def _course_enrolments(chance: random.Random, person: Json, school: str, sections: list[Json]) -> Iterator[Json]:
    for section in chance.sample(sections, k=min(len(sections), len(_COURSES))):
        (course,) = section["body"]["courseCodes"]
        body = {"stateProvinceId": person["id"], "courseCode": course, "sectionRefId": section["id"]}
        yield _new(_uuid(chance), school, body | {"courseEnrolmentStatus": "Registered", "creditsAttempted": 5})


def _mark_edit(chance: random.Random, entry: Json, year: int) -> Edit:
    mark = str(chance.randint(50, 100))
    members = {"courseEnrolmentMark": {"markValue": mark, "markFormat": "Percentage", "isMarkApproved": False}}
    return Edit(f"CourseEnrolment.{year}", entry["id"], members, f"mark {mark} in {entry['body']['courseCode']}")


def _uuid(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))
