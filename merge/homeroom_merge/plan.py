"""The plan of a run: what would be written where, field by field, and why. Stored, shown, approved, then persisted."""

from dataclasses import dataclass
from enum import StrEnum

from homeroom_merge.records import Base
from homeroom_merge.values import Json, SideName, Value


class Kind(StrEnum):
    """What happens to a record on one side."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    UNDELETE = "undelete"
    DEACTIVATE = "deactivate"


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that differs: its values, the value it gets, and the rule that decided. Values may be ABSENT."""

    pointer: str
    base: Value
    sis: Value
    hub: Value
    outcome: Value
    decided_by: str
    """`sis`, `hub` or `both` changed alone or alike; else the rule's name, as `explain` gives it."""
    to: tuple[SideName, ...]
    """The sides on which it is written."""


RE_KEY = "proposed re-key"
"""The rule of a conflict that only a person settles: a new key of the SIS carries a number that another record had."""
MOVING = "it moved each time it was about to be written"
"""The rule of a conflict that the next run takes up by itself, once the record keeps still."""
UNDO = "undo"
"""The rule of a conflict that an undo left where somebody has changed a value since."""
APART = frozenset({RE_KEY, MOVING, UNDO})
"""Those in which no side can be taken."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One field, or with pointer `` the record itself, on which both sides disagree and no rule decides."""

    pointer: str
    base: Value
    sis: Value
    hub: Value
    rule: str


@dataclass(frozen=True, slots=True)
class Write:
    """One write to one side: the exact body to be sent, None for a delete."""

    side: SideName
    kind: Kind
    body: Json | None
    expected_version: int = 0
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """Everything planned for one record. With conflicts it is not written: it waits in the inbox.

    `waits_for`: references (entity, key) that are not there yet. `note`: what the report says of it without a write.
    `base`: what it is once every side that has to change is known to have it, with the SIS rendering as merged; a SIS
    that expresses less shows read(write(it)). None: it stays as it is. `awaits`: a write of an earlier run is not
    shown yet, so `base` is awaited even without a write. `unlink`, `set_aside`: how the link stands after the change;
    neither: it is in force.
    """

    sis_key: str | None
    hub_id: str | None
    writes: tuple[Write, ...] = ()
    fields: tuple[FieldChange, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    waits_for: tuple[tuple[str, str], ...] = ()
    note: str = ""
    base: Base | None = None
    awaits: bool = False
    unlink: bool = False
    set_aside: bool = False
    school: str | None = None
    school_year: int | None = None

    def write_to(self, side: SideName) -> Write | None:
        """What is written to a side, if anything."""
        return next((write for write in self.writes if write.side == side), None)
