"""A OneRoster 1.2 bulk export of any size, the same each time."""

import csv
import random
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

STUDENTS_PER_SCHOOL = 1_000
_COURSES, _SECTIONS_PER_SCHOOL, _STAFF_PER_SCHOOL, _COURSES_PER_STUDENT = 60, 160, 60, 20
_NAMES = ("Ada", "Eve", "Una", "Ola", "Ivy", "Kai", "Leo", "Max", "Noa", "Sam", "Tia", "Zoe", "Ben", "Dan", "Eli")
_TITLES = {
    "orgs": "name type identifier parentSourcedId",
    "academicSessions": "title type startDate endDate parentSourcedId schoolYear",
    "courses": "schoolYearSourcedId title courseCode grades orgSourcedId subjects",
    "classes": "title grades courseSourcedId classCode classType location schoolSourcedId termSourcedIds",
    "users": "enabledUser username givenName familyName identifier email agentSourcedIds grades primaryOrgSourcedId",
    "roles": "userSourcedId roleType role beginDate endDate orgSourcedId",
    "demographics": "birthDate sex countryOfBirthCode",
    "enrollments": "classSourcedId schoolSourcedId userSourcedId role primary beginDate endDate",
}


def write_export(folder: Path, students: int, changed: int = 0) -> int:
    """A OneRoster 1.2 bulk export; how many records the pipeline makes of it. `changed`: students with new names."""
    folder.mkdir(parents=True, exist_ok=True)
    schools = [f"{number:04}" for number in range(-(-students // STUDENTS_PER_SCHOOL))]
    chance = random.Random(1)
    pupils = [(f"p{number:07}", schools[number // STUDENTS_PER_SCHOOL]) for number in range(students)]
    staff = [(f"t{school}{number:03}", school) for school in schools for number in range(_STAFF_PER_SCHOOL)]
    sections = [(f"k{school}{number:03}", school) for school in schools for number in range(_SECTIONS_PER_SCHOOL)]
    _write(folder, "orgs",
        [("o1", "District", "district", "1", "")],
        ((f"o{school}", f"School {school}", "school", school, "o1") for school in schools),
    )  # fmt: skip
    _write(folder, "academicSessions", (
        ("y", "2026-2027", "schoolYear", "2026-09-01", "2027-06-30", "", "2027"),
        ("f", "Fall", "term", "2026-09-01", "2026-12-20", "y", "2027"),
    ))  # fmt: skip
    _write(folder, "courses", (
        (f"c{number}", "y", f"Course {number}", f"C{number}", "09", "o1", "Math") for number in range(_COURSES)
    ))  # fmt: skip
    _write(folder, "classes", (
        (key, f"Class {key}", "09", f"c{place % _COURSES}", key, "scheduled", "R 1", f"o{school}", "f")
        for place, (key, school) in enumerate(sections)
    ))  # fmt: skip
    _write(folder, "users",
        ((key, "true", key, f"{chance.choice(_NAMES)}{' II' if place < changed else ''}", f"Family{place}", f"{place}",
           "", f"g{key}a,g{key}b", "09", f"o{school}") for place, (key, school) in enumerate(pupils)),
        ((f"g{key}{which}", "true", f"g{key}{which}", chance.choice(_NAMES), f"Family{place}", "",
           f"g{key}{which}@home.example", "", "", "") for place, (key, _) in enumerate(pupils) for which in "ab"),
        ((key, "true", key, chance.choice(_NAMES), f"Staff{place}", f"s{place}", f"{key}@school.example", "", "",
           f"o{school}") for place, (key, school) in enumerate(staff)),
    )  # fmt: skip
    _write(folder, "roles",
        ((f"r{key}", key, "primary", "student", "2026-09-01", "", f"o{school}") for key, school in pupils),
        ((f"rg{key}{which}", f"g{key}{which}", "primary", "guardian", "", "", f"o{school}")
          for key, school in pupils for which in "ab"),
        ((f"r{key}", key, "primary", "teacher", "2026-08-20", "", f"o{school}") for key, school in staff),
    )  # fmt: skip
    _write(folder, "demographics", (
        (key, f"20{chance.randrange(10, 15)}-0{chance.randrange(1, 9)}-1{chance.randrange(9)}", "female", "CA")
        for key, _ in pupils
    ))  # fmt: skip
    enrolled = _write(folder, "enrollments",
        ((f"e{key}", key, f"o{school}", staff[int(school) * _STAFF_PER_SCHOOL + place % _STAFF_PER_SCHOOL][0],
           "teacher", "true", "", "") for place, (key, school) in enumerate(sections)),
        ((f"e{key}-{one}", f"k{school}{one:03}", f"o{school}", key, "student", "", "2026-09-01", "")
          for key, school in pupils
          for one in chance.sample(range(_SECTIONS_PER_SCHOOL), _COURSES_PER_STUDENT)),
    )  # fmt: skip
    lines = ["propertyName,value", "manifest.version,1.0", "oneroster.version,1.2"]
    lines += [f"file.{name},bulk" for name in _TITLES]
    (folder / "manifest.csv").write_text("\n".join([*lines, ""]))
    return 1 + len(schools) + _COURSES + len(sections) + len(staff) + 4 * students + enrolled


def _write(folder: Path, name: str, *parts: Iterable[Sequence[str]]) -> int:
    """A file of several parts, one after the other; how many rows it has."""
    count = 0
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["sourcedId", "status", "dateLastModified", *_TITLES[name].split()])
        for key, *cells in chain.from_iterable(parts):
            out.writerow([key, "", "", *cells])
            count += 1
    return count
