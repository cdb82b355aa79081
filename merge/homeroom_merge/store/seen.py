"""What the last fetch of each side showed, and how far it got: always one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from homeroom_merge.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Subject:
    """One entity of one feed, and how far each side has been fetched."""

    number: int
    hub_cursor: str | None
    sis_cursor: str | None
    sis_columns: frozenset[str] | None
    sis_whole_age: timedelta | None = None
    """Since the SIS was last asked for everything. None: it never was."""


class HubRow(NamedTuple):
    """A record as the hub showed it. `body`: canonical text, None where there is none."""

    hub_id: str
    state: str
    version: int
    body: str | None
    changed_at: datetime | None
    faults: str | None = None
    school: str | None = None
    school_year: int | None = None


async def find_subject(connection: Conn, feed: str, entity: str) -> Subject:
    """Made if need be, the feed with it."""
    row = await connection.fetchrow(
        """
        with the_feed as (
            insert into feed (name, state_name) values ($1, 'default')
            on conflict (name) do update set name = excluded.name
            returning number
        )
        insert into subject (feed, entity) select number, $2 from the_feed
        on conflict (feed, entity) do update set entity = excluded.entity
        returning number, hub_cursor, sis_cursor, sis_columns, now() - sis_whole_at as sis_whole_age
        """,
        feed,
        entity,
    )
    assert row is not None, "just made"
    columns = row["sis_columns"]
    known = None if columns is None else frozenset(columns)
    return Subject(row["number"], row["hub_cursor"], row["sis_cursor"], known, row["sis_whole_age"])


async def note_student(connection: Conn, subject: int, member: str | None) -> None:
    """By which member the records of a subject name their student, as the hub has it now."""
    await connection.execute(
        "update subject set student = $2 where number = $1 and student is distinct from $2", subject, member
    )


async def store_hub(connection: Conn, subject: int, rows: Sequence[HubRow], *, anew: bool = False) -> None:
    """What the hub showed of these records; a record that it shows no longer keeps its last body.

    `anew`: everything is fetched anew, perhaps from another history of the Core, whose versions count from then on.
    """
    await connection.execute(
        """
        insert into record (subject, hub_id, hub_state, hub_version, hub_seen, hub_changed_at, hub_faults, school,
                            school_year)
        select $1, u.* from unnest($2::text[], $3::seen_state[], $4::bigint[], $5::text[], $6::timestamptz[],
                                   $7::text[], $8::text[], $9::int[]) as u
        on conflict (subject, hub_id) where hub_id is not null do update
        set hub_state = excluded.hub_state, hub_faults = excluded.hub_faults,
            hub_version = case when $10 then excluded.hub_version
                               else greatest(record.hub_version, excluded.hub_version) end,
            hub_seen = coalesce(excluded.hub_seen, record.hub_seen),
            hub_changed_at = coalesce(excluded.hub_changed_at, record.hub_changed_at),
            school = coalesce(record.school, excluded.school),
            school_year = coalesce(record.school_year, excluded.school_year)
        """,
        subject,
        *_columns(rows, 8),
        anew,
    )


async def hub_news(connection: Conn, subject: int, listed: Mapping[str, int]) -> list[str]:
    """Of ids with versions, those that are not known at that version or a later one."""
    rows = await connection.fetch(
        """
        select u.id from unnest($2::text[], $3::bigint[]) as u(id, version)
        where not exists (
            select from record r where r.subject = $1 and r.hub_id = u.id and r.hub_version >= u.version
              and r.hub_state in ('live', 'deleted', 'failed'))
        """,
        subject,
        list(listed),
        list(listed.values()),
    )
    return [row["id"] for row in rows]


async def hub_not_among(connection: Conn, subject: int, shown: Sequence[str], school_year: int | None) -> list[str]:
    """Of the records of a school year that were live on the hub, those that a complete fetch did not show."""
    rows = await connection.fetch(
        """
        select hub_id from record
        where subject = $1 and hub_id is not null and hub_state in ('live', 'failed') and hub_id <> all($2::text[])
          and ($3::int is null or school_year = $3)
        """,
        subject,
        shown,
        school_year,
    )
    return [row["hub_id"] for row in rows]


async def move_hub_cursor(connection: Conn, subject: int, cursor: str) -> None:
    await connection.execute(
        "update subject set hub_cursor = $2, hub_fetched_at = now() where number = $1", subject, cursor
    )


async def move_sis_cursor(
    connection: Conn, subject: int, cursor: str | None, columns: Iterable[str] | None, *, whole: bool
) -> None:
    """`columns`: those of a complete feed, which are the known ones from now on unless a known one is missing.

    `whole`: everything was asked for.
    """
    await connection.execute(
        """
        update subject
        set sis_cursor = $2, sis_fetched_at = now(), sis_columns_shown = coalesce($3, sis_columns_shown),
            sis_columns = case when sis_columns is null or sis_columns <@ $3::text[] then $3 else sis_columns end,
            sis_whole_at = case when $4 then now() else sis_whole_at end
        where number = $1
        """,
        subject,
        cursor,
        None if columns is None else sorted(columns),
        whole,
    )


async def know_shown_columns(connection: Conn, subject: int) -> None:
    """Somebody has approved what the last complete feed made of it: no other column is missing any longer."""
    await connection.execute(
        "update subject set sis_columns = coalesce(sis_columns_shown, sis_columns) where number = $1", subject
    )


async def link_alike(connection: Conn, subject: int, keys: Sequence[str] | None = None) -> int:
    """Link records of the SIS (None: all) to unlinked ones of the hub whose id is their key; how many.

    Likewise to the one that was written to the SIS and is awaited under whatever key it gives, if there is just one.
    """
    return int(
        await connection.fetchval(
            """
            with alike as (
                select s.number as sis, h.number as hub from record s join record h on h.subject = s.subject
                where s.subject = $1 and s.hub_id is null and h.sis_key is null and h.hub_id = s.sis_key
                  and ($2::text[] is null or s.sis_key = any($2::text[]))
                union
                select s.number, h.number from record s
                join record h on h.subject = s.subject and h.awaiting::jsonb #> '{base,sis}' = s.sis_seen::jsonb
                where s.subject = $1 and s.hub_id is null and h.sis_key is null and h.awaiting is not null
                  and ($2::text[] is null or s.sis_key = any($2::text[]))
            ), counted as (
                select sis, hub, count(*) over (partition by sis) as of_sis, count(*) over (partition by hub) as of_hub
                from alike
            ), pair as (
                select sis, hub from counted where of_sis = 1 and of_hub = 1
            ), freed as (
                delete from record using pair where record.number = pair.hub
                returning pair.sis, record.hub_id, record.hub_state, record.hub_seen, record.hub_version,
                          record.hub_changed_at, record.hub_faults
            ), linked as (
                update record r
                set hub_id = f.hub_id, hub_state = f.hub_state, hub_seen = f.hub_seen, hub_version = f.hub_version,
                    hub_changed_at = f.hub_changed_at, hub_faults = f.hub_faults
                from freed f where r.number = f.sis
                returning 1
            )
            select count(*) from linked
            """,
            subject,
            keys,
        )
    )


async def re_keys(connection: Conn, subject: int, keys: Sequence[str] | None = None) -> dict[int, str]:
    """New records of the SIS with an identifier that a record has which the SIS no longer shows: by number, its key.

    `keys`: those of new records that count; None: all.
    """
    rows = await connection.fetch(
        """
        select n.number, min(o.sis_key) as key
        from record n join record o on o.subject = n.subject and o.identifier = n.identifier and o.number <> n.number
        where n.subject = $1 and n.base_hub is null and n.hub_state = 'absent' and n.sis_state = 'live'
          and o.base_hub is not null and not o.base_deleted and o.sis_state in ('absent', 'deleted')
          and not exists (select from re_key k where k.record = n.number and k.sis_key = o.sis_key)
          and ($2::text[] is null or n.sis_key = any($2::text[]))
        group by n.number
        """,
        subject,
        keys,
    )
    return {row["number"]: row["key"] for row in rows}


async def namesakes(connection: Conn, subject: int, keys: Sequence[str]) -> list[str]:
    """The keys of other records with the identifiers of these, where these are new: they may have been these."""
    rows = await connection.fetch(
        """
        select distinct o.sis_key from record n
        join record o on o.subject = n.subject and o.identifier = n.identifier and o.number <> n.number
        where n.subject = $1 and n.sis_key = any($2::text[]) and n.base_hub is null and n.sis_state = 'live'
          and o.sis_key is not null and o.sis_key <> all($2::text[]) and o.base_hub is not null and not o.base_deleted
        order by o.sis_key
        """,
        subject,
        keys,
    )
    return [row["sis_key"] for row in rows]


async def draw_ids(
    connection: Conn, subject: int, but: Sequence[int], keys: Sequence[str] | None = None, *, uuids: bool
) -> None:
    """Hub ids for records of the SIS (None: all) that have none. One that is another record's hub id gets an ending."""
    await connection.execute(
        """
        update record r
        set hub_id = case
            when $3 then gen_random_uuid()::text
            when exists (select from record o where o.subject = $1 and o.hub_id = r.sis_key)
                then left(sis_key, 51) || '.' || left(md5(r.number::text), 12)
            else sis_key end
        where subject = $1 and hub_id is null and sis_state = 'live' and number <> all($2::bigint[])
          and ($4::text[] is null or sis_key = any($4::text[]))
        """,
        subject,
        but,
        uuids,
        keys,
    )


def _columns(rows: Sequence[tuple[object, ...]], count: int) -> list[list[object]]:
    return [[row[place] for row in rows] for place in range(count)]
