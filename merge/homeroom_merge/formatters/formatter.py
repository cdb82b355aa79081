"""What a formatter is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from homeroom_merge.records import Fault
from homeroom_merge.values import Json

__all__ = ["Fault", "Formatter", "Reading", "Row"]

Row = Mapping[str, object]
"""One record as its source has it: CSV cells by column, an XML element's members, a database row."""

# What a connector says of a row beside its columns.
UNREADABLE = "@unreadable"
"""A text: why the row could not be taken apart. It is its record's fault, so that the record counts as there."""
DELETED = "@deleted"
"""True: the source says that the record is gone."""
OWNER = "@owner"
"""The code of the organisation that the record belongs to, which other rows of the source told."""
YEAR = "@schoolYear"
"""The school year in digits (2022 for 2021-2022), which other rows of the source told."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A row in the hub's shape. References to other entities are SIS keys; links turn them into hub ids.

    `number`: what else identifies it (a student number), for proposals of re-keys. `covered`: the members that this row
    speaks of. With faults the record is reported and left out. `changed_at`: when it changed, if the source tells.
    """

    key: str
    body: Json
    covered: frozenset[str]
    school: str | None = None
    school_year: int | None = None
    number: str | None = None
    deleted: bool = False
    faults: tuple[Fault, ...] = ()
    changed_at: datetime | None = None


class Formatter(Protocol):
    """Between one kind of source and one entity. read(write(x)) = x on declared fields (merge.md 7)."""

    entity: str
    fields: frozenset[str]
    """The members of the hub's body that it carries at all."""

    def read(self, row: Row) -> Reading:
        """A source's row in the hub's shape; never raises for what a row says."""

    def write(self, key: str, body: Json, row: Row | None) -> Row:
        """The row that says what `body` says; `row` is the one that stands there, for what the hub does not carry."""
