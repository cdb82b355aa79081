"""Code lists: a SIS's codes and the hub's words for them, as data files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol

from homeroom_merge.toml_tables import dotted


class Unreadable(Exception):
    """A value that cannot be read. `at`: where below the member, as a JSON pointer."""

    def __init__(self, detail: str, cure: str = "", at: str = "") -> None:
        super().__init__(detail)
        self.detail, self.cure, self.at = detail, cure, at


class Unwritable(ValueError):
    """A value of the hub that the SIS has no way to say."""


class Codes(Protocol):
    """Code lists by name, each from a SIS's codes to the hub's words."""

    @property
    def lists(self) -> Mapping[str, Mapping[str, str]]: ...

    def word(self, name: str, code: str) -> str:
        """The hub's word for a code; raises Unreadable, which names the line to add to a code list."""

    def code(self, name: str, word: str) -> str:
        """The code to be written for a word of the hub: the first that has it. Raises Unwritable."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where somebody adds a line to a code list. `file`: as messages name it; `above`: the tables around the lists."""

    file: str
    above: tuple[str, ...] = ()

    def of(self, name: str) -> str:
        return f"the table [{dotted((*self.above, name))}] of {self.file}"


OWN = Place('a file of your own, which codes = "codes.toml" names under [connector]')


@dataclass(frozen=True, slots=True)
class CodeLists:
    """Codes that are plain texts. A cell may hold anything, so a code that is unknown and long is not repeated."""

    lists: Mapping[str, Mapping[str, str]]
    place: Place = OWN

    def word(self, name: str, code: str) -> str:
        word = self.lists.get(name, {}).get(code)
        if word is None and len(code) > _CODE_LENGTH_MAX:
            cure = f'add a line of the form "code" = "the hub\'s word" to {self.place.of(name)}'
            raise Unreadable(f"the code list {name} does not have this one", cure)
        if word is None:
            raise unknown(name, code, self.place)
        return word

    def code(self, name: str, word: str) -> str:
        return code_of(self.lists, name, word)


_CODE_LENGTH_MAX = 40


def unknown(name: str, code: str, place: Place) -> Unreadable:
    """The fault of a code that a list does not have: it names the line to add, and where."""
    cure = f'add the line {quoted(code)} = "the hub\'s word" to {place.of(name)}'
    return Unreadable(f"the code list {name} does not have {quoted(code)}", cure)


def code_of(lists: Mapping[str, Mapping[str, str]], name: str, word: str) -> str:
    """The first code of a list that has a word. Raises Unwritable."""
    for code, known in lists.get(name, {}).items():
        if known == word:
            return code
    raise Unwritable(f"the code list {name} has no code for a word of the hub")


def place_of(own: Path | None) -> Place:
    """Where a district adds to the lists that ship."""
    return OWN if own is None else Place(own.name)


def load_lists(package: str, own: Path | None = None) -> Mapping[str, Mapping[str, str]]:
    """The `codes.toml` of a package, and above it a district's own file. Raises ValueError, OSError."""
    lists = _parsed(files(package).joinpath("codes.toml").read_text(encoding="utf-8"), "codes.toml")
    added = {} if own is None else _parsed(own.read_text(encoding="utf-8"), own.name)
    return {name: {**lists.get(name, {}), **added.get(name, {})} for name in lists.keys() | added.keys()}


def _parsed(text: str, name: str) -> dict[str, dict[str, str]]:
    lists: dict[str, dict[str, str]] = {}
    for descriptor, table in tomllib.loads(text).items():
        if not isinstance(table, dict) or not all(isinstance(word, str) for word in table.values()):
            raise ValueError(f'{name}: [{descriptor}] takes lines of the form "Code" = "word"')
        lists[descriptor] = table
    return lists


def quoted(code: str) -> str:
    """A code as TOML writes it; what nobody could see in it, or a terminal would obey, is escaped."""
    return '"' + "".join(map(_escaped, code)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else f"\\U{ord(char):08x}"
