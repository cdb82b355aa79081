"""Code lists: a SIS's codes and the hub's words for them, as data files."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Protocol


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
class CodeLists:
    """Codes that are plain texts. A cell may hold anything, so a code that is unknown and long is not repeated."""

    lists: Mapping[str, Mapping[str, str]]

    def word(self, name: str, code: str) -> str:
        word = self.lists.get(name, {}).get(code)
        if word is None:
            raise unknown(name, code) if len(code) <= _CODE_LENGTH_MAX else Unreadable(f"is no code of the list {name}")
        return word

    def code(self, name: str, word: str) -> str:
        return code_of(self.lists, name, word)


_CODE_LENGTH_MAX = 40


def unknown(name: str, code: str) -> Unreadable:
    """The fault of a code that a list does not have."""
    return Unreadable(
        f"the code list {name} does not have {_quoted(code)}",
        f'add the line {_quoted(code)} = "the hub\'s word" to the table [{name}] of a code list',
    )


def code_of(lists: Mapping[str, Mapping[str, str]], name: str, word: str) -> str:
    """The first code of a list that has a word. Raises Unwritable."""
    for code, known in lists.get(name, {}).items():
        if known == word:
            return code
    raise Unwritable(f"the code list {name} has no code for a word of the hub")


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


def _quoted(code: str) -> str:
    return '"' + code.replace("\\", "\\\\").replace('"', '\\"') + '"'
