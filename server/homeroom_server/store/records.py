"""The write path: what a commit locks, reads and writes. All of it runs inside one write transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from homeroom_server.store.connection import Conn
from homeroom_server.store.types import TypeRow

_TYPE_LOCK = 1
"""The class of advisory locks whose second number is a notification type's."""


@dataclass(frozen=True, slots=True)
class CurrentRecord:
    """A record as it stands under the lock of its type. `lineage` is its owner's."""

    id: str
    notification_type: int
    version: int
    body_version: int
    source_version: int | None
    owner: int
    owner_code: str
    lineage: Sequence[int]
    student: str | None
    deleted: bool
    body: str


@dataclass(frozen=True, slots=True)
class RecordWrite:
    """One accepted change. `is_new` records are inserted, others updated; `body` is JSON."""

    id: str
    is_new: bool
    deleted: bool
    owner: int
    student: str | None
    body: str
    body_changed: bool
    source_version: int | None = None


async def lock_type(connection: Conn, type_number: int) -> None:
    """Wait for the type's turn and keep it to the commit: from here on, version order is commit order."""
    await connection.execute("select pg_advisory_xact_lock($1, $2)", _TYPE_LOCK, type_number)


async def read_current(connection: Conn, record_type: int, ids: Sequence[str]) -> Mapping[str, CurrentRecord]:
    """The records of a type as they stand, by id."""
    rows = await connection.fetch(
        """
        select r.id, r.notification_type, r.version, r.body_version, r.source_version, r.owner,
               o.code as owner_code, o.lineage, r.student, r.deleted, r.body
        from record r join organization o on o.number = r.owner
        where r.record_type = $1 and r.id = any($2::text[])
        """,
        record_type,
        ids,
    )
    return {row["id"]: CurrentRecord(**row) for row in rows}


async def write_records(
    connection: Conn, row: TypeRow, writes: Sequence[RecordWrite], *, with_viewers: bool, raise_triggers: bool
) -> list[int]:
    """Store accepted changes in one statement; their versions, in order. Only under the type's lock.

    Draws the versions, writes records and the rows of all who see them (`with_viewers`: unless everybody does),
    raises status triggers, moves the watermark. UniqueViolationError: an id exists by now under another year.
    """
    return await connection.fetchval(  # type: ignore[no-any-return]
        """
        with incoming as materialized (
            select w.*, nextval('core_version') as version
            from unnest($3::text[], $4::boolean[], $5::boolean[], $6::int[], $7::text[], $8::text[], $9::boolean[],
                        $10::bigint[]) as w(id, is_new, deleted, owner, student, body, body_changed, source_version)
        ), stored as (
            insert into record (record_type, id, notification_type, version, body_version, source_version,
                                owner, student, deleted, changed_at, body)
            select $1, id, $2, version, version, source_version, owner, student, deleted, now(), body::json
            from incoming where is_new
        ), moved as (
            update record r
            set version = w.version, source_version = w.source_version, student = w.student, deleted = w.deleted,
                body_version = case when w.body_changed then w.version else r.body_version end,
                changed_at = case when w.body_changed then now() else r.changed_at end,
                body = w.body::json
            from incoming w
            where not w.is_new and r.record_type = $1 and r.id = w.id
        ), shown as (
            insert into viewer (notification_type, id, organization, version, state)
            select $2, w.id, seen.by, w.version, case when w.deleted then 'deleted' else 'live' end::visibility
            from incoming w join organization o on o.number = w.owner cross join unnest(o.lineage) as seen(by)
            where $11 and w.is_new
        ), shown_again as (
            update viewer v
            set version = w.version, state = case when w.deleted then 'deleted' else 'live' end::visibility
            from incoming w
            where not w.is_new and v.notification_type = $2 and v.id = w.id and v.state <> 'revoked'
        ), raised as (
            insert into status_trigger (record_type, id, changed)
            select $1, id, true from incoming where $12
            on conflict (record_type, id) do update
            set generation = status_trigger.generation + 1, due_at = now(), changed = true
        ), marked as (
            update notification_type set watermark = (select max(version) from incoming) where number = $2
        )
        select array_agg(version order by version) from incoming
        """,
        row.record_type,
        row.number,
        [w.id for w in writes],
        [w.is_new for w in writes],
        [w.deleted for w in writes],
        [w.owner for w in writes],
        [w.student for w in writes],
        [w.body for w in writes],
        [w.body_changed for w in writes],
        [w.source_version for w in writes],
        with_viewers,
        raise_triggers,
    )
