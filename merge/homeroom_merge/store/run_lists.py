"""Runs as people look for them: of a feed, by what they ask for; and those of one job."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from homeroom_merge.store.connection import Conn


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs of a feed. None: any. `since` is in it, `until` no longer."""

    entity: str | None = None
    status: str | None = None
    runner: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A run in a list. `decided_by`: who approved or discarded it."""

    run: UUID
    entity: str
    runner: str
    status: str
    dry: bool
    begun_at: datetime
    ended_at: datetime | None
    decided_by: str | None


@dataclass(frozen=True, slots=True)
class GoingRow:
    """A run as it goes. `planned`: how many records of its plan stand how, at most so many as were asked for."""

    run: UUID
    entity: str
    status: str
    log: str
    planned: int
    carried_out: int


async def of_feed(connection: Conn, feed: str, wanted: RunFilter, limit: int, offset: int) -> list[RunRow]:
    """The newest first."""
    rows = await connection.fetch(
        """
        select r.id, s.entity, r.runner, r.status, r.dry, r.begun_at, r.ended_at, r.decided_by
        from feed f join subject s on s.feed = f.number
        cross join lateral (
            select * from run
            where subject = s.number and ($3::text is null or status = $3) and ($4::text is null or runner = $4)
              and ($5::timestamptz is null or begun_at >= $5) and ($6::timestamptz is null or begun_at < $6)
            order by begun_at desc limit $7::bigint + $8::bigint) r
        where f.name = $1 and ($2::text is null or s.entity = $2)
        order by r.begun_at desc, r.id limit $7 offset $8
        """,
        feed,
        wanted.entity,
        wanted.status,
        wanted.runner,
        wanted.since,
        wanted.until,
        limit,
        offset,
    )
    return [RunRow(*row.values()) for row in rows]


async def entities(connection: Conn, feed: str) -> list[str]:
    """Those that a feed was ever merged for."""
    rows = await connection.fetch(
        "select s.entity from subject s join feed f on f.number = s.feed where f.name = $1 order by 1", feed
    )
    return [row["entity"] for row in rows]


async def of_job(
    connection: Conn,
    feed: str,
    since: datetime,
    group_id: UUID | None,
    approved: Sequence[str],
    planned_max: int,
) -> list[GoingRow]:
    """The runs that a job of a feed began, and those that it approved with what it held anew; in order."""
    rows = await connection.fetch(
        """
        with mine as (
            select s.number, s.entity from subject s join feed f on f.number = s.feed where f.name = $1
        ), found as (
            select r.id from mine m join run r on r.subject = m.number
            where r.begun_at >= $2 and (r.group_id = $3 or r.runner = 'approval' and r.group_id in (
                select a.group_id from run a where a.id = any($4::text[]::uuid[])))
            union
            select r.id from mine m join run r on r.subject = m.number where r.id = any($4::text[]::uuid[])
        )
        select r.id, m.entity, r.status, r.log, p.planned, p.carried_out
        from found join run r on r.id = found.id join mine m on m.number = r.subject
        cross join lateral (
            select count(*) as planned, count(*) filter (where outcome not in ('planned', 'halfway')) as carried_out
            from (select outcome from planned where run = r.id limit $5) some_of_it) p
        order by r.begun_at, r.id
        """,
        feed,
        since,
        group_id,
        approved,
        planned_max,
    )
    return [GoingRow(*row.values()) for row in rows]


async def going(connection: Conn, run: UUID, planned_max: int) -> GoingRow | None:
    """One run, as it goes."""
    row = await connection.fetchrow(
        """
        select r.id, s.entity, r.status, r.log, p.planned, p.carried_out
        from run r join subject s on s.number = r.subject
        cross join lateral (
            select count(*) as planned, count(*) filter (where outcome not in ('planned', 'halfway')) as carried_out
            from (select outcome from planned where run = r.id limit $2) some_of_it) p
        where r.id = $1
        """,
        run,
        planned_max,
    )
    return None if row is None else GoingRow(*row.values())


async def undone_by(connection: Conn, run: UUID) -> list[tuple[UUID, str]]:
    """(run, status) of those that take it back, the last one first."""
    rows = await connection.fetch(
        """
        select u.id, u.status from run r join run u on u.subject = r.subject and u.begun_at > r.begun_at
        where r.id = $1 and u.undoes = r.id order by u.begun_at desc
        """,
        run,
    )
    return [(row["id"], row["status"]) for row in rows]
