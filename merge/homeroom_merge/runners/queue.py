"""Jobs on procrastinate, in the state's own PostgreSQL: three queues, and what is asked for in each.

A job only says what to look at. What is dirty (store.triggers) and which nights there are (store.nights) is known
without it, so that one that is lost or doubled does no harm. What is asked for by hand stands in the job alone.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, date, datetime
from uuid import UUID

from procrastinate import App, PsycopgConnector
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import Job, Status
from psycopg.errors import RaiseException

from homeroom_merge.runners.asked import Asked, OfRuns, Typed
from homeroom_merge.store.queue_schema import QUEUE_SCHEMA
from homeroom_merge.values import Value

NIGHTLY, REALTIME, MANUAL = QUEUES = ("nightly", "realtime", "manual")
"""Each has the task of its name."""
APPROVE, UNDO, VALUE = "approve", "undo", "value"
"""Others that are asked for by hand."""
_PRIORITY = {NIGHTLY: 0, REALTIME: 5, MANUAL: 10}
"""Somebody waits for what was asked for by hand."""
_FORGOTTEN_AFTER_HOURS = 30 * 24
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
"""By any machine's clock: a locked job that is due a second from now blocks its lock until then."""


@asynccontextmanager
async def open_queue(database_url: str, connections_max: int = 2) -> AsyncIterator[App]:
    """The queue in a database that has its tables (store.queue_schema.apply). ConnectorException."""
    options = {"options": f"-c search_path={QUEUE_SCHEMA}", "application_name": "homeroom merge queue"}
    connector = PsycopgConnector(conninfo=database_url, kwargs=options, min_size=1, max_size=connections_max)
    app = App(connector=connector)
    async with app.open_async():
        yield app


def lock_of(feed: str, entities: Sequence[str]) -> str:
    """Jobs of one lock never run at once: one entity's, or those of several entities of a feed.

    Between the two it is the subject's own lock that decides (store.runs.hold).
    """
    return f"{feed}/{entities[0]}" if len(entities) == 1 else feed


async def defer_nightly(app: App, feed: str, day: date) -> int:
    """All enabled entities, once for this local date. The number of the job."""
    return await _defer(app, NIGHTLY, NIGHTLY, lock_of(feed, ()), feed=feed, date=day.isoformat())


async def defer_drain(app: App, feed: str, entity: str) -> int | None:
    """What is dirty, and what was cut off there. None: such a job waits already, and will see all of it."""
    lock = lock_of(feed, (entity,))
    with suppress(AlreadyEnqueued):
        return await _defer(app, REALTIME, REALTIME, lock, queueing_lock=lock, feed=feed, entity=entity)
    return None


async def defer_manual(app: App, asked: Asked) -> int:
    """What was asked for, with its own settings. The number of the job."""
    return await _defer(app, MANUAL, MANUAL, lock_of(asked.feed, asked.entities), **asdict(asked))


async def defer_approve(app: App, feed: str, entities: Sequence[str], runs: Sequence[UUID], by: str) -> int:
    """To let held plans go on; those that are held no longer by then are left. The number of the job."""
    return await _of_runs(app, APPROVE, OfRuns(feed, by, entities, [str(run) for run in runs]))


async def defer_undo(app: App, feed: str, entities: Sequence[str], runs: Sequence[UUID], by: str) -> int:
    """To take back what runs have changed. The number of the job."""
    return await _of_runs(app, UNDO, OfRuns(feed, by, entities, [str(run) for run in runs]))


async def defer_value(app: App, feed: str, entity: str, record: int, pointer: str, value: Value, by: str) -> int:
    """To settle a conflict by a typed value, if both schemas allow it. The number of the job."""
    typed = Typed(feed, by, entity, record, pointer, value)
    return await _defer(app, MANUAL, VALUE, lock_of(feed, (entity,)), **asdict(typed))


async def cancel(app: App, job: int) -> bool:
    """Drop a job that waits; tell whoever does it to end. False: it does neither."""
    return await app.job_manager.cancel_job_by_id_async(job, abort=True)


async def stalled(app: App, seconds: float) -> list[Job]:
    """Jobs that are being done by workers of which nothing has been heard for so long."""
    return list(await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=seconds))


async def put_back(app: App, job: int) -> bool:
    """A job that failed or was cut off waits anew; it keeps its number. False: it went on meanwhile."""
    with _unless_it_went_on():
        await app.job_manager.retry_job_by_id_async(job, _LONG_AGO)
        return True
    return False


async def give_up(app: App, job: int) -> None:
    """A job that was cut off is not done again."""
    with _unless_it_went_on():
        await app.job_manager.finish_job_by_id_async(job, Status.FAILED, delete_job=False)


async def forget_old(app: App) -> None:
    """Jobs that ended a month ago."""
    hours = _FORGOTTEN_AFTER_HOURS
    await app.job_manager.delete_old_jobs(hours, include_failed=True, include_cancelled=True, include_aborted=True)


async def _of_runs(app: App, task: str, asked: OfRuns) -> int:
    return await _defer(app, MANUAL, task, lock_of(asked.feed, asked.entities), **asdict(asked))


async def _defer(app: App, queue: str, name: str, lock: str, queueing_lock: str | None = None, **asked: object) -> int:
    """By the name of its task; never into the future: it would block its lock."""
    task = app.configure_task(name, queue=queue, lock=lock, queueing_lock=queueing_lock, priority=_PRIORITY[queue])
    return await task.defer_async(**asked)  # type: ignore[arg-type]


@contextmanager
def _unless_it_went_on() -> Iterator[None]:
    try:
        yield
    except ConnectorException as refused:
        if not isinstance(refused.__cause__, RaiseException):
            raise
