"""Ed-Fi descriptors and the hub's words for them, from code lists in data files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeroom_merge.formatters.codes import OWN, Place, Unreadable, code_of, load_lists, place_of, unknown

_STANDARD = "uri://ed-fi.org"
_URI = re.compile(r"(uri://[^/#\s]{1,200})/([A-Za-z]{1,80})#([^\r\n]{1,120})")


@dataclass(frozen=True, slots=True)
class Descriptors:
    """By descriptor: the hub's word by code value, or by whole URI for codes of other namespaces."""

    lists: Mapping[str, Mapping[str, str]]
    place: Place = OWN

    def word(self, name: str, code: str) -> str:
        match = _URI.fullmatch(code)
        if match is None or match[2] != name:
            raise Unreadable(f"is no {name}", f"a descriptor reads {_STANDARD}/{name}#Code")
        namespace, _, value = match.groups()
        listed = value if namespace == _STANDARD else code
        word = self.lists.get(name, {}).get(listed)
        if word is None:
            raise unknown(name, listed, self.place)
        return word

    def code(self, name: str, word: str) -> str:
        code = code_of(self.lists, name, word)
        return code if code.startswith("uri://") else f"{_STANDARD}/{name}#{code}"


def load_codes(own: Path | None = None) -> Descriptors:
    """The code lists that ship, and above them those of a district's own file. Raises ValueError, OSError."""
    return Descriptors(load_lists(__package__, own), place_of(own))
