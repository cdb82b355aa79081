"""What is kept of both sides before a run writes: what goes into a backup, and where backups are."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import asyncpg

from homeroom_merge.store.connection import Conn

_COLLECTED_AT_ONCE = 1_000


class Due(NamedTuple):
    """A run whose backup is to be made. `is_whole`: of all records of its subject; else of those of its plan."""

    subject: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Backup:
    """A backup as it was noted. `made_at`: None where it was never completed."""

    run: UUID
    feed: str
    entity: str
    place: str
    made_at: datetime | None
    records: int | None
    bytes: int | None
    checksum: str | None
    collected_at: datetime | None


async def due(connection: Conn, run: UUID) -> Due | None:
    """Whether a run is about to write something of which it has no backup yet."""
    row = await connection.fetchrow(
        """
        select r.subject, r.runner <> 'realtime' as is_whole from run r
        where r.id = $1 and not exists (select from backup b where b.run = r.id and b.made_at is not null)
          and exists (
            select from planned p
            where p.run = r.id and p.outcome in ('planned', 'halfway')
              and json_array_length(p.change::json -> 'writes') > 0
              and json_array_length(p.change::json -> 'waitsFor') = 0)
        """,
        run,
    )
    return None if row is None else Due(*row)


async def begin(connection: Conn, run: UUID, place: str) -> None:
    """Noted before any record is in it, so that no part of one is ever forgotten."""
    await connection.execute(
        """
        insert into backup (run, place) values ($1, $2)
        on conflict (run) do update set place = excluded.place, begun_at = now()
        """,
        run,
        place,
    )


async def complete(connection: Conn, run: UUID, records: int, size: int, checksum: str) -> None:
    """It is whole, and where it belongs."""
    await connection.execute(
        "update backup set made_at = now(), records = $2, bytes = $3, checksum = $4 where run = $1",
        run,
        records,
        size,
        checksum,
    )


async def make_keys(connection: Conn, run: UUID, due: Due) -> None:
    """A key for each student of whom the backup will hold something and who has none.

    Not within a transaction: backups of other entities, which are made meanwhile, make keys for the same students.
    """
    await connection.execute(
        """
        insert into student_key (feed, student)
        select distinct s.feed, student_of(r, s.student) collate "C"
        from subject s join record r on r.subject = s.number
        where s.number = $1 and student_of(r, s.student) is not null
          and ($2 or exists (select from planned p where p.run = $3 and p.record = r.number))
          and not exists (select from student_key k where k.feed = s.feed and k.student = student_of(r, s.student))
        order by 2 on conflict do nothing
        """,
        due.subject,
        due.is_whole,
        run,
    )


async def keys(connection: Conn, ids: Sequence[str]) -> dict[str, bytes]:
    """The keys of these ids that there are."""
    rows = await connection.fetch("select id::text, key from student_key where id = any($1::text[]::uuid[])", ids)
    return {row["id"]: row["key"] for row in rows}


async def everything(connection: Conn, subject: int) -> AsyncIterator[asyncpg.Record]:
    """What is known of every record of a subject, with its student's key; within a transaction of the caller's."""
    rows = connection.cursor(
        """
        select r.hub_id, r.sis_key, r.school, r.school_year, r.hub_state, r.hub_seen, r.hub_version, r.sis_state,
               r.sis_seen, r.sis_covered, r.awaiting, k.id::text as key_id, k.key
        from record r join subject s on s.number = r.subject
        left join student_key k on k.feed = s.feed and k.student = student_of(r, s.student)
        where r.subject = $1 order by r.number
        """,
        subject,
        prefetch=1_000,
    )
    async for row in rows:
        yield row


async def what_is_planned(connection: Conn, run: UUID) -> AsyncIterator[asyncpg.Record]:
    """The same of the records of a plan alone."""
    rows = connection.cursor(
        """
        select r.hub_id, r.sis_key, r.school, r.school_year, r.hub_state, r.hub_seen, r.hub_version, r.sis_state,
               r.sis_seen, r.sis_covered, r.awaiting, k.id::text as key_id, k.key
        from planned p join record r on r.number = p.record join subject s on s.number = r.subject
        left join student_key k on k.feed = s.feed and k.student = student_of(r, s.student)
        where p.run = $1 order by r.number
        """,
        run,
        prefetch=1_000,
    )
    async for row in rows:
        yield row


async def outlived(connection: Conn, subject: int, keep: int, keep_days: int) -> list[tuple[UUID, str]]:
    """(run, place) of backups that need not be kept, or were never completed.

    Never the last one, never that of a run which has not ended. Those of realtime runs are small and many: they count
    apart.
    """
    rows = await connection.fetch(
        """
        select run, place from (
            select b.run, b.place, b.made_at, r.status, row_number() over (
                partition by b.made_at is null, r.runner = 'realtime' order by b.made_at desc, b.run) as rank
            from backup b join run r on r.id = b.run where r.subject = $1 and b.collected_at is null
        ) as kept
        where status not in ('running', 'held')
          and (made_at is null or (rank > 1 and (rank > $2 or made_at < now() - make_interval(days => $3))))
        order by made_at limit $4
        """,
        subject,
        keep,
        keep_days,
        _COLLECTED_AT_ONCE,
    )
    return [(row["run"], row["place"]) for row in rows]


async def note_collected(connection: Conn, runs: Sequence[UUID]) -> None:
    await connection.execute("update backup set collected_at = now() where run = any($1::uuid[])", runs)


async def find(connection: Conn, run: UUID) -> Backup | None:
    row = await connection.fetchrow(
        """
        select b.run, f.name as feed, s.entity, b.place, b.made_at, b.records, b.bytes, b.checksum, b.collected_at
        from backup b join run r on r.id = b.run join subject s on s.number = r.subject join feed f on f.number = s.feed
        where b.run = $1
        """,
        run,
    )
    return None if row is None else Backup(**row)


async def places(connection: Conn, feed: int) -> list[str]:
    """Where backups of a feed are, or parts of them."""
    rows = await connection.fetch(
        """
        select b.place from backup b join run r on r.id = b.run join subject s on s.number = r.subject
        where s.feed = $1 and b.collected_at is null order by b.begun_at
        """,
        feed,
    )
    return [row["place"] for row in rows]


async def latest(connection: Conn, feed: str, limit: int) -> list[Backup]:
    """Those of a feed that are there, the last one first."""
    rows = await connection.fetch(
        """
        select b.run, f.name as feed, s.entity, b.place, b.made_at, b.records, b.bytes, b.checksum, b.collected_at
        from backup b join run r on r.id = b.run join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 and b.made_at is not null and b.collected_at is null order by b.made_at desc limit $2
        """,
        feed,
        limit,
    )
    return [Backup(**row) for row in rows]
