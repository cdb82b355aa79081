"""Section: 40101 dates, 40102 courses, 40103 year, 40105 credits."""

from collections.abc import Iterable

from homeroom_server.rule_set import Alert, AlertType, Related, RuleSet, Source
from homeroom_server.status.rules.dates import date_of, school_year_of


def end_after_start(source: Source, related: Related) -> Iterable[Alert]:
    start, end = date_of(source.body, "startDate"), date_of(source.body, "endDate")
    if start is not None and end is not None and end < start:
        arguments = {"StartDate": start.isoformat(), "EndDate": end.isoformat()}
        yield Alert(40101, AlertType.WARNING, "The section ends before it starts", arguments)


def courses_exist(source: Source, related: Related) -> Iterable[Alert]:
    """Compare rule 9015."""
    for code in source.body.get("courseCodes", ()):
        if related.record("Course", code) is None:
            yield Alert(40102, AlertType.WARNING, "There is no such course", {"CourseCode": str(code)})


def in_school_year(source: Source, related: Related) -> Iterable[Alert]:
    for member in ("startDate", "endDate"):
        day = date_of(source.body, member)
        if day is not None and source.school_year is not None and school_year_of(day) != source.school_year:
            arguments = {"Date": day.isoformat(), "SchoolYear": str(source.school_year)}
            yield Alert(40103, AlertType.ADVICE, f"The section's {member} lies outside its school year", arguments)


def credits_offered(source: Source, related: Related) -> Iterable[Alert]:
    offered = source.body.get("creditsOffered")
    if isinstance(offered, int | float) and offered > 10:
        yield Alert(40105, AlertType.ADVICE, "More credits than a course gives", {"CreditsOffered": str(offered)})


RULES = RuleSet(
    rules=(end_after_start, courses_exist, in_school_year, credits_offered),
    referenced={"Course": "courseCodes"},
)
