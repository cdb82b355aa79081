"""Records of realtime runs: whom a drain has to look at, what was written within a day, what is still held."""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.codec import change_of
from homeroom_merge.plan import Change
from homeroom_merge.store.connection import Conn
from homeroom_merge.store.triggers import Trigger

_AT_ONCE = 1_000


class Linked(NamedTuple):
    """A record that is dirty, as each side names it: one that is new on the hub has the same name in the SIS, if any.

    `hub_id`: None where the hub is not known to have it; a key of the SIS may be no id at all there.
    `version`: what the hub is known to have of it at least; `is_known`: the hub has shown it before.
    """

    hub_id: str | None
    sis_key: str
    school_year: int | None
    version: int
    is_known: bool


async def linked(connection: Conn, subject: int, dirty: Sequence[Trigger]) -> list[Linked]:
    """The records that moved, on whichever side."""
    rows = await connection.fetch(
        """
        with named as (
            select case when u.side = 'hub' or r.hub_state <> 'absent' then coalesce(r.hub_id, u.key) end as hub_id,
                   coalesce(r.sis_key, u.key) as sis_key, r.school_year, greatest(u.version, r.hub_version) as version,
                   coalesce(r.hub_state <> 'absent', false) as is_known
            from unnest($2::text[], $3::text[], $4::bigint[]) as u(side, key, version)
            left join record h on u.side = 'hub' and h.subject = $1 and h.hub_id = u.key
            left join record s on u.side = 'sis' and s.subject = $1 and s.sis_key = u.key
            left join record r on r.number = coalesce(h.number, s.number)
        )
        select distinct on (hub_id, sis_key) hub_id, sis_key, school_year, version, is_known
        from named order by hub_id, sis_key, version desc
        """,
        subject,
        [each.side for each in dirty],
        [each.key for each in dirty],
        [each.version for each in dirty],
    )
    return [Linked(*row.values()) for row in rows]


async def linked_of(connection: Conn, numbers: Sequence[int]) -> list[Linked]:
    """These records, as far as the hub may have them."""
    rows = await connection.fetch(
        """
        select hub_id, coalesce(sis_key, hub_id) as sis_key, school_year, hub_version, hub_state <> 'absent'
        from record where number = any($1::bigint[]) and hub_id is not null
        """,
        numbers,
    )
    return [Linked(*row.values()) for row in rows]


async def numbers(connection: Conn, subject: int, hub_ids: Sequence[str], sis_keys: Sequence[str]) -> list[int]:
    """The records that have one of these names on either side."""
    rows = await connection.fetch(
        """
        select number from record where subject = $1 and hub_id = any($2::text[])
        union select number from record where subject = $1 and sis_key = any($3::text[]) order by 1
        """,
        subject,
        hub_ids,
        sis_keys,
    )
    return [row["number"] for row in rows]


async def written_in_a_day(connection: Conn, subject: int, but: UUID) -> AsyncIterator[list[Change]]:
    """What realtime runs did last to each record within 24 hours, but for records that this run plans.

    What a person approved was looked at, and does not count. Within a transaction of the caller's.
    """
    cursor = await connection.cursor(
        """
        select distinct on (p.record) p.change from planned p join run r on r.id = p.run
        where r.subject = $1 and r.runner = 'realtime' and r.id <> $2 and r.begun_at > now() - interval '24 hours'
          and r.decided_by is null
          and exists (select from journal j where j.run = r.id and j.record = p.record
                      and coalesce(j.result, 'unknown') in ('done', 'unknown'))
          and not exists (select from planned mine where mine.run = $2 and mine.record = p.record)
        order by p.record, r.begun_at desc
        """,
        subject,
        but,
    )
    while rows := await cursor.fetch(_AT_ONCE):
        yield [change_of(row["change"]) for row in rows]


async def held_numbers(connection: Conn, subject: int, but: UUID) -> list[int]:
    """The records of held realtime runs that this run does not plan."""
    rows = await connection.fetch(
        """
        select distinct p.record from planned p join run r on r.id = p.run
        where r.subject = $1 and r.runner = 'realtime' and r.status = 'held' and p.outcome = 'planned'
          and not exists (select from planned mine where mine.run = $2 and mine.record = p.record)
        order by p.record
        """,
        subject,
        but,
    )
    return [row["record"] for row in rows]
