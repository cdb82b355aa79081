"""What a run is told: which records of which entity, between which sides, by which rules."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from homeroom_merge.guards import Limits, Season
from homeroom_merge.merging import DeletePolicy
from homeroom_merge.rules import Rules
from homeroom_merge.scrubbing import NOTHING_SECRET, Scrubber
from homeroom_merge.shape import Shape


@dataclass(frozen=True, slots=True)
class Backups:
    """Where what a run may change is kept before it does, and for how long; those of realtime runs count apart."""

    place: str = ""
    """The URL of a folder, by any scheme that fsspec knows."""
    keep: int = 30
    """The last ones of each entity."""
    keep_days: int = 90
    """Older ones are removed, but for the last."""


@dataclass(frozen=True, slots=True)
class Basis:
    """The settings by which a run goes: their state and version, and by path what was set for this run alone."""

    state: str = ""
    version: int = 0
    overrides: Mapping[str, object] = field(default_factory=dict)


NO_BASIS = Basis()


@dataclass(frozen=True, slots=True)
class Terms:
    """One entity of one feed.

    `types`: the hub's notification types by school year (None: the entity knows no years). `schools`: the codes of
    those that the feed speaks for. `acts_as`: the organisations as which the hub is read; the first also writes what no
    school owns. `feeds_before_delete`: complete feeds in a row from which a record must be absent to count as deleted.
    """

    feed: str
    entity: str
    types: Mapping[int | None, str]
    schools: frozenset[str]
    acts_as: tuple[str, ...]
    shape: Shape
    rules: Rules
    backups: Backups = field(kw_only=True)
    student: str | None = None
    """The member that names a record's student; `@id`: each is one. None: they are no student's."""
    after: frozenset[str] = frozenset()
    """The entities that its records refer to and that are merged before it."""
    draws_uuids: bool = False
    """New hub ids are UUIDs; else they are the keys that the SIS uses."""
    policy: DeletePolicy = field(default_factory=DeletePolicy)
    limits: Limits = field(default_factory=Limits)
    seasons: tuple[Season, ...] = ()
    feeds_before_delete: int = 2
    complete_every_hours: int = 20
    """A SIS that gives deltas is asked for everything, if it last was so long ago: deltas say nothing of deletes."""
    awaiting_days: int = 14
    """What was written to the SIS and no feed has shown for so long is named in the report."""
    allow_empty: bool = False
    fetches_hub: bool = True
    fetches_sis: bool = True
    persists_hub: bool = True
    persists_sis: bool = True
    basis: Basis = NO_BASIS
    only: frozenset[str] | None = None
    """Just the records of these schools are merged in this run; None: all."""
    scrub: Scrubber = NOTHING_SECRET
    """Takes the feed's secrets out of what is written down of the run."""

    def type_of(self, school_year: int | None) -> str | None:
        """The notification type of a record; None for a year that is not allowed."""
        return self.types.get(None if None in self.types else school_year)
