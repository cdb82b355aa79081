"""What version hashes are made of: live versions of a stream, and what has changed. `viewer` None means: all of it."""

from dataclasses import dataclass

from homeroom_server.store.connection import Conn


@dataclass(frozen=True, slots=True)
class DigestRow:
    """A stream's hash as PostgreSQL computes it. `top`: its highest version, tombstones included (0: empty).

    Where more than the limit are live, `records` is one more than the limit, and the hash says nothing.
    """

    epoch: str
    watermark: int
    top: int
    records: int
    version_hash: str


@dataclass(frozen=True, slots=True)
class VersionsRow:
    """Live versions ascending; hashes of ids ascending, and the versions in that order: 8 bytes big-endian each."""

    epoch: str
    watermark: int
    top: int
    packed: bytes
    ids: bytes
    versions: bytes


@dataclass(frozen=True, slots=True)
class ChangesRow:
    """Hashes of ids and versions of what changed, ascending by version; a version is negative if no longer live."""

    epoch: str
    watermark: int
    horizon: int
    ids: bytes
    versions: bytes


async def read_digest(connection: Conn, type_number: int, viewer: int | None, limit: int) -> DigestRow:
    """The version hash of a stream (protocol 4).

    Each kind of stream is read in the order of its index, which holds all that is needed: nothing is sorted, and no
    table is touched. The limits keep the planner to it.
    """
    row = await connection.fetchrow(
        """
        select c.epoch::text, t.watermark, coalesce(top.version, 0) as top, live.records,
               md5(coalesce(live.packed, ''::bytea)) as version_hash
        from core c cross join notification_type t
        cross join lateral (
            select count(*) as records, string_agg(int8send(x.version), ''::bytea order by x.version) as packed
            from (
                (select v.version from viewer v
                 where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
                 order by v.version limit $3::bigint + 1)
                union all
                (select r.version from record r
                 where $2::int is null and r.notification_type = $1 and not r.deleted
                 order by r.version limit $3::bigint + 1)
            ) x
        ) live
        left join lateral (
            (select v.version from viewer v
             where $2::int is not null and v.notification_type = $1 and v.organization = $2
             order by v.version desc limit 1)
            union all
            (select r.version from record r
             where $2::int is null and r.notification_type = $1
             order by r.version desc limit 1)
        ) top on true
        where t.number = $1
        """,
        type_number,
        viewer,
        limit,
    )
    assert row is not None, "types are never deleted"
    return DigestRow(**row)


async def read_versions(connection: Conn, type_number: int, viewer: int | None, seed: int) -> VersionsRow:
    """All live versions of a stream; ids are hashed under a seed.

    Ids are not in the indexes of streams: the tables are read as well, which takes several times as long as a hash.
    """
    row = await connection.fetchrow(
        """
        select c.epoch::text, t.watermark, coalesce(top.version, 0) as top, coalesce(live.packed, '') as packed,
               coalesce(named.ids, '') as ids, coalesce(named.versions, '') as versions
        from core c cross join notification_type t
        cross join lateral (
            select string_agg(int8send(x.version), ''::bytea order by x.version) as packed
            from (
                (select v.version from viewer v
                 where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
                 order by v.version)
                union all
                (select r.version from record r
                 where $2::int is null and r.notification_type = $1 and not r.deleted
                 order by r.version)
            ) x
        ) live
        cross join lateral (
            select string_agg(int8send(x.id), ''::bytea order by x.id) as ids,
                   string_agg(int8send(x.version), ''::bytea order by x.id) as versions
            from (
                select hashtextextended(v.id, $3) as id, v.version from viewer v
                where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.state = 'live'
                union all
                select hashtextextended(r.id, $3), r.version from record r
                where $2::int is null and r.notification_type = $1 and not r.deleted
            ) x
        ) named
        left join lateral (
            (select v.version from viewer v
             where $2::int is not null and v.notification_type = $1 and v.organization = $2
             order by v.version desc limit 1)
            union all
            (select r.version from record r
             where $2::int is null and r.notification_type = $1
             order by r.version desc limit 1)
        ) top on true
        where t.number = $1
        """,
        type_number,
        viewer,
        seed,
    )
    assert row is not None, "types are never deleted"
    return VersionsRow(**row)


async def read_changes(
    connection: Conn, type_number: int, viewer: int | None, seed: int, after: int, limit: int
) -> ChangesRow:
    """What a stream holds above a version, the first `limit` of it."""
    row = await connection.fetchrow(
        """
        select c.epoch::text, t.watermark, t.horizon, coalesce(changed.ids, '') as ids,
               coalesce(changed.versions, '') as versions
        from core c cross join notification_type t
        cross join lateral (
            select string_agg(int8send(x.id), ''::bytea order by abs(x.version)) as ids,
                   string_agg(int8send(x.version), ''::bytea order by abs(x.version)) as versions
            from (
                (select hashtextextended(v.id, $3) as id,
                        case when v.state = 'live' then v.version else -v.version end as version
                 from viewer v
                 where $2::int is not null and v.notification_type = $1 and v.organization = $2 and v.version > $4
                 order by v.version limit $5)
                union all
                (select hashtextextended(r.id, $3), case when r.deleted then -r.version else r.version end
                 from record r
                 where $2::int is null and r.notification_type = $1 and r.version > $4
                 order by r.version limit $5)
            ) x
        ) changed
        where t.number = $1
        """,
        type_number,
        viewer,
        seed,
        after,
        limit,
    )
    assert row is not None, "types are never deleted"
    return ChangesRow(**row)
