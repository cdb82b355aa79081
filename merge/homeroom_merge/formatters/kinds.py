"""The kinds of values that records of a SIS hold: texts, numbers, days, codes, sets and references."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from homeroom_merge.formatters.codes import Codes, Unreadable, Unwritable
from homeroom_merge.formatters.keys import code_key, school_year
from homeroom_merge.formatters.members import Kind
from homeroom_merge.values import Value

_SHAPE = re.compile("YYYY|MM?|DD?")
_YEAR = re.compile(r"[12][0-9]{3}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?", re.ASCII)
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(T00:00:00)?(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)


def _one(found: Sequence[object]) -> str:
    """The one text that elements say, all alike."""
    first, *others = found
    if not isinstance(first, str):
        raise Unreadable("holds elements where text belongs")
    if any(other != first for other in others):
        raise Unreadable("is said more than once, and differently", "say it once, or alike")
    return first


@dataclass(frozen=True, slots=True)
class Text:
    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return _one(found)

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [value]


@dataclass(frozen=True, slots=True)
class Id:
    """A reference by an identity of one part, which is also the key of the record it names."""

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return code_key(_one(found))

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [value]


@dataclass(frozen=True, slots=True)
class Number:
    def read(self, found: Sequence[object], codes: Codes) -> Value:
        text = _one(found)
        if not _NUMBER.fullmatch(text):
            raise Unreadable("is no number")
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(number)

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [format(Decimal(str(value)), "f")]


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false. The first word for each is the one that is written; capitals do not matter."""

    yes: tuple[str, ...] = ("true", "1")
    no: tuple[str, ...] = ("false", "0")

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        text = _one(found).lower()
        if text not in (word.lower() for word in (*self.yes, *self.no)):
            raise Unreadable("is neither true nor false", f"write {self.yes[0]} or {self.no[0]}")
        return text in (word.lower() for word in self.yes)

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [self.yes[0] if value else self.no[0]]


@dataclass(frozen=True, slots=True)
class Day:
    """A day. `form`: as strptime has it, and as people write it (M/D/YYYY); None: YYYY-MM-DD.

    Of a time that is midnight, and of a zone, nothing is kept.
    """

    form: tuple[str, str] | None = None

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        text = _one(found)
        match = _DAY.fullmatch(text)
        try:
            if match is not None or self.form is None:
                return date.fromisoformat(match[1] if match else "").isoformat()
            return datetime.strptime(text, self.form[0]).date().isoformat()
        except ValueError:
            raise Unreadable("is no day", f"a day reads {self.form[1] if self.form else 'YYYY-MM-DD'}") from None

    def write(self, value: Value, codes: Codes) -> list[object]:
        if value is None:
            return []
        if self.form is None:
            return [value]
        day = date.fromisoformat(value)
        parts = {"YYYY": f"{day.year:04}", "MM": f"{day.month:02}", "M": f"{day.month}"}
        parts |= {"DD": f"{day.day:02}", "D": f"{day.day}"}
        return [_SHAPE.sub(lambda part: parts[part[0]], self.form[1])]


@dataclass(frozen=True, slots=True)
class SchoolYear:
    """`2021-2022` is 2022."""

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        year = school_year(_one(found))
        if year is None:
            raise Unreadable("is no school year", "a school year reads 2021-2022")
        return year

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [f"{value - 1:04}-{value:04}"]


@dataclass(frozen=True, slots=True)
class Year:
    """A year of four digits."""

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        text = _one(found)
        if not _YEAR.fullmatch(text):
            raise Unreadable("is no year", "a year reads 2022")
        return int(text)

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [f"{value:04}"]


@dataclass(frozen=True, slots=True)
class Code:
    """A code of a list: the hub's word for it."""

    list_name: str

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return codes.word(self.list_name, _one(found))

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [codes.code(self.list_name, value)]


@dataclass(frozen=True, slots=True)
class SetOf:
    """Repeated elements, whose order and doubles say nothing: sorted, each once."""

    kind: Kind

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return sorted({self.kind.read([element], codes) for element in found})

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [element for one in value for element in self.kind.write(one, codes)]


@dataclass(frozen=True, slots=True)
class Separated:
    """A set within one text, its elements apart by a separator: sorted, each once."""

    kind: Kind
    separator: str = ","

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        parts = [part.strip() for part in _one(found).split(self.separator)]
        return sorted({self.kind.read([part], codes) for part in parts if part})

    def write(self, value: Value, codes: Codes) -> list[object]:
        texts = [str(text) for one in value for text in self.kind.write(one, codes)]
        if any(self.separator in text for text in texts):
            raise Unwritable(f"has a {self.separator} within, which separates elements")
        return [self.separator.join(texts)] if texts else []


@dataclass(frozen=True, slots=True)
class Assigned:
    """The one role of staff whose row names just their school."""

    role: str

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        school = code_key(_one(found))
        return [{"roleId": code_key(school, self.role, ""), "role": self.role, "schoolId": school}]

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [role["schoolId"] for role in value if role.get("role") == self.role and "schoolId" in role][:1]


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference by an identity of several parts, or where only that is known by the key itself: `{"key": ...}`."""

    key: Callable[[Mapping[str, object], Codes], str]

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        first, *others = found
        if not isinstance(first, Mapping) or others:
            raise Unreadable("is no reference")
        key = first.get("key")
        return key if isinstance(key, str) else self.key(first, codes)

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [{"key": value}]
