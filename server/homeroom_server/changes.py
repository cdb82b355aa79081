"""What somebody wants to change, what it comes to, what came of it: the words of who writes and of the committer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from homeroom.protocol import NotificationType
from homeroom_server.auth import Caller
from homeroom_server.store import calls
from homeroom_server.store.records import CurrentRecord, RecordWrite
from homeroom_server.store.triggers import Trigger
from homeroom_server.store.types import TypeRow


@dataclass(frozen=True, slots=True)
class Decision:
    """What a change comes to: accepted writes, and what its caller is told once their versions are known."""

    writes: Sequence[RecordWrite]
    answer: Callable[[Sequence[int]], bytes]
    finished: Sequence[Trigger] = ()
    due_again: Sequence[datetime | None] = ()


class Change(Protocol):
    """Something that wants to change records of one type.

    `decide` is pure: it is called under the type's lock with the records that stand there, and with those of
    `students` and of the records' students who were erased; and again if the transaction has to be repeated.
    """

    @property
    def notification_type(self) -> NotificationType: ...
    @property
    def ids(self) -> Collection[str]: ...
    @property
    def call(self) -> calls.CallKey | None: ...
    @property
    def caller(self) -> Caller | None: ...
    @property
    def students(self) -> Collection[str]: ...
    def decide(self, row: TypeRow, current: Mapping[str, CurrentRecord], erased: Collection[str]) -> Decision: ...


@dataclass(frozen=True, slots=True)
class Moved:
    """A committed batch: the versions of a type that it took, and whether it raised triggers of statuses, of access.

    `changes`: how many records were accepted in it; none where only who sees them has changed.
    """

    row: TypeRow
    low: int
    high: int
    triggered: bool
    access_triggered: bool = False
    changes: int = 0


class Committed(NamedTuple):
    """The answer to a change, and the history of the database in which it was made."""

    answer: bytes
    epoch: str
