"""The read path: what an organisation sees of a type. `viewer` None means: all of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from asyncpg import Record

from homeroom.protocol import NotificationType
from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class Asked:
    """One type of a request, who looks at it, and since which version."""

    notification_type: NotificationType
    viewer: int | None
    since: int


@dataclass(frozen=True, slots=True)
class Delta:
    """What a stream holds above a version, ascending; cut at the limit that was asked for.

    `type_number` is None as long as no record of the type was ever accepted, `top` the stream's highest version
    (0: empty), `counter` the highest version ever drawn.
    """

    type_number: int | None
    epoch: str
    counter: int
    watermark: int
    horizon: int
    top: int
    ids: Sequence[str]
    versions: Sequence[int]


@dataclass(frozen=True, slots=True)
class Listing:
    """Live records of a stream, ascending by version; cut at the limit that was asked for."""

    epoch: str
    watermark: int
    ids: Sequence[str]
    versions: Sequence[int]


@dataclass(frozen=True, slots=True)
class MovedRow:
    """What moved in one stream of a type up to the type's `bookmark`; all None but the type's where nothing did.

    `cut`: more has moved beyond the bookmark. `lost`: something of it has been collected already.
    """

    epoch: str
    number: int
    bookmark: int
    cut: bool
    lost: bool
    viewer: int | None
    ids: Sequence[str] | None
    versions: Sequence[int] | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """The record that a status was calculated from, as it stands."""

    version: int
    deleted: bool
    body: str


@dataclass(frozen=True, slots=True)
class RecordRow:
    """A record as one organisation sees it; `state` is None where it sees nothing."""

    state: str | None
    version: int
    deleted: bool
    erased: bool
    changed_at: datetime
    source_version: int | None
    body: str
    source: SourceRow | None


async def read_deltas(connection: Conn, asked: Sequence[Asked], limit: int) -> list[Delta]:
    """For each of `asked`, what is above its version: all of them in one snapshot."""
    rows = await connection.fetch(
        """
        select t.number as type_number, c.epoch::text, s.last_value as counter, coalesce(t.watermark, 0) as watermark,
               coalesce(t.horizon, 0) as horizon, coalesce(top.version, 0) as top,
               coalesce(d.ids, '{}') as ids, coalesce(d.versions, '{}') as versions
        from unnest($1::text[], $2::int[], $3::int[], $4::bigint[])
             with ordinality as a(name, school_year, viewer, since, place)
        cross join core c
        cross join core_version s
        left join record_type k on k.name = a.name
        left join notification_type t on t.record_type = k.number and t.school_year = a.school_year
        left join lateral (
            select array_agg(x.id order by x.version) as ids, array_agg(x.version order by x.version) as versions
            from (
                (select v.id, v.version from viewer v
                 where a.viewer is not null and v.notification_type = t.number
                   and v.organization = a.viewer and v.version > a.since
                 order by v.version limit $5)
                union all
                (select r.id, r.version from record r
                 where a.viewer is null and r.notification_type = t.number and r.version > a.since
                 order by r.version limit $5)
            ) x
        ) d on true
        left join lateral (
            (select v.version from viewer v
             where a.viewer is not null and v.notification_type = t.number and v.organization = a.viewer
             order by v.version desc limit 1)
            union all
            (select r.version from record r
             where a.viewer is null and r.notification_type = t.number
             order by r.version desc limit 1)
        ) top on true
        order by a.place
        """,
        [a.notification_type.name for a in asked],
        [a.notification_type.school_year or 0 for a in asked],
        [a.viewer for a in asked],
        [a.since for a in asked],
        limit,
    )
    return [Delta(**row) for row in rows]


async def read_listing(
    connection: Conn, type_number: int, viewer: int | None, after: int, until: int | None, limit: int
) -> Listing:
    """Live records with after < version <= until (None: the watermark)."""
    row = await connection.fetchrow(
        """
        select c.epoch::text, t.watermark, coalesce(d.ids, '{}') as ids, coalesce(d.versions, '{}') as versions
        from core c
        cross join notification_type t
        left join lateral (
            select array_agg(x.id order by x.version) as ids, array_agg(x.version order by x.version) as versions
            from (
                (select v.id, v.version from viewer v
                 where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
                   and v.version > $3 and v.version <= coalesce($4, t.watermark)
                 order by v.version limit $5)
                union all
                (select r.id, r.version from record r
                 where $2::int is null and r.notification_type = $1 and not r.deleted
                   and r.version > $3 and r.version <= coalesce($4, t.watermark)
                 order by r.version limit $5)
            ) x
        ) d on true
        where t.number = $1
        """,
        type_number,
        viewer,
        after,
        until,
        limit,
    )
    assert row is not None, "types are never deleted"
    return Listing(**row)


async def read_records(
    connection: Conn,
    notification_type: NotificationType,
    viewer: int | None,
    ids: Sequence[str],
    source_name: str | None,
    known_source_versions: Sequence[int | None],
) -> tuple[str, int, list[RecordRow]]:
    """(epoch, watermark, records in the order of `ids`), from one snapshot.

    `source_name` is the type of the source, for status types: a source newer than the known version comes along.
    Each limit keeps the planner to one index look-up an id, however large the table.
    """
    rows = await connection.fetch(
        """
        select c.epoch::text, coalesce(t.watermark, 0) as watermark,
               case when r.id is null then null
                    when $3::int is not null then v.state
                    when r.deleted then 'deleted' else 'live' end as state,
               r.version, r.deleted, r.erased, r.changed_at, r.source_version, r.body,
               s.version as s_version, s.deleted as s_deleted, s.body as s_body
        from unnest($4::text[], $6::bigint[]) with ordinality as w(id, known_source, place)
        cross join core c
        left join record_type k on k.name = $1
        left join notification_type t on t.record_type = k.number and t.school_year = $2
        left join record_type sk on sk.name = $5
        left join lateral (
            select * from record
            where record_type = t.record_type and id = w.id and notification_type = t.number limit 1
        ) r on true
        left join lateral (
            select state from viewer
            where notification_type = t.number and id = w.id and organization = $3 limit 1
        ) v on true
        left join lateral (
            select version, deleted, body from record
            where record_type = sk.number and id = r.id and version > coalesce(w.known_source, -1)
              and ($3::int is null or v.state <> 'revoked') limit 1
        ) s on true
        order by w.place
        """,
        notification_type.name,
        notification_type.school_year or 0,
        viewer,
        ids,
        source_name,
        known_source_versions,
    )
    return rows[0]["epoch"], rows[0]["watermark"], [_record_row(row) for row in rows]


def _record_row(row: Record) -> RecordRow:
    source = None if row["s_version"] is None else SourceRow(row["s_version"], row["s_deleted"], row["s_body"])
    return RecordRow(
        row["state"],
        row["version"],
        row["deleted"],
        row["erased"],
        row["changed_at"],
        row["source_version"],
        row["body"],
        source,
    )


async def read_moved(connection: Conn, since: Mapping[int, int], limit: int) -> list[MovedRow]:
    """What has moved in each type (by number) above a version: of all streams at once, in one snapshot.

    A type with more than `limit` changed records is cut before the next one.
    """
    rows = await connection.fetch(
        """
        with asked as materialized (
            select t.number, a.since, t.horizon, t.watermark,
                   (select r.version from record r where r.notification_type = t.number and r.version > a.since
                    order by r.version offset $3 limit 1) as beyond
            from unnest($1::int[], $2::bigint[]) as a(number, since) join notification_type t on t.number = a.number
        ), page as materialized (
            select number, since, horizon > since as lost, beyond is not null as cut,
                   coalesce(beyond - 1, watermark) as bookmark
            from asked
        )
        select c.epoch::text, p.number, p.bookmark, p.cut, p.lost, s.viewer, s.ids, s.versions
        from core c cross join page p
        left join lateral (
            select x.viewer, array_agg(x.id order by x.version) as ids,
                   array_agg(x.version order by x.version) as versions
            from (
                select null::int as viewer, r.id, r.version from record r
                where r.notification_type = p.number and r.version > p.since and r.version <= p.bookmark
                union all
                select v.organization, v.id, v.version
                from record r join viewer v on v.notification_type = r.notification_type and v.id = r.id
                where r.notification_type = p.number and r.version > p.since and r.version <= p.bookmark
                  and v.version > p.since and v.version <= p.bookmark and v.state <> 'revoked'
                union all
                select v.organization, v.id, v.version from viewer v
                where v.notification_type = p.number and v.version > p.since and v.version <= p.bookmark
                  and v.state = 'revoked'
            ) x
            group by x.viewer
        ) s on true
        """,
        list(since),
        list(since.values()),
        limit,
    )
    return [MovedRow(**row) for row in rows]
