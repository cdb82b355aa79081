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


async def keep_observation(connection: Conn, seen: Observation) -> None:
    """Add what a node saw to the client's row."""
    await connection.execute(
        """
        insert into client_stream as kept (client, organization, notification_type, asked_at, cursor, version_hash,
            told_reason, told_records, in_step_at, in_step_version, mismatch_since, mismatch_count, reconciled_ids)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, coalesce($13::text[], '{}'))
        on conflict (client, organization, notification_type) do update set
            asked_at = $4, cursor = $5, version_hash = coalesce($6, kept.version_hash),
            told_reason = $7, told_records = $8,
            in_step_at = coalesce($9, kept.in_step_at), in_step_version = coalesce($10, kept.in_step_version),
            mismatch_since = case when $9::timestamptz is null then coalesce(kept.mismatch_since, $11) else $11 end,
            mismatch_count = case when $9::timestamptz is null then kept.mismatch_count + $12 else $12 end,
            reconciled_ids = coalesce($13::text[], kept.reconciled_ids)
        """,
        seen.client,
        seen.organization,
        seen.notification_type,
        seen.asked_at,
        seen.cursor,
        seen.version_hash,
        seen.told_reason,
        seen.told_records,
        seen.matched_at,
        seen.matched_version,
        seen.mismatched_at,
        seen.mismatches,
        seen.reconciled_ids,
    )


async def read_client_streams(connection: Conn, client: str, notification_type: str) -> list[ClientStream]:
    """What is kept of a client and a type, one row for each organisation it called for."""
    rows = await connection.fetch(
        """
        select o.code as organization, o.number as viewer, s.notification_type, s.asked_at, s.cursor, s.version_hash,
               s.told_reason, s.told_records, s.in_step_at, s.in_step_version, s.mismatch_since, s.mismatch_count,
               s.reconciled_ids
        from client_stream s join client c on c.number = s.client join organization o on o.number = s.organization
        where c.name = $1 and s.notification_type = $2 order by o.code
        """,
        client,
        notification_type,
    )
    return [ClientStream(**row) for row in rows]


async def read_stream(connection: Conn, wanted: NotificationType, viewer: int | None) -> list[tuple[str, int, str]]:
    """(id, version, state) of everything in a stream, ascending by version."""
    rows = await connection.fetch(
        """
        select x.id, x.version, x.state::text
        from record_type k join notification_type t on t.record_type = k.number and t.school_year = $2
        cross join lateral (
            select v.id, v.version, v.state::text from viewer v
            where $3::int is not null and v.notification_type = t.number and v.organization = $3
            union all
            select r.id, r.version, case when r.deleted then 'deleted' else 'live' end from record r
            where $3::int is null and r.notification_type = t.number
        ) x
        where k.name = $1 order by x.version
        """,
        wanted.name,
        wanted.school_year or 0,
        viewer,
    )
    return [(row["id"], row["version"], row["state"]) for row in rows]
