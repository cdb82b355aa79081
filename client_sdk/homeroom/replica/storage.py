"""What a replica keeps and how it is kept: the promises that every storage makes, and the words they are made in.

Two storages exist: a SQLite file (`homeroom.replica.sqlite`) and memory (`homeroom.replica.memory`). Every method is
one transaction: all of it or nothing. Calls come one at a time; they may block, so the loop makes them in a thread.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, Protocol

from homeroom.answers import Json
from homeroom.replica.machine import TypeState
from homeroom.replica.writes import WriteStore

DIFFERENCES_KEPT = 1_000
"""What repairs found is kept to look at, not to keep."""


class StorageError(Exception):
    """The local file cannot be used; the message says why and what to do. Nothing in it is half done."""


class StorageFull(StorageError):
    """There is no room left. What was stored before stays; the same call succeeds once there is room."""


class StorageInUse(StorageError):
    """Another process keeps this replica in step already."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A notification type that is kept. `followed`: by a cursor of its own, else it comes with its status.

    `source`: the type that comes with this one. `members`: those of a body that get a column of their own.
    """

    name: str
    source: str | None = None
    followed: bool = True
    members: tuple[str, ...] = ()


class Arrival(NamedTuple):
    """A version of a record as it came. `body` is JSON; `checksum` is that of id, version and body together."""

    id: str
    version: int
    changed_at: str | None
    deleted: bool
    source_version: int | None
    body: str
    checksum: int


@dataclass(frozen=True, slots=True)
class Batch:
    """What is stored at once: records, the source records that came with them, ids to drop, the cursor they lead to.

    `repair`: what was fetched because it differed replaces what is held, whichever version that claims to be.
    """

    records: Sequence[Arrival] = ()
    sources: Sequence[Arrival] = ()
    dropped: Sequence[str] = ()
    cursor: int = 0
    repair: bool = False


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it is held."""

    type: str
    id: str
    version: int
    changed_at: str | None
    deleted: bool
    source_version: int | None
    body: Json


@dataclass(frozen=True, slots=True)
class Change:
    """A version of a record that was applied. `old` and `new` are bodies; None: there was, or is, nothing to see.

    `kind`: `changed`, `deleted` (its last body is `old`) or `dropped` (this organisation may no longer see it).
    `version` of a dropped record is the last one held. `sequence` rises with every change of a file.
    """

    sequence: int
    type: str
    id: str
    version: int
    kind: str
    old: Json | None
    new: Json | None


@dataclass(frozen=True, slots=True)
class Damage:
    """What other hands did to a type: ids whose row is not what was stored, rows that came or went."""

    altered: Sequence[str] = ()
    rows_missing: int = 0
    rows_added: int = 0

    def __bool__(self) -> bool:
        return bool(self.altered or self.rows_missing or self.rows_added)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A type as it is held at one moment, and what other hands did to it and to the source that comes with it."""

    state: TypeState
    version_hash: str
    damage: Damage = field(default_factory=Damage)
    source_damage: Damage = field(default_factory=Damage)
    sources_missing: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """A record that was not what the Core had, and why that is thought to have come about. Version 0: not there."""

    type: str
    id: str
    held_version: int
    core_version: int
    cause: str
    found_at: str = ""


@dataclass(frozen=True, slots=True)
class TypeSummary:
    """How a type stands, for people. Times are ISO 8601 in UTC, empty for never."""

    kind: Kind
    state: TypeState
    live: int
    deleted: int
    in_step_at: str
    asked_at: str


class Storage(Protocol):
    """Where a replica lives."""

    @property
    def writes(self) -> WriteStore:
        """Writes on their way to the Core."""

    def close(self) -> None:
        """Let go of it."""

    def setting(self, name: str, value: str | None = None) -> str:
        """A setting of the file, after storing `value` if one is given; empty if it was never set."""

    def subscribe(self, kinds: Sequence[Kind]) -> None:
        """Make room for types. Those kept before and no longer named stay as they are, and are no longer followed."""

    def summaries(self) -> Sequence[TypeSummary]:
        """All types that are kept, by name."""

    def state(self, name: str) -> TypeState:
        """Where a type stands, as the file has it."""

    def remember(self, name: str, state: TypeState, *, in_step: bool) -> None:
        """Store where a type stands; `in_step`: as of now it was proved to be what the Core has."""

    def load(self, name: str, batch: Batch, state: TypeState) -> None:
        """Add records of a first load, which nobody sees yet, and where in the window they end."""

    def finish_load(self, name: str, state: TypeState) -> None:
        """Show what was loaded."""

    def forget_load(self, name: str) -> None:
        """Throw away a first load that was not finished."""

    def apply(self, name: str, batch: Batch) -> int:
        """Store a batch and its cursor; how many versions were applied. What is not newer than what is held is not."""

    def versions(self, name: str, ids: Sequence[str]) -> Mapping[str, int]:
        """The versions that are held, tombstones included."""

    def live(self, name: str) -> Iterator[tuple[str, int]]:
        """(id, version) of all live records."""

    def highest_version(self, name: str) -> int:
        """The highest version of a live record; 0 if there is none."""

    def version_hash(self, name: str) -> str:
        """MD5 over the live records' versions (protocol 4), from what is stored at this moment."""

    def stamp(self) -> object:
        """Differs from an earlier one if anything may have been written meanwhile."""

    def damage(self, name: str) -> Damage:
        """What is not as it was stored. Reads every row."""

    def sources_missing(self, name: str) -> Sequence[str]:
        """Ids of live statuses whose source is not held, or is older than the one they were calculated from."""

    def sources_beyond(self, name: str) -> Sequence[str]:
        """Ids of live statuses whose source is held at a newer version than the one they were calculated from."""

    def strays(self, name: str) -> Sequence[str]:
        """Ids of records that came with a status of this type, but of which no status is held."""

    def inspect(self, name: str) -> Inspection:
        """Where a type stands, its hash and its damage, all of one moment. Reads every row."""

    def record(self, name: str, record_id: str) -> Record | None:
        """A record as it is held, tombstones included."""

    def changes(self, consumer: str, limit: int) -> Sequence[Change]:
        """The next changes that a consumer has not acknowledged, in the order in which they were applied.

        To a consumer that was not known before, everything held is news.
        """

    def acknowledge(self, consumer: str, change: Change) -> None:
        """The consumer is done with this change and all before it."""

    def forget_consumer(self, consumer: str) -> None:
        """Nothing is kept for this consumer any longer."""

    def note_differences(self, differences: Sequence[Difference]) -> None:
        """Keep what a repair found, the latest 1,000."""

    def differences(self, limit: int) -> Sequence[Difference]:
        """The latest, newest first."""


def takes(held: int | None, arriving: int, *, repair: bool) -> bool:
    """Whether a version that arrives replaces the one that is held (None: nothing is)."""
    return held is None or arriving > held or (repair and arriving != held)


def now() -> str:
    """This moment, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
