"""What merging knows of one record: both sides as last agreed on, and both as the last fetch showed them."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeroom_merge.values import Json


class State(StrEnum):
    """What a fetch showed of a record on one side."""

    LIVE = "live"
    DELETED = "deleted"
    """Hub: `deleted: true`. SIS: it said so, or absence from complete feeds has come to count as one."""
    ABSENT = "absent"
    """Not there, which says nothing: never seen, or absent from a feed where absence does not count."""
    OUT_OF_VIEW = "outOfView"
    """Hub: NoAccess or Unknown for a record that was linked. Neither side is written."""
    FAILED = "failed"
    """It is there and failed verification: left out, and never deleted."""


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a record, as seen. `covered`: the top-level members that the side can speak of; None: all."""

    state: State
    body: Json | None = None
    covered: frozenset[str] | None = None
    version: int = 0
    """Hub: the core version. SIS: 0."""
    changed_at: datetime | None = None
    token: str | None = None
    """SIS: what a conditional write is held against (ETag, old values), if it has such."""


@dataclass(frozen=True, slots=True)
class Base:
    """What both sides last agreed on, each in its own rendering. `deleted`: they agreed that it is gone."""

    hub: Json
    sis: Json
    deleted: bool = False
    refused: Json = field(default_factory=dict)
    """By JSON pointer, SIS values that an undo took back: no change until the SIS says something else."""


@dataclass(frozen=True, slots=True)
class Known:
    """One record of a feed and entity: its link, its base, both sides as seen."""

    sis_key: str | None
    hub_id: str | None
    hub: Side
    sis: Side
    base: Base | None = None
    school: str | None = None
    """The organisation code that owns it."""
    school_year: int | None = None
    awaiting: Json | None = None
    """The SIS rendering that was written and that no feed has shown yet: the old value there is no change."""
    home: bool = True
    """Student-audience entities: whether this feed's school is the one named home."""
