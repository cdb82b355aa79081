"""Writes that were made here and are on their way to the Core: what is kept of them, and which go out together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol
from uuid import UUID

from homeroom.answers import Json, Rejection, Result
from homeroom.errors import MEANINGS, Code

CALL_RECORDS_MAX = 500
CALL_BYTES_MAX = 4 * 1024 * 1024
QUEUED_WRITES_MAX = 1_000_000
"""Bounds the file; a queue this long has stood for weeks."""
ACCEPTED_KEPT = 10_000
"""How many accepted versions are remembered: those that have not come back yet, normally a handful."""


@dataclass(frozen=True, slots=True)
class Write:
    """A change of one record that a person or program here has made.

    `expected_version` is what they saw. `follows`: the number of an earlier write of the same record whose outcome
    this one builds upon; its version takes the place of `expected_version` when it is known. `alone`: the Core could
    not read a call that this write was part of, so it goes by itself.
    """

    number: int
    type: str
    id: str
    expected_version: int
    deleted: bool
    organization: str | None
    body: Json | None
    queued_at: str
    follows: int | None = None
    alone: bool = False
    call: UUID | None = None
    bytes: int = 0

    def as_json(self) -> Json:
        """A record of Submit."""
        record: Json = {"id": self.id, "expectedVersion": self.expected_version, "deleted": self.deleted}
        if self.organization is not None:
            record["organization"] = self.organization
        if self.body is not None:
            record["body"] = self.body
        return record


@dataclass(frozen=True, slots=True)
class Call:
    """Writes that are sent together, for good: the same records with the same key until they are answered."""

    key: UUID
    type: str
    writes: Sequence[Write]


@dataclass(frozen=True, slots=True)
class RejectedWrite:
    """A write that the Core did not take, and why; for a person to look at."""

    write: Write
    rejections: Sequence[Rejection]


class WriteStore(Protocol):
    """Where writes wait. Each method is one transaction, on disk before it returns."""

    def queue(self, write: Write, *, as_held: bool) -> int:
        """Keep a write behind all others; its number. What is given as number, follows and call does not count.

        `as_held`: what it expects is what is held at this moment, or what the last write from here made of it.
        """

    def next_call(self, key: UUID) -> Call | None:
        """The call that was begun and not settled; else a new one under `key`; None if nothing waits."""

    def settle(self, call: Call, results: Sequence[Result]) -> None:
        """The Core has answered: accepted writes are gone, rejected ones are kept for review, others go again."""

    def send_alone(self, call: Call) -> None:
        """The Core could not read the call as a whole: each of its writes goes by itself, in its turn."""

    def waiting(self) -> int:
        """How many writes wait."""

    def rejected(self) -> Sequence[RejectedWrite]:
        """What waits for a person, oldest first."""

    def discard(self, number: int) -> None:
        """Forget a rejected write; KeyError if there is none of this number."""

    def requeue(self, number: int, expected_version: int, body: Json | None) -> int:
        """Send a rejected write again as a change of that version, behind all others; its new number. KeyError."""


def next_writes(queued: Sequence[Write]) -> Sequence[Write]:
    """Those of the writes that wait, in their order, that go out in the next call.

    They are of one type, no record comes twice (protocol 2), and none builds upon one whose outcome is not known.
    """
    if not queued or queued[0].alone:
        return queued[:1]
    chosen: list[Write] = []
    size = 0
    for write in takewhile(lambda w: w.type == queued[0].type and w.follows is None and not w.alone, queued):
        size += write.bytes
        if chosen and (size > CALL_BYTES_MAX or len(chosen) == CALL_RECORDS_MAX):
            break
        chosen.append(write)
    return chosen


def goes_again(result: Result) -> bool:
    """Whether a rejection only says that this was too early (9014)."""
    return bool(result["rejections"]) and all(r["action"] == "retry" for r in result["rejections"])


def rejected_before(number: int) -> Rejection:
    """The rejection of a write that builds upon a rejected one."""
    code = Code.VERSION_MISMATCH
    detail = f"it builds upon write {number} of the same record, which was rejected"
    return {"code": code.value, "title": MEANINGS[code].title, "detail": detail, "action": MEANINGS[code].action}


def by_number(call: Call, results: Sequence[Result]) -> Mapping[int, Result]:
    """Each write's result."""
    return {write.number: result for write, result in zip(call.writes, results, strict=True)}
