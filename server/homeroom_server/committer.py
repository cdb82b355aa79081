"""Group commit: one durable transaction for every change of a type that arrived while the last one was in flight."""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field

import anyio
import anyio.abc
import asyncpg
import structlog

from homeroom.errors import Code, error
from homeroom.protocol import NotificationType
from homeroom_server.catalogue import Catalogue
from homeroom_server.changes import Change, Committed, Moved
from homeroom_server.committing.batch import Waiting, gather
from homeroom_server.committing.transaction import Transactions
from homeroom_server.settings import Settings
from homeroom_server.store.connection import AWAY
from homeroom_server.tally import Tally
from homeroom_server.tracing.spans import NO_SPAN, Facts, Span, Traces
from homeroom_server.trouble import Troubles

_NAMED_MAX = 20
"""Calls of a batch that are named in the log."""

log = structlog.get_logger()


@dataclass(slots=True)
class _Lane:
    """The changes of one type, in order of arrival. Types do not wait for each other."""

    waiting: deque[Waiting] = field(default_factory=deque)
    running: bool = False


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
        self._transactions = Transactions(pool, catalogue)
        self._tally = tally
        self._troubles = troubles
        self._traces = traces
        self._tasks = tasks
        self._announce = announce
        self._waiting_max = settings.writes_waiting_max
        self._records_max = settings.records_per_commit_max
        self._lanes: dict[NotificationType, _Lane] = {}
        self.waiting = 0
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
        waiting = Waiting(change, request_id, cause, asyncio.get_running_loop().create_future())
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
            batch = gather(lane.waiting, self._records_max)
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

    async def _settle(self, batch: Sequence[Waiting], moved: list[Moved]) -> None:
        """Give every member of the batch its outcome; one that fails does not take the others with it."""
        try:
            done = await self._transactions.commit(batch)
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


def _facts(batch: Sequence[Waiting], moved: Sequence[Moved]) -> Facts:
    """Of a commit: its type, how many changes it took, and how many records of them were accepted."""
    return {
        "homeroom.type": str(batch[0].change.notification_type),
        "homeroom.changes": len(batch),
        "homeroom.records": sum(each.changes for each in moved),
    }
