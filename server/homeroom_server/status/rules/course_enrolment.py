"""CourseEnrolment: 42001 section, 42002 course, 42003 dates, 42004 mark, 42005 enrolment, 40214 mark overdue."""

from collections.abc import Iterable
from datetime import date, timedelta

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source
from homeroom_server.status.rules.dates import date_of
from homeroom_server.status.rules.marks import mark_fits

_MARK_DUE = timedelta(days=60)


def section_exists(source: Source, related: Related) -> Iterable[Alert]:
    section = source.body.get("sectionRefId")
    if related.record("Section", section) is None:
        yield Alert(42001, AlertType.WARNING, "There is no such section", {"SectionRefId": str(section)})


def course_is_taught(source: Source, related: Related) -> Iterable[Alert]:
    section = related.record("Section", source.body.get("sectionRefId"))
    course = str(source.body.get("courseCode"))
    if section is not None and course not in section.get("courseCodes", ()):
        yield Alert(42002, AlertType.WARNING, "The section does not teach this course", {"CourseCode": course})


def exit_after_entry(source: Source, related: Related) -> Iterable[Alert]:
    entry, leave = date_of(source.body, "entryDate"), date_of(source.body, "exitDate")
    if entry is not None and leave is not None and leave < entry:
        arguments = {"EntryDate": entry.isoformat(), "ExitDate": leave.isoformat()}
        yield Alert(42003, AlertType.WARNING, "The course enrolment ends before it starts", arguments)


def mark_is_of_its_format(source: Source, related: Related) -> Iterable[Alert]:
    mark = source.body.get("courseEnrolmentMark") or {}
    value, mark_format = mark.get("markValue"), mark.get("markFormat")
    if not mark_fits(value, mark_format):
        arguments = {"MarkValue": str(value), "MarkFormat": str(mark_format)}
        yield Alert(42004, AlertType.WARNING, "The mark is not one of its format", arguments)


def student_is_enrolled(source: Source, related: Related) -> Iterable[Alert]:
    enrolled = (other.school_year == source.school_year for other in related.of_student["StudentSchoolEnrolment"])
    if source.student is not None and not any(enrolled):
        arguments = {"StateProvinceId": source.student, "SchoolYear": str(source.school_year)}
        yield Alert(42005, AlertType.ADVICE, "The student is not enrolled at any school in this year", arguments)


def mark_is_not_overdue(source: Source, related: Related) -> Iterable[Alert]:
    due = _mark_due(source)
    if due is not None and due <= related.today:
        yield Alert(
            40214,
            AlertType.ADVICE,
            "The course has ended, but there is no mark",
            {"DueDate": due.isoformat()},
        )


def next_scan_on(source: Source, today: date) -> date | None:
    """The day on which a missing mark becomes overdue."""
    due = _mark_due(source)
    return due if due is not None and due > today else None


def _mark_due(source: Source) -> date | None:
    leave = date_of(source.body, "exitDate")
    mark = source.body.get("courseEnrolmentMark") or {}
    return None if leave is None or mark.get("markValue") is not None else leave + _MARK_DUE


RULES = RuleSet(
    rules=(
        section_exists,
        course_is_taught,
        exit_after_entry,
        mark_is_of_its_format,
        student_is_enrolled,
        mark_is_not_overdue,
    ),
    referenced={"Section": "sectionRefId"},
    of_student=("StudentSchoolEnrolment",),
    next_scan_on=next_scan_on,
)
