"""Reading TOML for people: every fault at once, with its line, its dotted path and what to do about it."""

import json
import re
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)
T = TypeVar("T")

WHOLE_MAX = 2**31 - 1
"""Of any setting that is a whole number."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEADER = re.compile(r"\s*(\[\[?)([^\[\]]+)\]")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=(.*)""")
_PART = re.compile(r"""("(?:[^"\\]|\\.)*")|'([^']*)'|([A-Za-z0-9_-]+)""")
_SYNTAX = re.compile(r"(.*) \(at line (\d+), column \d+\)")


@dataclass(frozen=True, slots=True)
class TomlFault:
    """One thing wrong: the dotted path, what is wrong there, what to do. `line`: 0 where it stands in no line."""

    path: str
    detail: str
    cure: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = ", ".join(filter(None, (f"line {self.line}" if self.line else "", self.path)))
        said = f"{place}: {self.detail}" if place else self.detail
        return f"{said}; {self.cure}" if self.cure else said


@dataclass(slots=True)
class Faults:
    """What has been found wrong so far, and on which lines things stand."""

    lines: dict[str, int] = field(default_factory=dict)
    found: list[TomlFault] = field(default_factory=list)

    def add(self, path: str, detail: str, cure: str = "") -> None:
        """Remember a fault, with the line of what it is about or of the table around it."""
        self.found.append(TomlFault(path, detail, cure, self._line(path)))

    def _line(self, path: str) -> int:
        parts = parts_of(path)
        around = (dotted(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.lines[at] for at in around if at in self.lines), 0)


def parse(text: str, faults: Faults) -> Mapping[str, object]:
    """The document, empty where it is no TOML, which is then a fault."""
    try:
        document = tomllib.loads(text)
        json.dumps(document, default=str)  # a number that cannot be shown is found here, and not on a page
        return document
    except tomllib.TOMLDecodeError as error:
        told = _SYNTAX.fullmatch(str(error))
        detail, line = (told[1], int(told[2])) if told else (str(error), 0)
        cure = 'text stands in "quotes", tables in [brackets]'
        faults.found.append(TomlFault("", f"this is not TOML: {detail}", cure, line))
        return {}
    except (ValueError, RecursionError):  # a number of thousands of digits, a list in a list in a list ...
        faults.found.append(TomlFault("", "this is more than a file of settings may hold", "write it more plainly"))
        return {}


def dotted(parts: Iterable[str]) -> str:
    """A dotted path as TOML writes it."""
    return ".".join(part if _BARE.fullmatch(part) else json.dumps(part, ensure_ascii=False) for part in parts)


def parts_of(path: str) -> tuple[str, ...]:
    """The keys of a dotted path."""
    return tuple(_unquoted(match[1]) if match[1] else match[2] or match[3] or "" for match in _PART.finditer(path))


def _unquoted(quoted: str) -> str:
    try:
        return str(json.loads(quoted))
    except json.JSONDecodeError:  # an escape that only TOML knows
        return quoted[1:-1]


def lines_of(text: str) -> dict[str, int]:
    """Where each key and table stands, by dotted path; items of an array of tables have their number in it."""
    lines: dict[str, int] = {}
    table: tuple[str, ...] = ()
    for number, line in _outside_texts(text):
        if header := _HEADER.match(line):
            table = parts_of(header[2])
            if header[1] == "[[":
                item = next(str(i) for i in range(len(lines) + 1) if dotted((*table, str(i))) not in lines)
                table = (*table, item)
            lines.setdefault(dotted(table), number)
        elif key := _KEY.match(line):
            lines.setdefault(dotted((*table, *parts_of(key[1]))), number)
    return lines


def _outside_texts(text: str) -> Iterator[tuple[int, str]]:
    """The lines that do not lie within a text of several lines."""
    closing = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not closing:
            yield number, line
        for quotes in ('"""', "'''"):
            if closing in ("", quotes) and line.count(quotes) % 2:
                closing = "" if closing else quotes


