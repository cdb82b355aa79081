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
    watermark: int
    horizon: int
    last_version: int | None
    lines: bytes


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

    Ends after `rows_max` records, or with the one that reaches `bytes_max` of stored body, sources included.
    A version names one record of a type, so that both kinds of stream are read alike: which versions, from an index
    that holds the answer, then their records by one walk along `record_stream` (decision 7).
    """
    row = await connection.fetchrow(
        """
        with measured as (
            select r.id, r.version, r.changed_at, r.source_version, r.body,
                   s.id as s_id, s.version as s_version, s.deleted as s_deleted, s.body as s_body,
                   sum(b.bytes) over (order by r.version rows unbounded preceding) - b.bytes as bytes_before
            from record r
            left join lateral (
                select id, version, deleted, body from record
                where record_type = (select number from record_type where name = $3) and id = r.id limit 1
            ) s on true
            cross join lateral (select pg_column_size(r.body) + coalesce(pg_column_size(s.body), 0) as bytes) b
            where r.notification_type = $1 and r.version = any(array(
                (select version from viewer
                 where $2::int is not null and notification_type = $1 and organization = $2 and state = 'live'
                   and version > $4 and version <= $5 order by version limit $6)
                union all
                (select version from record
                 where $2::int is null and notification_type = $1 and not deleted
                   and version > $4 and version <= $5 order by version limit $6)
            ))
        ), lines as (
            select version, concat(
                '{"id":"', id, '","coreVersion":', version,
                ',"changedAt":"', to_char(changed_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), '"',
                ',"sourceVersion":' || source_version, ',"body":', body,
                ',"source":{"id":"' || s_id || '","coreVersion":' || s_version || ',"deleted":' || s_deleted::text
                    || ',"body":' || s_body || '}', '}') as line
            from measured where bytes_before < $7
        )
        select c.epoch::text, t.watermark, t.horizon, l.last_version, coalesce(l.lines, '') as lines
        from core c join notification_type t on t.number = $1
        cross join (
            select max(version) as last_version,
                   convert_to(string_agg(line, E'\\n' order by version) || E'\\n', 'UTF8') as lines
            from lines
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
