"""The kinds of values of Ed-Fi records: texts, numbers, days, codes, sets and references."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from homeroom_merge.formatters.edfi.codes import Codes, Unreadable
from homeroom_merge.formatters.edfi.keys import code_key, school_year
from homeroom_merge.formatters.edfi.members import Kind
from homeroom_merge.values import Value

_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?", re.ASCII)
_DAY = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})(Z|[+-][0-9]{2}:[0-9]{2})?", re.ASCII)
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


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
    def read(self, found: Sequence[object], codes: Codes) -> Value:
        text = _one(found)
        if text not in _FLAGS:
            raise Unreadable("is neither true nor false")
        return _FLAGS[text]

    def write(self, value: Value, codes: Codes) -> list[object]:
        return ["true" if value else "false"]


@dataclass(frozen=True, slots=True)
class Day:
    def read(self, found: Sequence[object], codes: Codes) -> Value:
        match = _DAY.fullmatch(_one(found))
        try:
            return date.fromisoformat(match[1] if match else "").isoformat()
        except ValueError:
            raise Unreadable("is no day", "a day reads YYYY-MM-DD") from None

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [value] if value is not None else []


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
class Code:
    """A descriptor: the hub's word for its code value."""

    descriptor: str

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return codes.word(self.descriptor, _one(found))

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [codes.uri(self.descriptor, value)]


@dataclass(frozen=True, slots=True)
class SetOf:
    """Repeated elements, whose order and doubles say nothing: sorted, each once."""

    kind: Kind

    def read(self, found: Sequence[object], codes: Codes) -> Value:
        return sorted({self.kind.read([element], codes) for element in found})

    def write(self, value: Value, codes: Codes) -> list[object]:
        return [element for one in value for element in self.kind.write(one, codes)]


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