class Table:
    """One table as it is read: what is asked for is taken, and what is left at the end is a fault."""

    def __init__(self, values: object, path: tuple[str, ...], faults: Faults) -> None:
        self.path = path
        self.faults = faults
        self.values: dict[str, object] = {}
        self._asked: set[str] = set()
        if isinstance(values, Mapping):
            self.values.update(values)
        elif values is not None:
            faults.add(dotted(path), f"this is a table, not {_kind(values)}", f"write [{dotted(path)}] with keys below")

    def fault(self, key: str, detail: str, cure: str = "") -> None:
        """Say what is wrong with a key of this table; with none, with the table."""
        self.faults.add(dotted((*self.path, key) if key else self.path), detail, cure)

    def has(self, key: str) -> bool:
        """Whether the table says anything of it."""
        return key in self.values

    def __iter__(self) -> Iterator[str]:
        """Its keys, for tables whose keys are names."""
        return iter(self.values)

    def text(self, key: str, default: str | None, example: str = "") -> str:
        """A text. Without a default it must be there."""
        cure = f'write {key} = "{example or "..."}"'
        if not self.has(key) and default is None:
            self._ask(key)
            self.fault(key, "this is missing", cure)
        return self._take(key, default or "", str, "a text", cure)

    def boolean(self, key: str, default: bool) -> bool:
        return self._take(key, default, bool, "true or false", f"write {key} = {str(default).lower()} or its opposite")

    def whole(self, key: str, default: int, lowest: int = 0) -> int:
        """A whole number, `lowest` at least."""
        found = self._take(key, default, int, "a whole number", f"write {key} = {default}")
        if found < lowest:
            self.fault(key, f"{found} is too small", f"{lowest} is the least")
        if found > WHOLE_MAX:
            self.fault(key, "this is too large", f"{WHOLE_MAX} is the most")
        return min(max(found, lowest), WHOLE_MAX)

    def share(self, key: str, default: float | None) -> float | None:
        """Per cent; `false` switches it off."""
        value = self._ask(key)
        if value is None:
            return default
        if value is False:
            return None
        if isinstance(value, int | float) and value is not True and 0 <= value <= 100:
            return float(value)
        self.fault(key, f"this is per cent, not {_told(value)}", f"write {key} = 10, or {key} = false for no limit")
        return default

    def texts(self, key: str, default: tuple[str, ...]) -> tuple[str, ...]:
        return self._list(key, default, str, f'write {key} = ["...", "..."]')

    def wholes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        return self._list(key, default, int, f"write {key} = [2026, 2027]")

    def choice(self, key: str, kind: type[E], default: E) -> E:
        """One of the words of an enumeration."""
        found = self._word(key, self._ask(key), kind)
        return default if found is None else found

    def choices(self, key: str, kind: type[E], default: frozenset[E]) -> frozenset[E]:
        if not self.has(key):
            self._ask(key)
            return default
        words = self.texts(key, ())
        return frozenset(filter(None, (self._word(key, word, kind) for word in words)))

    def day(self, key: str, example: date) -> date | None:
        """A date without a time, which must be there; None if it is not."""
        value = self._ask(key)
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        cure = f"write {key} = {example.isoformat()}, without quotes"
        self.fault(key, "this is missing" if value is None else f"this is a date, not {_told(value)}", cure)
        return None

    def table(self, key: str) -> "Table":
        """A table within; empty where there is none."""
        return Table(self._ask(key), (*self.path, key), self.faults)

    def tables(self, key: str) -> list["Table"]:
        """An array of tables."""
        value = self._ask(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.fault(key, f"this is a list of tables, not {_kind(value)}", f"write [[{dotted((*self.path, key))}]]")
            return []
        return [Table(item, (*self.path, key, str(i)), self.faults) for i, item in enumerate(value)]

    def any(self, key: str) -> object:
        """Whatever stands there; None where nothing does."""
        return self._ask(key)

    def close(self, also: Collection[str] = ()) -> None:
        """What nobody asked for is a fault. `also`: names that might have been meant."""
        for key in [key for key in self.values if key not in self._asked]:
            self.fault(key, "there is no such setting", suggestion(key, self._asked | set(also)))

    def _ask(self, key: str) -> object:
        self._asked.add(key)
        return self.values.get(key)

    def _take(self, key: str, default: T, kind: type[T], what: str, cure: str) -> T:
        value = self._ask(key)
        if value is None:
            return default
        if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
            return value
        self.fault(key, f"this is {what}, not {_told(value)}", cure)
        return default

    def _list(self, key: str, default: tuple[T, ...], kind: type[T], cure: str) -> tuple[T, ...]:
        values = self._take(key, list(default), list, "a list", cure)
        wrong = [value for value in values if not isinstance(value, kind) or isinstance(value, bool)]
        if wrong:
            self.fault(key, f"{_told(wrong[0])} does not belong into this list", cure)
        return tuple(value for value in values if isinstance(value, kind) and not isinstance(value, bool))

    def _word(self, key: str, value: object, kind: type[E]) -> E | None:
        words = [str(word) for word in kind]
        if value is None:
            return None
        if isinstance(value, str) and value in words:
            return kind(value)
        told = f'"{value}"' if isinstance(value, str) else _told(value)
        meant = suggestion(value, words) if isinstance(value, str) else ""
        self.fault(key, f"{told} is none of {', '.join(words)}", meant)
        return None


def suggestion(word: str, words: Iterable[str]) -> str:
    """What may have been meant, as a cure."""
    lowered = {each.lower(): each for each in sorted(words)}
    close = get_close_matches(word.lower(), lowered, n=1, cutoff=0.6)
    return f"did you mean {lowered[close[0]]}?" if close else f"there are {', '.join(sorted(lowered.values()))}"


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case str():
            return "a text"
        case int() | float():
            return "a number"
        case date():
            return "a date"
        case list():
            return "a list"
        case _:
            return "a table"


def _told(value: object) -> str:
    """Of texts just their kind: one may be a secret in the wrong place."""
    return f"{value}" if isinstance(value, int | float) and not isinstance(value, bool) else _kind(value)
