"""A worker: takes jobs, several at once, and looks at the clock; goes on when the database is back."""

import asyncio
import datetime as dt
import socket
from collections.abc import Awaitable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import anyio
import asyncpg
import structlog
from procrastinate import App, JobContext
from procrastinate.exceptions import ConnectorException
from procrastinate.job_context import AbortReason
from procrastinate.jobs import Status

from homeroom_merge.runners import by_hand, queue, work
from homeroom_merge.runners.asked import Asked, OfRuns, Typed
from homeroom_merge.runners.clock import Clock
from homeroom_merge.runners.keeping import Keeper
from homeroom_merge.runners.noticing import listen, take_calls
from homeroom_merge.runners.queue import APPROVE, MANUAL, NIGHTLY, REALTIME, UNDO, VALUE
from homeroom_merge.runners.serving import serve
from homeroom_merge.runners.webhook import Hooked, webhook_app
from homeroom_merge.runners.work import REFUSALS, CutShortError, Means
from homeroom_merge.store import jobs, place, queue_schema
from homeroom_merge.store.connection import Connections, connect, pooled

T = TypeVar("T")

log = structlog.get_logger()

GRACE_SECONDS = 30.0
_AGAIN_SECONDS = 2.0
_LISTENERS_CONNECTIONS_MAX = 4
_SAID_MAX = 500
_LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ConnectorException)


@dataclass(frozen=True, slots=True)
class Pace:
    """How often a worker looks, and how long it waits."""

    tick_seconds: float = 15.0
    poll_seconds: float = 5.0
    """For jobs, should a notification be lost, and for those that are to end."""
    silent_seconds: float = 90.0
    """Who has not been heard of for so long is dead."""
    grace_seconds: float = GRACE_SECONDS
    """So long running jobs may go on once the worker is told to stop."""


