"""The files of watched folders, as they were when a run of them was last asked for."""

from collections.abc import Mapping
from typing import NamedTuple

from homeroom_merge.store.connection import Conn


class File(NamedTuple):
    """`stamp`: size and time of change. `digest`: of what is in it."""

    stamp: str
    digest: str


async def known(connection: Conn, feed: str) -> dict[str, File]:
    """By name."""
    rows = await connection.fetch(
        "select w.name, w.stamp, w.digest from watched_file w join feed f on f.number = w.feed where f.name = $1", feed
    )
    return {row["name"]: File(row["stamp"], row["digest"]) for row in rows}


async def came(connection: Conn, feed: str, files: Mapping[str, File]) -> None:
    """These have come, perhaps with what was in them before; the feed is made if need be."""
    await connection.execute(
        """
        with the_feed as (
            insert into feed (name, state_name) values ($1, 'default')
            on conflict (name) do update set name = excluded.name
            returning number
        )
        insert into watched_file (feed, name, stamp, digest)
        select number, u.* from the_feed, unnest($2::text[], $3::text[], $4::text[]) as u
        on conflict (feed, name) do update set stamp = excluded.stamp, digest = excluded.digest, came_at = now()
        """,
        feed,
        list(files),
        [file.stamp for file in files.values()],
        [file.digest for file in files.values()],
    )
