"""Up to where each feed's watcher has heard of what moves on the hub."""

from collections.abc import Mapping

from homeroom_merge.store.connection import Conn


async def cursors(connection: Conn, feed: str, organization: str) -> dict[str, tuple[int, str]]:
    """(version, epoch) by notification type."""
    rows = await connection.fetch(
        """
        select h.notification_type, h.version, h.epoch from heard h join feed f on f.number = h.feed
        where f.name = $1 and h.organization = $2
        """,
        feed,
        organization,
    )
    return {row["notification_type"]: (row["version"], row["epoch"]) for row in rows}


async def move(connection: Conn, feed: str, organization: str, to: Mapping[str, tuple[int, str]]) -> None:
    """In the transaction that raises what was heard; the feed is made if need be."""
    await connection.execute(
        """
        with the_feed as (
            insert into feed (name, state_name) values ($1, 'default')
            on conflict (name) do update set name = excluded.name
            returning number
        )
        insert into heard (feed, organization, notification_type, version, epoch)
        select number, $2, u.* from the_feed, unnest($3::text[], $4::bigint[], $5::text[]) as u
        on conflict (feed, organization, notification_type) do update
        set version = excluded.version, epoch = excluded.epoch
        """,
        feed,
        organization,
        list(to),
        [version for version, _ in to.values()],
        [epoch for _, epoch in to.values()],
    )
