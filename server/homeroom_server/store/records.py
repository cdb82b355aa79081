"""The write path: what a commit locks, reads and writes. All of it runs inside one write transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from homeroom_server.store.audit import Deed
from homeroom_server.store.connection import Conn
from homeroom_server.store.types import Standing, TypeRow

T = TypeVar("T")

_TYPE_LOCK = 1
"""The class of advisory locks whose second number is a notification type's."""


@dataclass(frozen=True, slots=True)
class CurrentRecord:
    """A record as it stands under the lock of its type. `writers`: the organisations that may change it."""

    id: str
    notification_type: int
    version: int
    body_version: int
    source_version: int | None
    owner: int
    owner_code: str
    writers: Sequence[int]
    student: str | None
    deleted: bool
    erased: bool
    body: str


class RecordWrite(NamedTuple):
    """One accepted change. `is_new` records are inserted, others updated; `body` is JSON.

    A tuple, as are submitted records: thousands are made a second, and a frozen dataclass takes thrice as long.
    """

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


@dataclass(frozen=True, slots=True)
class Showing:
    """Who a record of a type is shown to when it is written; anything else is the access worker's.

    `to_lineage`: its owner's lineage. `source_type`: who sees the source of this status (the number of its type).
    Neither: everybody sees it, so that no rows are kept. `owned`: the owner's lineage always sees it, and writes it.
    `follows_student`: what is written may change who sees some record of its student; `always`, or if the record is
    new, comes or goes, or names another student.
    """

    to_lineage: bool = False
    source_type: int | None = None
    owned: bool = True
    follows_student: bool = False
    always: bool = False


async def read_current(
    connection: Conn, record_type: int, ids: Sequence[str], showing: Showing
) -> Mapping[str, CurrentRecord]:
    """The records of a type as they stand, by id.

    Where no owner writes, who sees a record does; a deleted one, whose rows may have been collected, also who would.
    """
    rows = await connection.fetch(
        """
        select r.id, r.notification_type, r.version, r.body_version, r.source_version, r.owner,
               o.code as owner_code, r.student, r.deleted, r.erased, r.body,
               case when $3 then o.lineage else array(
                   select v.organization from viewer v
                   where v.notification_type = r.notification_type and v.id = r.id and v.state <> 'revoked'
                   union
                   select unnest(s.lineage) from association a join organization s on s.number = a.organization
                   where r.deleted and a.student = r.student and a.active
               ) end as writers
        from record r join organization o on o.number = r.owner
        where r.record_type = $1 and r.id = any($2::text[])
        """,
        record_type,
        ids,
        showing.owned,
    )
    return {row["id"]: CurrentRecord(**row) for row in rows}


