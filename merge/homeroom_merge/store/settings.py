"""Settings as they were pushed: named states with every version, the one in force, and whether the feed is paused."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple

from homeroom_merge.refusal import RefusedError
from homeroom_merge.store.connection import Conn


class SettingsMovedError(RefusedError):
    """Somebody has pushed since these settings were pulled: pull again, and put the changes in anew."""


class NoSuchStateError(RefusedError):
    """The feed has no such state; push it first."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """One version of a state, as TOML."""

    state_name: str
    version: int
    toml: str
    comment: str
    pushed_at: datetime
    pushed_by: str


class Version(NamedTuple):
    """One version of a state, without its text."""

    state_name: str
    version: int
    comment: str
    pushed_at: datetime
    pushed_by: str


class Bound(NamedTuple):
    """Days, both included, on which a state is in force."""

    first_day: date
    last_day: date
    state_name: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Since when nothing of a feed runs by itself, and why."""

    paused_at: datetime
    because: str


async def push(
    connection: Conn, feed: str, state: str, toml: str, comment: str, by: str, after: int | None = None
) -> int:
    """A new version, which is in force if its state is; a feed's first state is. Its number.

    `after`: the version that was pulled and edited, 0 for a new state; SettingsMovedError if there is a newer one.
    """
    async with connection.transaction():
        number = await _lock_feed(connection, feed, state)
        latest = int(
            await connection.fetchval(
                "select coalesce(max(version), 0) from settings where feed = $1 and state_name = $2", number, state
            )
        )
        if after is not None and after != latest:
            raise SettingsMovedError(f"{state} of {feed} is at version {latest}, not {after}")
        await connection.execute(
            """
            insert into settings (feed, state_name, version, toml, comment, pushed_by)
            values ($1, $2, $3, $4, $5, $6)
            """,
            number,
            state,
            latest + 1,
            toml,
            comment,
            by,
        )
    return latest + 1


async def pull(connection: Conn, feed: str, state: str, version: int | None = None) -> Pushed | None:
    """A state as it was pushed; without a version the newest."""
    row = await connection.fetchrow(
        """
        select s.state_name, s.version, s.toml, s.comment, s.pushed_at, s.pushed_by
        from settings s join feed f on f.number = s.feed
        where f.name = $1 and s.state_name = $2 and ($3::int is null or s.version = $3)
        order by s.version desc limit 1
        """,
        feed,
        state,
        version,
    )
    return None if row is None else Pushed(**row)


async def history(connection: Conn, feed: str, state: str | None = None) -> list[Pushed]:
    """Every version of a state, or of all, the newest first."""
    rows = await connection.fetch(
        """
        select s.state_name, s.version, s.toml, s.comment, s.pushed_at, s.pushed_by
        from settings s join feed f on f.number = s.feed
        where f.name = $1 and ($2::text is null or s.state_name = $2)
        order by s.pushed_at desc, s.state_name, s.version desc
        """,
        feed,
        state,
    )
    return [Pushed(**row) for row in rows]


async def versions(connection: Conn, feed: str, limit: int, offset: int) -> list[Version]:
    """Of all states, the newest first."""
    rows = await connection.fetch(
        """
        select s.state_name, s.version, s.comment, s.pushed_at, s.pushed_by
        from settings s join feed f on f.number = s.feed where f.name = $1
        order by s.pushed_at desc, s.state_name, s.version desc limit $2 offset $3
        """,
        feed,
        limit,
        offset,
    )
    return [Version(*row.values()) for row in rows]


async def days(connection: Conn, feed: str, since: date, limit: int) -> list[Bound]:
    """The days from then on that are bound to a state."""
    rows = await connection.fetch(
        """
        select d.first_day, d.last_day, d.state_name from settings_days d join feed f on f.number = d.feed
        where f.name = $1 and d.last_day >= $2 order by d.first_day limit $3
        """,
        feed,
        since,
        limit,
    )
    return [Bound(*row.values()) for row in rows]


async def in_force(connection: Conn, feed: str, today: date) -> Pushed | None:
    """The newest version of the state that holds on a day of the feed's own zone; None where nothing was pushed."""
    state = await connection.fetchval(
        """
        select coalesce(
            (select d.state_name from settings_days d
             where d.feed = f.number and $2 between d.first_day and d.last_day
             order by d.first_day desc limit 1),
            f.state_name)
        from feed f where f.name = $1
        """,
        feed,
        today,
    )
    return None if state is None else await pull(connection, feed, state)


async def use(connection: Conn, feed: str, state: str) -> None:
    """Put a state in force on all days that are bound to no other. NoSuchStateError."""
    changed = await connection.execute(
        """
        update feed f set state_name = $2 where f.name = $1
        and exists (select from settings s where s.feed = f.number and s.state_name = $2)
        """,
        feed,
        state,
    )
    _expect(changed, feed, state)


async def bind(connection: Conn, feed: str, state: str, first_day: date, last_day: date) -> None:
    """Put a state in force on these days, both included. NoSuchStateError."""
    changed = await connection.execute(
        """
        insert into settings_days (feed, first_day, last_day, state_name)
        select f.number, $3, $4, $2 from feed f where f.name = $1
        and exists (select from settings s where s.feed = f.number and s.state_name = $2)
        on conflict (feed, first_day) do update
        set last_day = excluded.last_day, state_name = excluded.state_name
        """,
        feed,
        state,
        first_day,
        last_day,
    )
    _expect(changed, feed, state)


async def unbind(connection: Conn, feed: str, first_day: date) -> None:
    """Give the days that begin there back to the feed's own state."""
    await connection.execute(
        "delete from settings_days d using feed f where f.number = d.feed and f.name = $1 and d.first_day = $2",
        feed,
        first_day,
    )


async def pause(connection: Conn, feed: str, because: str) -> None:
    """Let nothing of a feed run by itself; one that is paused stays so since then, for the new reason."""
    await connection.execute(
        "update feed set paused_at = coalesce(paused_at, now()), paused_because = $2 where name = $1", feed, because
    )


async def resume(connection: Conn, feed: str) -> None:
    await connection.execute("update feed set paused_at = null, paused_because = null where name = $1", feed)


async def find_pause(connection: Conn, feed: str) -> Pause | None:
    """Settings may pause a feed, too: `Feed.paused`."""
    row = await connection.fetchrow(
        "select paused_at, paused_because as because from feed where name = $1 and paused_at is not null", feed
    )
    return None if row is None else Pause(**row)


async def _lock_feed(connection: Conn, feed: str, state: str) -> int:
    """Two pushes come one after the other. A feed without settings takes this state as its own."""
    return int(
        await connection.fetchval(
            """
            insert into feed as f (name, state_name) values ($1, $2)
            on conflict (name) do update set state_name =
                case when exists (select from settings s where s.feed = f.number) then f.state_name
                     else excluded.state_name end
            returning number
            """,
            feed,
            state,
        )
    )


def _expect(changed: str, feed: str, state: str) -> None:
    if changed.endswith(" 0"):
        raise NoSuchStateError(f"{feed} has no state {state}")
