"""What is dirty: the truth that jobs only point at. A lost or doubled job is harmless, for it says just "look here"."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from homeroom_merge.store.connection import Conn
from homeroom_merge.values import SideName


class Trigger(NamedTuple):
    """A record that moved on a side: a hub id or a key of the SIS. `generation`: grows with each time it moves.

    `version`: what it moved to on the hub; 0: not known.
    """

    side: SideName
    key: str
    generation: int
    version: int = 0


async def raise_(connection: Conn, subject: int, side: SideName, keys: Sequence[str]) -> None:
    """These moved; what was parked is to be looked at again."""
    await connection.execute(
        """
        insert into trigger as t (subject, side, key) select $1, $2, key from unnest($3::text[]) as key
        on conflict (subject, side, key) do update
        set generation = t.generation + 1, parked = false, why = '', read_by = null, raised_at = now(), version = 0
        """,
        subject,
        side,
        sorted(set(keys)),
    )


async def raise_on_hub(connection: Conn, subject: int, listed: Mapping[str, int]) -> None:
    """These moved on the hub, to these core versions, by which our own writes are known."""
    await connection.execute(
        """
        insert into trigger as t (subject, side, key, version)
        select $1, 'hub', u.* from unnest($2::text[], $3::bigint[]) as u order by 3
        on conflict (subject, side, key) do update
        set generation = t.generation + 1, parked = false, why = '', read_by = null, raised_at = now(),
            version = excluded.version
        """,
        subject,
        list(listed),
        list(listed.values()),
    )


async def dirty(connection: Conn, subject: int, limit: int) -> list[Trigger]:
    """The first that moved; to be read before the fetch, so that what moves during it stays dirty."""
    rows = await connection.fetch(
        """
        select side, key, generation, version from trigger where subject = $1 and not parked
        order by raised_at, side, key limit $2
        """,
        subject,
        limit,
    )
    return [Trigger(*row.values()) for row in rows]


async def done(connection: Conn, subject: int, run: UUID, looked_at: Sequence[Trigger]) -> None:
    """Within the transaction that stores the result of a run over just these; what has moved since stays.

    Those of records that are not settled are parked until a side moves: held, in conflict, waiting, failed.
    """
    await connection.execute(
        """
        with looked_at as (
            select u.side, u.key, u.generation, case
                when p.outcome = 'planned' then 'held'
                when p.outcome <> 'done' then p.outcome
                when 'failed' in (r.hub_state, r.sis_state) then 'invalid' end as why
            from unnest($3::text[], $4::text[], $5::bigint[]) as u(side, key, generation)
            left join record h on u.side = 'hub' and h.subject = $1 and h.hub_id = u.key
            left join record s on u.side = 'sis' and s.subject = $1 and s.sis_key = u.key
            left join record r on r.number = coalesce(h.number, s.number)
            left join planned p on p.run = $2 and p.record = r.number
        ), kept as (
            update trigger t set parked = true, why = u.why from looked_at u
            where u.why is not null and t.subject = $1
              and (t.side, t.key, t.generation) = (u.side, u.key, u.generation)
        )
        delete from trigger t using looked_at u
        where u.why is null and t.subject = $1 and (t.side, t.key, t.generation) = (u.side, u.key, u.generation)
        """,
        subject,
        run,
        [each.side for each in looked_at],
        [each.key for each in looked_at],
        [each.generation for each in looked_at],
    )


async def forget_echoes(connection: Conn, subject: int) -> None:
    """What moved on the hub to a version that is known, of a record on which both sides agree: our own write."""
    await connection.execute(
        """
        delete from trigger t using record r
        where t.subject = $1 and t.side = 'hub' and not t.parked and t.version > 0
          and r.subject = $1 and r.hub_id = t.key and r.hub_version >= t.version
          and r.hub_state = 'live' and r.sis_state = 'live' and r.hub_seen = r.base_hub and r.sis_seen = r.base_sis
          and r.awaiting is null and not r.base_deleted and not r.unlinked
        """,
        subject,
    )


async def leave_for_tonight(connection: Conn, subject: int) -> None:
    """All that is dirty: the next full run makes it clean."""
    await connection.execute(
        "update trigger set parked = true, why = 'tonight' where subject = $1 and not parked", subject
    )


async def wake_waiting(connection: Conn, feed: str, entities: Sequence[str]) -> None:
    """Records of these entities that wait for what they refer to are to be looked at again."""
    await connection.execute(
        """
        update trigger t set parked = false, why = '' from subject s join feed f on f.number = s.feed
        where t.subject = s.number and f.name = $1 and s.entity = any($2::text[]) and t.parked and t.why = 'waits'
        """,
        feed,
        entities,
    )


async def mark(connection: Conn, subject: int, run: UUID, sides: Sequence[SideName]) -> None:
    """A full run is about to fetch these sides: it will have seen all that is dirty there by now, parked or not."""
    await connection.execute(
        "update trigger set read_by = $2 where subject = $1 and side = any($3::text[])", subject, run, sides
    )


async def clear(connection: Conn, subject: int, run: UUID) -> None:
    """A full run has merged everything, within the transaction that says so; what has moved since stays."""
    await connection.execute("delete from trigger where subject = $1 and read_by = $2", subject, run)


async def subjects(connection: Conn) -> list[tuple[str, str]]:
    """(feed, entity) of all that have something dirty."""
    rows = await connection.fetch(
        """
        select distinct f.name as feed, s.entity from trigger t
        join subject s on s.number = t.subject join feed f on f.number = s.feed where not t.parked order by 1, 2
        """
    )
    return [(row["feed"], row["entity"]) for row in rows]
