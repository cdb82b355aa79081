"""Ed-Fi descriptors and the hub's words for them, from code lists in data files."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

_STANDARD = "uri://ed-fi.org"
_URI = re.compile(r"(uri://[^/#\s]{1,200})/([A-Za-z]{1,80})#([^\r\n]{1,120})")


class Unreadable(Exception):
    """A value that cannot be read. `at`: where below the member, as a JSON pointer."""

    def __init__(self, detail: str, cure: str = "", at: str = "") -> None:
        super().__init__(detail)
        self.detail, self.cure, self.at = detail, cure, at


class Unwritable(ValueError):
    """A value of the hub that the SIS has no way to say."""


@dataclass(frozen=True, slots=True)
class Codes:
    """By descriptor: the hub's word by code value, or by whole URI for codes of other namespaces."""

    lists: Mapping[str, Mapping[str, str]]

    def word(self, descriptor: str, uri: str) -> str:
        """The hub's word for a descriptor's URI; raises Unreadable, which names the line to add to a code list."""
        match = _URI.fullmatch(uri)
        if match is None or match[2] != descriptor:
            raise Unreadable(f"is no {descriptor}", f"a descriptor reads {_STANDARD}/{descriptor}#Code")
        namespace, _, value = match.groups()
        code = value if namespace == _STANDARD else uri
        word = self.lists.get(descriptor, {}).get(code)
        if word is None:
            raise Unreadable(
                f"the code list {descriptor} does not have {_quoted(code)}",
                f'add the line {_quoted(code)} = "the hub\'s word" to the table [{descriptor}] of a code list',
            )
        return word

    def uri(self, descriptor: str, word: str) -> str:
        """The URI to be written for a word of the hub: the first that has it. Raises Unwritable."""
        for code, known in self.lists.get(descriptor, {}).items():
            if known == word:
                return code if code.startswith("uri://") else f"{_STANDARD}/{descriptor}#{code}"
        raise Unwritable(f"the code list {descriptor} has no code for a word of the hub")


def load_codes(own: Path | None = None) -> Codes:
    """The code lists that ship, and above them those of a district's own file. Raises ValueError, OSError."""
    lists = _parsed(files(__package__).joinpath("codes.toml").read_text(encoding="utf-8"), "codes.toml")
    added = {} if own is None else _parsed(own.read_text(encoding="utf-8"), own.name)
    return Codes({name: {**lists.get(name, {}), **added.get(name, {})} for name in lists.keys() | added.keys()})


def _parsed(text: str, name: str) -> dict[str, dict[str, str]]:
    lists: dict[str, dict[str, str]] = {}
    for descriptor, table in tomllib.loads(text).items():
        if not isinstance(table, dict) or not all(isinstance(word, str) for word in table.values()):
            raise ValueError(f'{name}: [{descriptor}] takes lines of the form "Code" = "word"')
        lists[descriptor] = table
    return lists


def _quoted(code: str) -> str:
    return '"' + code.replace("\\", "\\\\").replace('"', '\\"') + '"'
