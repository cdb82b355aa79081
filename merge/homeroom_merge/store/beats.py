"""Hearts that beat while runs go, and what is told to those who work on them."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.store.connection import Conn
from homeroom_merge.store.runs import SUBJECT_LOCK


class Silent(NamedTuple):
    """A run that nobody ended, whose heart has stopped, and on whose subject nobody works."""

    run: UUID
    feed: str
    entity: str


async def beat(connection: Conn, going: Sequence[UUID]) -> bool:
    """These are worked on; whether somebody wants one of them to end."""
    rows = await connection.fetch(
        "update run set beats_at = now() where id = any($1::uuid[]) returning cancel_asked_at",
        going,
    )
    return any(row["cancel_asked_at"] is not None for row in rows)


async def ask_to_end(connection: Conn, run: UUID) -> str | None:
    """Tell whoever works on a run to end it; how the run stands, None: there is none."""
    status = await connection.fetchval(
        """
        update run set cancel_asked_at = case when status = 'running' then coalesce(cancel_asked_at, now()) end
        where id = $1 returning status
        """,
        run,
    )
    return None if status is None else str(status)


async def silent(connection: Conn, seconds: float) -> list[Silent]:
    """Runs without a beat for so long. Who holds the subject's lock works on it, even if he does not say so."""
    rows = await connection.fetch(
        """
        select r.id, f.name as feed, s.entity from run r
        join subject s on s.number = r.subject join feed f on f.number = s.feed
        where r.status = 'running' and r.beats_at < now() - make_interval(secs => $1)
          and not exists (
            select from pg_locks l join pg_database d on d.oid = l.database
            where d.datname = current_database() and l.locktype = 'advisory'
              and (l.classid, l.objid, l.objsubid) = ($2::oid, r.subject::oid, 2))
        order by r.begun_at
        """,
        seconds,
        SUBJECT_LOCK,
    )
    return [Silent(*row.values()) for row in rows]


async def anyone_works(connection: Conn, feed: str, seconds: float) -> bool:
    """Whether a run of a feed had a beat within so many seconds."""
    return bool(
        await connection.fetchval(
            """
            select exists (
                select from run r join subject s on s.number = r.subject join feed f on f.number = s.feed
                where f.name = $1 and r.status = 'running' and r.beats_at >= now() - make_interval(secs => $2))
            """,
            feed,
            seconds,
        )
    )
