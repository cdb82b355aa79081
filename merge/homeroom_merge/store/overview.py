"""How feeds stand, many at once: what a list of them shows."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from homeroom_merge.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Standing:
    """One feed. `failing`: records of which something fails now; `paused`: why nothing runs by itself, '' for no
    reason given, None: it does; `last_status`, `last_at`: of the run that began last."""

    feed: str
    paused: str | None
    held: int
    conflicts: int
    failing: int
    last_status: str | None
    last_entity: str | None
    last_at: datetime | None


async def names(connection: Conn, limit: int, offset: int) -> list[str]:
    """Feeds that have settings."""
    rows = await connection.fetch("select name from feed order by name limit $1 offset $2", limit, offset)
    return [row["name"] for row in rows]


async def names_that_mention(connection: Conn, codes: Collection[str], limit: int) -> list[str]:
    """Feeds in whose settings one of these organisation codes stands somewhere: no other speaks for any of them."""
    rows = await connection.fetch(
        """
        select f.name from feed f
        where exists (
            select from settings s, unnest($1::text[]) as code
            where s.feed = f.number and strpos(s.toml, code) > 0)
        order by f.name limit $2
        """,
        list(codes),
        limit,
    )
    return [row["name"] for row in rows]


async def in_force(connection: Conn, feeds: Sequence[str], day: date) -> dict[str, str]:
    """The TOML that holds on a day, by feed."""
    rows = await connection.fetch(
        """
        select f.name, newest.toml from feed f
        cross join lateral (
            select coalesce(
                (select d.state_name from settings_days d
                 where d.feed = f.number and $2 between d.first_day and d.last_day
                 order by d.first_day desc limit 1),
                f.state_name) as name) state
        cross join lateral (
            select s.toml from settings s where s.feed = f.number and s.state_name = state.name
            order by s.version desc limit 1) newest
        where f.name = any($1::text[])
        """,
        feeds,
        day,
    )
    return {row["name"]: row["toml"] for row in rows}


async def standings(connection: Conn, feeds: Sequence[str]) -> dict[str, Standing]:
    """By feed. A conflict that somebody has decided is open no longer."""
    rows = await connection.fetch(
        """
        with mine as (
            select f.number as feed, f.name, f.paused_at, f.paused_because, s.number as subject, s.entity
            from feed f left join subject s on s.feed = f.number where f.name = any($1::text[])
        ), open_conflict as (
            select r.subject, count(*) as n from conflict c join record r on r.number = c.record
            where r.subject in (select subject from mine) and not exists (
                select from decision d where d.record = c.record and d.pointer = c.pointer
                and (d.base, d.sis, d.hub) is not distinct from (c.base, c.sis, c.hub))
            group by r.subject
        ), fails as (
            select r.subject, count(distinct f.record) as n from failing f join record r on r.number = f.record
            where r.subject in (select subject from mine) group by r.subject
        ), of_subject as (
            select m.*, last.status, last.begun_at, coalesce(c.n, 0) as conflicts, coalesce(x.n, 0) as failing,
                   (select count(*) from run h where h.subject = m.subject and h.status = 'held') as held
            from mine m
            left join lateral (
                select status, begun_at from run where subject = m.subject order by begun_at desc limit 1) last on true
            left join open_conflict c on c.subject = m.subject left join fails x on x.subject = m.subject
        )
        select name, case when min(paused_at) is not null then coalesce(min(paused_because), '') end as paused,
               sum(held)::bigint as held, sum(conflicts)::bigint as conflicts, sum(failing)::bigint as failing,
               (array_agg(status order by begun_at desc nulls last))[1] as last_status,
               (array_agg(entity order by begun_at desc nulls last))[1] as last_entity, max(begun_at) as last_at
        from of_subject group by name
        """,
        feeds,
    )
    return {row["name"]: Standing(*row.values()) for row in rows}
