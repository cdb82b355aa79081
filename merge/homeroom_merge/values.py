"""JSON values as merging sees them: absent, null and empty are three different things."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Final, Literal

Json = dict[str, Any]
"""A record's body, always in the hub's shape."""


class _Absent(Enum):
    ABSENT = "absent"

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> Literal[False]:
        return False


ABSENT: Final = _Absent.ABSENT
"""A member that is not there: neither null nor empty."""
Value = Any
"""Any JSON value, or ABSENT."""

SideName = Literal["hub", "sis"]

Path = tuple[str, ...]
"""Where a value stands in a body: member names, and for an item of a keyed list `[key]` with the item's key as text."""


def pointer(path: Path) -> str:
    """A path as a JSON pointer (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path)


def path_of(text: str) -> Path:
    """The path that a JSON pointer names."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:])


def is_item(part: str) -> bool:
    """Whether a part of a path names an item of a keyed list."""
    return part[:1] == "[" and part[-1:] == "]"


def pattern_of(path: Path) -> Path:
    """A path with `$` for items of lists, as field rules name it."""
    return tuple("$" if is_item(part) else part for part in path)


def member(body: Mapping[str, Any], name: str) -> Value:
    """The value of a member, or ABSENT."""
    return body.get(name, ABSENT)
