"""One transaction for a batch of changes: lock, read, decide, write (docs/decisions/0001)."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence

import asyncpg

from homeroom.errors import Code, error
from homeroom_server.catalogue import Catalogue
from homeroom_server.changes import Committed, Decision, Moved
from homeroom_server.committing.batch import Waiting
from homeroom_server.committing.known import Known, read_known
from homeroom_server.store import calls, erasure, records, triggers, types
from homeroom_server.store.audit import Deed
from homeroom_server.store.connection import Conn
from homeroom_server.store.records import CurrentRecord, Showing
from homeroom_server.store.types import Standing, TypeRow

_ATTEMPTS_MAX = 4
_PASSING = (
    asyncpg.UniqueViolationError,  # the id was just created under another school year: it is read at the next attempt
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,  # who stalls with the type's lock is ended by his own time-out meanwhile
)

_Outcome = tuple[Waiting, Committed | Exception]


class _OutdatedError(Exception):
    """What was known is of another history, or of before an erasure."""


class Transactions:
    """Commits batches, and knows from one to the next what does not change between them."""

    def __init__(self, pool: asyncpg.Pool, catalogue: Catalogue) -> None:
        self._pool = pool
        self._catalogue = catalogue
        self._known: Known | None = None

    async def commit(self, batch: Sequence[Waiting]) -> Moved | None:
        """Commit changes of one type and give each its outcome; tried again where that may be all it takes."""
        for attempt in itertools.count(1):
            try:
                outcomes, moved = await self._attempt(batch)
                break
            except (*_PASSING, _OutdatedError):
                self._known = None
                if attempt == _ATTEMPTS_MAX:
                    raise
        for waiting, outcome in outcomes:
            waiting.outcome = outcome
        return moved

    async def _attempt(self, batch: Sequence[Waiting]) -> tuple[list[_Outcome], Moved | None]:
        notification_type = batch[0].change.notification_type
        async with self._pool.acquire() as connection:
            known = self._known
            if known is None:
                known = self._known = await read_known(connection, self._catalogue)
            showing = await known.showing(connection, notification_type)
            row = await known.row(connection, notification_type)
            async with connection.transaction():
                outcomes, moved, standing = await self._write(connection, known, row, showing, batch)
                if standing != known.standing:
                    raise _OutdatedError
        return outcomes, moved

    async def _write(
        self, connection: Conn, known: Known, row: TypeRow, showing: Showing, batch: Sequence[Waiting]
    ) -> tuple[list[_Outcome], Moved | None, Standing]:
        """What a transaction does, and in which standing of the database it was done."""
        await records.lock_type(connection, row.number)
        fresh, answered = await _claim_calls(connection, batch)
        decisions = await _decide(connection, known, row, showing, fresh)
        writes = [write for decision in decisions for write in decision.writes]
        triggered = self._catalogue.raises_triggers(row.notification_type.name)
        versions: list[int] = []
        if writes:
            versions, standing = await records.write_records(
                connection, row, writes, showing, _deeds(fresh, decisions), raise_triggers=triggered
            )
        else:
            standing = await types.read_standing(connection)
        await _finish_triggers(connection, decisions)
        answered += await _answer(connection, fresh, decisions, iter(versions))
        outcomes: list[_Outcome] = [
            (waiting, answer if isinstance(answer, Exception) else Committed(answer, standing.epoch))
            for waiting, answer in answered
        ]
        if not versions:
            return outcomes, None, standing
        moved = Moved(row, versions[0] - 1, versions[-1], triggered, showing.follows_student, len(versions))
        return outcomes, moved, standing


async def _claim_calls(
    connection: Conn, batch: Sequence[Waiting]
) -> tuple[list[Waiting], list[tuple[Waiting, bytes | Exception]]]:
    """Those whose change is still to be made, and the outcomes of those that have been answered before."""
    fresh: list[Waiting] = []
    known: list[tuple[Waiting, bytes | Exception]] = []
    for waiting in sorted(batch, key=_call_order):
        call = waiting.change.call
        first = None if call is None else await calls.claim_call(connection, call)
        if call is None or first is None:
            fresh.append(waiting)
        elif first.request_hash == call.request_hash:
            known.append((waiting, first.answer))
        else:
            known.append((waiting, error(Code.NOT_STRUCTURED, "this Idempotency-Key came before with another request")))
    return fresh, known


def _call_order(waiting: Waiting) -> tuple[int, int, str]:
    """Keys are claimed in one order everywhere, so that two transactions cannot wait for each other."""
    call = waiting.change.call
    return (0, 0, "") if call is None else (call.client, call.organization, str(call.key))


async def _decide(
    connection: Conn, known: Known, row: TypeRow, showing: Showing, fresh: Sequence[Waiting]
) -> list[Decision]:
    ids = [record_id for waiting in fresh for record_id in waiting.change.ids]
    current = await records.read_current(connection, row.record_type, ids, showing) if ids else {}
    erased = await _erased(connection, known, fresh, current)
    return [waiting.change.decide(row, current, erased) for waiting in fresh]


async def _erased(
    connection: Conn, known: Known, fresh: Sequence[Waiting], current: Mapping[str, CurrentRecord]
) -> Collection[str]:
    """Those who were erased among the students that these changes, and the records as they stand, name."""
    if not known.standing.erasures:
        return ()
    students = {student for waiting in fresh for student in waiting.change.students}
    students |= {record.student for record in current.values() if record.student is not None}
    return await erasure.erased_among(connection, known.erasure_secret, students)


def _deeds(fresh: Sequence[Waiting], decisions: Sequence[Decision]) -> list[Deed]:
    """What callers have written; what the Core calculates is nobody's."""
    return [
        Deed(caller.client_name, caller.organization.number, " ".join([write.id for write in decision.writes]))
        for waiting, decision in zip(fresh, decisions, strict=True)
        if decision.writes and (caller := waiting.change.caller) is not None
    ]


async def _finish_triggers(connection: Conn, decisions: Sequence[Decision]) -> None:
    finished = [trigger for decision in decisions for trigger in decision.finished]
    if finished:
        due_again = [due for decision in decisions for due in decision.due_again]
        await triggers.finish_triggers(connection, finished, due_again)


async def _answer(
    connection: Conn, fresh: Sequence[Waiting], decisions: Sequence[Decision], versions: Iterator[int]
) -> list[tuple[Waiting, bytes | Exception]]:
    """What callers are told, kept for those who may ask again."""
    answers: list[tuple[Waiting, bytes | Exception]] = []
    for waiting, decision in zip(fresh, decisions, strict=True):
        answer = decision.answer(list(itertools.islice(versions, len(decision.writes))))
        answers.append((waiting, answer))
        if waiting.change.call is not None:
            await calls.keep_answer(connection, waiting.change.call, answer)
    return answers
