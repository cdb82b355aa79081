"""What merging knows of one record: both sides as last agreed on, and both as the last fetch showed them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from homeroom_merge.values import Json, SideName, Value


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


class Method(StrEnum):
    """How a field is decided (merge.md 3)."""

    MANUAL = "manual"
    RESOLVE_AS_HUB = "resolveAsHub"
    RESOLVE_AS_SIS = "resolveAsSis"
    ALWAYS_HUB = "alwaysHub"
    ALWAYS_SIS = "alwaysSis"
    NEWEST = "newest"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record cannot be read: where, what, and what to do about it. Never repeats a secret."""

    pointer: str
    detail: str
    cure: str = ""


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
class Deactivated:
    """How a record lives on, on one side, though it is gone on the other: the member set, to what, and from what."""

    side: SideName
    member: str
    value: Value
    before: Value


@dataclass(frozen=True, slots=True)
class Base:
    """What both sides last agreed on, each in its own rendering. `deleted`: they agreed that it is gone."""

    hub: Json
    sis: Json
    deleted: bool = False
    refused: Json = field(default_factory=dict)
    """By JSON pointer, SIS values that an undo took back: no change until the SIS says something else."""
    covered: frozenset[str] | None = None
    """The members that the SIS had spoken of: one that it first speaks of later has no base. None: all."""
    deactivated: Deactivated | None = None
    """With `deleted`: gone on one side only, and deactivated on the other."""


@dataclass(frozen=True, slots=True)
class Awaited:
    """What the base will be once the SIS shows it, and what it may show until then.

    `earlier`: what was agreed on, seen, or written and overtaken. `was_gone`: the SIS did not have it when it was
    written.
    """

    base: Base
    earlier: tuple[Json, ...] = ()
    was_gone: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody decided in the inbox, and on which values: if one of them changes, it is asked again."""

    outcome: Value
    base: Value
    sis: Value
    hub: Value


@dataclass(frozen=True, slots=True)
class Writing:
    """A field once written by a run: when, and the two values that it stood between."""

    at: datetime
    before: Value
    after: Value


@dataclass(frozen=True, slots=True)
class Own:
    """What is in force for one record alone, by JSON pointer."""

    overrides: Mapping[str, Method] = field(default_factory=dict)
    sticky: frozenset[str] = frozenset()
    """Hand edits in the hub that stay until cleared."""
    decisions: Mapping[str, Decision] = field(default_factory=dict)
    writings: Mapping[str, tuple[Writing, ...]] = field(default_factory=dict)
    """Of the last 24 hours, to notice two systems arguing."""


PLAIN = Own()
"""A record for which nothing is said."""


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
    awaiting: Awaited | None = None
    """Written to the SIS and shown by no feed yet: the old value there is no change."""
    home: bool = True
    """Student-audience entities: whether this feed's school is the one named home."""
    unlinked: bool = False
    """The link was given up when one side went and deletes are ignored; it is taken up when both are there again."""
    own: Own = PLAIN
