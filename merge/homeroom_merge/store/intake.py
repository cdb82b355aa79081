"""Rows of the SIS as they come in: staged in a table that lives as long as the transaction, then taken as seen."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import NamedTuple

from homeroom_merge.store.connection import Conn

REFUSED = "refused"
"""The state of a row that is there and of which nothing else is kept: an erased student's."""
_AT_ONCE = 1_000


class SisRow(NamedTuple):
    """A record as the SIS showed it, in the hub's shape, its references keys of the SIS. `place`: where it stands."""

    sis_key: str
    state: str
    body: str | None
    covered: str | None
    school: str | None
    school_year: int | None
    identifier: str | None
    faults: str | None
    changed_at: datetime | None
    place: str


async def begin(connection: Conn) -> None:
    """Within a transaction of the caller's, as all that follows."""
    await connection.execute(
        """
        create temporary table intake (
            number bigint generated always as identity, sis_key text collate "C", state text, body text, covered text,
            school text, school_year integer, identifier text, faults text, changed_at timestamptz, place text
        ) on commit drop
        """
    )


async def add(connection: Conn, rows: Sequence[SisRow]) -> None:
    """In the order in which they stand in the source."""
    await connection.copy_records_to_table("intake", columns=SisRow._fields, records=rows)


async def twins(connection: Conn) -> AsyncIterator[tuple[str, Sequence[str]]]:
    """Each key that stands more than once, and its places. Called once, when all have been added."""
    await connection.execute("analyze intake")
    rows = connection.cursor(
        """
        select sis_key, array_agg(place order by number) as places from intake where state <> 'refused'
        group by sis_key having count(*) > 1
        """,
        prefetch=_AT_ONCE,
    )
    async for row in rows:
        yield row["sis_key"], row["places"]


async def fail(connection: Conn, faults: Sequence[tuple[str, str]]) -> int:
    """(key, faults) of records that are left out, whatever their rows say; how many rows are left out in all."""
    await connection.execute(
        """
        update intake i set state = 'failed', body = null, covered = null, faults = u.faults
        from unnest($1::text[], $2::text[]) as u(key, faults) where i.sis_key = u.key and i.state <> 'refused'
        """,
        [key for key, _ in faults],
        [said for _, said in faults],
    )
    return int(await connection.fetchval("select count(*) from intake where state = 'failed'"))


async def take(connection: Conn, subject: int) -> None:
    """What was staged is what the SIS shows of these records; one that failed keeps the body it was last seen with.

    One that was refused is not taken, nor missed; it is forgotten where it never had a body to tell whose it is.
    """
    await connection.execute(
        """
        delete from record r using intake i
        where i.state = 'refused' and r.subject = $1 and r.sis_key = i.sis_key
          and r.sis_seen is null and r.base_sis is null and r.hub_state = 'absent'
        """,
        subject,
    )
    await connection.execute(
        """
        insert into record (subject, sis_key, sis_state, sis_seen, sis_covered, school, school_year, identifier,
                            sis_faults, sis_changed_at)
        select distinct on (sis_key) $1, sis_key, state::seen_state, body, string_to_array(covered, ','), school,
               school_year, identifier, faults, changed_at
        from intake where state <> 'refused' order by sis_key, number desc
        on conflict (subject, sis_key) where sis_key is not null do update
        set sis_state = excluded.sis_state, sis_faults = excluded.sis_faults, sis_absences = 0,
            sis_seen = coalesce(excluded.sis_seen, record.sis_seen),
            sis_covered = coalesce(excluded.sis_covered, record.sis_covered),
            sis_changed_at = coalesce(excluded.sis_changed_at, record.sis_changed_at),
            school = coalesce(excluded.school, record.school),
            school_year = coalesce(excluded.school_year, record.school_year),
            identifier = coalesce(excluded.identifier, record.identifier)
        -- A night on which nothing has changed writes nothing.
        where (record.sis_state, record.sis_faults, record.sis_absences, record.sis_seen, record.sis_covered,
               record.sis_changed_at, record.school, record.school_year, record.identifier)
           is distinct from
              (excluded.sis_state, excluded.sis_faults, 0, coalesce(excluded.sis_seen, record.sis_seen),
               coalesce(excluded.sis_covered, record.sis_covered),
               coalesce(excluded.sis_changed_at, record.sis_changed_at), coalesce(excluded.school, record.school),
               coalesce(excluded.school_year, record.school_year),
               coalesce(excluded.identifier, record.identifier))
        """,
        subject,
    )


async def count_absences(
    connection: Conn,
    subject: int,
    schools: Sequence[str],
    years: Sequence[int] | None,
    pairs: Sequence[tuple[str, int | None]] | None,
    feeds_min: int,
) -> int:
    """A complete feed did not show these: absent, and after so many such feeds in a row deleted; how many are.

    Only records that the feed's own schools own, of the years that are merged (None: all of them), within the
    (school, year) pairs that the feed covered (None: all of them); and those of which nothing was made yet, whosever
    they are. Absence of any other says nothing.
    """
    return int(
        await connection.fetchval(
            """
            with gone as (
                update record r
                set sis_absences = sis_absences + 1,
                    sis_state = case when sis_absences + 1 >= $6 then 'deleted' else 'absent' end::seen_state
                where subject = $1 and sis_key is not null and sis_state in ('live', 'absent', 'failed')
                  and not exists (select from intake i where i.sis_key = r.sis_key)
                  and ((base_hub is null and hub_state = 'absent') or (
                        school = any($2::text[])
                        and ($3::int[] is null or school_year is null or school_year = any($3::int[]))
                        and ($4::text[] is null or exists (
                            select from unnest($4::text[], $5::int[]) as p(school, year)
                            where p.school = r.school and (p.year is null or p.year = r.school_year)))))
                returning sis_state
            )
            select count(*) from gone where sis_state = 'deleted'
            """,
            subject,
            schools,
            years,
            None if pairs is None else [school for school, _ in pairs],
            None if pairs is None else [year for _, year in pairs],
            feeds_min,
        )
    )


async def miss(connection: Conn, subject: int, keys: Sequence[str] | None = None) -> None:
    """The SIS was asked for these (None: all); those it does not have are gone, which is no absence from a feed."""
    await connection.execute(
        """
        update record r set sis_state = 'absent'
        where subject = $1 and sis_key is not null and ($2::text[] is null or sis_key = any($2::text[]))
          and sis_state in ('live', 'failed')
          and not exists (select from intake i where i.sis_key = r.sis_key)
        """,
        subject,
        keys,
    )
