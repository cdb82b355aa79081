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


async def draw_versions(connection: Conn, count: int) -> list[int]:
    """That many new core versions, ascending. Only under the type's lock."""
    versions: list[int] = await connection.fetchval(
        "select array(select nextval('core_version') from generate_series(1, $1::int))", count
    )
    return versions


async def insert_records(
    connection: Conn,
    row: TypeRow,
    writes: Sequence[RecordWrite],
    versions: Sequence[int],
    *,
    with_viewers: bool,
) -> None:
    """Store new records and, unless everybody sees the type, who sees them.

    Raises UniqueViolationError if one exists by now under another school year.
    """
    await connection.execute(
        """
        with stored as (
            insert into record (record_type, id, notification_type, version, body_version, source_version,
                                owner, student, deleted, changed_at, body)
            select $1, w.id, $2, w.version, w.version, w.source_version,
                   w.owner, w.student, w.deleted, now(), w.body::json
            from unnest($3::text[], $4::bigint[], $5::bigint[], $6::int[], $7::text[], $8::boolean[], $9::text[])
                 as w(id, version, source_version, owner, student, deleted, body)
            returning id, version, owner, deleted
        )
        insert into viewer (notification_type, id, organization, version, state)
        select $2, s.id, seen.by, s.version, case when s.deleted then 'deleted' else 'live' end::visibility
        from stored s join organization o on o.number = s.owner cross join unnest(o.lineage) as seen(by)
        where $10
        """,
        row.record_type,
        row.number,
        [w.id for w in writes],
        versions,
        [w.source_version for w in writes],
        [w.owner for w in writes],
        [w.student for w in writes],
        [w.deleted for w in writes],
        [w.body for w in writes],
        with_viewers,
    )


async def update_records(
    connection: Conn, row: TypeRow, writes: Sequence[RecordWrite], versions: Sequence[int]
) -> None:
    """Move records to new versions, and with them the rows of all who see them."""
    await connection.execute(
        """
        with moved as (
            update record r
            set version = w.version, source_version = w.source_version, student = w.student, deleted = w.deleted,
                body_version = case when w.body_changed then w.version else r.body_version end,
                changed_at = case when w.body_changed then now() else r.changed_at end,
                body = w.body::json
            from unnest($3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::boolean[], $8::text[], $9::boolean[])
                 as w(id, version, source_version, student, deleted, body, body_changed)
            where r.record_type = $1 and r.id = w.id
            returning r.id, r.version, r.deleted
        )
        update viewer v
        set version = m.version, state = case when m.deleted then 'deleted' else 'live' end::visibility
        from moved m
        where v.notification_type = $2 and v.id = m.id and v.state <> 'revoked'
        """,
        row.record_type,
        row.number,
        [w.id for w in writes],
        versions,
        [w.source_version for w in writes],
        [w.student for w in writes],
        [w.deleted for w in writes],
        [w.body for w in writes],
        [w.body_changed for w in writes],
    )


async def move_watermark(connection: Conn, type_number: int, version: int) -> None:
    """The type's highest version once this transaction commits."""
    await connection.execute("update notification_type set watermark = $2 where number = $1", type_number, version)
