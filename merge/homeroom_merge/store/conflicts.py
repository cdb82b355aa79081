"""Many conflicts of a feed: page by page, counted, and decided at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName

COUNT_MAX = 100_000
"""Conflicts are counted up to here, and no more are decided at once."""
_RECORDS_MAX = 1_000
_FIELDS_MAX = 50


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which conflicts of a feed are meant. None: whatever it is."""

    entity: str | None = None
    pointer: str | None = None
    records: Sequence[int] | None = None


class Place(NamedTuple):
    """Where a conflict stands among all of a feed, the oldest first."""

    since: datetime
    record: int
    pointer: str


FIRST = Place(datetime(1970, 1, 1, tzinfo=UTC), 0, "")
LAST = Place(datetime(9999, 1, 1, tzinfo=UTC), 0, "")


_BEYOND = """
select c.since, c.record, c.pointer
from subject s join feed f on f.number = s.feed cross join unnest($3::text[]) as w(stands)
cross join lateral (
    select c.since, c.record, c.pointer from conflict c
    where c.subject = s.number and c.stands = w.stands::conflict_state
      and ($4::text is null or c.pointer = $4) and ($5::bigint[] is null or c.record = any($5::bigint[]))
      and (c.since, c.record, c.pointer) > ($6, $7, $8)
    order by c.since asc, c.record asc, c.pointer asc limit $9
) c
where f.name = $1 and ($2::text is null or s.entity = $2)
order by c.since asc, c.record asc, c.pointer asc limit $9
"""
_BACKWARDS = _BEYOND.replace(") > (", ") < (").replace(" asc", " desc")


async def after(
    connection: Conn, feed: str, wanted: Wanted, stands: Sequence[str], place: Place, limit: int
) -> list[Place]:
    """The first ones behind a place. `stands`: of which; the work is that of so many rows, however many there are."""
    return await _beyond(connection, _BEYOND, feed, wanted, stands, place, limit)


async def before(
    connection: Conn, feed: str, wanted: Wanted, stands: Sequence[str], place: Place, limit: int
) -> list[Place]:
    """The last ones before a place, the nearest first."""
    return await _beyond(connection, _BACKWARDS, feed, wanted, stands, place, limit)


async def _beyond(
    connection: Conn, query: str, feed: str, wanted: Wanted, stands: Sequence[str], place: Place, limit: int
) -> list[Place]:
    rows = await connection.fetch(query, feed, wanted.entity, stands, wanted.pointer, wanted.records, *place, limit)
    return [Place(*row.values()) for row in rows]


async def counts(connection: Conn, feed: str, wanted: Wanted) -> Mapping[str, int]:
    """How many stand how, of COUNT_MAX and one of them at most."""
    rows = await connection.fetch(
        """
        select c.stands::text, count(*) from (
            select c.stands from conflict c
            where c.subject = any(array(
                    select s.number from subject s join feed f on f.number = s.feed
                    where f.name = $1 and ($2::text is null or s.entity = $2)))
              and ($3::text is null or c.pointer = $3) and ($4::bigint[] is null or c.record = any($4::bigint[]))
            limit $5
        ) c group by c.stands
        """,
        feed,
        wanted.entity,
        wanted.pointer,
        wanted.records,
        COUNT_MAX + 1,
    )
    return dict(tuple(row.values()) for row in rows)


async def fields(connection: Conn, feed: str, stands: Sequence[str]) -> list[tuple[str, str, int]]:
    """(entity, field, conflicts), the most first, of COUNT_MAX conflicts at most."""
    rows = await connection.fetch(
        """
        select s.entity, g.pointer, g.count from (
            select c.subject, c.pointer, count(*) from (
                select c.subject, c.pointer from conflict c
                where c.subject = any(array(
                        select s.number from subject s join feed f on f.number = s.feed where f.name = $1))
                  and c.stands = any($2::text[]::conflict_state[])
                limit $3
            ) c group by c.subject, c.pointer
        ) g join subject s on s.number = g.subject order by g.count desc, s.entity, g.pointer limit $4
        """,
        feed,
        stands,
        COUNT_MAX,
        _FIELDS_MAX,
    )
    return [tuple(row.values()) for row in rows]


async def records_of(connection: Conn, feed: str, key: str) -> list[int]:
    """Numbers of the records with this key in the SIS, id on the hub, or identifier."""
    rows = await connection.fetch(
        """
        select distinct r.number from subject s join feed f on f.number = s.feed cross join lateral (
            (select r.number from record r where r.subject = s.number and r.sis_key = $2)
            union all (select r.number from record r where r.subject = s.number and r.hub_id = $2)
            union all (select r.number from record r where r.subject = s.number and r.identifier = $2 limit $3)
        ) r
        where f.name = $1 limit $3
        """,
        feed,
        key,
        _RECORDS_MAX,
    )
    return [row["number"] for row in rows]


async def lock(connection: Conn, places: Sequence[tuple[int, str]]) -> None:
    """Let nobody change these until the caller's transaction ends."""
    await connection.execute(
        """
        select from conflict where (record, pointer) in (select * from unnest($1::bigint[], $2::text[]))
        order by record, pointer for update
        """,
        [record for record, _ in places],
        [pointer for _, pointer in places],
    )


async def take_all(connection: Conn, feed: str, wanted: Wanted, side: SideName, by: str, limit: int) -> int:
    """Decide all open ones for a side, `limit` at most; how many."""
    done = await connection.execute(
        """
        with found as (
            select c.record, c.pointer, c.base, c.sis, c.hub from conflict c
            where c.subject = any(array(
                    select s.number from subject s join feed f on f.number = s.feed
                    where f.name = $1 and ($2::text is null or s.entity = $2)))
              and c.stands = 'open' and ($3::text is null or c.pointer = $3)
              and ($4::bigint[] is null or c.record = any($4::bigint[]))
            order by c.record, c.pointer limit $7 for update
        ), made as (
            insert into decision (record, pointer, outcome, base, sis, hub, made_by)
            select record, pointer, case $5 when 'hub' then hub else sis end, base, sis, hub, $6 from found
            on conflict (record, pointer) do update
            set outcome = excluded.outcome, base = excluded.base, sis = excluded.sis, hub = excluded.hub,
                made_by = excluded.made_by, made_at = now()
            returning record, pointer
        )
        update conflict c set stands = 'decided' from made m where m.record = c.record and m.pointer = c.pointer
        """,
        feed,
        wanted.entity,
        wanted.pointer,
        wanted.records,
        side,
        by,
        limit,
    )
    return int(done.rpartition(" ")[2])
