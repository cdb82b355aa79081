"""Keys of records: their identity as one code that the hub takes as an id (1-64 of A-Z a-z 0-9 . _ -)."""

import hashlib
import re
from collections.abc import Sequence

_CODE = re.compile(r"[A-Za-z0-9._-]{1,64}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9]{1,32}")
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
_SCHOOL_YEAR = re.compile(r"([0-9]{4})-([0-9]{4})", re.ASCII)
_HASH_LENGTH = 12
_SHORTENED = re.compile(r".\.[0-9a-f]{12}$")
_READABLE_LENGTH = 64 - 1 - _HASH_LENGTH


def code_key(*parts: str) -> str:
    """The parts joined by dots; if that would be no code or ambiguous, as far as they go and a hash of them all."""
    joined = ".".join(parts)
    if _CODE.fullmatch(joined) and (len(parts) == 1 or not any("." in part for part in parts)):
        return joined
    readable = ".".join(_OTHER.sub("-", part) for part in parts)[:_READABLE_LENGTH]
    return f"{readable}.{_hash(parts)}"


def is_shortened(key: str) -> bool:
    """Whether a key looks like one from which its parts cannot be told again."""
    return _SHORTENED.search(key) is not None


def organization_code(letter: str, number: str) -> str | None:
    """`S.255901001` of a school's number, `A.255901` of an authority's; None if it cannot be one."""
    return f"{letter}.{number}" if _ORGANIZATION.fullmatch(number) else None


def school_year(text: object) -> int | None:
    """`2021-2022` is 2022; None if it is no school year."""
    match = _SCHOOL_YEAR.fullmatch(text) if isinstance(text, str) else None
    return int(match[2]) if match and int(match[2]) == int(match[1]) + 1 else None


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_LENGTH]
