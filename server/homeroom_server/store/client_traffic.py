"""What each client's calls came to, hour by hour."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from homeroom_server.store.connection import Conn


@dataclass(slots=True)
class Traffic:
    """What a node counted of one client since it last wrote. `cut_seconds_*`: how long the waits had lasted."""

    calls: int = 0
    refused: int = 0
    refused_at: datetime | None = None
    refused_code: int | None = None
    waits_ended: int = 0
    waits_cut: int = 0
    cut_seconds_min: float | None = None
    cut_seconds_max: float | None = None


class Hour(NamedTuple):
    """One hour of a client; of one in which it did not call, nothing but zeros."""

    hour: datetime
    calls: int
    refused: int
    waits_ended: int
    waits_cut: int


class OfLate(NamedTuple):
    """What its calls came to in this hour and the last, as the view of that name judges it."""

    calls: int
    refused: int
    refused_code: int | None
    waits_cut: int
    cut_seconds: float | None
    is_cut: bool
    is_failing: bool


class Refusal(NamedTuple):
    """A call that was answered with a problem."""

    refused_at: datetime
    refused_code: int


async def add(connection: Conn, clients: Sequence[int], counted: Sequence[Traffic]) -> None:
    """Add what a node counted to the hour that is; `clients` ascending."""
    await connection.execute(
        """
        insert into client_traffic as kept (hour, client, calls, refused, refused_at, refused_code, waits_ended,
            waits_cut, cut_moments, cut_seconds_min, cut_seconds_max)
        select date_bin('1 hour', now(), 'epoch'), client, calls, refused, refused_at, refused_code, waits_ended,
               waits_cut, least(waits_cut, 1), cut_seconds_min, cut_seconds_max
        from unnest($1::int[], $2::int[], $3::int[], $4::timestamptz[], $5::int[], $6::int[], $7::int[], $8::real[],
                    $9::real[])
             as w(client, calls, refused, refused_at, refused_code, waits_ended, waits_cut, cut_seconds_min,
                  cut_seconds_max)
        on conflict (hour, client) do update set
            calls = kept.calls + excluded.calls, refused = kept.refused + excluded.refused,
            refused_at = coalesce(excluded.refused_at, kept.refused_at),
            refused_code = coalesce(excluded.refused_code, kept.refused_code),
            waits_ended = kept.waits_ended + excluded.waits_ended, waits_cut = kept.waits_cut + excluded.waits_cut,
            cut_moments = kept.cut_moments + excluded.cut_moments,
            cut_seconds_min = least(kept.cut_seconds_min, excluded.cut_seconds_min),
            cut_seconds_max = greatest(kept.cut_seconds_max, excluded.cut_seconds_max)
        """,
        clients,
        [each.calls for each in counted],
        [each.refused for each in counted],
        [each.refused_at for each in counted],
        [each.refused_code for each in counted],
        [each.waits_ended for each in counted],
        [each.waits_cut for each in counted],
        [each.cut_seconds_min for each in counted],
        [each.cut_seconds_max for each in counted],
    )


async def forget(connection: Conn, hours: int) -> None:
    """What is older."""
    await connection.execute("delete from client_traffic where hour < now() - make_interval(hours => $1)", hours)


async def of_late(connection: Conn, client: int) -> OfLate | None:
    """None: it has not called."""
    row = await connection.fetchrow(
        """
        select calls, refused, refused_code, waits_cut, cut_seconds, is_cut, is_failing
        from client_traffic_of_late where client = $1
        """,
        client,
    )
    return None if row is None else OfLate(*row.values())


async def by_hour(connection: Conn, client: int, hours: int) -> list[Hour]:
    """The last so many hours, the one that is included, in order and without a gap."""
    rows = await connection.fetch(
        """
        select h.hour, coalesce(t.calls, 0), coalesce(t.refused, 0), coalesce(t.waits_ended, 0),
               coalesce(t.waits_cut, 0)
        from generate_series(0, $2 - 1) as past
        cross join lateral (select date_bin('1 hour', now(), 'epoch') - make_interval(hours => past) as hour) h
        left join client_traffic t on t.hour = h.hour and t.client = $1
        order by h.hour
        """,
        client,
        hours,
    )
    return [Hour(*row.values()) for row in rows]


async def last_refusal(connection: Conn, client: int) -> Refusal | None:
    """Of what is kept."""
    row = await connection.fetchrow(
        """
        select refused_at, refused_code from client_traffic
        where client = $1 and refused_at is not null order by hour desc limit 1
        """,
        client,
    )
    return None if row is None else Refusal(*row.values())
