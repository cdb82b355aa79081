"""What is dirty: the truth that jobs only point at. A lost or doubled job is harmless, for it says just "look here"."""

from collections.abc import Sequence
from typing import NamedTuple

from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


class Trigger(NamedTuple):
    """A record that moved on a side: a hub id or a key of the SIS. `generation`: grows with each time it moves."""

    side: SideName
    key: str
    generation: int


async def raise_(connection: Conn, subject: int, side: SideName, keys: Sequence[str]) -> None:
    """These moved; what was parked is to be looked at again."""
    await connection.execute(
        """
        insert into trigger as t (subject, side, key) select $1, $2, key from unnest($3::text[]) as key
        on conflict (subject, side, key) do update
        set generation = t.generation + 1, parked = false, raised_at = now()
        """,
        subject,
        side,
        sorted(set(keys)),
    )


async def dirty(connection: Conn, subject: int, limit: int) -> list[Trigger]:
    """The first that moved; to be read before the fetch, so that what moves during it stays dirty."""
    rows = await connection.fetch(
        """
        select side, key, generation from trigger where subject = $1 and not parked
        order by raised_at, side, key limit $2
        """,
        subject,
        limit,
    )
    return [Trigger(*row.values()) for row in rows]


async def done(connection: Conn, subject: int, looked_at: Sequence[Trigger], *, parked: bool = False) -> None:
    """Within the transaction that stores the result; what has moved since stays. `parked`: until a side moves."""
    await connection.execute(
        """
        with looked_at as (
            select * from unnest($2::text[], $3::text[], $4::bigint[]) as u(side, key, generation)
        ), kept as (
            update trigger t set parked = true from looked_at u
            where $5 and t.subject = $1 and (t.side, t.key, t.generation) = (u.side, u.key, u.generation)
        )
        delete from trigger t using looked_at u
        where not $5 and t.subject = $1 and (t.side, t.key, t.generation) = (u.side, u.key, u.generation)
        """,
        subject,
        [each.side for each in looked_at],
        [each.key for each in looked_at],
        [each.generation for each in looked_at],
        parked,
    )


async def subjects(connection: Conn) -> list[tuple[str, str]]:
    """(feed, entity) of all that have something dirty."""
    rows = await connection.fetch(
        """
        select distinct f.name as feed, s.entity from trigger t
        join subject s on s.number = t.subject join feed f on f.number = s.feed where not t.parked order by 1, 2
        """
    )
    return [(row["feed"], row["entity"]) for row in rows]
