"""EvaluatedMark: 40301 mark, 40302 course, 40303 student, 40304 date."""

from collections.abc import Iterable
from datetime import date

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source
from homeroom_server.status.rules.dates import date_of
from homeroom_server.status.rules.marks import mark_fits


def mark_is_of_its_format(source: Source, related: Related) -> Iterable[Alert]:
    value, mark_format = source.body.get("markValue"), source.body.get("markFormat")
    if not mark_fits(value, mark_format):
        arguments = {"MarkValue": str(value), "MarkFormat": str(mark_format)}
        yield Alert(40301, AlertType.WARNING, "The mark is not one of its format", arguments)


def course_exists(source: Source, related: Related) -> Iterable[Alert]:
    course = source.body.get("courseCode")
    if related.record("Course", course) is None:
        yield Alert(40302, AlertType.WARNING, "There is no such course", {"CourseCode": str(course)})


def student_exists(source: Source, related: Related) -> Iterable[Alert]:
    if source.student is not None and related.record("Student", source.student) is None:
        yield Alert(40303, AlertType.WARNING, "There is no such student", {"StateProvinceId": source.student})


def mark_is_not_of_the_future(source: Source, related: Related) -> Iterable[Alert]:
    day = date_of(source.body, "markDate")
    if day is not None and day > related.today:
        yield Alert(40304, AlertType.ADVICE, "The mark is dated in the future", {"MarkDate": day.isoformat()})


def next_scan_on(source: Source, today: date) -> date | None:
    """The day on which a mark of the future is one of the present."""
    day = date_of(source.body, "markDate")
    return day if day is not None and day > today else None


RULES = RuleSet(
    rules=(mark_is_of_its_format, course_exists, student_exists, mark_is_not_of_the_future),
    referenced={"Course": "courseCode", "Student": "stateProvinceId"},
    next_scan_on=next_scan_on,
)
