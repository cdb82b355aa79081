"""Group commit: one durable transaction for every change of a type that arrived while the last one was in flight."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc
import asyncpg
import structlog

from homeroom.errors import Code, error
from homeroom.protocol import NotificationType
from homeroom_server.access.rules import showing_of
from homeroom_server.catalogue import Catalogue
from homeroom_server.changes import Change, Committed, Decision, Moved
from homeroom_server.settings import Settings
from homeroom_server.store import calls, erasure, records, triggers, types
from homeroom_server.store.audit import Deed
from homeroom_server.store.connection import AWAY, Conn
from homeroom_server.store.records import CurrentRecord, Showing
from homeroom_server.store.types import Standing, TypeRow
from homeroom_server.tally import Tally
from homeroom_server.tracing.spans import NO_SPAN, Facts, Span, Traces
from homeroom_server.trouble import Troubles

_ATTEMPTS_MAX = 4
_NAMED_MAX = 20
"""Calls of a batch that are named in the log."""
_PASSING = (
    asyncpg.UniqueViolationError,  # the id was just created under another school year: it is read at the next attempt
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.LockNotAvailableError,  # who stalls with the type's lock is ended by his own time-out meanwhile
)

log = structlog.get_logger()


@dataclass(slots=True)
class _Waiting:
    change: Change
    request_id: str
    cause: Span
    done: asyncio.Future[None]
    outcome: Committed | Exception | None = None


@dataclass(slots=True)
class _Lane:
    """The changes of one type, in order of arrival. Types do not wait for each other."""

    waiting: deque[_Waiting] = field(default_factory=deque)
    running: bool = False


@dataclass(slots=True)
class _Known:
    """The numbers of types, which hold for one history: another may have lost a type, and given it another number.

    As long as its erasures are 0, nobody was erased, and nobody is looked for on the list.
    """

    standing: Standing
    erasure_secret: bytes
    rows: dict[NotificationType, TypeRow] = field(default_factory=dict)
    showings: dict[NotificationType, Showing] = field(default_factory=dict)


class _OutdatedError(Exception):
    """What was known is of another history, or of before an erasure."""


class Committer:
    """Takes changes from any task of the node; `announce` is told of each committed batch.

    `commits`, `changes`: how many there have been, for whoever asks how busy the node is.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        tasks: anyio.abc.TaskGroup,
        announce: Callable[[Moved], Coroutine[None, None, None]],
        catalogue: Catalogue,
        settings: Settings,
        tally: Tally,
        troubles: Troubles,
        traces: Traces,
    ) -> None:
        self._pool = pool
        self._tally = tally
        self._troubles = troubles
        self._traces = traces
        self._tasks = tasks
        self._announce = announce
        self._catalogue = catalogue
        self._waiting_max = settings.writes_waiting_max
        self._records_max = settings.records_per_commit_max
        self._lanes: dict[NotificationType, _Lane] = {}
        self.waiting = 0
        self._known: _Known | None = None
        self.commits = 0
        self.changes = 0

    async def commit(self, change: Change, request_id: str = "", cause: Span = NO_SPAN) -> Committed:
        """Decide and store a change durably; `request_id`, `cause`: of the call whose it is, for log and traces.

        Raises RetryLater 2001 if the database is away or too many changes wait, FixRequest 3002 if an
        idempotency key was used for another request.
        """
        if self.waiting >= self._waiting_max:
            self._tally.refusals["writes_waiting_max"] += 1
            raise error(Code.CORE_NOT_AVAILABLE, "too many writes are waiting on this node (writes_waiting_max)")
        lane = self._lanes.setdefault(change.notification_type, _Lane())
        waiting = _Waiting(change, request_id, cause, asyncio.get_running_loop().create_future())
        lane.waiting.append(waiting)
        self.waiting += 1
        if not lane.running:
            lane.running = True
            self._tasks.start_soon(self._drain, lane)
        await waiting.done
        match waiting.outcome:
            case Committed() as committed:
                return committed
            case None:
                raise error(Code.CORE_NOT_AVAILABLE, "the node is stopping")
            case failure:
                raise failure

    async def _drain(self, lane: _Lane) -> None:
        while lane.waiting:
            batch = _gather(lane.waiting, self._records_max)
            moved: list[Moved] = []
            begun = anyio.current_time()
            try:
                with self._traces.span("commit", [waiting.cause for waiting in batch]) as span:
                    await self._settle(batch, moved)
                    if span.is_sent:
                        span.note("commit", _facts(batch, moved))
            finally:
                self.waiting -= len(batch)
                for waiting in batch:
                    if not waiting.done.done():  # its caller may have been cancelled
                        waiting.done.set_result(None)
            if moved:
                self._tally.commit_times.note(anyio.current_time() - begun)
            for each in moved:
                self.commits += 1
                self.changes += each.changes
                self._tasks.start_soon(self._announce, each)  # the next commit does not wait for it
        lane.running = False

    async def _settle(self, batch: Sequence[_Waiting], moved: list[Moved]) -> None:
        """Give every member of the batch its outcome; one that fails does not take the others with it."""
        try:
            done = await self._attempt(batch)
            moved += [] if done is None else [done]
        except AWAY as failure:
            advice = self._troubles.met(failure)
            named = [waiting.request_id for waiting in batch if waiting.request_id][:_NAMED_MAX]
            kind = type(failure).__name__
            log.warning("commit failed", kind=kind, reason=advice, changes=len(batch), request_ids=named)
            for waiting in batch:
                waiting.outcome = error(
                    Code.CORE_NOT_AVAILABLE,
                    "the database did not confirm the change; with an Idempotency-Key it is safe to send it again",
                )
        except Exception as failure:  # handed to the caller whose change it is
            if len(batch) == 1:
                batch[0].outcome = failure
                return
            for waiting in batch:
                await self._settle([waiting], moved)

    async def _attempt(self, batch: Sequence[_Waiting]) -> Moved | None:
        notification_type = batch[0].change.notification_type
        for attempt in itertools.count(1):
            try:
                async with self._pool.acquire() as connection:
                    known = self._known
                    if known is None:
                        standing = await types.read_standing(connection)
                        known = self._known = _Known(standing, await erasure.read_secret(connection))
                    row, showing = await self._type(connection, known, notification_type)
                    async with connection.transaction():
                        outcomes, moved, standing = await self._write(connection, known, row, showing, batch)
                        if standing != known.standing:
                            raise _OutdatedError
                break
            except (*_PASSING, _OutdatedError):
                self._known = None
                if attempt == _ATTEMPTS_MAX:
                    raise
        for waiting, outcome in outcomes:
            waiting.outcome = outcome
        return moved

    async def _type(
        self, connection: Conn, known: _Known, notification_type: NotificationType
    ) -> tuple[TypeRow, Showing]:
        if notification_type not in known.showings:
            definition = self._catalogue.types[notification_type.name]
            source = None
            if definition.source is not None:
                of_source = NotificationType(definition.source, notification_type.school_year)
                source = (await _row(connection, known, of_source)).number
            known.showings[notification_type] = showing_of(definition, source)
        return await _row(connection, known, notification_type), known.showings[notification_type]

    async def _write(
        self, connection: Conn, known: _Known, row: TypeRow, showing: Showing, batch: Sequence[_Waiting]
    ) -> tuple[list[tuple[_Waiting, Committed | Exception]], Moved | None, Standing]:
        """One transaction's work: lock, read, decide, write (docs/decisions/0001); in which standing it was done."""
        await records.lock_type(connection, row.number)
        fresh, answered = await _claim_calls(connection, batch)
        ids = [record_id for waiting in fresh for record_id in waiting.change.ids]
        current = await records.read_current(connection, row.record_type, ids, showing) if ids else {}
        erased = await _erased(connection, known, fresh, current)
        decisions = [waiting.change.decide(row, current, erased) for waiting in fresh]
        writes = [write for decision in decisions for write in decision.writes]
        name = row.notification_type.name
        triggered = self._catalogue.raises_triggers(name)
        versions: list[int] = []
        if writes:
            versions, standing = await records.write_records(
                connection, row, writes, showing, _deeds(fresh, decisions), raise_triggers=triggered
            )
        else:
            standing = await types.read_standing(connection)
        finished = [trigger for decision in decisions for trigger in decision.finished]
        if finished:
            due_again = [due for decision in decisions for due in decision.due_again]
            await triggers.finish_triggers(connection, finished, due_again)
        outcomes: list[tuple[_Waiting, Committed | Exception]] = [
            (waiting, answer if isinstance(answer, Exception) else Committed(answer, standing.epoch))
            for waiting, answer in answered
        ]
        drawn = iter(versions)
        for waiting, decision in zip(fresh, decisions, strict=True):
            answer = decision.answer(list(itertools.islice(drawn, len(decision.writes))))
            outcomes.append((waiting, Committed(answer, standing.epoch)))
            if waiting.change.call is not None:
                await calls.keep_answer(connection, waiting.change.call, answer)
        if not versions:
            return outcomes, None, standing
        moved = Moved(row, versions[0] - 1, versions[-1], triggered, showing.follows_student, len(versions))
        return outcomes, moved, standing


