"""What reports are made of: the head of a run, what became of its plan and of its writes."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from homeroom_merge.codec import change_of
from homeroom_merge.plan import Change
from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


@dataclass(frozen=True, slots=True)
class Head:
    """What is said of a run as a whole."""

    feed: str
    entity: str
    runner: str
    status: str
    begun_at: datetime
    ended_at: datetime | None


async def head(connection: Conn, run: UUID) -> Head:
    row = await connection.fetchrow(
        """
        select f.name as feed, s.entity, r.runner, r.status, r.begun_at, r.ended_at
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed where r.id = $1
        """,
        run,
    )
    assert row is not None, "the run is there"
    return Head(**row)


async def keep_report(connection: Conn, run: UUID, text: str) -> None:
    """The head of a run's report; its records are those of the plan."""
    await connection.execute("update run set report = $2 where id = $1", run, text)


async def find_report(connection: Conn, run: UUID) -> str | None:
    text: str | None = await connection.fetchval("select report from run where id = $1", run)
    return text


async def results(connection: Conn, run: UUID) -> list[tuple[int, SideName, str, str]]:
    """(record, side, result, detail) of every write of a run, the last of each record and side last."""
    rows = await connection.fetch(
        """
        select record, side, coalesce(result, 'unknown') as result, detail from journal
        where run = $1 order by number
        """,
        run,
    )
    return [(row["record"], row["side"], row["result"], row["detail"]) for row in rows]


async def everything_planned(connection: Conn, run: UUID) -> list[tuple[int, Change, str]]:
    """(record, change, outcome) of a whole plan."""
    rows = await connection.fetch("select record, change, outcome from planned where run = $1 order by record", run)
    return [(row["record"], change_of(row["change"]), row["outcome"]) for row in rows]


async def latest(connection: Conn, feed: str, limit: int) -> list[tuple[UUID, Head]]:
    """The runs of a feed, the last one first."""
    rows = await connection.fetch(
        """
        select r.id, f.name as feed, s.entity, r.runner, r.status, r.begun_at, r.ended_at
        from run r join subject s on s.number = r.subject join feed f on f.number = s.feed
        where f.name = $1 order by r.begun_at desc limit $2
        """,
        feed,
        limit,
    )
    return [(each, Head(*rest)) for each, *rest in (tuple(row.values()) for row in rows)]
