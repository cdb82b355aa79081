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
    """Part of an id range: its number in the request, its first and last id, and what its fingerprint is made of.

    `version` is the lowest in it: that of the record, where there is just one.
    """

    place: int
    first_id: str
    last_id: str
    version: int
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
            (select id, version from viewer
             where $2::int is not null and notification_type = $1 and organization = $2 and state = 'live'
               and version > $4 and version <= $5 order by version limit $6)
            union all
            (select id, version from record
             where $2::int is null and notification_type = $1 and not deleted
               and version > $4 and version <= $5 order by version limit $6)
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
            left join lateral (select * from record where record_type = k.number and id = m.id limit 1) s on true
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
    connection: Conn, type_number: int, viewer: int | None, lows: Sequence[str], highs: Sequence[str], pieces: int
) -> list[Piece]:
    """Each range low <= id < high cut into up to `pieces` of equal count, with their fingerprint sums (protocol 7).

    The ranges ascend and do not overlap. Those who see everything are read by id; one organisation's stream, which
    lies together by version, is read once for all ranges: a row lies in the range whose edges have an odd number
    of edges at or below its id.
    """
    rows = await connection.fetch(
        """
        with found as (
            select w.place::int as place, r.id, r.version
            from unnest($3::text[], $4::text[]) with ordinality as w(low, high, place)
            cross join lateral (
                select id, version from record
                where record_type = (select record_type from notification_type where number = $1)
                  and id >= w.low and id < w.high and notification_type = $1 and not deleted
                offset 0
            ) r
            where $2::int is null
            union all
            select (b.edges_below + 1) / 2, b.id, b.version
            from (
                select v.id, v.version, width_bucket(v.id, $5::text[]) as edges_below from viewer v
                where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
            ) b
            where b.edges_below % 2 = 1
        ), hashed as (
            select place, id, version, ntile($6) over (partition by place order by id) as piece,
                   md5(convert_to(id, 'UTF8') || '\\x00'::bytea || int8send(version)) as digest
            from found
        )
        select place, min(id) as first_id, max(id) as last_id, min(version) as version, count(*)::int as count,
               sum(('x' || substr(digest, 1, 16))::bit(64)::bigint) as high_sum,
               sum(('x' || substr(digest, 17, 16))::bit(64)::bigint) as low_sum
        from hashed group by place, piece order by place, piece
        """,
        type_number,
        viewer,
        lows,
        highs,
        _edges(lows, highs),
        pieces,
    )
    return [
        Piece(
            r["place"] - 1, r["first_id"], r["last_id"], r["version"], r["count"], int(r["high_sum"]), int(r["low_sum"])
        )
        for r in rows
    ]


def _edges(lows: Sequence[str], highs: Sequence[str]) -> list[str]:
    return [edge for pair in zip(lows, highs, strict=True) for edge in pair]
