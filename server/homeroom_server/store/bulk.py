"""Bulk reads of a stream: pages of a snapshot, fingerprints and records of id ranges. `viewer` None: all of it."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeroom.protocol import NotificationType
from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Position:
    """Where a type stands; `type_number` is None as long as no record of it was ever accepted."""

    type_number: int | None
    epoch: str
    counter: int
    watermark: int
    horizon: int


@dataclass(frozen=True, slots=True)
class Page:
    """Finished lines of NDJSON, and the last version among them (None: nothing is left in the window)."""

    epoch: str
    horizon: int
    last_version: int | None
    lines: str


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of an id range: its number in the request, its first and last id, and what its fingerprint is made of."""

    place: int
    first_id: str
    last_id: str
    count: int
    high_sum: int
    low_sum: int


async def read_type_position(connection: Conn, wanted: NotificationType) -> Position:
    """Epoch, counter, watermark and horizon of a type, from one snapshot."""
    row = await connection.fetchrow(
        """
        select t.number as type_number, c.epoch::text, s.last_value as counter,
               coalesce(t.watermark, 0) as watermark, coalesce(t.horizon, 0) as horizon
        from core c cross join core_version s
        left join record_type k on k.name = $1
        left join notification_type t on t.record_type = k.number and t.school_year = $2
        """,
        wanted.name,
        wanted.school_year or 0,
    )
    assert row is not None, "core has one row"
    return Position(**row)


async def read_page(
    connection: Conn,
    type_number: int,
    viewer: int | None,
    source_name: str | None,
    after: int,
    until: int,
    rows_max: int,
    bytes_max: int,
) -> Page:
    """The next live records of a window, ascending by version, as lines that were never taken apart.

    Ends after `rows_max` records, or with the one that reaches `bytes_max` of stored body.
    """
    row = await connection.fetchrow(
        """
        with listed as (
            (select v.id, v.version from viewer v
             where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
               and v.version > $4 and v.version <= $5
             order by v.version limit $6)
            union all
            (select r.id, r.version from record r
             where $2::int is null and r.notification_type = $1 and not r.deleted
               and r.version > $4 and r.version <= $5
             order by r.version limit $6)
        ), measured as (
            select l.version, r.*,
                   sum(pg_column_size(r.body)) over (order by l.version) - pg_column_size(r.body) as bytes_before
            from listed l cross join lateral (
                select r.id, r.changed_at, r.source_version, r.body
                from record r join notification_type t on t.number = $1
                where r.record_type = t.record_type and r.id = l.id and r.version = l.version limit 1
            ) r
        ), lines as (
            select m.version, concat(
                '{"id":"', m.id, '","coreVersion":', m.version,
                ',"changedAt":"', to_char(m.changed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), '"',
                ',"sourceVersion":' || m.source_version, ',"body":', m.body,
                ',"source":{"id":"' || s.id || '","coreVersion":' || s.version || ',"deleted":'
                    || s.deleted::text || ',"body":' || s.body || '}', '}') as line
            from measured m
            left join record_type k on k.name = $3
            left join lateral (
                select * from record s where s.record_type = k.number and s.id = m.id limit 1
            ) s on true
            where m.bytes_before < $7
        )
        select c.epoch::text, t.horizon, l.last_version, coalesce(l.lines, '') as lines
        from core c join notification_type t on t.number = $1
        cross join (
            select max(version) as last_version, string_agg(line, E'\\n' order by version) || E'\\n' as lines from lines
        ) l
        """,
        type_number,
        viewer,
        source_name,
        after,
        until,
        rows_max,
        bytes_max,
    )
    assert row is not None, "types are never deleted"
    return Page(**row)


async def read_pieces(
    connection: Conn,
    type_number: int,
    viewer: int | None,
    lows: Sequence[str | None],
    highs: Sequence[str | None],
    pieces: int,
) -> list[Piece]:
    """Each range low <= id < high cut into up to `pieces` of equal count, with their fingerprint sums (protocol 7)."""
    rows = await connection.fetch(
        """
        select w.place::int as place, p.first_id, p.last_id, p.count, p.high_sum, p.low_sum
        from unnest($3::text[], $4::text[]) with ordinality as w(low, high, place)
        cross join lateral (
            select min(h.id) as first_id, max(h.id) as last_id, count(*)::int as count,
                   sum(('x' || substr(h.digest, 1, 16))::bit(64)::bigint) as high_sum,
                   sum(('x' || substr(h.digest, 17, 16))::bit(64)::bigint) as low_sum
            from (
                select x.id, ntile($5) over (order by x.id) as piece,
                       md5(convert_to(x.id, 'UTF8') || '\\x00'::bytea || int8send(x.version)) as digest
                from (
                    select v.id, v.version from viewer v
                    where $2::int is not null and v.notification_type = $1 and v.organization = $2
                      and v.state = 'live' and v.id >= coalesce(w.low, '') and (w.high is null or v.id < w.high)
                    union all
                    select r.id, r.version from record r join notification_type t on t.number = $1
                    where $2::int is null and r.record_type = t.record_type and r.notification_type = $1
                      and not r.deleted and r.id >= coalesce(w.low, '') and (w.high is null or r.id < w.high)
                ) x
            ) h
            group by h.piece
        ) p
        order by w.place, p.first_id
        """,
        type_number,
        viewer,
        lows,
        highs,
        pieces,
    )
    return [
        Piece(r["place"] - 1, r["first_id"], r["last_id"], r["count"], int(r["high_sum"]), int(r["low_sum"]))
        for r in rows
    ]


async def read_ranges(
    connection: Conn, type_number: int, viewer: int | None, lows: Sequence[str | None], highs: Sequence[str | None]
) -> list[tuple[int, str, int]]:
    """(number of the range, id, version) of every live record in ranges low <= id < high, by id."""
    rows = await connection.fetch(
        """
        select w.place::int - 1 as place, x.id, x.version
        from unnest($3::text[], $4::text[]) with ordinality as w(low, high, place)
        cross join lateral (
            select v.id, v.version from viewer v
            where $2::int is not null and v.notification_type = $1 and v.organization = $2
              and v.state = 'live' and v.id >= coalesce(w.low, '') and (w.high is null or v.id < w.high)
            union all
            select r.id, r.version from record r join notification_type t on t.number = $1
            where $2::int is null and r.record_type = t.record_type and r.notification_type = $1
              and not r.deleted and r.id >= coalesce(w.low, '') and (w.high is null or r.id < w.high)
        ) x
        order by w.place, x.id
        """,
        type_number,
        viewer,
        lows,
        highs,
    )
    return [(row["place"], row["id"], row["version"]) for row in rows]
