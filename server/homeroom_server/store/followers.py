"""Clients and the streams that they follow: who is behind, and by how much."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn

BEHIND_MAX = 1_000
"""Changes are counted up to here: beyond it, how many more there are tells nobody anything."""


class Follower(NamedTuple):
    """One client, for one organization, on one notification type. `behind`: changes that it may see and has not.

    `behind_since`: of the first of them. `state`: mismatch | silent | behind | inStep.
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


class Counts(NamedTuple):
    """Streams that are followed, and those among them that stand so."""

    streams: int
    clients: int
    mismatch: int
    silent: int


async def counts(connection: Conn, scope: Sequence[int] | None, silent_minutes: int) -> Counts:
    """`scope`: numbers of organizations, with those below them; None: all."""
    (row,) = await connection.fetch(
        """
        select count(*), count(distinct s.client), count(*) filter (where s.mismatch_since is not null),
               count(*) filter (where s.mismatch_since is null and s.asked_at < now() - make_interval(mins => $2))
        from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
        where c.disabled_at is null and ($1::int[] is null or o.lineage && $1::int[])
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
    """Who needs help most first: hashes that differ, then those that were not heard of for longest."""
    rows = await connection.fetch(
        """
        with page as (
            select c.name, o.code, o.number as viewer, o.parent is null as is_ministry, s.notification_type,
                   s.asked_at, s.cursor, s.told_reason, s.told_records, s.in_step_at, s.mismatch_since,
                   s.mismatch_count, case when s.mismatch_since is not null then 'mismatch'
                       when s.asked_at < now() - make_interval(mins => $2) then 'silent' end as trouble
            from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
            where c.disabled_at is null and ($1::int[] is null or o.lineage && $1::int[])
              and ($3::text is null or c.name = $3)
            order by trouble, s.mismatch_since, s.asked_at, c.name, o.code, s.notification_type
            limit $4 offset $5
        )
        select p.name, p.code, p.notification_type,
               coalesce(p.trouble, case when unseen.count > 0 then 'behind' else 'inStep' end) as state,
               p.asked_at, p.cursor, unseen.count, unseen.since, p.told_reason, p.told_records, p.in_step_at,
               p.mismatch_since, p.mismatch_count
        from page p
        left join (notification_type t join record_type k on k.number = t.record_type)
            on k.name = split_part(p.notification_type, '.', 1)
            and t.school_year = coalesce(nullif(split_part(p.notification_type, '.', 2), ''), '0')::int
        left join lateral (
            select count(*)::int, min(changed_at) as since from (
                (select r.changed_at from record r
                 where (p.is_ministry or k.name = any($6::text[]))
                   and r.notification_type = t.number and r.version > p.cursor order by r.version limit $7)
                union all
                (select r.changed_at from viewer v
                 join record r on r.record_type = t.record_type and r.id = v.id
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
