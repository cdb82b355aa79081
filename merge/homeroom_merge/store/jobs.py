"""What the queue's tables say of a feed's jobs, and what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson

from homeroom_merge.store.connection import Conn


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job as people are shown it. `group_id`: of the runs that it began last; `said`: why it began none."""

    number: int
    queue: str
    task: str
    status: str
    asked: Mapping[str, Any]
    attempts: int
    deferred_at: datetime | None
    changed_at: datetime | None
    group_id: UUID | None
    said: str


async def latest(connection: Conn, feed: str, limit: int) -> list[JobRow]:
    """The jobs of a feed, the newest first."""
    return [_row(row) for row in await connection.fetch(_JOBS, None, feed, limit)]


async def find(connection: Conn, number: int) -> JobRow | None:
    row = await connection.fetchrow(_JOBS, number, None, 1)
    return None if row is None else _row(row)


async def runs_of(connection: Conn, group_id: UUID) -> list[tuple[UUID, str, str]]:
    """(run, entity, status) of a group, in the order in which they began."""
    rows = await connection.fetch(
        """
        select r.id, s.entity, r.status from run r join subject s on s.number = r.subject
        where r.group_id = $1 order by r.begun_at
        """,
        group_id,
    )
    return [tuple(row.values()) for row in rows]


async def goes_on(connection: Conn, feed: str) -> bool:
    """Whether a night or a run by hand of a feed waits or is being done."""
    return bool(
        await connection.fetchval(
            """
            select exists (
                select from homeroom_merge_queue.procrastinate_jobs j
                where j.status in ('todo', 'doing') and j.queue_name <> 'realtime' and j.args ->> 'feed' = $1)
            """,
            feed,
        )
    )


async def workers_heard(connection: Conn, seconds: float) -> int:
    """Workers of which something was heard within that time."""
    return int(
        await connection.fetchval(
            """
            select count(*) from homeroom_merge_queue.procrastinate_workers
            where last_heartbeat > now() - make_interval(secs => $1)
            """,
            seconds,
        )
    )


async def note(connection: Conn, job: int, group_id: UUID | None, said: str = "") -> None:
    """What a job has come to so far."""
    await connection.execute(
        """
        insert into work (job, group_id, said) values ($1, $2, $3)
        on conflict (job) do update set group_id = coalesce(excluded.group_id, work.group_id), said = excluded.said,
            at = now()
        """,
        job,
        group_id,
        said,
    )


async def forget(connection: Conn) -> None:
    """What came of jobs that the queue has forgotten."""
    await connection.execute(
        "delete from work w where not exists (select from homeroom_merge_queue.procrastinate_jobs j where j.id = w.job)"
    )


_JOBS = """
    select j.id, j.queue_name, j.task_name, j.status::text, j.args::text, j.attempts, e.deferred_at, e.changed_at,
           w.group_id, coalesce(w.said, '') as said
    from homeroom_merge_queue.procrastinate_jobs j left join work w on w.job = j.id
    left join lateral (
        select min(at) as deferred_at, max(at) as changed_at from homeroom_merge_queue.procrastinate_events e
        where e.job_id = j.id) e on true
    where ($1::bigint is null or j.id = $1) and ($2::text is null or j.args ->> 'feed' = $2) order by j.id desc limit $3
"""


def _row(row: asyncpg.Record) -> JobRow:
    number, queue, task, status, asked, *rest = row.values()
    return JobRow(number, queue, task, status, orjson.loads(asked), *rest)