async def write_records(
    connection: Conn,
    row: TypeRow,
    writes: Sequence[RecordWrite],
    showing: Showing,
    deeds: Sequence[Deed] = (),
    *,
    raise_triggers: bool,
) -> tuple[list[int], Standing]:
    """Store accepted changes in one statement; their versions, in order, and the standing. Only under the type's lock.

    Draws the versions, writes records and the rows of those who see them, raises status and access triggers, moves
    the watermark, notes whose deeds they are. UniqueViolationError: an id exists by now under another year.
    """
    stored = await connection.fetchrow(
        """
        with incoming as materialized (
            select w.id, coalesce(w.is_new, true) as is_new, coalesce(w.deleted, false) as deleted, w.owner, w.student,
                   w.body, coalesce(w.body_changed, true) as body_changed, w.source_version,
                   nextval('core_version') as version
            from unnest($3::text[], $4::boolean[], $5::boolean[], $6::int[], $7::text[], $8::text[], $9::boolean[],
                        $10::bigint[]) as w(id, is_new, deleted, owner, student, body, body_changed, source_version)
        ), stood as (
            select r.id, r.student, r.deleted from incoming w join record r on r.record_type = $1 and r.id = w.id
            where not w.is_new and ($11 or $15)
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
        ), shown_first as ( -- a new record has no rows yet: to look for some would cost more than to write them
            insert into viewer (notification_type, id, organization, version, state)
            select $2, w.id, seen.by, w.version, 'live'
            from incoming w join organization o on o.number = w.owner cross join unnest(o.lineage) as seen(by)
            where $11 and w.is_new
        ), back as (
            select w.id, seen.by as organization, w.version,
                   case when w.deleted then 'deleted' else 'live' end::visibility as state
            from stood s join incoming w on w.id = s.id
            join organization o on o.number = w.owner cross join unnest(o.lineage) as seen(by)
            where $11 and $14 and s.deleted
        ), shown_back as (
            insert into viewer (notification_type, id, organization, version, state)
            select $2, id, organization, version, state from back
            on conflict (notification_type, id, organization) do update
            set version = excluded.version, state = excluded.state
        ), shown_as_source as (
            insert into viewer (notification_type, id, organization, version, state)
            select $2, w.id, v.organization, w.version, case when w.deleted then 'deleted' else 'live' end::visibility
            from incoming w join viewer v on v.notification_type = $13 and v.id = w.id and v.state <> 'revoked'
            on conflict (notification_type, id, organization) do update
            set version = excluded.version, state = excluded.state
        ), shown_again as (
            update viewer v
            set version = w.version, state = case when w.deleted then 'deleted' else 'live' end::visibility
            from incoming w
            where $11 and not w.is_new and v.notification_type = $2 and v.id = w.id and v.state <> 'revoked'
              and not exists (select from back b where b.id = v.id and b.organization = v.organization)
        ), raised as (
            insert into status_trigger (record_type, id, changed)
            select $1, id, true from incoming where $12
            on conflict (record_type, id) do update
            set generation = status_trigger.generation + 1, due_at = now(), changed = true
        ), access_raised as (
            insert into access_trigger (student)
            select distinct f.student from incoming w left join stood s on s.id = w.id
            cross join unnest(array[w.student, s.student]) as f(student)
            where $15 and f.student is not null
              and ($16 or w.is_new or s.deleted <> w.deleted or s.student is distinct from w.student)
            order by 1 -- everybody in one order, so that two commits cannot wait for each other
            on conflict (student) do update
            set generation = access_trigger.generation + 1, due_on = '-infinity', leased_until = '-infinity'
        ), noted as (
            insert into audit_event (actor_kind, actor, organization, action, notification_type, ids)
            select 'client', d.client, d.organization, 'wrote', $20, string_to_array(d.ids, ' ')
            from unnest($17::text[], $18::int[], $19::text[]) as d(client, organization, ids)
        ), marked as (
            update notification_type set watermark = (select max(version) from incoming) where number = $2
        )
        select array_agg(version order by version) as versions,
               (select epoch::text from core) as epoch, (select erasures from core) as erasures
        from incoming
        """,
        row.record_type,
        row.number,
        [w.id for w in writes],
        _unless_all([w.is_new for w in writes], True),
        _unless_all([w.deleted for w in writes], False),
        [w.owner for w in writes],
        _unless_all([w.student for w in writes], None),
        [w.body for w in writes],
        _unless_all([w.body_changed for w in writes], True),
        _unless_all([w.source_version for w in writes], None),
        showing.to_lineage,
        raise_triggers,
        showing.source_type,
        showing.owned,
        showing.follows_student,
        showing.always,
        [deed.client for deed in deeds],
        [deed.organization for deed in deeds],
        [deed.ids for deed in deeds],
        str(row.notification_type),
    )
    assert stored is not None, "an aggregate has one row"
    return stored["versions"], Standing(stored["epoch"], stored["erasures"])


def _unless_all(column: list[T], usual: T) -> list[T]:
    """The column, or none of it if all is as usual: unnest fills up with nulls, and each value takes time to encode."""
    return [] if column.count(usual) == len(column) else column
