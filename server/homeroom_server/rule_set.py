"""The plug-in point for rules: what a module named by a type's `status` offers as RULES."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Any

ANY_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""The form that every id of every type has."""


_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


def id_or_none(value: object) -> str | None:
    """The value as the id of some record, UUIDs in lower case; None if it cannot be one."""
    if not isinstance(value, str) or not ANY_ID.fullmatch(value):
        return None
    return value.lower() if _UUID.fullmatch(value) else value


class AlertType(StrEnum):
    """A warning is wrong and must be fixed; an advice is suspicious and may be acknowledged."""

    WARNING = "Warning"
    ADVICE = "Advice"


@dataclass(frozen=True, slots=True)
class Alert:
    """What a rule found. `arguments` are the data it was judged on, name to text: with `code` they identify it."""

    code: int
    type: AlertType
    description: str
    arguments: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Source:
    """The record that is judged. `school_year` is None for types without one."""

    id: str
    body: Mapping[str, Any]
    student: str | None
    school_year: int | None


@dataclass(frozen=True, slots=True)
class Related:
    """What else is known: live records only. `today` is the date in the Core's time zone."""

    today: date
    referenced: Mapping[tuple[str, str], Source]
    of_student: Mapping[str, Sequence[Source]]

    def record(self, type_name: str, record_id: object) -> Mapping[str, Any] | None:
        """The body of a referenced record, or None if there is no such live record."""
        found = self.referenced.get((type_name, id_or_none(record_id) or ""))
        return None if found is None else found.body


Rule = Callable[[Source, Related], Iterable[Alert]]


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of one type and what they look at beyond the record itself.

    `referenced` maps a type's name to the member of the body that holds ids of it (a text, or a list of texts);
    `of_student` names types whose records of the same student are wanted.
    `next_scan_on` gives the next date on which time alone may change the outcome.
    """

    rules: Sequence[Rule] = ()
    referenced: Mapping[str, str] = field(default_factory=dict)
    of_student: Sequence[str] = ()
    next_scan_on: Callable[[Source, date], date | None] | None = None

    def references(self, body: Mapping[str, Any]) -> set[tuple[str, str]]:
        """(type name, id) of every record that this body points at."""
        found = set()
        for type_name, member in self.referenced.items():
            value = body.get(member)
            ids = value if isinstance(value, list) else [value]
            found |= {(type_name, known) for value in ids if (known := id_or_none(value)) is not None}
        return found

    def judge(self, source: Source, related: Related) -> list[Alert]:
        """Every alert of every rule, in the rules' order."""
        return [alert for rule in self.rules for alert in rule(source, related)]


NO_RULES = RuleSet()
