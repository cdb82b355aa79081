"""One nightly run per feed and local date, whoever looks at the clock."""

from collections.abc import Awaitable, Callable
from datetime import date, datetime
from typing import NamedTuple

from homeroom_merge.store.connection import Conn

_CLOCK_LOCK = 49
_AGAIN_MINUTES = 10


class Noted(NamedTuple):
    """A night that began. `skipped`: why it does not run."""

    date: date
    begins: datetime
    until: datetime
    job: int | None
    skipped: str | None


async def lead(connection: Conn) -> bool:
    """Be the one who looks at the clock, as long as the connection lives; whether nobody else is."""
    return bool(await connection.fetchval("select pg_try_advisory_lock($1)", _CLOCK_LOCK))


async def feeds(connection: Conn) -> list[str]:
    """All that have settings."""
    return [row["name"] for row in await connection.fetch("select name from feed order by name")]


async def note(
    connection: Conn, feed: str, day: date, begins: datetime, until: datetime, skipped: str | None = None
) -> bool:
    """A night has begun, or is `skipped`, and why; whether nobody had noted it before."""
    done = await connection.execute(
        """
        insert into night (feed, local_date, begins_at, until, skipped)
        select number, $2, $3, $4, $5 from feed where name = $1 on conflict do nothing
        """,
        feed,
        day,
        begins,
        until,
        skipped,
    )
    return not done.endswith(" 0")


async def hand_out(connection: Conn, defer: Callable[[str, date], Awaitable[int]]) -> list[tuple[str, date]]:
    """Give every night that waits for one a job; a job of which this says nothing, after a crash, does nothing."""
    handed = []
    async with connection.transaction():
        rows = await connection.fetch(
            """
            select n.feed as number, f.name, n.local_date from night n join feed f on f.number = n.feed
            where n.job is null and n.skipped is null and n.hand_out_at <= now()
            order by n.begins_at for update of n skip locked
            """
        )
        for row in rows:
            job = await defer(row["name"], row["local_date"])
            await connection.execute(
                "update night set job = $3 where feed = $1 and local_date = $2", row["number"], row["local_date"], job
            )
            handed.append((row["name"], row["local_date"]))
    return handed


async def until(connection: Conn, feed: str, day: date, job: int) -> datetime | None:
    """By when the night's runs have to begin; None: the night is not this job's."""
    found: datetime | None = await connection.fetchval(
        """
        select n.until from night n join feed f on f.number = n.feed
        where f.name = $1 and n.local_date = $2 and n.job = $3
        """,
        feed,
        day,
        job,
    )
    return found


async def give_back(connection: Conn, job: int) -> None:
    """It could not begin: it is handed out again in some minutes."""
    await connection.execute(
        "update night set job = null, hand_out_at = now() + make_interval(mins => $2) where job = $1",
        job,
        _AGAIN_MINUTES,
    )


async def skip(connection: Conn, job: int, why: str) -> None:
    """It is left for the next night."""
    await connection.execute("update night set skipped = $2 where job = $1", job, why)


async def latest(connection: Conn, feed: str, limit: int) -> list[Noted]:
    """The nights of a feed, the newest first."""
    rows = await connection.fetch(
        """
        select n.local_date, n.begins_at, n.until, n.job, n.skipped from night n join feed f on f.number = n.feed
        where f.name = $1 order by n.local_date desc limit $2
        """,
        feed,
        limit,
    )
    return [Noted(*row.values()) for row in rows]
