"""What is wrong with records now, and since when."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from homeroom_merge.store.connection import Conn

_GROUPS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Failing:
    """Records of an entity that fail with one message. `what`: hub, sis, write, waits, unknown, awaited, conflict,
    run; or, of no entity, a hook."""

    entity: str
    what: str
    message: str
    count: int
    first_seen: datetime
    last_tried: datetime
    example: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A record of which nobody can tell whether the SIS has what was written to it last."""

    number: int
    entity: str
    sis_key: str | None
    hub_id: str | None
    awaiting_since: datetime


async def unknown(connection: Conn, feed: str, limit: int) -> list[Unknown]:
    """Of a feed, the oldest first."""
    rows = await connection.fetch(
        """
        select r.number, s.entity, r.sis_key, r.hub_id, r.awaiting_since
        from record r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and r.awaiting is not null and (
            select j.result from journal j where j.record = r.number and j.side = 'sis' order by j.number desc limit 1
        ) = 'unknown'
        order by r.awaiting_since, r.number limit $2
        """,
        feed,
        limit,
    )
    return [Unknown(**row) for row in rows]


async def note_plan(connection: Conn, subject: int, run: UUID, numbers: Sequence[int] | None = None) -> None:
    """A run has fetched and merged these records (None: all): what failed verification, and what is fine by now."""
    await connection.execute(
        """
        with now as (
            select number, 'hub' as what, hub_faults as faults from record
            where subject = $1 and hub_state = 'failed' and ($3::bigint[] is null or number = any($3::bigint[]))
            union all
            select number, 'sis', sis_faults from record
            where subject = $1 and sis_state = 'failed' and ($3::bigint[] is null or number = any($3::bigint[]))
        ), healed as (
            delete from failing f using record r
            where r.number = f.record and r.subject = $1 and ($3::bigint[] is null or r.number = any($3::bigint[]))
              and case
                when f.what in ('hub', 'sis')
                    then not exists (select from now n where n.number = f.record and n.what = f.what)
                else not exists (select from planned p where p.run = $2 and p.record = f.record)
            end
        )
        insert into failing (record, what, message)
        select number, what,
               concat_ws(' ', nullif(faults::jsonb #>> '{faults,0,pointer}', ''), faults::jsonb #>> '{faults,0,detail}')
        from now
        on conflict (record, what) do update
        set message = excluded.message, last_tried = now(),
            first_seen = case when failing.message = excluded.message then failing.first_seen else now() end
        """,
        subject,
        run,
        numbers,
    )


async def note_run(connection: Conn, run: UUID) -> None:
    """A run has carried out its plan: what could not be written or waits, and what is done by now."""
    await connection.execute(
        """
        with now as (
            select record, case outcome when 'waits' then 'waits' else 'write' end as what,
                   case outcome when 'waits'
                       then concat('waits for ', change::jsonb #>> '{waitsFor,0,0}', ', which is not there yet')
                       else detail end as message
            from planned where run = $1 and outcome in ('waits', 'failed', 'stale')
        ), healed as (
            delete from failing f using planned p
            where p.run = $1 and p.record = f.record and f.what in ('waits', 'write')
              and not exists (select from now n where n.record = f.record and n.what = f.what)
        )
        insert into failing (record, what, message) select n.* from now n join record r on r.number = n.record
        on conflict (record, what) do update
        set message = excluded.message, last_tried = now(),
            first_seen = case when failing.message = excluded.message then failing.first_seen else now() end
        """,
        run,
    )


async def everything(connection: Conn, feed: str, awaiting_days: Mapping[str, int]) -> list[Failing]:
    """All that fails now in a feed. `awaiting_days`: by entity, after how long what no feed shows is named."""
    rows = await connection.fetch(
        """
        with mine as (
            select s.number, s.entity from subject s join feed f on f.number = s.feed where f.name = $1
        ), each as (
            select m.entity, r.sis_key, r.hub_id, f.what, f.message, f.first_seen, f.last_tried, 1 as count
            from failing f join record r on r.number = f.record join mine m on m.number = r.subject
            union all
            select m.entity, r.sis_key, r.hub_id, 'conflict', 'conflict at ' || coalesce(nullif(c.pointer, ''),
                   'the record') || ': ' || c.rule, c.since, c.found_at, c.count
            from (
                select subject, pointer, rule, min(since) as since, max(found_at) as found_at, min(record) as record,
                       count(*) as count
                from conflict where subject in (select number from mine) group by subject, pointer, rule
            ) c join record r on r.number = c.record join mine m on m.number = c.subject
            union all
            select m.entity, r.sis_key, r.hub_id, case j.result when 'unknown' then 'unknown' else 'awaited' end,
                   case j.result when 'unknown' then 'nobody can tell whether the SIS has what was written'
                   else 'written, and shown by no feed since' end,
                   r.awaiting_since, coalesce(j.ended_at, r.awaiting_since), 1
            from record r join mine m on m.number = r.subject
            left join unnest($2::text[], $3::int[]) as a(entity, days) on a.entity = m.entity
            left join lateral (
                select j.result, j.ended_at from journal j where j.record = r.number and j.side = 'sis'
                order by j.number desc limit 1
            ) j on true
            where r.awaiting is not null
              and (j.result = 'unknown' or r.awaiting_since < now() - make_interval(days => a.days))
            union all
            select m.entity, null, null, 'run', 'the last run ended as ' || last.status, since.begun_at, last.ended_at,
                   1
            from mine m
            join lateral (
                select status, begun_at, ended_at from run where subject = m.number and ended_at is not null
                order by begun_at desc limit 1
            ) last on last.status in ('failed', 'noData')
            join lateral (
                select min(begun_at) as begun_at from run where subject = m.number and begun_at > coalesce(
                    (select max(begun_at) from run where subject = m.number and status not in ('failed', 'noData')),
                    '-infinity')
            ) since on true
            union all
            select '', h.hook, null, 'hook', 'not told: ' || h.message, h.first_seen, h.last_tried, 1
            from hook_failure h join feed f on f.number = h.feed where f.name = $1
        )
        select entity, what, message, sum(count)::int as count, min(first_seen) as first_seen,
               max(last_tried) as last_tried, coalesce(min(coalesce(sis_key, hub_id)), '') as example
        from each group by entity, what, message order by sum(count) desc, min(first_seen) limit $4
        """,
        feed,
        list(awaiting_days),
        list(awaiting_days.values()),
        _GROUPS_MAX,
    )
    return [Failing(**row) for row in rows]
