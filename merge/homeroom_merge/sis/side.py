"""What merging asks of a SIS, whatever its rows look like and wherever its connector runs."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from homeroom_merge.connectors.connector import Abilities, Coverage, Result
from homeroom_merge.formatters.formatter import Reading
from homeroom_merge.plan import Kind
from homeroom_merge.refusal import RefusedError
from homeroom_merge.values import Json

Placed = tuple[Reading, str]
"""A record that was read, and where it stands in its source."""
Handle = object
"""A row of the SIS, of which merging knows nothing."""


class SandboxError(RefusedError):
    """A connector or formatter failed, or broke a limit of its process; the message says which."""


@dataclass(slots=True)
class Shown:
    """Records as they come; what else is known of the fetch is true once they have ended, as in `Fetch`."""

    records: AsyncIterator[Placed]
    complete: bool = False
    failure: str = ""
    coverage: Coverage = field(default_factory=Coverage)
    cursor: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Standing:
    """A record as it stands in the SIS right now."""

    reading: Reading
    place: str
    row: Handle


@dataclass(frozen=True, slots=True)
class Draft:
    """One write. `expected`: the row that has to stand there; `reading`: what the SIS will show, None: gone."""

    kind: Kind
    key: str
    row: Handle | None
    expected: Handle | None
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a write, as a connector tells it; `shown`: the record as the SIS has it by now."""

    result: Result
    detail: str = ""
    shown: Reading | None = None
    retry_after_seconds: float | None = None


class Sis(Protocol):
    """One entity of one SIS."""

    abilities: Abilities
    fields: frozenset[str]
    """The members of the hub's body that it can carry at all."""

    async def fetch(self, cursor: str | None) -> Shown:
        """All of the entity, or what has changed since a cursor. RetryLater, OSError, also while records come."""

    async def look(self, keys: Sequence[str]) -> list[Standing]:
        """Those of these records that are there. Raises OSError where the SIS cannot be read."""

    async def anticipated(self, hub_id: str, body: Json) -> Reading:
        """What the SIS would show of a record that it does not have yet."""

    async def draft(self, kind: Kind, key: str, body: Json | None, standing: Standing | None) -> Draft | str:
        """What to send so that the record becomes this body (None: gone), or why there can be nothing."""

    async def write(self, draft: Draft) -> Outcome:
        """Send it, if the record still is what it has to be. Raises OSError where the connection breaks."""

    def printed(self) -> str:
        """What connector and formatter have printed since this was asked last, cut at a limit."""
