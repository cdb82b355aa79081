"""What a connector to a SIS is."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from homeroom_merge.formatters.formatter import Row
from homeroom_merge.plan import Kind


@dataclass(frozen=True, slots=True)
class Abilities:
    """What a SIS can do through this connector."""

    complete: bool = True
    """It can give all of an entity, so that absence may mean something."""
    delta: bool = False
    by_id: bool = False
    write: bool = False
    conditional_write: bool = False
    read_back: bool = False
    """It shows at once what was written. A drop-off folder does not: what was written is awaited."""
    gives_keys: bool = False
    """It names new records itself, so that one whose answer was lost cannot be asked for."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What a fetch spoke of: (school code, school year) pairs, and the columns that it had. None: not restricted."""

    pairs: frozenset[tuple[str, int | None]] | None = None
    columns: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row and where it stands in its source, for messages: `Student.csv row 17`."""

    row: Row
    place: str


@dataclass(slots=True)
class Fetch:
    """Rows as they come; what else is known of the fetch is true once they have ended.

    `complete`: all of the entity came, as was promised. `failure`: it was cut, or cannot be read as a whole; its rows
    do not count then. `notes`: what was noticed and handled (an encoding, a byte order mark, dropped secrets).
    """

    rows: AsyncIterator[SourceRow]
    complete: bool = False
    failure: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    cursor: str | None = None
    notes: list[str] = field(default_factory=list)


Result = Literal["done", "moved", "transient", "refused", "unknown"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write. `unknown`: nobody can tell, so it is shown and never repeated unasked.

    `moved`: the SIS no longer holds what the write was conditional on. `shown`: the row as the SIS has it by now.
    """

    result: Result
    detail: str = ""
    shown: Row | None = None
    retry_after_seconds: float | None = None


class Connector(Protocol):
    """One SIS. Reads and writes rows; a formatter makes records of them."""

    abilities: Abilities

    async def fetch(self, entity: str, cursor: str | None = None) -> Fetch:
        """All of an entity, or with a cursor of an earlier fetch what has changed since. RetryLater, OSError."""

    async def fetch_by_id(self, entity: str, keys: Sequence[str]) -> Fetch:
        """Just these records; only with the ability."""

    async def write(self, entity: str, kind: Kind, key: str, row: Row | None, expected: Row | None) -> Outcome:
        """Make one record what `row` says (None: gone), if it still is what `expected` says."""
