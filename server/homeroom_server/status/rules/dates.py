"""Dates in bodies, as rules read them."""

from collections.abc import Mapping
from datetime import date
from typing import Any


def date_of(body: Mapping[str, Any], member: str) -> date | None:
    """The date that a member holds, or None if it holds none."""
    value = body.get(member)
    try:
        return date.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None


def school_year_of(day: date) -> int:
    """The calendar year in which the school year of a day ends (September begins the next)."""
    return day.year + (day.month >= 9)
