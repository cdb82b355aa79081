"""Notification types as the suite uses them: names, ids that bear its mark, bodies made of templates."""

import random
import string
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

MARK = "conformance-"
"""Ids of codes begin so. UUIDs begin with c0f0c0f0, nine-digit ids with 99: they have no letters for more."""

NO_ID = "not an id!"
"""Of no format."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A type whose records the suite writes, named with its school year if it has one."""

    name: str
    id_format: str
    template: Mapping[str, Any]

    @property
    def type_name(self) -> str:
        return self.name.partition(".")[0]

    def in_year(self, school_year: int) -> "Kind":
        return replace(self, name=f"{self.type_name}.{school_year}")

    def new_id(self) -> str:
        """An id of the type's format, new, with the suite's mark."""
        match self.id_format:
            case "uuid":
                return f"c0f0c0f0-{str(uuid.uuid4())[9:]}"
            case "asn":
                return f"99{random.randrange(10**7):07}"
            case _:
                return MARK + "".join(random.choices(string.ascii_lowercase + string.digits, k=16))

    def record(
        self, record_id: str, text: str, version: int = 0, student: str = "", organization: str = ""
    ) -> dict[str, Any]:
        """What Submit takes: a whole body, told from others by its text."""
        places: dict[str, str | int] = {
            "@id": record_id,
            "@text": text,
            "@student": student or record_id,
            "@organization": organization,
            "@school": organization.partition(".")[2],
            "@year": int(self.name.partition(".")[2] or 0),
            "@today": datetime.now(UTC).date().isoformat(),
        }
        return {"id": record_id, "expectedVersion": version, "body": _filled(self.template, places)}


def _filled(value: Any, places: Mapping[str, str | int]) -> Any:
    match value:
        case Mapping():
            return {name: _filled(inner, places) for name, inner in value.items()}
        case list():
            return [_filled(inner, places) for inner in value]
        case str() if value in places:
            return places[value]
        case _:
            return value
