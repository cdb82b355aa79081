"""When each SIS was last heard of."""

from datetime import datetime

from homeroom_merge.store.connection import Conn


async def last_fed(connection: Conn) -> dict[str, datetime]:
    """By feed that has settings and is not paused: when its files last came, or else it was last fetched.

    Files that are fetched again and again have come but once. A feed that never came counts from its first settings.
    """
    rows = await connection.fetch(
        """
        select f.name, coalesce(
            (select max(came_at) from watched_file w where w.feed = f.number),
            (select max(sis_fetched_at) from subject s where s.feed = f.number),
            (select min(pushed_at) from settings p where p.feed = f.number)) as last_at
        from feed f
        where f.paused_at is null and exists (select from settings p where p.feed = f.number)
        order by f.name
        """
    )
    return {row["name"]: row["last_at"] for row in rows}
