"""Clients and the streams that they follow: who is behind, and by how much."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn

BEHIND_MAX = 1_000
"""Changes are counted up to here: beyond it, how many more there are tells nobody anything."""


class Follower(NamedTuple):
    """One client, for one organization, on one notification type. `behind`: changes that it may see and has not.

    `behind_since`: of the first of them. `state`: mismatch | silent | cut | failing | behind | inStep. `calls` and
    what follows: what all calls of its client came to in this hour and the last.
    """

    client: str
    organization: str
    notification_type: str
    state: str
    asked_at: datetime
    cursor: int
    behind: int
    behind_since: datetime | None
    told_reason: str
    told_records: int
    in_step_at: datetime | None
    mismatch_since: datetime | None
    mismatch_count: int
    calls: int
    refused: int
    refused_code: int | None
    waits_cut: int
    cut_seconds: float | None


class Counts(NamedTuple):
    """Streams that are followed, those among them that stand so, and clients whose waits are cut, or calls refused."""

    streams: int
    clients: int
    mismatch: int
    silent: int
    cut: int
    failing: int


async def counts(connection: Conn, scope: Sequence[int] | None, silent_minutes: int) -> Counts:
    """`scope`: numbers of organizations, with those below them; None: all."""
    (row,) = await connection.fetch(
        """
        select streams.*, troubled.*
        from (
            select coalesce(sum(f.streams), 0)::int, count(*)::int, coalesce(sum(f.mismatch), 0)::int,
                   coalesce(sum(f.silent), 0)::int
            from (
                select s.client, count(*) as streams, count(s.mismatch_since) as mismatch,
                       count(*) filter (
                           where s.mismatch_since is null and s.asked_at < now() - make_interval(mins => $2)) as silent
                from client_stream s
                where $1::int[] is null or s.organization in (select number from organization where lineage && $1)
                group by s.client
            ) as f join client c on c.number = f.client
            where c.disabled_at is null
        ) as streams(streams, clients, mismatch, silent)
        cross join (
            select count(*) filter (where l.is_cut), count(*) filter (where l.is_failing)
            from client_traffic_of_late l
            where (l.is_cut or l.is_failing) and exists (
                select from client_stream s
                join client c on c.number = s.client join organization o on o.number = s.organization
                where s.client = l.client and c.disabled_at is null and ($1::int[] is null or o.lineage && $1::int[]))
        ) as troubled(cut, failing)
        """,
        scope,
        silent_minutes,
    )
    return Counts(*row.values())


async def followers(
    connection: Conn,
    scope: Sequence[int] | None,
    silent_minutes: int,
    public_types: Sequence[str],
    client: str | None,
    limit: int,
    offset: int,
) -> list[Follower]:
    """Who needs help most first: another hash, then who is silent for longest, whose waits are cut, who is refused."""
    rows = await connection.fetch(
        """
        with late as materialized (
            select * from client_traffic_of_late
        ), page as (
            select c.name, o.code, o.number as viewer, o.parent is null as is_ministry, s.notification_type,
                   s.asked_at, s.cursor, s.told_reason, s.told_records, s.in_step_at, s.mismatch_since,
                   s.mismatch_count, l.calls, l.refused, l.refused_code, l.waits_cut, l.cut_seconds,
                   case when s.mismatch_since is not null then 1
                       when s.asked_at < now() - make_interval(mins => $2) then 2
                       when l.is_cut then 3 when l.is_failing then 4 end as trouble
            from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
            left join late l on l.client = s.client
            where c.disabled_at is null and ($1::int[] is null or o.lineage && $1::int[])
              and ($3::text is null or c.name = $3)
            order by trouble, s.mismatch_since, s.asked_at, c.name, o.code, s.notification_type
            limit $4 offset $5
        )
        select p.name, p.code, p.notification_type,
               coalesce((array['mismatch', 'silent', 'cut', 'failing'])[p.trouble],
                        case when unseen.count > 0 then 'behind' else 'inStep' end) as state,
               p.asked_at, p.cursor, unseen.count, unseen.since, p.told_reason, p.told_records, p.in_step_at,
               p.mismatch_since, p.mismatch_count, coalesce(p.calls, 0), coalesce(p.refused, 0), p.refused_code,
               coalesce(p.waits_cut, 0), p.cut_seconds
        from page p
        left join (notification_type t join record_type k on k.number = t.record_type)
            on k.name = split_part(p.notification_type, '.', 1)
            and t.school_year = coalesce(nullif(split_part(p.notification_type, '.', 2), ''), '0')::int
        left join lateral (
            select count(*)::int, (
                select r.changed_at from record r where r.record_type = t.record_type and r.id = coalesce(
                    (select f.id from record f
                     where (p.is_ministry or k.name = any($6::text[]))
                       and f.notification_type = t.number and f.version > p.cursor order by f.version limit 1),
                    (select f.id from viewer f
                     where not (p.is_ministry or k.name = any($6::text[]))
                       and f.notification_type = t.number and f.organization = p.viewer and f.version > p.cursor
                     order by f.version limit 1))
            ) as since
            from (
                (select r.version from record r
                 where (p.is_ministry or k.name = any($6::text[]))
                   and r.notification_type = t.number and r.version > p.cursor order by r.version limit $7)
                union all
                (select v.version from viewer v
                 where not (p.is_ministry or k.name = any($6::text[]))
                   and v.notification_type = t.number and v.organization = p.viewer and v.version > p.cursor
                 order by v.version limit $7)
            ) as each
        ) as unseen on true
        order by p.trouble, p.mismatch_since, p.asked_at, p.name, p.code, p.notification_type
        """,
        scope,
        silent_minutes,
        client,
        limit,
        offset,
        public_types,
        BEHIND_MAX,
    )
    return [Follower(*row.values()) for row in rows]
