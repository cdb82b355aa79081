"""What clients were last told, and what is needed to explain a mismatch."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from homeroom.protocol import NotificationType
from homeroom_server.store.connection import Conn


@dataclass(slots=True)
class Observation:
    """What a node saw of one client's stream since it last wrote: the newest question, mismatches since a match."""

    client: int
    organization: int
    notification_type: str
    asked_at: datetime
    cursor: int
    version_hash: str | None
    told_reason: str
    told_records: int
    matched_at: datetime | None
    matched_version: int | None
    mismatched_at: datetime | None
    mismatches: int
    reconciled_ids: Sequence[str] | None


@dataclass(frozen=True, slots=True)
class ClientStream:
    """One row, as it is kept."""

    organization: str
    viewer: int
    notification_type: str
    asked_at: datetime
    cursor: int
    version_hash: str | None
    told_reason: str
    told_records: int
    in_step_at: datetime | None
    in_step_version: int | None
    mismatch_since: datetime | None
    mismatch_count: int
    reconciled_ids: Sequence[str]


async def keep_observations(connection: Conn, seen: Sequence[Observation]) -> None:
    """Add what a node saw to the clients' rows."""
    await connection.execute(
        """
        insert into client_stream as kept (client, organization, notification_type, asked_at, cursor, version_hash,
            told_reason, told_records, in_step_at, in_step_version, mismatch_since, mismatch_count, reconciled_ids)
        select w.client, w.organization, w.notification_type, w.asked_at, w.cursor, w.version_hash, w.told_reason,
               w.told_records, w.in_step_at, w.in_step_version, w.mismatch_since, w.mismatch_count,
               string_to_array(w.reconciled_ids, ' ')
        from unnest($1::int[], $2::int[], $3::text[], $4::timestamptz[], $5::bigint[], $6::text[], $7::text[],
                    $8::int[], $9::timestamptz[], $10::bigint[], $11::timestamptz[], $12::int[], $13::text[])
             as w(client, organization, notification_type, asked_at, cursor, version_hash, told_reason, told_records,
                  in_step_at, in_step_version, mismatch_since, mismatch_count, reconciled_ids)
        order by w.client, w.organization, w.notification_type -- nodes that write at once cannot wait for each other
        on conflict (client, organization, notification_type) do update set
            asked_at = excluded.asked_at, cursor = excluded.cursor,
            version_hash = coalesce(excluded.version_hash, kept.version_hash),
            told_reason = excluded.told_reason, told_records = excluded.told_records,
            in_step_at = coalesce(excluded.in_step_at, kept.in_step_at),
            in_step_version = coalesce(excluded.in_step_version, kept.in_step_version),
            mismatch_since = case when excluded.in_step_at is null
                                  then coalesce(kept.mismatch_since, excluded.mismatch_since)
                                  else excluded.mismatch_since end,
            mismatch_count = case when excluded.in_step_at is null then kept.mismatch_count else 0 end
                             + excluded.mismatch_count,
            reconciled_ids = coalesce(excluded.reconciled_ids, kept.reconciled_ids)
        """,
        [o.client for o in seen],
        [o.organization for o in seen],
        [o.notification_type for o in seen],
        [o.asked_at for o in seen],
        [o.cursor for o in seen],
        [o.version_hash for o in seen],
        [o.told_reason for o in seen],
        [o.told_records for o in seen],
        [o.matched_at for o in seen],
        [o.matched_version for o in seen],
        [o.mismatched_at for o in seen],
        [o.mismatches for o in seen],
        [None if o.reconciled_ids is None else " ".join(o.reconciled_ids) for o in seen],
    )


async def forget_ids(connection: Conn, ids: Sequence[str]) -> None:
    """What reconciliation listed, where some of these were among it."""
    await connection.execute(
        """
        with mine as (
            select client, organization, notification_type from client_stream where reconciled_ids && $1::text[]
            order by client, organization, notification_type for update -- as nodes write them
        )
        update client_stream s set reconciled_ids = null from mine m
        where (s.client, s.organization, s.notification_type) = (m.client, m.organization, m.notification_type)
        """,
        ids,
    )


async def read_client_streams(
    connection: Conn, client: str, notification_type: str, scope: Sequence[int] | None
) -> list[ClientStream]:
    """What is kept of a client and a type, one row for each organisation it called for.

    `scope`: numbers of organizations, with those below them; None: all.
    """
    rows = await connection.fetch(
        """
        select o.code as organization, o.number as viewer, s.notification_type, s.asked_at, s.cursor, s.version_hash,
               s.told_reason, s.told_records, s.in_step_at, s.in_step_version, s.mismatch_since, s.mismatch_count,
               coalesce(s.reconciled_ids, '{}') as reconciled_ids
        from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
        where c.name = $1 and s.notification_type = $2 and ($3::int[] is null or o.lineage && $3::int[])
        order by o.code
        """,
        client,
        notification_type,
        scope,
    )
    return [ClientStream(**row) for row in rows]


async def read_stream(
    connection: Conn, wanted: NotificationType, viewer: int | None, limit: int | None
) -> list[tuple[str, int, str]]:
    """(id, version, state) of a stream, ascending by version: of so many at most; None: of everything in it."""
    rows = await connection.fetch(
        """
        select x.id, x.version, x.state::text
        from record_type k join notification_type t on t.record_type = k.number and t.school_year = $2
        cross join lateral (
            (select v.id, v.version, v.state::text from viewer v
             where $3::int is not null and v.notification_type = t.number and v.organization = $3
             order by v.version limit $4)
            union all
            (select r.id, r.version, case when r.deleted then 'deleted' else 'live' end from record r
             where $3::int is null and r.notification_type = t.number order by r.version limit $4)
        ) x
        where k.name = $1 order by x.version
        """,
        wanted.name,
        wanted.school_year or 0,
        viewer,
        limit,
    )
    return [(row["id"], row["version"], row["state"]) for row in rows]