async def _erased(
    connection: Conn, known: _Known, fresh: Sequence[_Waiting], current: Mapping[str, CurrentRecord]
) -> Collection[str]:
    """Those who were erased among the students that these changes, and the records as they stand, name."""
    if not known.standing.erasures:
        return ()
    students = {student for waiting in fresh for student in waiting.change.students}
    students |= {record.student for record in current.values() if record.student is not None}
    return await erasure.erased_among(connection, known.erasure_secret, students)


def _facts(batch: Sequence[_Waiting], moved: Sequence[Moved]) -> Facts:
    """Of a commit: its type, how many changes it took, and how many records of them were accepted."""
    return {
        "homeroom.type": str(batch[0].change.notification_type),
        "homeroom.changes": len(batch),
        "homeroom.records": sum(each.changes for each in moved),
    }


def _deeds(fresh: Sequence[_Waiting], decisions: Sequence[Decision]) -> list[Deed]:
    """What callers have written; what the Core calculates is nobody's."""
    return [
        Deed(caller.client_name, caller.organization.number, " ".join([write.id for write in decision.writes]))
        for waiting, decision in zip(fresh, decisions, strict=True)
        if decision.writes and (caller := waiting.change.caller) is not None
    ]


async def _row(connection: Conn, known: _Known, notification_type: NotificationType) -> TypeRow:
    row = known.rows.get(notification_type)
    if row is None:
        row = known.rows[notification_type] = await types.ensure_type(connection, notification_type)
    return row


async def _claim_calls(
    connection: Conn, batch: Sequence[_Waiting]
) -> tuple[list[_Waiting], list[tuple[_Waiting, bytes | Exception]]]:
    """Those whose change is still to be made, and the outcomes of those that have been answered before."""
    fresh: list[_Waiting] = []
    known: list[tuple[_Waiting, bytes | Exception]] = []
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


def _call_order(waiting: _Waiting) -> tuple[int, int, str]:
    """Keys are claimed in one order everywhere, so that two transactions cannot wait for each other."""
    call = waiting.change.call
    return (0, 0, "") if call is None else (call.client, call.organization, str(call.key))


def _gather(waiting: deque[_Waiting], records_max: int) -> list[_Waiting]:
    """As many as fit into one transaction, in order; two that touch one record or share a key never do."""
    batch: list[_Waiting] = []
    taken: set[object] = set()
    count = 0
    while waiting:
        change = waiting[0].change
        call = change.call
        mine = {*change.ids} if call is None else {*change.ids, (call.client, call.organization, call.key)}
        if batch and (count + len(change.ids) > records_max or not taken.isdisjoint(mine)):
            break
        taken |= mine
        count += len(change.ids)
        batch.append(waiting.popleft())
    return batch