@dataclass(slots=True)
class Worker:
    """One process. `cut`: jobs that are to be put back, for they ended only because it did, or the database."""

    means: Means
    queues: Sequence[str]
    concurrency: int
    pace: Pace
    webhook: socket.socket | None = None
    """Where it is called; None: it is not."""
    cut: set[int] = field(default_factory=set)

    async def run(self, stop: asyncio.Event) -> None:
        """Until it is told to stop. OtherSchemaError."""
        try:
            await self._run_again(stop)
        finally:
            if self.means.forkserver is not None:
                self.means.forkserver.close()

    async def _run_again(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await self._run(stop)
            except _LOST as fault:
                log.warning("worker_begins_again", because=_cause(fault))
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), _AGAIN_SECONDS)

    async def _run(self, stop: asyncio.Event) -> None:
        """As long as the database is there."""
        async with place.opened(self.means.database_url) as connection:
            await queue_schema.apply(connection)
            async with (
                queue.open_queue(self.means.database_url, self.concurrency + 3) as app,
                pooled(self.means.database_url, _LISTENERS_CONNECTIONS_MAX) as pool,
            ):
                connections = Connections(self.means.database_url)
                self._register(app, replace(self.means, connections=connections))
                await self._put_back(app)
                self.cut.clear()
                hooks: dict[str, Hooked] = {}
                clock = self._clock(app, connection, pool, hooks)
                others: list[Coroutine[None, None, object]] = [clock.run(), self._mend(app), stop.wait()]
                if self.webhook is not None:
                    others.append(serve(webhook_app(pool, hooks), self.webhook.dup()))
                log.info("worker_ready", queues=list(self.queues), concurrency=self.concurrency)
                try:
                    await self._until_one_ends(app, others)
                finally:
                    connections.close()
                await self._put_back(app)

    def _clock(self, app: App, connection: asyncpg.Connection, pool: asyncpg.Pool, hooks: dict[str, Hooked]) -> Clock:
        """With those who listen, and those whom the SIS calls."""

        async def defer(feed: str, entity: str) -> None:
            await queue.defer_drain(app, feed, entity)

        async def defer_run(feed: str, entities: Sequence[str]) -> None:
            await queue.defer_manual(app, Asked(feed, "its folder", entities))

        listening = Keeper(lambda settings: listen(settings, pool, defer, defer_run))
        calls = None if self.webhook is None else Keeper(lambda settings: take_calls(settings, pool, defer, hooks))
        told = self.pace.tick_seconds, self.pace.silent_seconds
        return Clock(self.means, connection, app, *told, listening, calls)

    async def _until_one_ends(self, app: App, coroutines: Sequence[Coroutine[None, None, object]]) -> None:
        """Taking jobs ends last, and in good order: what runs has its time of grace. Raises what the others raise."""
        taking = asyncio.create_task(self._take(app))
        others = [asyncio.create_task(each) for each in coroutines]
        done, _ = await asyncio.wait((taking, *others), return_when=asyncio.FIRST_COMPLETED)
        taking.cancel()
        for each in others:
            each.cancel()
        ended = await asyncio.gather(taking, *others, return_exceptions=True)
        for fault in ended:
            if isinstance(fault, Exception):
                raise fault
        if taking in done:
            raise ConnectorException("it takes no jobs any more")

    async def _take(self, app: App) -> None:
        await app.run_worker_async(
            queues=list(self.queues),
            concurrency=self.concurrency,
            fetch_job_polling_interval=self.pace.poll_seconds,
            abort_job_polling_interval=self.pace.poll_seconds,
            shutdown_graceful_timeout=self.pace.grace_seconds,
            install_signal_handlers=False,
            update_heartbeat_interval=self.means.beat_seconds,
            stalled_worker_timeout=self.pace.silent_seconds,
        )

    async def _mend(self, app: App) -> None:
        """Put back what lost the database while the queue did not."""
        while True:
            await anyio.sleep(self.pace.tick_seconds)
            await self._put_back(app)

    async def _put_back(self, app: App) -> None:
        """Those that have been written down as failed; of others it is not known yet, or somebody else sees to them."""
        for job in tuple(self.cut):
            match await app.job_manager.get_job_status_async(job):
                case Status.FAILED:
                    await queue.put_back(app, job)
                    log.info("job_put_back", job=job)
                case Status.DOING:
                    continue
            self.cut.discard(job)

    def _register(self, app: App, means: Means) -> None:
        """What is done for the jobs of each queue."""

        @app.task(name=NIGHTLY, pass_context=True)
        async def nightly(context: JobContext, feed: str, date: str) -> None:
            await self._do(context, work.nightly(means, _number(context), feed, dt.date.fromisoformat(date)))

        @app.task(name=REALTIME, pass_context=True)
        async def drain(context: JobContext, feed: str, entity: str) -> None:
            for dirty in await self._do(context, work.drain(means, _number(context), feed, entity)):
                await queue.defer_drain(app, feed, dirty)

        @app.task(name=MANUAL, pass_context=True)
        async def manual(context: JobContext, /, **asked: Any) -> None:
            await self._do(context, by_hand.manual(means, _number(context), Asked(**asked)))

        @app.task(name=APPROVE, pass_context=True)
        async def approve(context: JobContext, /, **asked: Any) -> None:
            await self._do(context, by_hand.approve(means, _number(context), OfRuns(**asked)))

        @app.task(name=UNDO, pass_context=True)
        async def undo(context: JobContext, /, **asked: Any) -> None:
            await self._do(context, by_hand.undo(means, _number(context), OfRuns(**asked)))

        @app.task(name=VALUE, pass_context=True)
        async def value(context: JobContext, /, **typed: Any) -> None:
            await self._do(context, by_hand.set_value(means, _number(context), Typed(**typed)))

    async def _do(self, context: JobContext, doing: Awaitable[T]) -> T:
        job, name = _number(context), context.job.queue
        log.info("job_begins", job=job, queue=name, lock=context.job.lock)
        try:
            done = await doing
        except asyncio.CancelledError:
            if context.abort_reason() is not AbortReason.SHUTDOWN:
                log.info("job_cancelled", job=job)
                raise
            self._cut_short(context)
            raise CutShortError("the worker stops") from None
        except CutShortError:
            self._cut_short(context)
            raise
        except Exception as fault:
            is_known = isinstance(fault, REFUSALS)
            log.error("job_failed", job=job, queue=name, because=_cause(fault), exc_info=not is_known)
            connection = await connect(self.means.database_url)
            try:
                await jobs.note(connection, job, None, _cause(fault))
            finally:
                await connection.close()
            raise
        log.info("job_ended", job=job)
        return done

    def _cut_short(self, context: JobContext) -> None:
        """What is dirty stays so without its job; all else is lost with it."""
        log.warning("job_cut_short", job=_number(context))
        if context.job.queue != REALTIME:
            self.cut.add(_number(context))


def _number(context: JobContext) -> int:
    assert context.job.id is not None, "it is in the queue"
    return context.job.id


def _cause(fault: BaseException) -> str:
    """In a line; the queue says what it is in what it was raised from."""
    inner = fault.__cause__ if isinstance(fault, ConnectorException) and fault.__cause__ else fault
    return (str(inner) or type(inner).__name__)[:_SAID_MAX]
