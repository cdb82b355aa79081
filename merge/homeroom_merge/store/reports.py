"""What reports are made of beside records: the head of a run, what it left out, what its writes came to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from homeroom_merge.codec import faults_text
from homeroom_merge.records import Fault
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a run as a whole. `overrides`: JSON. `decided_by`: who approved or discarded it, when held."""

    feed: str
    entity: str
    runner: str
    status: str
    begun_at: datetime
    ended_at: datetime | None
    settings_state: str
    settings_version: int
    overrides: str
    dry: bool
    decided_by: str | None
    decided_at: datetime | None

    @property
    def is_discarded(self) -> bool:
        """It was held, and ended without being carried out."""
        return self.status == "cancelled" and self.decided_at is not None and self.decided_at == self.ended_at


@dataclass(frozen=True, slots=True)
class Awaited:
    """A record that was written to the SIS and that no feed has shown since."""

    name: str
    since: datetime


async def head(connection: Conn, run: UUID) -> Head | None:
    row = await connection.fetchrow(
        """
        select f.name as feed, s.entity, r.runner, r.status, r.begun_at, r.ended_at, r.settings_state,
               r.settings_version, r.overrides, r.dry, r.decided_by, r.decided_at
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed where r.id = $1
        """,
        run,
    )
    return None if row is None else Head(**row)


async def latest(connection: Conn, feed: str, limit: int) -> list[tuple[UUID, Head]]:
    """The runs of a feed, the last one first."""
    rows = await connection.fetch(
        """
        select r.id, f.name as feed, s.entity, r.runner, r.status, r.begun_at, r.ended_at, r.settings_state,
               r.settings_version, r.overrides, r.dry, r.decided_by, r.decided_at
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 order by r.begun_at desc limit $2
        """,
        feed,
        limit,
    )
    return [(each, Head(*rest)) for each, *rest in (tuple(row.values()) for row in rows)]


async def keep_report(connection: Conn, run: UUID, text: str) -> None:
    """The head of a run's report; its records are those of the plan."""
    await connection.execute("update run set report = $2 where id = $1", run, text)


async def find_report(connection: Conn, run: UUID) -> str | None:
    text: str | None = await connection.fetchval("select report from run where id = $1", run)
    return text


async def leave_out(
    connection: Conn,
    run: UUID,
    subject: int,
    sis: Sequence[tuple[str, Fault]],
    limit: int,
    numbers: Sequence[int] | None = None,
) -> dict[str, int]:
    """Note which of these records (None: all) fail verification now, at most so many of each kind; how many, by side.

    `sis`: faults of the SIS's by place, for rows without a key of their own.
    """
    rows = await connection.fetch(
        """
        with failing as (
            select number, 'hub' as side, hub_faults as faults from record
            where subject = $2 and hub_state = 'failed' and hub_faults is not null
              and ($4::bigint[] is null or number = any($4::bigint[]))
            union all
            select number, 'sis', sis_faults from record
            where subject = $2 and sis_state = 'failed' and sis_faults is not null
              and ($4::bigint[] is null or number = any($4::bigint[]))
        ), noted as (
            insert into left_out (run, side, record, place, faults)
            select $1, side, number, faults::jsonb ->> 'place', faults from failing order by number limit $3
        )
        select side, count(*) as n from failing group by side
        """,
        run,
        subject,
        limit,
        numbers,
    )
    counts = {row["side"]: row["n"] for row in rows}
    known = await connection.fetch("select place from left_out where run = $1 and side = 'sis'", run)
    known_places = {row["place"] for row in known}
    others: dict[str, list[Fault]] = {}
    for place, fault in sis:
        if place not in known_places and (place in others or len(others) < limit):
            others.setdefault(place, []).append(fault)
    await connection.executemany(
        "insert into left_out (run, side, place, faults) values ($1, 'sis', $2, $3)",
        [(run, place, faults_text(faults, place)) for place, faults in others.items()],
    )
    return {**counts, "sis": counts.get("sis", 0) + len(others)} if others else counts


async def count_writes(connection: Conn, run: UUID, side: SideName) -> dict[str, int]:
    """What a run's writes to a side came to."""
    rows = await connection.fetch(
        """
        select coalesce(result, 'unknown') as result, count(*) as n from journal where run = $1 and side = $2
        group by 1 order by 1
        """,
        run,
        side,
    )
    return {row["result"]: row["n"] for row in rows}


async def awaited_since(connection: Conn, subject: int, before: datetime, limit: int) -> tuple[int, list[Awaited]]:
    """Records that were last written to the SIS before then and that no feed has shown: how many, and the first."""
    rows = await connection.fetch(
        """
        select coalesce(r.sis_key, r.hub_id) as name, j.since, count(*) over () as total
        from record r
        cross join lateral (
            select max(coalesce(j.ended_at, j.intended_at)) as since from journal j
            where j.record = r.number and j.side = 'sis') j
        where r.subject = $1 and r.awaiting is not null and j.since < $2
        order by j.since, r.number limit $3
        """,
        subject,
        before,
        limit,
    )
    return (rows[0]["total"] if rows else 0), [Awaited(row["name"], row["since"]) for row in rows]
