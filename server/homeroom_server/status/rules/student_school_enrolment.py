"""StudentSchoolEnrolment: 10001 dates, 10002 year, 10003 overlap, 10004 grade, 10005 student."""

from collections.abc import Iterable
from datetime import date

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source
from homeroom_server.status.rules.dates import date_of, school_year_of

_GRADE_STEPS_MAX = 1


def exit_after_start(source: Source, related: Related) -> Iterable[Alert]:
    start, end = _period(source)
    if start is not None and end is not None and end < start:
        arguments = {"RegistrationStartDate": start.isoformat(), "RegistrationExitDate": end.isoformat()}
        yield Alert(10001, AlertType.WARNING, "The enrolment ends before it starts", arguments)


def start_in_school_year(source: Source, related: Related) -> Iterable[Alert]:
    start, _ = _period(source)
    if start is not None and source.school_year is not None and school_year_of(start) != source.school_year:
        arguments = {"RegistrationStartDate": start.isoformat(), "SchoolYear": str(source.school_year)}
        yield Alert(10002, AlertType.WARNING, "The enrolment does not start in its school year", arguments)


def at_one_school_at_a_time(source: Source, related: Related) -> Iterable[Alert]:
    """Two schools at once may be meant, so it is advice."""
    start, end = _period(source)
    for other in related.of_student["StudentSchoolEnrolment"]:
        if other.id == source.id or other.body.get("schoolCode") == source.body.get("schoolCode"):
            continue
        other_start, other_end = _period(other)
        if start is None or other_start is None:
            continue
        if start <= (other_end or date.max) and other_start <= (end or date.max):
            arguments = {"SchoolCode": str(other.body.get("schoolCode"))}
            yield Alert(
                10003,
                AlertType.ADVICE,
                "The student is enrolled at another school at the same time",
                arguments,
            )


def grade_follows(source: Source, related: Related) -> Iterable[Alert]:
    grade = _grade(source)
    for other in related.of_student["StudentSchoolEnrolment"]:
        before = _grade(other)
        if source.school_year is None or other.school_year != source.school_year - 1 or before is None or grade is None:
            continue
        if not 0 <= grade - before <= _GRADE_STEPS_MAX:
            arguments = {"Grade": f"{grade:02}", "PreviousGrade": f"{before:02}"}
            yield Alert(10004, AlertType.ADVICE, "The grade does not follow last year's", arguments)


def student_active(source: Source, related: Related) -> Iterable[Alert]:
    """Compare rules 9002 and 9009."""
    if source.student is None:
        return
    student = related.record("Student", source.student)
    if student is None:
        yield Alert(10005, AlertType.WARNING, "There is no such student", {"StateProvinceId": source.student})
    elif student.get("isDeactivated"):
        arguments = {"StateProvinceId": source.student, "IsDeactivated": "true"}
        yield Alert(10005, AlertType.WARNING, "The student's number is deactivated", arguments)


def _period(source: Source) -> tuple[date | None, date | None]:
    return date_of(source.body, "registrationStartDate"), date_of(source.body, "registrationExitDate")


def _grade(source: Source) -> int | None:
    grade = source.body.get("grade")
    return int(grade) if isinstance(grade, str) and grade.isascii() and grade.isdigit() else None


RULES = RuleSet(
    rules=(exit_after_start, start_in_school_year, at_one_school_at_a_time, grade_follows, student_active),
    referenced={"Student": "stateProvinceId"},
    of_student=("StudentSchoolEnrolment", "Student"),
)
