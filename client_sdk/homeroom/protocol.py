"""Words and numbers of the sync protocol, version 1, that both sides must agree on."""

import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass

CORE_VERSION_MAX = 2**53 - 1
"""The highest core version: what a JavaScript number still holds exactly (protocol 1)."""

TYPES_PER_CALL_MAX = 64
WAIT_SECONDS_MAX = 300
WAIT_SECONDS_DEFAULT = 50
CATCH_UP_SECONDS = 5
"""How long a node may take to reach a version that a client has seen (protocol 3, 5 and 7)."""
RECORDS_PER_CALL_MAX = 5_000
RANGES_PER_CALL_MAX = 1_000
JSON_DEPTH_MAX = 64
"""Of objects and lists within each other in a record's body, the body itself included."""
LISTED_PER_TYPE_MAX = 150_000
LISTED_PER_ANSWER_MAX = 600_000

STATUS_SUFFIX = "Status"
MINISTRY = "O.1"
"""The organisation that sees everything (protocol 1)."""

ORGANIZATION_CODE = re.compile(r"(?:[SA]\.[A-Za-z0-9]{1,32}|O\.[0-9]{1,9})")
NOTIFICATION_TYPE = re.compile(r"([A-Za-z][A-Za-z0-9]{0,63})(?:\.([0-9]{4}))?")


@dataclass(frozen=True, slots=True)
class NotificationType:
    """What a client subscribes to: `Type` or `Type.YYYY`, YYYY being the year in which the school year ends."""

    name: str
    school_year: int | None = None

    def __str__(self) -> str:
        return self.name if self.school_year is None else f"{self.name}.{self.school_year:04}"

    @classmethod
    def parse(cls, text: str) -> "NotificationType":
        """Read `Type` or `Type.YYYY`, in the spelling given; ValueError if it has neither form."""
        match = NOTIFICATION_TYPE.fullmatch(text)
        if match is None:
            raise ValueError(f"{text[:80]!r} has neither the form Type nor Type.YYYY")
        name, year = match.groups()
        return cls(name, int(year) if year else None)


def version_hash(versions: Iterable[int]) -> str:
    """MD5 in lower-case hex over the core versions of a stream's live records (protocol 4).

    Sorted ascending, each as 8 bytes big-endian, nothing between. The order given does not matter.
    """
    ordered = sorted(versions)
    packed = struct.pack(f">{len(ordered)}q", *ordered)
    return hashlib.md5(packed, usedforsecurity=False).hexdigest()
