"""Who was told of what on which day, and who could not be."""

from collections.abc import Collection, Sequence
from datetime import date
from uuid import UUID

from homeroom_merge.store.connection import Conn


async def claim(connection: Conn, feed: str, hook: str, day: date, occasions: Collection[str]) -> list[str]:
    """Those of which nobody has told the hook that day, or is about to: it is the caller's now to tell."""
    rows = await connection.fetch(
        """
        insert into told (feed, hook, occasion, day)
        select f.number, $2, o, $3 from feed f, unnest($4::text[]) as o where f.name = $1
        on conflict (feed, hook, occasion, day) do update set claimed_at = now()
        where told.told_at is null and told.claimed_at < now() - interval '10 minutes'
        returning occasion
        """,
        feed,
        hook,
        day,
        occasions,
    )
    return [row["occasion"] for row in rows]


async def release(connection: Conn, feed: str, hook: str, day: date, occasions: Collection[str]) -> None:
    """It could not be told after all."""
    await connection.execute(
        """
        delete from told t using feed f where f.number = t.feed and f.name = $1
        and t.hook = $2 and t.day = $3 and t.occasion = any($4::text[])
        """,
        feed,
        hook,
        day,
        occasions,
    )


async def note(connection: Conn, feed: str, hook: str, day: date, occasions: Collection[str]) -> None:
    """It was told, and works."""
    await connection.execute(
        """
        update told t set told_at = now() from feed f where f.number = t.feed and f.name = $1
        and t.hook = $2 and t.day = $3 and t.occasion = any($4::text[])
        """,
        feed,
        hook,
        day,
        occasions,
    )
    await connection.execute("delete from told where day < $1::date - 31", day)
    await forget_failure(connection, feed, hook)


async def note_failure(connection: Conn, feed: str, hook: str, runs: Sequence[UUID], message: str) -> None:
    """It fails. `runs`: those of which it is to be told once more."""
    await connection.execute(
        """
        insert into hook_failure (feed, hook, runs, message) select number, $2, $3, $4 from feed where name = $1
        on conflict (feed, hook) do update
        set runs = excluded.runs, message = excluded.message, last_tried = now()
        """,
        feed,
        hook,
        runs,
        message,
    )


async def untold_runs(connection: Conn, feed: str, hook: str) -> Sequence[UUID]:
    """Of which it could not be told the last time."""
    runs: Sequence[UUID] | None = await connection.fetchval(
        "select h.runs from hook_failure h join feed f on f.number = h.feed where f.name = $1 and h.hook = $2",
        feed,
        hook,
    )
    return runs or []


async def forget_failure(connection: Conn, feed: str, hook: str) -> None:
    await connection.execute(
        "delete from hook_failure h using feed f where f.number = h.feed and f.name = $1 and h.hook = $2", feed, hook
    )


async def forget_others(connection: Conn, feed: str, hooks: Collection[str]) -> None:
    """Failures of hooks that the feed has no more."""
    await connection.execute(
        """
        delete from hook_failure h using feed f
        where f.number = h.feed and f.name = $1 and h.hook <> all($2::text[])
        """,
        feed,
        hooks,
    )
