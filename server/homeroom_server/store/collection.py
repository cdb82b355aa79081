"""What has outlived the retention: which versions those are, and the removal of tombstones and revocations."""

from homeroom_server.store.connection import Conn


async def mark_version(connection: Conn) -> None:
    """Note what the counter has given out, unless somebody has done so within the same hour of the clock.

    The mark bears the end of that hour: it never calls a version older than it is. One that was drawn before the mark
    may be committed after it, but no transaction lives for more than seconds (`write_transaction_seconds_max`): nothing
    against a retention of days. Nothing else rests on the mark, for who removes holds the type's lock.
    """
    await connection.execute(
        """
        insert into version_mark (marked_at, version)
        select date_bin('1 hour', now(), 'epoch') + interval '1 hour', case when is_called then last_value else 0 end
        from core_version
        on conflict (marked_at) do nothing
        """
    )


async def version_of_retention(connection: Conn, days: int) -> int:
    """Every version up to this one was given out at least so many days ago, by the database's clock.

    Marks that are older than the one which says so are forgotten.
    """
    version: int = await connection.fetchval(
        """
        with reached as (
            select max(marked_at) as marked_at, coalesce(max(version), 0) as version
            from version_mark where marked_at <= now() - make_interval(days => $1)
        ), forgotten as (
            delete from version_mark m using reached r where m.marked_at < r.marked_at
        )
        select version from reached
        """,
        days,
    )
    return version


async def types_to_collect(connection: Conn, until: int) -> list[int]:
    """The types that have tombstones or revocations at or below a version."""
    numbers: list[int] = await connection.fetchval(
        """
        select coalesce(array_agg(t.number order by t.number), '{}') from notification_type t
        where exists (
            select from viewer v where v.notification_type = t.number and v.version <= $1 and v.state <> 'live')
           or exists (select from record r where r.erased and r.notification_type = t.number and r.version <= $1)
        """,
        until,
    )
    return numbers


async def remove_gone(connection: Conn, type_number: int, until: int, limit: int) -> int:
    """Remove the type's oldest tombstones and revocations and move its horizon to the last of them; how many.

    Only under the type's lock: with it nobody else writes rows of the type, so that places of rows stay true.
    """
    count: int = await connection.fetchval(
        """
        with gone as (
            delete from viewer where notification_type = $1 and ctid = any(array(
                select ctid from viewer
                where notification_type = $1 and version <= $2 and state <> 'live'
                order by version limit $3
            ))
            returning version
        ), moved as (
            update notification_type t set horizon = greatest(t.horizon, g.version)
            from (select max(version) as version from gone) g
            where t.number = $1 and g.version is not null
        )
        select count(*) from gone
        """,
        type_number,
        until,
        limit,
    )
    return count


async def remove_erased(connection: Conn, type_number: int, until: int) -> None:
    """Remove the type's records of erased students, ids and all, and move its horizon to the last of them.

    Only under the type's lock, once all tombstones up to there are gone.
    """
    await connection.execute(
        """
        with gone as (
            delete from record where erased and notification_type = $1 and version <= $2 returning version
        )
        update notification_type t set horizon = greatest(t.horizon, g.version)
        from (select max(version) as version from gone) g
        where t.number = $1 and g.version is not null
        """,
        type_number,
        until,
    )
