"""Which organisations are associated with a student, from the records and grants that say so (protocol 8). Pure."""

from calendar import monthrange
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

BEFORE_ALL_DAYS = date.min
_MONTHS_AFTER_EXIT = 12
_MONTHS_AFTER_CREATION = 24


@dataclass(frozen=True, slots=True)
class Creation:
    """A student record, deleted or not: who brought it in, and on which day. Who deletes it may undelete it."""

    student: str
    record_id: str
    organization: str
    created_on: date


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A live enrolment record. `members` names those of its body that say school, start and end."""

    student: str
    record_id: str
    members: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Grant:
    """What an operator granted, until the end of a day or for good."""

    student: str
    organization: str
    ends_on: date | None


@dataclass(frozen=True, slots=True, order=True)
class Association:
    """An organisation is associated with a student from one day to another, both included; None: without end."""

    student: str
    organization: str
    cause: str
    source: str
    begins_on: date
    ends_on: date | None


def derive(
    creations: Iterable[Creation], enrolments: Sequence[Enrolment], grants: Iterable[Grant]
) -> list[Association]:
    """All associations of the students that are given whole.

    Having created a student counts until there is an enrolment, for two years at most. An enrolment counts from its
    start to twelve months after its exit; one that names no school counts for nobody, but ends the creator's time.
    """
    enrolled = {enrolment.student for enrolment in enrolments}
    found = [
        Association(
            c.student,
            c.organization,
            "created",
            c.record_id,
            BEFORE_ALL_DAYS,
            months_after(c.created_on, _MONTHS_AFTER_CREATION),
        )
        for c in creations
        if c.student not in enrolled
    ]
    found += [association for enrolment in enrolments if (association := _of(enrolment)) is not None]
    found += [Association(g.student, g.organization, "granted", "", BEFORE_ALL_DAYS, g.ends_on) for g in grants]
    return found


def _of(enrolment: Enrolment) -> Association | None:
    school = enrolment.body.get(enrolment.members["school"])
    if not isinstance(school, str) or not school:
        return None
    start, end = _day(enrolment.body.get(enrolment.members["start"])), exit_day(enrolment)
    code = school if school.startswith("S.") else f"S.{school}"
    ends_on = None if end is None else months_after(end, _MONTHS_AFTER_EXIT)
    begins_on = start or BEFORE_ALL_DAYS
    return Association(enrolment.student, code, "enrolled", enrolment.record_id, begins_on, ends_on)


def exit_day(enrolment: Enrolment) -> date | None:
    """The day on which the student left that school, or will; None: none is known."""
    return _day(enrolment.body.get(enrolment.members["end"]))


def months_after(day: date, months: int) -> date:
    """The same day of a later month, or the last one of a month that is shorter."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if year > date.max.year:
        return date.max
    _, last = monthrange(year, month + 1)
    return date(year, month + 1, min(day.day, last))


def _day(text: object) -> date | None:
    """The day that a text begins with, ISO 8601; None for anything else: such an enrolment has no such end."""
    try:
        return date.fromisoformat(text[:10]) if isinstance(text, str) else None
    except ValueError:
        return None
