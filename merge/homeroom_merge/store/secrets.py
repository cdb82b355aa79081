"""What feeds keep to themselves, as it is kept: encrypted."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from homeroom_merge.sealing import Sealed
from homeroom_merge.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Listed:
    """What may be said of a secret."""

    feed: str
    name: str
    key_id: str
    set_at: datetime
    set_by: str


async def put(connection: Conn, feed: str, name: str, sealed: Sealed, by: str) -> None:
    """In place of what was there."""
    await connection.execute(
        """
        insert into feed_secret (feed, name, ciphertext, key_id, set_by)
        select number, $2, $3, $4, $5 from feed where name = $1
        on conflict (feed, name) do update
        set ciphertext = excluded.ciphertext, key_id = excluded.key_id, set_at = now(), set_by = excluded.set_by
        """,
        feed,
        name,
        sealed.ciphertext,
        sealed.key_id,
        by,
    )


async def of_feed(connection: Conn, feed: str) -> dict[str, Sealed]:
    """Those of one feed, by name."""
    rows = await connection.fetch(
        """
        select s.name, s.key_id, s.ciphertext from feed_secret s join feed f on f.number = s.feed where f.name = $1
        """,
        feed,
    )
    return {row["name"]: Sealed(row["key_id"], row["ciphertext"]) for row in rows}


async def listed(connection: Conn) -> list[Listed]:
    """Those of all feeds, without what they are."""
    rows = await connection.fetch(
        """
        select f.name as feed, s.name, s.key_id, s.set_at, s.set_by
        from feed_secret s join feed f on f.number = s.feed order by f.name, s.name
        """
    )
    return [Listed(**row) for row in rows]


async def forget(connection: Conn, feed: str, name: str) -> bool:
    """Whether there was one."""
    done = await connection.execute(
        "delete from feed_secret s using feed f where f.number = s.feed and f.name = $1 and s.name = $2", feed, name
    )
    return not done.endswith(" 0")


async def replace_all(connection: Conn, again: Callable[[str, str, Sealed], Sealed]) -> int:
    """Encrypt all anew, or none where `again` (of feed, name and what is kept) raises; how many."""
    async with connection.transaction():
        rows = await connection.fetch(
            """
            select s.feed as number, f.name as feed, s.name, s.key_id, s.ciphertext
            from feed_secret s join feed f on f.number = s.feed for update of s
            """
        )
        for row in rows:
            sealed = again(row["feed"], row["name"], Sealed(row["key_id"], row["ciphertext"]))
            await connection.execute(
                "update feed_secret set ciphertext = $3, key_id = $4 where feed = $1 and name = $2",
                row["number"],
                row["name"],
                sealed.ciphertext,
                sealed.key_id,
            )
    return len(rows)
