"""Who is associated with a student, and for how long: the rules by themselves (protocol 8)."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from homeroom_server.access.associations import Association, Creation, Enrolment, Grant, derive, months_after

MEMBERS = {"school": "at", "start": "from", "end": "to"}
CREATED_ON = date(2026, 2, 28)
CREATED = Association("s1", "S.1", "created", "s1", date.min, date(2028, 2, 28))
GRANTED = Association("s1", "S.9", "granted", "", date.min, None)


def enrolment(record_id: str = "e1", student: str = "s1", **body: Any) -> Enrolment:
    return Enrolment(student, record_id, MEMBERS, body)


def associated(*enrolments: Enrolment) -> list[Association]:
    """Of a student that S.1 created, with a grant for S.9."""
    return derive([Creation("s1", "s1", "S.1", CREATED_ON)], enrolments, [Grant("s1", "S.9", None)])


def test_who_created_a_student_counts_for_two_years_unless_it_is_enrolled() -> None:
    assert associated() == associated(enrolment(student="s2")) == [CREATED, GRANTED]
    assert associated(enrolment()) == [GRANTED], "it names no school, but ends the creator's time"


def test_an_enrolment_counts_from_its_start_to_twelve_months_after_its_exit() -> None:
    both = {"at": "0982", "from": "2025-09-02T08:00:00Z", "to": "2026-02-28"}
    assert associated(enrolment(**both)) == [
        Association("s1", "S.0982", "enrolled", "e1", date(2025, 9, 2), date(2027, 2, 28)),
        GRANTED,
    ]
    assert associated(enrolment(at="S.0982")) == [
        Association("s1", "S.0982", "enrolled", "e1", date.min, None),
        GRANTED,
    ]


@pytest.mark.parametrize("school", [None, "", 982])
def test_what_names_no_school_counts_for_nobody(school: object) -> None:
    assert associated(enrolment(at=school)) == [GRANTED]


@pytest.mark.parametrize("day", [None, "", "soon", "2026-02-30", 20260228])
def test_a_day_that_is_none_bounds_nothing(day: object) -> None:
    body: dict[str, Any] = {"at": "0982", "from": day, "to": day}
    (found, _) = associated(enrolment(**body))
    assert (found.begins_on, found.ends_on) == (date.min, None)


def test_a_grant_ends_with_its_day() -> None:
    ends_on = date(2026, 6, 30)
    assert derive([], [], [Grant("s1", "S.9", ends_on)])[0].ends_on == ends_on


@given(st.dates(max_value=date(9990, 12, 31)), st.integers(0, 60))
@example(date(2026, 1, 31), 1)
@example(date(2024, 1, 31), 1)
@example(date(2026, 1, 31), 3)
def test_months_after_is_the_same_day_or_the_last_of_a_shorter_month(day: date, months: int) -> None:
    found = months_after(day, months)
    assert (found.year - day.year) * 12 + found.month - day.month == months
    assert found.day == day.day or (found.day < day.day and (found + timedelta(days=1)).day == 1)


def test_there_is_no_day_after_the_last_one() -> None:
    assert months_after(date(9998, 11, 30), 12) == date(9999, 11, 30)
    assert months_after(date(9999, 1, 1), 12) == months_after(date.max, 1) == date.max
